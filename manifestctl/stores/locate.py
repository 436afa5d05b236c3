"""The composition root: from a location to the store in which it lies. Handed to verbs as `open_store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from manifestctl.model.location import ArchiveLocation, EngineLocation, LayoutLocation
from manifestctl.model.reference import Reference
from manifestctl.stores.ahead import Ahead
from manifestctl.transport.meter import Meter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from manifestctl.aws.settings import AwsSettings
    from manifestctl.model.location import Location
    from manifestctl.runtime import Runtime
    from manifestctl.stores.archive import ArchiveStore
    from manifestctl.stores.base import Store
    from manifestctl.stores.engine_store import EngineStore
    from manifestctl.stores.keyring import Keyring
    from manifestctl.transport.client import Exchanger, RegistryClient
    from manifestctl.transport.connections import Connections
    from manifestctl.transport.credentials import CredentialSource
    from manifestctl.transport.profiles import Pacing
    from manifestctl.transport.retry import Retries
    from manifestctl.transport.settings import TransportSettings
    from manifestctl.transport.throttle import Pacer


class Stores:
    """Opens stores, one object for each repository, directory or archive, and closes them; a context manager.

    ``credentials`` makes the source of credentials when the first registry needs it, so that a layout needs none. With
    ``aws`` the registries of Amazon's are opened with AWS credentials too, and their APIs can be called.
    """

    def __init__(
        self,
        settings: TransportSettings,
        credentials: Callable[[], CredentialSource],
        runtime: Runtime,
        aws: AwsSettings | None = None,
    ) -> None:
        """Keep what stores need; nothing is opened yet."""
        self.settings = settings
        self._ahead = Ahead(runtime)
        self.runtime = self._ahead.runtime
        self.meter = Meter()
        self._make_credentials = credentials
        self._aws_settings = aws
        self._keys: Keyring | None = None
        self._connections: Connections | None = None
        self._exchanger: Exchanger | None = None
        self._clients: dict[str, RegistryClient] = {}
        self._stores: dict[str, Store] = {}
        self._targets: set[str] = set()
        self._archives: list[ArchiveStore | EngineStore] = []

    @classmethod
    def of_system(
        cls, runtime: Runtime, settings: TransportSettings | None = None, aws: AwsSettings | None = None
    ) -> Self:
        """Return stores that take credentials from Docker's and Podman's files, as ``runtime.environ`` names them.

        At registries of Amazon's they take AWS credentials too, as ``aws`` says, if that is given.
        """
        if settings is None:
            from manifestctl.transport.settings import TransportSettings

            settings = TransportSettings()

        def credentials() -> CredentialSource:
            from manifestctl.transport.credentials import Chain
            from manifestctl.transport.docker_config import file_sources

            return Chain(file_sources(stores.runtime, settings.authfile), stores.runtime.observe)

        stores = cls(settings, credentials, runtime, aws)
        return stores

    def __call__(self, location: Location, *, write: bool = False) -> Store:
        """Return the store of a location; see `OpenStore`. An archive that is to be written raises `DeniedError`.

        A place that is to be written raises `InputError` if its name shows that it cannot be; see `check_target`.
        """
        if write and location.store not in self._targets:
            from manifestctl.stores.targets import check_target

            check_target(location, self._aws_settings, self.runtime)
            self._targets.add(location.store)
        if isinstance(location, Reference):
            self.client(location.registry).authorizer.want(location.repository, write=write)
        elif isinstance(location, ArchiveLocation | EngineLocation) and write:
            from manifestctl.stores.archive import read_only

            raise read_only(location.store)
        if location.store not in self._stores:
            self._stores[location.store] = self._make(location)
        return self._stores[location.store]

    def reach(self, location: Location, count: int) -> None:
        """Begin to connect to a location's registry, for ``count`` requests that will be sent at first.

        It is sent nothing yet. At one of Amazon's, credentials are looked for meanwhile. What comes before the first
        request then costs no more than these do. Raises `InputError` for options or variables that cannot be used.
        """
        if isinstance(location, Reference):
            self._reached().begin(self._origin(location.registry), count)
            self.keys.begin(location.registry, location.repository)

    @property
    def keys(self) -> Keyring:
        """The credentials of this run, and AWS's APIs."""
        if self._keys is None:
            from manifestctl.stores.keyring import Keyring

            stored = self._make_credentials()
            self._keys = Keyring(stored, self._ahead, self.retries(), self.settings, self._aws_settings)
        return self._keys

    def showing(self, credentials: CredentialSource) -> Stores:
        """Return other stores of the same run, which show registries these credentials and no others."""
        stores = Stores(self.settings, lambda: credentials, self.runtime)
        stores.meter = self.meter
        return stores

    def retries(self) -> Retries:
        """Return what runs the operations of this run again when they fail in a passing way."""
        from manifestctl.transport.retry import Retries

        return Retries(self.runtime, self.meter, tries=self.settings.retries, deadline=self.settings.retry_deadline)

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections and archives."""
        for archive in self._archives:
            archive.close()
        if self._connections is not None:
            self._connections.close()

    def _make(self, location: Location) -> Store:
        if isinstance(location, LayoutLocation):
            from manifestctl.stores.layout import LayoutStore

            return LayoutStore(location)
        if isinstance(location, ArchiveLocation):
            from manifestctl.stores.archive import ArchiveStore

            archive = ArchiveStore.at(location, self.runtime)
            self._archives.append(archive)
            return archive
        if isinstance(location, EngineLocation):
            from manifestctl.stores.engine_store import EngineStore

            exported = EngineStore(location, self.runtime, self.settings)
            self._archives.append(exported)
            return exported
        return self._registry(location)

    def _registry(self, reference: Reference) -> Store:
        from manifestctl.stores.registry import RegistryStore

        client = self.client(reference.registry)
        make = self.keys.maker(reference)
        return RegistryStore(reference, client, self.retries(), self.runtime, make_repository=make)

    def client(self, registry: str) -> RegistryClient:
        """Return what speaks to a registry, given as in references, for requests that are of no repository."""
        if registry in self._clients:
            return self._clients[registry]
        from manifestctl.transport.auth import Authorizer
        from manifestctl.transport.client import Exchanger, RegistryClient
        from manifestctl.transport.profiles import profile_for
        from manifestctl.transport.throttle import Throttle

        if self._exchanger is None:
            self._exchanger = Exchanger(self._reached(), self.settings, self.runtime, self.meter)
        profile = profile_for(registry)
        origin = self._origin(registry)
        self._reached().at_home(origin)
        authorizer = Authorizer(registry, origin, profile, self.keys.chain(registry), self._exchanger)
        client = RegistryClient(
            origin,
            profile,
            self._exchanger,
            authorizer,
            Throttle(self.settings.concurrency),
            manifest_pacer=self._pacer(profile.manifest_pacing),
            blob_pacer=self._pacer(profile.blob_pacing),
        )
        self._clients[registry] = client
        return client

    def _origin(self, registry: str) -> str:
        from manifestctl.transport.profiles import profile_for

        host = profile_for(registry).host(registry)
        return f"{self.settings.scheme(host)}://{host.lower()}"

    def _reached(self) -> Connections:
        if self._connections is None:
            from manifestctl.transport.connections import Connections

            self._connections = Connections(self.settings, self.runtime)
        return self._connections

    def _pacer(self, pacing: Pacing | None) -> Pacer | None:
        from manifestctl.transport.throttle import Pacer

        return Pacer(pacing.rate, pacing.burst, self.runtime) if pacing is not None else None
