"""Who we are to a registry: `Credential`, the `CredentialSource` that gives one, the `Chain` that asks sources in turn.

A source is asked with registry *and* repository, for a file may hold different credentials for different repositories
of one registry. No secret is ever in a ``repr``, an error or an event; what messages show is `Credential.source`.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from manifestctl.errors import DeniedError
from manifestctl.events import Warned, ignore
from manifestctl.once import Once
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifestctl.events import Observer


@dataclass(frozen=True, slots=True)
class Credential:
    """What a registry or its token service is shown.

    ``source`` says in words where it came from, and is all that may be printed. One of these is set: ``username`` and
    ``password``; ``identity_token``, which a token service takes as ``refresh_token``; ``registry_token``, which is
    sent as Bearer as it is. With none of them it stands for nobody. ``cached``: its source kept it from an earlier run,
    and can get another one. ``issued``: it was got from whoever issues it in this run, so it is not stale.
    """

    source: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    cached: bool = field(default=False, compare=False, repr=False)
    issued: bool = field(default=False, compare=False, repr=False)

    @property
    def anonymous(self) -> bool:
        """True if there is nothing in it to show."""
        return not (self.username or self.password or self.identity_token or self.registry_token)

    @property
    def is_token(self) -> bool:
        """True if there is no user name and password in it, but something else."""
        return not self.username and not self.anonymous

    def same(self, other: Credential) -> bool:
        """Tell whether a registry is shown the same by both, wherever they came from."""
        return replace(self, source="") == replace(other, source="")

    @property
    def basic(self) -> str:
        """What follows ``Basic`` in an Authorization header (RFC 7617, UTF-8). It is a secret."""
        return b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credential(source="no credentials")
"""Nobody: no source has anything for the registry."""


class MissingHelperError(DeniedError):
    """A helper program that is configured for a registry is not installed.

    Such a setting is often left over, and may name a helper for all registries that there are, so it stands in the
    way of nothing that works without it: neither of the next source nor of reading what anybody may read.
    """


class CredentialSource(Protocol):
    """A place that may know a credential: a file, an environment variable, a helper program, a cloud's API.

    Called from several threads. An answer of None means "nothing here, ask the next"; an error means that there
    should be something and it cannot be had: `InputError` for a file that cannot be used, `DeniedError` for the rest,
    after which the next is asked only if it is a `MissingHelperError`.
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


@dataclass(frozen=True, slots=True)
class _Answer:
    """A credential, or none, the place in the chain of the source that gave it, and what was refused before it."""

    credential: Credential | None = None
    place: int = 0
    renewed: bool = False
    refused: tuple[Credential, ...] = ()


class Chain:
    """Asks sources in order; the first answer wins and is remembered, in memory, as long as the chain lives.

    However many threads ask for a (registry, repository), its sources are asked once. An error is remembered too, so
    that a helper that takes its whole ten seconds to fail does so once. A chain is a `CredentialSource` itself.
    ``without_aws`` says that AWS would be asked here, had the user not left it out.
    """

    def __init__(
        self, sources: Iterable[CredentialSource], observe: Observer = ignore, *, without_aws: bool = False
    ) -> None:
        """Keep the sources; none is asked yet. What is used in the place of a missing helper is said to ``observe``."""
        self.sources = tuple(sources)
        self.without_aws = without_aws
        self._observe = observe
        self._answers = Once()
        self._said = Once()

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return the first source's credential, or None if no source has one. Raises what a source raised."""
        return self._answers.get((registry, repository), lambda: self._ask(registry, repository)).credential

    def renew(self, registry: str, repository: str, rejected: Credential, *, worked: bool = False) -> Credential | None:
        """Return another credential in place of one that the registry refused, or None if there is no other.

        If another thread has replaced it already, that one is returned. The source that gave it is asked for a fresh
        one, then the sources behind it. With ``worked`` (the registry took it earlier in this run, so it has expired)
        its source may renew again and again; what a renewal gave and was never taken is not renewed, so that a source
        whose every credential is refused does not stand before the next one for ever. What was refused is not given
        again by another source: it is renewed there.
        """

        def step(held: _Answer | None) -> _Answer:
            held = held or self._ask(registry, repository)
            if held.credential != rejected:
                return held
            return self._replace(registry, repository, rejected, held, worked=worked)

        return self._answers.change((registry, repository), step).credential

    def _ask(
        self, registry: str, repository: str, first: int = 0, missing: MissingHelperError | None = None
    ) -> _Answer:
        """Ask the sources from the place ``first`` on; ``missing`` is what came before them."""
        for place, source in enumerate(self.sources[first:], first):
            try:
                credential = source.credential(registry, repository)
            except MissingHelperError as error:
                missing = missing or error
                continue
            if credential is not None:
                if missing is not None:
                    instead = Warned(f"{missing.message}; used instead: {credential.source}")
                    self._said.get(instead, partial(self._observe, instead))
                return _Answer(credential, place)
        if missing is not None:
            raise missing
        return _Answer()

    def _replace(self, registry: str, repository: str, rejected: Credential, old: _Answer, *, worked: bool) -> _Answer:
        missing = None
        refused = (*old.refused, rejected)
        if worked or not old.renewed:
            try:
                fresh = self.sources[old.place].renew(registry, repository, rejected)
            except MissingHelperError as error:
                fresh, missing = None, error
            if fresh is not None and not any(fresh.same(one) for one in refused):
                return _Answer(replace(fresh, issued=True), old.place, renewed=True, refused=refused)
        answer = replace(self._ask(registry, repository, old.place + 1, missing), refused=refused)
        if answer.credential is None or not any(answer.credential.same(one) for one in refused):
            return answer
        return self._replace(registry, repository, answer.credential, answer, worked=False)
