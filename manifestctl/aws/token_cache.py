"""Tokens kept between runs, so that most runs need neither boto3 nor a call to AWS: `TokenCache`.

One file for each registry and identity, of mode 0600, in a directory of mode 0700 in the user's cache. What is lost,
stale, damaged or not ours is as good as not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from manifestctl.aws.tokens import as_json, of_json
from manifestctl.events import Warned
from manifestctl.files import is_temporary, reason, replacing
from manifestctl.text import escape
from manifestctl.transport.certs_d import home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from manifestctl.aws.hosts import EcrHost
    from manifestctl.aws.tokens import Token
    from manifestctl.runtime import Runtime

_LIMIT = 64 * 1024
_LIFETIME = 12 * 3600.0
# By how much AWS's clock may be ahead of this machine's.
_SKEW = 3600.0
_PRIVATE_DIRECTORY, _PRIVATE_FILE = 0o700, 0o600
_SUFFIX = re.compile(r"[0-9a-f]{64}\.json")
_TOKEN = re.compile(r"[a-z0-9._-]+-[0-9a-f]{64}\.json")


class TokenCache:
    """The tokens of one identity. Processes may use it at once: files are replaced whole, the last one wins."""

    def __init__(self, directory: Path, identity: str, runtime: Runtime) -> None:
        """Keep where the files are; nothing is read or made yet."""
        self._directory = directory
        self._identity = identity
        self._runtime = runtime
        self._warned: set[str] = set()

    def read(self, host: EcrHost) -> Token | None:
        """Return the token kept for a registry, if it is still to be used. What may not be trusted is passed over."""
        raw = self._raw(self._path(host))
        try:
            token = of_json(json.loads(raw))
        except (ValueError, RecursionError):
            return None
        now = self._runtime.now()
        if token is None or not now < token.fresh_until <= token.expires:
            return None
        # One that says it lives longer than any token does was not written here.
        return token if token.expires <= now + _LIFETIME + _SKEW else None

    def write(self, host: EcrHost, token: Token) -> None:
        """Keep a token in the place of the one before; where that fails, a warning says so and the run goes on."""
        try:
            self._directory.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            if not self._is_trusted(self._directory.lstat(), stat.S_ISDIR, self._directory):
                return
            with replacing(self._path(host), mode=_PRIVATE_FILE) as file:
                file.write(json.dumps(as_json(token)).encode())
            self._tidy(self._path(host).lstat().st_mtime)
        except OSError as error:
            self._warn(self._directory, f"{reason(error)}; the next run gets another token")

    def forget(self, host: EcrHost) -> None:
        """Drop the token of a registry."""
        with contextlib.suppress(OSError):
            self._path(host).unlink()

    def _path(self, host: EcrHost) -> Path:
        return self._directory / f"{host.host}-{self._identity}.json"

    def _raw(self, path: Path) -> bytes:
        """Return what a file holds; nothing if it is not there, cannot be read, or may not be trusted."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            directory = self._directory.lstat()
            descriptor = os.open(path, flags)
        except (OSError, ValueError):
            return b""
        try:
            trusted = self._is_trusted(directory, stat.S_ISDIR, self._directory)
            if not trusted or not self._is_trusted(os.fstat(descriptor), stat.S_ISREG, path):
                return b""
            raw = os.read(descriptor, _LIMIT + 1)
        except OSError:  # pragma: no cover - a file system that fails
            return b""
        finally:
            os.close(descriptor)
        return raw if len(raw) <= _LIMIT else b""

    def _is_trusted(self, state: os.stat_result, is_kind: Callable[[int], bool], path: Path) -> bool:
        if os.name != "posix":  # pragma: no cover - Windows alone
            return True
        if not is_kind(state.st_mode):
            self._warn(path, "it is a link, or not what it should be; remove it")
        elif state.st_uid != os.geteuid():
            self._warn(path, "it belongs to somebody else")
        elif state.st_mode & 0o077:
            self._warn(path, "others may look into it; remove it")
        else:
            return True
        return False

    def _warn(self, path: Path, why: str) -> None:
        message = f"the token cache {escape(str(path), 300)} is not used: {why}"
        if message not in self._warned:
            self._warned.add(message)
            self._runtime.observe(Warned(message))

    def _tidy(self, newest: float) -> None:
        """Remove what is older than any token gets: in CI each job may be somebody new.

        ``newest`` is when a file was written just now, by the clock of the system that keeps the files.
        """
        for path in self._directory.iterdir():
            if _TOKEN.fullmatch(path.name) or is_temporary(path.name):
                # Another process may have removed it.
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < newest - _LIFETIME:
                        path.unlink()


def cache_directory(environ: Mapping[str, str], platform: str = sys.platform) -> Path | None:
    """Return where tokens are kept; None if the user has no home."""
    base = home(environ)
    own = environ.get("XDG_CACHE_HOME")
    if own and Path(own).is_absolute():
        return Path(own) / "manifestctl" / "tokens"
    if base is None:
        return None
    cache = base / "Library" / "Caches" if platform == "darwin" else base / ".cache"
    return cache / "manifestctl" / "tokens"


def forget_all(host: EcrHost, directory: Path) -> int:
    """Drop the tokens of a registry, of all identities; returns how many there were. Raises `OSError`."""
    count = 0
    for path in _kept(host, directory):
        path.unlink(missing_ok=True)
        count += path.suffix == ".json"
    return count


def _kept(host: EcrHost, directory: Path) -> Iterator[Path]:
    try:
        paths = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    prefix = f"{host.host}-"
    for path in paths:
        kept = path.name.startswith(prefix) and _SUFFIX.fullmatch(path.name[len(prefix) :])
        if kept or is_temporary(path.name, prefix):
            yield path
