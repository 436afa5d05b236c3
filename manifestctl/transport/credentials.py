"""Who we are to a registry: `Credential`, the `CredentialSource` that gives one, the `Chain` that asks sources in turn.

A source is asked with registry *and* repository, for a file may hold different credentials for different repositories
of one registry. No secret is ever in a ``repr``, an error or an event; what messages show is `Credential.source`.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from manifestctl.errors import ManifestctlError
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Credential:
    """What a registry or its token service is shown.

    ``source`` says in words where it came from, and is all that may be printed. One of these is set: ``username`` and
    ``password``; ``identity_token``, which a token service takes as ``refresh_token``; ``registry_token``, which is
    sent as Bearer as it is. With none of them it stands for nobody.
    """

    source: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def anonymous(self) -> bool:
        """True if there is nothing in it to show."""
        return not (self.username or self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """What follows ``Basic`` in an Authorization header (RFC 7617, UTF-8). It is a secret."""
        return b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credential(source="no credentials")
"""Nobody: no source has anything for the registry."""


class CredentialSource(Protocol):
    """A place that may know a credential: a file, an environment variable, a helper program, a cloud's API.

    Called from several threads. An answer of None means "nothing here, ask the next"; an error means that there
    should be something and it cannot be had: `InputError` for a file that cannot be used, `DeniedError` for the rest.
    """

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return the credential for a repository of a registry (``host[:port]``, as in a reference)."""
        ...

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        """Return a fresh credential in place of one that this source gave and the registry refused, or None.

        What the source remembered of it (a cache, say) is of no use any more.
        """
        ...


class OneCredential:
    """A source that knows one credential, or none, for whatever it is asked, and has no other."""

    def __init__(self, credential: Credential | None) -> None:
        """Keep it."""
        self._credential = credential

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return it."""
        del registry, repository
        return self._credential

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        """Return None."""
        del registry, repository, rejected
        return None


@dataclass(slots=True)
class _Answer:
    credential: Credential | None = None
    # The place in the chain of the source that gave it.
    place: int = 0
    renewed: bool = False
    error: ManifestctlError | None = None


@dataclass(slots=True)
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: _Answer | None = None


class Chain:
    """Asks sources in order; the first answer wins and is remembered, in memory, as long as the chain lives.

    However many threads ask for a (registry, repository), its sources are asked once. An error is remembered too, so
    that a helper that takes its whole ten seconds to fail does so once. A chain is a `CredentialSource` itself.
    """

    def __init__(self, sources: Iterable[CredentialSource]) -> None:
        """Keep the sources; none is asked yet."""
        self.sources = tuple(sources)
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, str], _Slot] = {}

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return the first source's credential, or None if no source has one. Raises what a source raised."""
        slot = self._slot(registry, repository)
        with slot.lock:
            if slot.answer is None:
                slot.answer = self._ask(registry, repository, 0)
            return _result(slot.answer)

    def renew(self, registry: str, repository: str, rejected: Credential, *, worked: bool = False) -> Credential | None:
        """Return another credential in place of one that the registry refused, or None if there is no other.

        If another thread has replaced it already, that one is returned. The source that gave it is asked for a fresh
        one, then the sources behind it. With ``worked`` (the registry took it earlier in this run, so it has expired)
        its source may renew again and again; what a renewal gave and was never taken is not renewed, so that a source
        whose every credential is refused does not stand before the next one for ever.
        """
        slot = self._slot(registry, repository)
        with slot.lock:
            if slot.answer is None:
                slot.answer = self._ask(registry, repository, 0)
            if slot.answer.credential == rejected:
                slot.answer = self._replace(registry, repository, rejected, slot.answer, worked=worked)
            return _result(slot.answer)

    def _slot(self, registry: str, repository: str) -> _Slot:
        with self._lock:
            return self._slots.setdefault((registry, repository), _Slot())

    def _ask(self, registry: str, repository: str, first: int) -> _Answer:
        for place, source in enumerate(self.sources[first:], first):
            try:
                credential = source.credential(registry, repository)
            except ManifestctlError as error:
                return _Answer(error=error)
            if credential is not None:
                return _Answer(credential, place)
        return _Answer()

    def _replace(self, registry: str, repository: str, rejected: Credential, old: _Answer, *, worked: bool) -> _Answer:
        if worked or not old.renewed:
            try:
                fresh = self.sources[old.place].renew(registry, repository, rejected)
            except ManifestctlError as error:
                return _Answer(error=error)
            if fresh is not None and fresh != rejected:
                return _Answer(fresh, old.place, renewed=True)
        return self._ask(registry, repository, old.place + 1)


def _result(answer: _Answer) -> Credential | None:
    if answer.error is not None:
        raise answer.error
    return answer.credential
