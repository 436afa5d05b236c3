"""Where credentials are looked for, and in which order: `file_sources`.

With ``--authfile FILE`` that file alone, which must be there. Otherwise, first answer wins:

1. ``DOCKER_AUTH_CONFIG``: the content of a file with ``auths``. As strict as Docker: anything else in it, and it is
   passed over with a warning.
2. Docker's ``config.json`` in ``DOCKER_CONFIG`` or ``~/.docker``.
3. The file that ``REGISTRY_AUTH_FILE`` names.
4. Podman's ``containers/auth.json`` in ``XDG_RUNTIME_DIR``, then in ``XDG_CONFIG_HOME`` or ``~/.config``.
5. ``~/.dockercfg``, from before Docker 1.7.

A file that is not there is passed over; one that cannot be read, or is not what it should be, is an error, for
passing it over would end in an unexplained denial.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.runtime import Runtime
    from manifestctl.transport.credential_files import NamedHelper
    from manifestctl.transport.credentials import Credential, CredentialSource

# The variables that hold, and name, a credential file.
AUTH_CONFIG = "DOCKER_AUTH_CONFIG"
AUTH_FILE = "REGISTRY_AUTH_FILE"
_CREDENTIAL_FILE = "credential file"


def file_sources(runtime: Runtime, authfile: Path | None = None) -> tuple[CredentialSource, ...]:
    """Return the sources that apply, in order; nothing is read before the first of them is asked."""
    if authfile is not None:
        return (FileSource(partial(_read, authfile, "--authfile", required=True, scoped=True), runtime),)
    environ = runtime.environ
    reads: list[Callable[[], CredentialFile | None]] = []
    if environ.get(AUTH_CONFIG):
        reads.append(partial(_read_variable, runtime))
    base = home(environ)
    docker = docker_file(environ)
    if docker is not None:
        reads.append(partial(_read, docker, _CREDENTIAL_FILE))
    if environ.get(AUTH_FILE):
        reads.append(partial(_read_auth_file, runtime))
    reads += [partial(_read, path, _CREDENTIAL_FILE, scoped=True) for path in podman_files(environ)]
    if base is not None:
        reads.append(partial(_read, base / ".dockercfg", _CREDENTIAL_FILE, bare=True))
    return tuple(FileSource(read, runtime) for read in reads)


def docker_file(environ: Mapping[str, str]) -> Path | None:
    """Return where Docker's ``config.json`` is, whether it exists or not; None if the user has no home."""
    base = home(environ)
    directory = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else base and base / ".docker"
    return directory and directory / "config.json"


def podman_files(environ: Mapping[str, str]) -> list[Path]:
    """Return where Podman's ``auth.json`` may be, in the order in which it looks."""
    base, own = home(environ), environ.get("XDG_CONFIG_HOME")
    directories = [
        Path(environ["XDG_RUNTIME_DIR"]) if environ.get("XDG_RUNTIME_DIR") else None,
        Path(own) if own else base and base / ".config",
    ]
    return [directory / "containers" / "auth.json" for directory in directories if directory is not None]


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


def _read(
    path: Path, what: str, *, required: bool = False, scoped: bool = False, bare: bool = False
) -> CredentialFile | None:
    if not required and not _exists(path):
        return None
    return CredentialFile.parse(read_regular(path, FILE_LIMIT, what), escape(str(path)), scoped=scoped, bare=bare)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        # It may be there; reading it will say what is wrong.
        return True
    return True


def _read_auth_file(runtime: Runtime) -> CredentialFile | None:
    path = Path(runtime.environ[AUTH_FILE])
    file = _read(path, AUTH_FILE, scoped=True)
    if file is None:
        runtime.observe(Warned(f"{AUTH_FILE} names {escape(str(path))}, which does not exist"))
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
