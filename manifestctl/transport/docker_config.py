"""Where credentials are looked for, and in which order: `file_sources`.

With ``--authfile FILE`` that file alone, which must be there. Otherwise, first answer wins:

1. ``DOCKER_AUTH_CONFIG``: the content of a file with ``auths``. As strict as Docker: anything else in it, and it is
   passed over with a warning.
2. The files that somebody named: ``config.json`` in ``DOCKER_CONFIG``, then the file that ``REGISTRY_AUTH_FILE`` names.
3. Those that nobody named: Docker's ``~/.docker/config.json``, unless ``DOCKER_CONFIG`` is set; Podman's
   ``containers/auth.json`` in ``XDG_RUNTIME_DIR``, or ``/run/containers/UID/auth.json`` where that is not set; its
   ``containers/auth.json`` in ``XDG_CONFIG_HOME`` or ``~/.config``; ``~/.dockercfg``, from before Docker 1.7.

A file that is not there is passed over; one that cannot be read, or is not what it should be, is an error, for
passing it over would end in an unexplained denial. `storing_place` is the first file that is looked into.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.events import Warned
from manifestctl.files import read_regular
from manifestctl.text import escape
from manifestctl.transport.certs_d import home
from manifestctl.transport.credential_files import FILE_LIMIT, CredentialFile, decode_auth
from manifestctl.transport.credentials import Chain
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.runtime import Runtime
    from manifestctl.transport.credential_files import NamedHelper
    from manifestctl.transport.credentials import Credential, CredentialSource

# The variables that hold, and name, a credential file.
AUTH_CONFIG = "DOCKER_AUTH_CONFIG"
AUTH_FILE = "REGISTRY_AUTH_FILE"


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a credential file may be. ``scoped`` and ``bare``: see `CredentialFile`.

    ``variable`` is the one that names it; empty if none does, and it is only the usual place.
    """

    path: Path
    scoped: bool = False
    bare: bool = False
    variable: str = ""


def file_sources(runtime: Runtime, authfile: Path | None = None) -> tuple[CredentialSource, ...]:
    """Return the sources that apply, in order; nothing is read before the first of them is asked."""
    if authfile is not None:
        alone = named_place(authfile, runtime)
        return (FileSource(partial(_read, alone, "--authfile", required=True), runtime),)
    reads: list[Callable[[], CredentialFile | None]] = []
    if runtime.environ.get(AUTH_CONFIG):
        reads.append(partial(_read_variable, runtime))
    reads += [partial(_read_usual, place, runtime) for place in file_places(runtime)]
    return tuple(FileSource(read, runtime) for read in reads)


def file_places(runtime: Runtime) -> tuple[FilePlace, ...]:
    """Return where credential files may be, in the order in which they are asked: those that somebody named first."""
    environ = runtime.environ
    docker, base = docker_file(environ), home(environ)
    docker_variable = "DOCKER_CONFIG" if environ.get("DOCKER_CONFIG") else ""
    places = [FilePlace(docker, variable=docker_variable)] if docker is not None else []
    if environ.get(AUTH_FILE):
        places.append(named_place(Path(environ[AUTH_FILE]), runtime, AUTH_FILE))
    places += [FilePlace(path, scoped=True) for path in podman_files(environ, runtime.uid)]
    if base is not None:
        places.append(FilePlace(base / ".dockercfg", bare=True))
    return tuple(sorted(places, key=lambda place: not place.variable))


def named_place(path: Path, runtime: Runtime, variable: str = "") -> FilePlace:
    """Return the place of a file that is named by its path: it is like Podman's, unless it is Docker's own."""
    docker = docker_file(runtime.environ)
    own = docker is not None and os.path.abspath(path) == os.path.abspath(docker)  # noqa: PTH100 - drops ".." too
    return FilePlace(path, scoped=not own, variable=variable)


def storing_place(runtime: Runtime) -> FilePlace | None:
    """Return the file to store credentials in: a named one, or Docker's. None if the user has no home.

    It is the first that `file_sources` looks into, so that what was stored last is what is used.
    """
    docker = docker_file(runtime.environ)
    return next((place for place in file_places(runtime) if place.variable or place.path == docker), None)


