"""The format of credential files: Docker's ``config.json`` and older ``.dockercfg``, Podman's ``auth.json``.

A file holds ``auths`` (keys are hosts, URLs, or, in Podman's files, ``host/namespace/repository``), and may name
helper programs: ``credHelpers`` for single hosts, ``credsStore`` for all. Where a helper is named for a host,
``auths`` is not consulted. What is wrong in an entry is an error only if that entry is the one that is needed. Names
of fields are taken in any case, as Docker takes them.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.strict_json import load
from manifestctl.text import escape
from manifestctl.transport.credentials import Credential
from manifestctl.transport.profiles import profile_for
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_LIMIT = 4 * 1024 * 1024

_CORRECT = "Correct the file, or remove it and log in again."
_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")
# What may follow the host in Docker's keys, which were URLs of the API once.
_API_PATHS = frozenset({"", "v1", "v2"})


@dataclass(frozen=True, slots=True)
class NamedHelper:
    """A helper program that a file names for a registry.

    ``program`` is what follows ``docker-credential-``, ``server`` what it is asked for, ``source`` says in words
    where it is named.
    """

    program: str
    server: str
    source: str


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """A credential file's content. ``name`` is how messages call it; it is safe to print.

    ``scoped``: it is a file like Podman's. There a key ``host/path`` without a scheme is for that path alone, and a
    registry's key is its host; in Docker's such a key stands for its host, and the Hub's key is the URL of an API.
    """

    name: str
    auths: Mapping[str, Any]
    helpers: Mapping[str, Any]
    store: str = ""
    scoped: bool = False

    @classmethod
    def parse(
        cls, raw: bytes, name: str, *, scoped: bool = False, bare: bool = False, closed: bool = False
    ) -> CredentialFile:
        """Read a file's bytes.

        ``bare``: the whole document is what else is ``auths`` (``~/.dockercfg``). ``closed``: nothing but ``auths``
        may be in it. An empty file is an empty document. Raises `InputError` for what is not JSON of the right shape.
        """
        try:
            document = load(raw, name, FILE_LIMIT) if raw.strip() else {}
        except DocumentError as error:
            raise InputError(error.message, hint=_CORRECT) from error
        if not isinstance(document, dict):
            raise InputError(f"{name}: is not a JSON object", hint=_CORRECT)
        if bare:
            return cls(name, document, {}, scoped=scoped)
        if closed and (strange := next((key for key in document if key.casefold() != "auths"), None)) is not None:
            raise InputError(f"{name}: '{escape(strange, 80)}' does not belong there, only 'auths' does")
        store = value_of(document, "credsStore")
        if store is not None and not isinstance(store, str):
            raise InputError(f"{name}: 'credsStore' is not a string", hint=_CORRECT)
        return cls(name, _object(document, "auths", name), _object(document, "credHelpers", name), store or "", scoped)

    def helper(self, registry: str) -> NamedHelper | None:
        """Return the helper that the file names for a registry, if any. Raises `InputError`."""
        # Docker alone heeds ``credsStore``, in whatever file it stands.
        usual = profile_for(registry).keys(registry)[0]
        for key in self._names(registry):
            program = self.helpers.get(key)
            if program is None:
                continue
            if not isinstance(program, str):
                raise InputError(f"{self.name}: the helper for '{escape(key, 200)}' in 'credHelpers' is not a string")
            source = f"credHelpers['{escape(key, 200)}'] in {self.name}"
            # An empty name takes this host out of ``credsStore``.
            return NamedHelper(program, key if self.scoped else usual, source) if program else None
        return NamedHelper(self.store, usual, f"credsStore in {self.name}") if self.store else None

    def entry(self, registry: str, repository: str) -> Credential | None:
        """Return the credential that ``auths`` holds for a repository, the most specific key first.

        An entry with nothing in it is none. Raises `InputError` for an entry that cannot be used.
        """
        key = self._key(registry, repository)
        return None if key is None else _credential(self.auths[key], key, self.name)

    def key_for(self, registry: str) -> str:
        """Return the key in ``auths`` under which the readers of such a file look for a registry first."""
        return self._names(registry)[0]

    def _key(self, registry: str, repository: str) -> str | None:
        hosts = self._names(registry)
        parts = repository.split("/")
        paths = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        for key in [f"{host}/{path}" for path in paths for host in hosts if "://" not in host]:
            if key in self.auths:
                return key
        for key in hosts:
            if key in self.auths:
                return key
        return next(iter(self.keys_of(registry)), None)

    def keys_of(self, registry: str) -> tuple[str, ...]:
        """Return the keys in ``auths`` that stand for the whole registry, however they are written."""
        return tuple(key for key in self._keys_at(registry) if not (self.scoped and _is_scope(key)))

    def parts_of(self, registry: str) -> tuple[str, ...]:
        """Return the keys in ``auths`` that stand for single repositories of the registry, or namespaces."""
        return tuple(key for key in self._keys_at(registry) if self.scoped and _is_scope(key))

    def _names(self, registry: str) -> tuple[str, ...]:
        """Return the keys that a registry may have, in the order in which the readers of such a file look."""
        keys = profile_for(registry).keys(registry)
        # Podman knows none of Docker's own names: it takes the host as it stands in references.
        return tuple(dict.fromkeys((registry, *keys))) if self.scoped else keys

    def _keys_at(self, registry: str) -> list[str]:
        names = {_host(key) for key in profile_for(registry).keys(registry)}
        return [key for key in self.auths if _host(key) in names]


def value_of(document: Mapping[str, Any], name: str) -> Any:
    """Return a field of a JSON object by its name, or by its name in another case as Go programs do; None if absent."""
    if name in document:
        return document[name]
    folded = name.casefold()
    return next((value for key, value in document.items() if key.casefold() == folded), None)


def decode_auth(text: str, where: str) -> tuple[str, str]:
    """Return user and password of an ``auth`` field: base64 of ``user:password``. Raises `InputError`."""
    try:
        decoded = b64decode(text.replace("\n", "").replace("\r", ""), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        # Neither cause nor context: both would hold the secret.
        raise InputError(f"{where}: 'auth' is not base64 of text", hint="Log in again to write it anew.") from None
    username, colon, password = decoded.partition(":")
    if not colon or not username:
        raise InputError(f"{where}: 'auth' is not base64 of user:password", hint="Log in again to write it anew.")
    # Old versions of Docker padded it with NULs.
    return username, password.strip("\0")


def _object(document: Mapping[str, Any], name: str, file: str) -> Mapping[str, Any]:
    value = value_of(document, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{file}: '{name}' is not a JSON object", hint=_CORRECT)
    return value


def _credential(entry: object, key: str, file: str) -> Credential | None:
    where = f"{file}: auths['{escape(key, 200)}']"
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise InputError(f"{where} is not a JSON object")
    fields = {name: value_of(entry, name) or "" for name in _FIELDS}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise InputError(f"{where}: '{name}' is not a string")
    username, password = fields["username"], fields["password"]
    if fields["auth"]:
        username, password = decode_auth(fields["auth"], where)
    token = fields["registrytoken"]
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(f"{where}: 'registrytoken' holds characters that no token has")
    source = f"auths['{escape(key, 200)}'] in {file}"
    credential = Credential(source, username, password, fields["identitytoken"], token)
    return None if credential.anonymous else credential


def _host(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _is_scope(key: str) -> bool:
    return "://" not in key and key.partition("/")[2].strip("/") not in _API_PATHS
