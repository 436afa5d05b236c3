"""Credentials put away and taken back as ``docker login`` and ``docker logout`` do it: `CredentialWriter`.

Where the file names a helper program for the registry, the helper keeps them, and the file an empty entry. Otherwise
they stand in the file itself, as plain text. All else that the file holds stays, in its order; a file that cannot be
understood is never written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from manifestctl.errors import DeniedError, InputError
from manifestctl.events import Warned
from manifestctl.files import is_temporary, locked, read_regular, reason, replacing
from manifestctl.model.strict_json import load
from manifestctl.text import escape
from manifestctl.transport.credential_files import FILE_LIMIT, CredentialFile
from manifestctl.transport.credential_helpers import PREFIX, erase, store
from manifestctl.transport.docker_config import AUTH_CONFIG, FilePlace, file_places, named_place, storing_place
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifestctl.runtime import Runtime
    from manifestctl.transport.credential_files import NamedHelper

_PRIVATE_DIRECTORY, _PRIVATE_FILE = 0o700, 0o600
_OTHERS = 0o077
_AUTHS = "auths"
_WHAT = "credential file"
_INDENT = re.compile(rb"\s*\{\r?\n([ \t]+)\"")


@dataclass(frozen=True, slots=True)
class Stored:
    """Where credentials were put, in words: a file's path, or a helper and where it is named.

    ``plain``: as plain text, in a file of which ``shared`` tells whether others may read it.
    """

    place: str
    plain: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """Where credentials were taken from, in words.

    ``helper`` is the program that the file names for the registry, if any; ``error`` is what it failed with.
    """

    places: tuple[str, ...]
    helper: str = ""
    error: DeniedError | None = None


class CredentialWriter:
    """Writes one credential file, and what the helpers keep that it names."""

    def __init__(self, place: FilePlace, runtime: Runtime) -> None:
        """Keep which file; it is neither read nor made yet."""
        self._place = place
        self._name = escape(str(place.path))
        self._runtime = runtime

    @classmethod
    def of_system(cls, runtime: Runtime, authfile: Path | None = None) -> CredentialWriter:
        """Return the writer of ``authfile``, or else of the `storing_place`. Raises `InputError`."""
        place = named_place(authfile, runtime) if authfile is not None else storing_place(runtime)
        if place is None:
            raise InputError(
                "there is no place to store credentials: the user has no home directory",
                hint="Set HOME or DOCKER_CONFIG, or pass --authfile FILE.",
            )
        return cls(place, runtime)

    def read(self) -> CredentialFile:
        """Return what the file holds; one that is not there holds nothing. Raises `InputError`."""
        with self._errors("read"):
            return self._parsed(self._raw(self._real_path()))

    def store(self, registry: str, username: str, secret: str) -> Stored:
        """Store a user and a password for a registry (``host[:port]``), in the place of what was stored for it.

        Raises `InputError` for a file that cannot be read or written, and for a helper that stores nothing;
        `DeniedError` for a helper that fails.
        """
        file = self.read()
        key, helper = file.key_for(registry), file.helper(registry)
        if helper is None:
            auth = b64encode(f"{username}:{secret}".encode()).decode()
            mode = self._edit(lambda auths: auths.update({key: {"auth": auth}}))
            return Stored(self._name, plain=True, shared=bool(mode & _OTHERS))
        if not store(helper, username, secret, self._runtime):
            raise _stores_nothing(helper)
        try:
            # Other programs tell by this that there is something, and an older secret goes.
            self._edit(lambda auths: auths.update({key: {}}))
        except InputError as error:
            self._runtime.observe(Warned(f"{error.message}; the helper has the credentials all the same"))
        return Stored(_called(helper))

    def erase(self, registry: str) -> Erased:
        """Remove all that is stored for a registry as a whole, under whichever form of its name.

        A helper that fails does not keep the file's own entries from being removed. Raises `InputError`.
        """
        file = self.read()
        helper, keys = file.helper(registry), file.keys_of(registry)
        places: list[str] = []
        error = self._erase_by(helper, keys, places) if helper is not None else None
        if keys:
            self._edit(lambda auths: [auths.pop(key, None) for key in keys])
        else:
            with _alone_at(self._real_path()):
                pass
        if any(_is_filled(file.auths[key]) for key in keys):
            places.append(self._name)
        return Erased(tuple(places), _called(helper) if helper is not None else "", error)

    def left_elsewhere(self, registry: str) -> tuple[str, ...]:
        """Name the other files (and the variable) in which credentials for a registry stand that others may find.

        Of this file, entries for parts of the registry count. Files that cannot be understood are passed over.
        """
        found = [self._name] if _holds(self._place, registry, parts_alone=True) else []
        found += [escape(str(place.path)) for place in self._others() if _holds(place, registry)]
        variable = self._runtime.environ.get(AUTH_CONFIG, "")
        with contextlib.suppress(InputError):
            raw = variable.encode("utf-8", "surrogateescape")
            if _filled(CredentialFile.parse(raw, AUTH_CONFIG), registry):
                found.append(AUTH_CONFIG)
        return tuple(dict.fromkeys(found))

    def _erase_by(self, helper: NamedHelper, keys: tuple[str, ...], places: list[str]) -> DeniedError | None:
        erased = []
        try:
            for server in dict.fromkeys((helper.server, *keys)):
                erased.append(erase(replace(helper, server=server), self._runtime))  # noqa: PERF401 - one may fail
        except DeniedError as error:
            return error
        finally:
            places += [_called(helper)] if any(erased) else []
        return None

    def _others(self) -> list[FilePlace]:
        mine = os.path.realpath(self._place.path)
        places = [place for place in file_places(self._runtime) if not place.bare]
        return [place for place in places if os.path.realpath(place.path) != mine]

    def _real_path(self) -> Path:
        # A link stays, and the file that it names is written.
        return Path(os.path.realpath(self._place.path))

    def _raw(self, path: Path) -> bytes:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
            return read_regular(path, FILE_LIMIT, _WHAT)
        return b""

    def _parsed(self, raw: bytes) -> CredentialFile:
        return CredentialFile.parse(raw, self._name, scoped=self._place.scoped)

    def _edit(self, change: Callable[[dict[str, Any]], object]) -> int:
        """Let ``change`` change ``auths``; returns the file's mode. Nothing is written if nothing is different."""
        with self._errors("written"):
            path = self._real_path()
            path.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            with _alone_at(path):
                raw = self._raw(path)
                self._parsed(raw)
                document = load(raw, self._name, FILE_LIMIT) if raw.strip() else {}
                before = json.dumps(document)
                change(_auths(document))
                state = path.stat() if path.exists() else None
                if json.dumps(document) != before:
                    with replacing(path, mode=_PRIVATE_FILE, sync=True) as file:
                        _keep_access(file, state)
                        file.write(_text(document, raw))
                return stat.S_IMODE(path.stat().st_mode) if os.name == "posix" else _PRIVATE_FILE

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "Check who may use the file and its directory, or name another with --authfile."
            raise InputError(f"{self._name} cannot be {doing}: {reason(error)}", hint=hint) from error
        except ValueError as error:
            raise InputError(f"{self._name} cannot be {doing}: not a path") from error


