"""A registry as the transport reaches it: client, authorizer and stores with a profile and credentials of the test's own.

::

    with reach(registry, credentials=[Credential("the test", "ci", "secret")], profile=Profile(basic_only=True)) as reached:
        reached.store("team/web").read_manifest("1.4")
        assert reached.world.slept == []
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifestctl.events import Exchanged, Retried, Warned
from manifestctl.model.reference import Reference
from manifestctl.stores.registry import RegistryStore
from manifestctl.transport.auth import Authorizer
from manifestctl.transport.client import Exchanger, RegistryClient
from manifestctl.transport.connections import Connections
from manifestctl.transport.credentials import Chain, Credential
from manifestctl.transport.meter import Meter
from manifestctl.transport.profiles import Profile
from manifestctl.transport.retry import Retries
from manifestctl.transport.settings import TransportSettings
from manifestctl.transport.throttle import Throttle
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from manifestctl.errors import ManifestctlError
    from manifestctl.transport.throttle import Pacer
    from tests.support.http_server import HttpServer


@dataclass(slots=True)
class Known:
    """A source that knows one credential for everything, or one for some repositories; ``fresh`` are its renewals."""

    credential_: Credential | None
    repositories: frozenset[str] = frozenset()
    fresh: list[Credential] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    rejected: list[Credential] = field(default_factory=list)

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Return the credential."""
        self.asked.append(repository)
        return None if self.repositories and repository not in self.repositories else self.credential_

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        """Return the next of ``fresh``."""
        self.rejected.append(rejected)
        return self.fresh.pop(0) if self.fresh else None


@dataclass(slots=True)
class Reach:
    """Everything between a test and one registry."""

    host: str
    world: World
    meter: Meter
    settings: TransportSettings
    connections: Connections
    authorizer: Authorizer
    throttle: Throttle
    client: RegistryClient
    secrets: list[str]

    def store(self, repository: str, *, write: bool = False) -> RegistryStore:
        """Return the store of a repository, with its permissions wanted."""
        self.authorizer.want(repository, write=write)
        retries = Retries(
            self.world.runtime, self.meter, tries=self.settings.retries, deadline=self.settings.retry_deadline
        )
        return RegistryStore(Reference(self.host, repository), self.client, retries, self.world.runtime)

    @property
    def warnings(self) -> list[str]:
        """The texts of the warnings that were observed."""
        return [event.message for event in self.world.heard(Warned)]

    def check_quiet(self, *errors: ManifestctlError, secrets: Iterable[str] = ()) -> None:
        """Assert that no secret is in an event, in an error or its causes, or in the repr of what the test holds."""
        shown = [*map(repr, self.world.events), repr(self.client), repr(self.authorizer.__dict__)]
        for error in errors:
            cause: BaseException | None = error
            while cause is not None:
                shown += [str(cause), repr(cause), getattr(cause, "hint", "")]
                cause = cause.__cause__
        for secret in [*self.secrets, *secrets]:
            assert [text for text in shown if secret in text or json.dumps(secret)[1:-1] in text] == []
        for event in self.world.events:
            lines = [getattr(event, name, "") for name in ("message", "url", "detail", "reason", "operation")]
            assert not any("\n" in line or "\x1b" in line or "::" in line[:2] for line in lines)

    @property
    def statuses(self) -> list[int]:
        """The statuses of all exchanges that were observed, 0 for those that were not answered."""
        return [event.status for event in self.world.heard(Exchanged)]

    @property
    def retried(self) -> int:
        """How many retries were observed."""
        return len(self.world.heard(Retried))


@contextlib.contextmanager
def reach(
    registry: HttpServer | str,
    *,
    credentials: Sequence[Credential] | Chain = (),
    profile: Profile | None = None,
    settings: TransportSettings | None = None,
    world: World | None = None,
    manifest_pacer: Pacer | None = None,
    blob_pacer: Pacer | None = None,
) -> Iterator[Reach]:
    """Reach a server, or an origin; ``credentials`` are asked in their order, each as a source of its own."""
    origin = registry if isinstance(registry, str) else registry.url
    host = origin.partition("://")[2]
    world, settings, profile = world or World(), settings or TransportSettings(), profile or Profile()
    meter, connections = Meter(), Connections(settings, world.runtime)
    connections.at_home(origin)
    chain = credentials if isinstance(credentials, Chain) else Chain([Known(credential) for credential in credentials])
    secrets = [] if isinstance(credentials, Chain) else [secret for held in credentials for secret in _secrets(held)]
    exchanger = Exchanger(connections, settings, world.runtime, meter)
    authorizer = Authorizer(host, origin, profile, chain, exchanger)
    throttle = Throttle(settings.concurrency)
    client = RegistryClient(
        origin, profile, exchanger, authorizer, throttle, manifest_pacer=manifest_pacer, blob_pacer=blob_pacer
    )
    try:
        yield Reach(host, world, meter, settings, connections, authorizer, throttle, client, secrets)
    finally:
        connections.close()


def _secrets(credential: Credential) -> Iterator[str]:
    if credential.username:
        yield credential.basic
    yield from filter(None, (credential.password, credential.identity_token, credential.registry_token))