def docker_file(environ: Mapping[str, str]) -> Path | None:
    """Return where Docker's ``config.json`` is, whether it exists or not; None if the user has no home."""
    base = home(environ)
    directory = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else base and base / ".docker"
    return directory and directory / "config.json"


def podman_files(environ: Mapping[str, str], uid: int | None) -> list[Path]:
    """Return where Podman's ``auth.json`` may be, in the order in which it looks. ``uid``: see `Runtime`."""
    base = home(environ)
    own = Path(environ["XDG_CONFIG_HOME"]) if environ.get("XDG_CONFIG_HOME") else base and base / ".config"
    directories = []
    if environ.get("XDG_RUNTIME_DIR"):
        directories.append(Path(environ["XDG_RUNTIME_DIR"], "containers"))
    elif uid is not None and sys.platform != "darwin":
        # There is no session in most containers, in cron's jobs and behind sudo.
        directories.append(Path("/run/containers", str(uid)))
    if own is not None:
        directories.append(own / "containers")
    return [directory / "auth.json" for directory in directories]


class FileSource:
    """A credential file, and the helpers that it names; a `CredentialSource`.

    The file is read when it is first needed, and again when the registry refused what it gave: somebody may have
    logged in anew. A helper is run once for each server.
    """

    def __init__(self, read: Callable[[], CredentialFile | None], runtime: Runtime) -> None:
        """Keep how to read the file: ``read`` returns None if it is not there, and raises `InputError`."""
        self._read = read
        self._runtime = runtime
        self._lock = threading.Lock()
        self._loaded = False
        self._file: CredentialFile | None = None
        self._helpers: dict[NamedHelper, Chain] = {}

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return what the file, or the helper that it names for the registry, has for a repository."""
        file = self._current()
        if file is None:
            return None
        helper = file.helper(registry)
        return self._asked(helper).credential(helper.server, "") if helper else file.entry(registry, repository)

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        """Return what is there now, if it is not what was refused."""
        file = self._current(again=True)
        if file is None:
            return None
        helper = file.helper(registry)
        if helper:
            return self._asked(helper).renew(helper.server, "", rejected, worked=True)
        fresh = file.entry(registry, repository)
        return None if fresh == rejected else fresh

    def _current(self, *, again: bool = False) -> CredentialFile | None:
        with self._lock:
            if again or not self._loaded:
                self._file = self._read()
                self._loaded = True
            return self._file

    def _asked(self, helper: NamedHelper) -> Chain:
        from manifestctl.transport.credential_helpers import HelperSource

        with self._lock:
            return self._helpers.setdefault(helper, Chain([HelperSource(helper, self._runtime)]))


def _read(place: FilePlace, what: str, *, required: bool = False) -> CredentialFile | None:
    path = place.path
    if not required and not _exists(path):
        return None
    raw = read_regular(path, FILE_LIMIT, what)
    return CredentialFile.parse(raw, escape(str(path)), scoped=place.scoped, bare=place.bare)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        # It may be there; reading it will say what is wrong.
        return True
    return True


def _read_usual(place: FilePlace, runtime: Runtime) -> CredentialFile | None:
    file = _read(place, place.variable if place.variable == AUTH_FILE else "credential file")
    # Docker makes its directory's file when it has something to keep there.
    if file is None and place.variable == AUTH_FILE:
        runtime.observe(Warned(f"{AUTH_FILE} names {escape(str(place.path))}, which does not exist"))
    return file


def _read_variable(runtime: Runtime) -> CredentialFile | None:
    """Read ``DOCKER_AUTH_CONFIG``, in which Docker allows ``auths`` with ``auth`` and nothing else."""
    try:
        raw = runtime.environ[AUTH_CONFIG].encode("utf-8", "surrogateescape")
        file = CredentialFile.parse(raw, AUTH_CONFIG, closed=True)
        for key, entry in file.auths.items():
            _check_entry(key, entry)
    except InputError as error:
        runtime.observe(Warned(f"{error.message}; the variable is passed over, as Docker does"))
        return None
    return file


def _check_entry(key: str, entry: object) -> None:
    where = f"{AUTH_CONFIG}: auths['{escape(key, 200)}']"
    auth = entry.get("auth") if isinstance(entry, dict) and len(entry) == 1 else None
    if not isinstance(auth, str) or not auth:
        raise InputError(f"{where} must hold 'auth' and nothing else")
    decode_auth(auth, where)