@contextlib.contextmanager
def _alone_at(path: Path) -> Iterator[None]:
    """Keep other processes from writing a file, and remove what some that were killed while they did have left."""
    with contextlib.ExitStack() as held:
        # Network file systems may have no locks for directories; the file is replaced whole all the same.
        with contextlib.suppress(OSError):
            held.enter_context(locked(path.parent))
            for left in path.parent.iterdir() if os.name == "posix" else ():
                if is_temporary(left.name, path.name):
                    left.unlink()
        yield


def _auths(document: dict[str, Any]) -> dict[str, Any]:
    key = next((key for key in document if key.casefold() == _AUTHS), _AUTHS)
    if document.get(key) is None:
        document[key] = {}
    auths: dict[str, Any] = document[key]
    return auths


def _text(document: dict[str, Any], raw: bytes) -> bytes:
    """Return a document as JSON, indented as the file was before; Docker does it by tabs."""
    indent = _INDENT.match(raw)
    text = json.dumps(document, indent=indent[1].decode() if indent else "\t", ensure_ascii=False)
    end = "" if raw.strip() and not raw.endswith(b"\n") else "\n"
    return f"{text}{end}".encode()


def _keep_access(file: IO[bytes], state: os.stat_result | None) -> None:
    """Give a file the mode that it had before, and the owner: who runs this as root leaves the file to its user."""
    if state is None or os.name != "posix":
        return
    with contextlib.suppress(OSError):
        os.fchown(file.fileno(), state.st_uid, state.st_gid)
    os.fchmod(file.fileno(), stat.S_IMODE(state.st_mode))


def _holds(place: FilePlace, registry: str, *, parts_alone: bool = False) -> bool:
    try:
        file = CredentialFile.parse(read_regular(place.path, FILE_LIMIT, _WHAT), "", scoped=place.scoped)
    except InputError:
        return False
    return _filled(file, registry, parts_alone=parts_alone)


def _filled(file: CredentialFile, registry: str, *, parts_alone: bool = False) -> bool:
    """Tell whether there is an entry with something in it; an empty one only says that a helper has it."""
    keys = file.parts_of(registry) + (() if parts_alone else file.keys_of(registry))
    return any(_is_filled(file.auths[key]) for key in keys)


def _is_filled(entry: object) -> bool:
    return isinstance(entry, dict) and any(entry.values())


def _called(helper: NamedHelper) -> str:
    return f"{PREFIX}{helper.program} ({helper.source})"


def _stores_nothing(helper: NamedHelper) -> InputError:
    return InputError(
        f"nothing is stored: {_called(helper)} takes no credentials, it gets its own",
        hint="Programs that ask it need no log-in there; for others take it out of that file, or pass --authfile FILE.",
    )
