"""Who asks AWS, told without importing boto3: the part of a token cache's key that keeps identities apart.

Only what names somebody goes in, hashed: access key IDs, role and profile names, path, size, time and inode of the
files in which boto3 would look, and the machine's name, for a machine may have a role. Never a secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from manifestctl.transport.certs_d import home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_ECR",
    "AWS_ENDPOINT_URL_ECR_PUBLIC",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
# Variable → where the files are if it is not set, for botocore, which looks in all these places.
_CONFIGURATION = {
    "AWS_CONFIG_FILE": ("~/.aws/config",),
    "AWS_SHARED_CREDENTIALS_FILE": ("~/.aws/credentials",),
    "AWS_CREDENTIAL_FILE": (),
    "BOTO_CONFIG": ("/etc/boto.cfg", "~/.boto"),
}
_TOKENS: dict[str, tuple[str, ...]] = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": (),
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": (),
}
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)


def identity_key(environ: Mapping[str, str], profile: str, machine: str | None = None) -> str:
    """Return a SHA-256, in hex, over what identifies who asks.

    ``profile`` is the one that was named, if any; ``machine`` is the machine's name, by default as the system has it.
    """
    names = {name: environ[name] for name in _NAMES if environ.get(name)}
    files = [[name, *_state(path)] for name, path in _paths(_CONFIGURATION | _TOKENS, environ)]
    # A home may be shared by machines with different roles. Who has a key of their own is the same on all of them.
    where = "" if environ.get("AWS_ACCESS_KEY_ID") and not profile else machine or _machine()
    text = json.dumps([profile, names, files, where], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def configuration_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where boto3 looks for profiles and keys, whether the files exist or not."""
    return tuple(path for _, path in _paths(_CONFIGURATION, environ))


def _paths(places: Mapping[str, tuple[str, ...]], environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    base = home(environ)
    for name, usual in places.items():
        named = environ.get(name, "")
        for place in (_filled_in(named, environ),) if named else usual:
            if place.startswith("~/") and base is not None:
                yield name, base / place[2:]
            elif named or not place.startswith("~/"):
                yield name, Path(place)


def _filled_in(text: str, environ: Mapping[str, str]) -> str:
    """Return a path with the variables in it replaced, as botocore does it: ``$NAME`` and ``${NAME}``."""
    return _VARIABLE.sub(lambda found: environ.get(found[1] or found[2], found[0]), text)


def _state(path: Path) -> list[str | int]:
    try:
        state = path.stat()
    except (OSError, ValueError):
        return [str(path)]
    return [str(path), state.st_size, state.st_mtime_ns, state.st_ino]


def _machine() -> str:
    return os.uname().nodename if hasattr(os, "uname") else ""
