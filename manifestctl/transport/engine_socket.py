"""Where a Docker or Podman engine listens: `endpoints`.

What is asked for by name is tried alone, and comes in Docker's own order:

1. ``DOCKER_HOST``.
2. The Docker context that ``DOCKER_CONTEXT`` names.
3. ``CONTAINER_HOST``, Podman's variable.
4. The Docker context that ``currentContext`` in Docker's ``config.json`` names.

Otherwise the usual sockets are tried one after the other: Docker's, rootless Docker's, Docker Desktop's, rootless
Podman's, Podman's. An image may hold secrets, so an engine is spoken to through a socket, or in the clear on this
machine's own loopback, and in no other way.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, DocumentError, InputError, UnreachableError
from manifestctl.files import read_regular
from manifestctl.model.strict_json import load
from manifestctl.text import escape, outside
from manifestctl.transport.addresses import is_loopback, join_host, split_host
from manifestctl.transport.certs_d import home
from manifestctl.transport.credential_files import FILE_LIMIT, value_of
from manifestctl.transport.docker_config import docker_file
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTEAD = (
    "Where the image is, run 'docker save NAME -o image.tar' (or 'podman save'), and push docker-archive:image.tar."
)
"""The next step wherever an engine cannot be spoken to."""

START = f"Start it ('systemctl start docker', or 'systemctl --user start podman.socket'). {INSTEAD}"
"""The next step where no engine listens."""

_FORMS = "Write unix:///path/to.sock, or tcp://127.0.0.1:2375 for an engine that listens on this machine's loopback."

DEFAULT_SOCKET = "/var/run/docker.sock"
_PODMAN_SOCKET = "/run/podman/podman.sock"
_DEFAULT_PORT = 2375
_DEFAULT_CONTEXT = "default"
_DOCKER_HOST, _DOCKER_CONTEXT, _CONTAINER_HOST = "DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST"


class NotListeningError(UnreachableError):
    """No engine listens at a place; ``state`` says in a few words what is there."""

    def __init__(self, message: str, *, hint: str, state: str) -> None:
        """Keep the state beside the message."""
        super().__init__(message, hint=hint)
        self.state = state


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where an engine may listen: the path of a Unix socket, or ``host:port`` on this machine.

    ``source`` says in words what named it, for messages; it is empty for a place that is merely usual.
    """

    socket: str = ""
    address: str = ""
    source: str = ""

    @property
    def named(self) -> str:
        """What named it, in brackets, to stand behind it in a message."""
        return f" (from {self.source})" if self.source else ""

    def __str__(self) -> str:
        """Return it as ``DOCKER_HOST`` would hold it, safe to print."""
        return f"unix://{escape(self.socket, 300)}" if self.socket else f"tcp://{self.address}"


