"""AWS credentials as a source of registry credentials: `EcrSource`, and the order of sources at a registry of Amazon's.

Asked are, in turn: Docker's and Podman's files and their helpers, then AWS. There a helper or a stored log-in that
fails or is refused does not stand in the way: yesterday's log-in must not block today's release.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.aws.hosts import ecr_host
from manifestctl.aws.refusals import NoAwsCredentialsError
from manifestctl.aws.tokens import fetch_token
from manifestctl.errors import DeniedError, UnreachableError
from manifestctl.events import Noted, Warned
from manifestctl.once import Once
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.hosts import EcrHost
    from manifestctl.aws.token_cache import TokenCache
    from manifestctl.aws.tokens import Token
    from manifestctl.runtime import Runtime
    from manifestctl.transport.credentials import Credential, CredentialSource


def ecr_sources(
    stored: Iterable[CredentialSource], aws: CredentialSource | None, runtime: Runtime
) -> tuple[CredentialSource, ...]:
    """Return the sources for a registry of Amazon's, in order; without ``aws`` those that are stored alone."""
    instead = "AWS credentials are tried instead" if aws is not None else "it is passed over"
    return (*(_Yielding(source, runtime, instead) for source in stored), *([aws] if aws is not None else []))


@dataclass(frozen=True, slots=True)
class _Held:
    """What AWS gave for one service and region, a token or nothing, and the registries that asked for it."""

    token: Token | None
    credential: Credential | None
    hosts: tuple[EcrHost, ...]


class EcrSource:
    """Gives the token of ``GetAuthorizationToken``, from the cache while it is fresh; a `CredentialSource`.

    A token opens every registry of its region that its owner may open, so a run gets one for each service and region,
    however many registries and repositories it works on. No credentials at all are no error: nobody was refused. An
    error is remembered; what may pass was tried again already.
    """

    def __init__(self, make_aws: Callable[[], Aws], runtime: Runtime, cache: TokenCache | None = None) -> None:
        """Keep how to reach AWS; nothing is asked yet. Without a cache every run gets a token of its own."""
        self._make_aws = make_aws
        self._runtime = runtime
        self._cache = cache
        self._held = Once()

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return a token as user and password. Raises what `Aws.call` raises, but for the lack of credentials."""
        del repository
        host = ecr_host(registry)
        if host is None:
            return None

        def step(held: _Held | None) -> _Held:
            return self._begin(host) if held is None else self._share(held, host)

        return self._held.change((host.service, host.region), step).credential

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        """Return a token in the place of one that was refused, which the cache then does not hold any more."""
        del repository
        host = ecr_host(registry)
        if host is None:
            return None

        def step(held: _Held | None) -> _Held:
            if held is not None and held.credential != rejected:
                return self._share(held, host)
            hosts = tuple(dict.fromkeys((*(held.hosts if held is not None else ()), host)))
            if self._cache is not None:
                for other in hosts:
                    self._cache.forget(other)
            return self._fetch(host, hosts)

        return self._held.change((host.service, host.region), step).credential

    def _begin(self, host: EcrHost) -> _Held:
        cached = self._cache.read(host) if self._cache is not None else None
        if cached is None:
            return self._fetch(host, (host,))
        return _Held(cached, cached.credential(cached=True), (host,))

    def _share(self, held: _Held, host: EcrHost) -> _Held:
        if host in held.hosts:
            return held
        if held.token is not None and self._cache is not None and self._cache.read(host) is None:
            self._cache.write(host, held.token)
        return replace(held, hosts=(*held.hosts, host))

    def _fetch(self, host: EcrHost, hosts: tuple[EcrHost, ...]) -> _Held:
        try:
            token = fetch_token(host, self._make_aws())
        except NoAwsCredentialsError:
            self._runtime.observe(Noted(f"no AWS credentials were found for {host.host}"))
            return _Held(None, None, hosts)
        except UnreachableError as error:
            # Whoever runs the registry's operation again would wait for nothing.
            error.transient = False
            raise
        if self._cache is not None:
            for other in hosts:
                self._cache.write(other, token)
        return _Held(token, token.credential(), hosts)


class _Yielding:
    """A source behind which there is another: its failures are warnings, each said once."""

    def __init__(self, source: CredentialSource, runtime: Runtime, instead: str) -> None:
        self._source = source
        self._runtime = runtime
        self._instead = instead
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def credential(self, registry: str, repository: str) -> Credential | None:
        return self._or_none(lambda: self._source.credential(registry, repository))

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        return self._or_none(lambda: self._source.renew(registry, repository, rejected))

    def _or_none(self, ask: Callable[[], Credential | None]) -> Credential | None:
        try:
            return ask()
        except DeniedError as error:
            with self._lock:
                known = error.message in self._said
                self._said.add(error.message)
            if not known:
                self._runtime.observe(Warned(f"{error.message}; {self._instead}"))
            return None