def endpoints(environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """Return the places to try, in order; a single one if the environment or Docker's configuration names it.

    Raises `InputError` for an address that cannot be used, a context that does not exist, and a configuration file that
    cannot be read.
    """
    if environ.get(_DOCKER_HOST):
        return (_parse(environ[_DOCKER_HOST], _DOCKER_HOST, encrypted=bool(environ.get("DOCKER_TLS_VERIFY"))),)
    if environ.get(_DOCKER_CONTEXT):
        # Docker's "default" means that no context applies, not even the current one.
        name = environ[_DOCKER_CONTEXT]
        named = _context(environ, name, _DOCKER_CONTEXT) if name != _DEFAULT_CONTEXT else None
        return (named,) if named else _usual(environ)
    if environ.get(_CONTAINER_HOST):
        return (_parse(environ[_CONTAINER_HOST], _CONTAINER_HOST),)
    named = _current_context(environ)
    return (named,) if named else _usual(environ)


def knock(endpoint: Endpoint, timeout: float) -> None:
    """Connect once, and leave again: the HTTP library says less of what is wrong, and takes longer to say it.

    Raises `NotListeningError`, and `DeniedError` if the socket may not be opened.
    """
    try:
        if endpoint.socket:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(endpoint.socket)
        else:
            host, port = split_host(endpoint.address) or ("", None)
            socket.create_connection((host, port), timeout).close()
    except PermissionError as error:
        message = f"no permission to open {endpoint}{endpoint.named}{_owner(endpoint)}"
        raise DeniedError(message, hint=_way_in(endpoint)) from error
    except OSError as error:
        state = _state(error)
        raise NotListeningError(f"no engine at {endpoint}{endpoint.named}: {state}", hint=START, state=state) from error


def _state(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "not there"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens"
    # Where too many wait already, the system does not let another one wait.
    if isinstance(error, TimeoutError | BlockingIOError):
        return "no answer in time"
    return outside(error.strerror or str(error), 200)


def _owner(endpoint: Endpoint) -> str:
    """Return whose a socket is, for the end of a message; nothing if it may not even be looked at."""
    try:
        status = Path(endpoint.socket).stat()
    except OSError:
        return ""
    return f": its group is '{_group(status.st_gid)}', its mode {stat.S_IMODE(status.st_mode):04o}"


def _way_in(endpoint: Endpoint) -> str:
    """Return the next step for a user who may not open the socket."""
    root = "Run this with sudo"
    try:
        status = Path(endpoint.socket).stat()
    except OSError:
        return f"{root}, or set DOCKER_HOST to a socket of your own. {INSTEAD}"
    # A group that is root's, or that may not write, is no way in.
    if status.st_gid == 0 or not status.st_mode & stat.S_IWGRP:
        return f"{root}, or set DOCKER_HOST to a socket of your own (rootless Docker or Podman)."
    return f"Run 'sudo usermod -aG {_group(status.st_gid)} $USER' and log in again, or run this with sudo."


def _usual(environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    if not hasattr(socket, "AF_UNIX"):
        raise InputError("engines cannot be reached on this system: their sockets are named pipes here", hint=INSTEAD)
    # Neither sudo nor cron sets the variable.
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    base = home(environ)
    desktop = (f"{base}/.docker/run/docker.sock",) if base is not None else ()
    paths = (DEFAULT_SOCKET, f"{runtime}/docker.sock", *desktop, f"{runtime}/podman/podman.sock", _PODMAN_SOCKET)
    return tuple(Endpoint(socket=path) for path in dict.fromkeys(paths))


def _parse(text: str, source: str, *, encrypted: bool = False) -> Endpoint:
    """Parse an address as ``DOCKER_HOST`` holds it."""
    scheme, separator, rest = text.partition("://")
    if not separator and not text.startswith("/"):
        scheme, rest = "tcp", text
    if scheme == "unix":
        return _socket(rest or DEFAULT_SOCKET, text, source)
    if scheme in ("tcp", "http"):
        return _loopback(rest, text, source, encrypted=encrypted)
    shown = outside(text, 200)
    if not separator:
        raise InputError(f"{source} is '{shown}', which has no scheme", hint=f"Write unix://{shown}.")
    if scheme in ("ssh", "npipe"):
        raise InputError(f"{source} is '{shown}': engines behind {scheme}:// cannot be spoken to", hint=INSTEAD)
    raise InputError(f"{source} is '{shown}', which is not an address of an engine", hint=f"{_FORMS} {INSTEAD}")


def _socket(path: str, text: str, source: str) -> Endpoint:
    if not path.startswith("/") or "\0" in path:
        raise InputError(
            f"{source} is '{outside(text, 200)}', which names no socket", hint="Write unix:///path/to.sock."
        )
    if not hasattr(socket, "AF_UNIX"):
        raise InputError(f"{source} names a Unix socket, which this system does not have", hint=INSTEAD)
    return Endpoint(socket=path, source=source)


def _loopback(rest: str, text: str, source: str, *, encrypted: bool) -> Endpoint:
    split = split_host(rest.removesuffix("/"))
    shown = outside(text, 200)
    if split is None:
        raise InputError(f"{source} is '{shown}', which names no host", hint="Write tcp://127.0.0.1:2375.")
    host, port = split
    if encrypted:
        raise InputError(f"{source} is '{shown}' over TLS, which is not spoken to engines here", hint=INSTEAD)
    if not is_loopback(host):
        # Docker takes what has no scheme for a host, and so may anything that was misspelled.
        read = "" if "://" in text else f" (read as tcp://{outside(join_host(host, port or _DEFAULT_PORT), 200)})"
        raise InputError(
            f"{source} is '{shown}'{read}: an engine on another machine would be spoken to in the clear",
            hint=f"{_FORMS} {INSTEAD}",
        )
    return Endpoint(address=join_host(host, port or _DEFAULT_PORT), source=source)


def _current_context(environ: Mapping[str, str]) -> Endpoint | None:
    path = docker_file(environ)
    document = _document(path) if path is not None else None
    name = value_of(document, "currentContext") if document else None
    if name is None or name in ("", _DEFAULT_CONTEXT):
        return None
    where = f"currentContext in {escape(str(path))}"
    if not isinstance(name, str):
        raise InputError(f"{where} is not a string")
    return _context(environ, name, where)


def _context(environ: Mapping[str, str], name: str, source: str) -> Endpoint:
    """Return the endpoint of a Docker context; Docker keeps each under the SHA-256 of its name."""
    file = docker_file(environ)
    directory = file.parent if file is not None else None
    key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    path = directory / "contexts" / "meta" / key / "meta.json" if directory is not None else None
    document = _document(path) if path is not None else None
    shown = escape(name, 100)
    if document is None or directory is None:
        raise InputError(
            f"there is no Docker context '{shown}', which {source} names",
            hint="'docker context ls' lists them; 'docker context use default' goes back to the local engine.",
        )
    places = value_of(document, "Endpoints")
    docker = value_of(places, "docker") if isinstance(places, dict) else None
    host = value_of(docker, "Host") if isinstance(docker, dict) else None
    if not isinstance(host, str):
        raise InputError(f"the Docker context '{shown}' says no address of an engine ({escape(str(path))})")
    encrypted = (directory / "contexts" / "tls" / key / "docker").is_dir()
    return _parse(host or f"unix://{DEFAULT_SOCKET}", f"the Docker context '{shown}'", encrypted=encrypted)


def _document(path: Path) -> Mapping[str, object] | None:
    """Read a file of Docker's configuration; None if it is not there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        # It may be there; reading it will say what is wrong.
        pass
    shown = escape(str(path))
    raw = read_regular(path, FILE_LIMIT, "Docker's configuration")
    try:
        document = load(raw, shown, FILE_LIMIT) if raw.strip() else {}
    except DocumentError as error:
        raise InputError(error.message, hint="Correct the file, or set DOCKER_HOST.") from error
    if not isinstance(document, dict):
        raise InputError(f"{shown}: is not a JSON object", hint="Correct the file, or set DOCKER_HOST.")
    return document


def _group(number: int) -> str:
    import grp

    try:
        return escape(grp.getgrgid(number).gr_name, 80)
    except KeyError:
        return str(number)
