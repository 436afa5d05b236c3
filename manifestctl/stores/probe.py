"""Trying a registry out, leaving nothing behind: its first answer, a log-in, an upload that is opened and cancelled.

It shares a run's settings, credentials and counts, but has connections of its own, so that what is tried does not
depend on what came before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, Self

from manifestctl.errors import InputError, ManifestctlError, UnreachableError
from manifestctl.events import Exchanged, Warned
from manifestctl.stores.missing import MissingRepository
from manifestctl.stores.registry import RegistryStore
from manifestctl.transport.auth import Authorizer
from manifestctl.transport.client import Exchanger, RegistryClient
from manifestctl.transport.connections import Connections
from manifestctl.transport.failures import TRANSIENT, failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response
from manifestctl.transport.probe import Greeting, Obstacle, Origin, encryption_of, failed_step
from manifestctl.transport.profiles import profile_for
from manifestctl.transport.proxies import proxy_for
from manifestctl.transport.retry import retry_after
from manifestctl.transport.throttle import Throttle
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from manifestctl.events import Event
    from manifestctl.model.reference import Reference
    from manifestctl.stores.locate import Stores
    from manifestctl.transport.credentials import Chain


@dataclass(frozen=True, slots=True)
class Tried:
    """How a request with credentials ended.

    ``credentials`` says in words which the registry was shown last, ``status`` what it answered; empty and 0 if it did
    not come so far. An interruption is an ``error`` too. ``left``: an upload was opened that the registry would not
    cancel; it expires by itself.
    """

    credentials: str
    status: int
    error: ManifestctlError | None = None
    left: bool = False


class RegistryProbe:
    """Tries one registry, given as in references; a context manager."""

    def __init__(self, registry: str, stores: Stores) -> None:
        """Take the settings of a run; nothing is sent yet. Raises `InputError` for settings that cannot be used."""
        runtime = stores.runtime
        self.registry = registry
        self.profile = profile_for(registry)
        self.settings = stores.settings
        self.host = self.profile.host(registry).lower()
        self._url = f"{self.settings.scheme(self.host)}://{self.host}"
        self.origin = Origin.parse(self._url)
        self._observe = runtime.observe
        self.warnings: list[str] = []
        quiet = self.runtime = replace(runtime, observe=self._hear)
        self._retries = stores.retries()
        self._connections = Connections(self.settings, quiet)
        self._exchanger = Exchanger(self._connections, self.settings, quiet, stores.meter)

    def _hear(self, event: Event) -> None:
        """Pass requests on. What changes no result is told by the result here; warnings are kept for it."""
        if isinstance(event, Exchanged):
            self._observe(event)
        elif isinstance(event, Warned):
            self.warnings.append(event.message)

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._connections.close()

    def proxy(self) -> tuple[Origin, bool] | None:
        """Return the proxy through which the registry is asked, and whether it is given a user; None without one.

        Raises `InputError` for proxy variables that cannot be used.
        """
        url = proxy_for(self.origin.scheme, self.origin.host, self.origin.port, self.runtime.environ)
        return (Origin.parse(url), "@" in url) if url is not None else None

    def greet(self, *, proxied: bool) -> Greeting | Obstacle:
        """Ask for ``/v2/`` without credentials. OCI distribution-spec "Determining Support"."""
        request = Request("GET", "/v2/", doing=f"asking {self.host}")
        try:
            self._connections.at_home(self._url)
        except InputError as error:
            return Obstacle("tls", error)
        try:
            return self._retries.run(f"GET /v2/ of {self.host}", lambda: self._greeted(request))
        except UnreachableError as error:
            return Obstacle(failed_step(error, self.origin, proxied=proxied), error)

    def client(self, chain: Chain, reference: Reference | None = None) -> RegistryClient:
        """Return what asks with the credentials of a chain, and for a repository with those that a push there needs."""
        authorizer = Authorizer(self.registry, self._url, self.profile, chain, self._exchanger)
        if reference is not None:
            authorizer.want(reference.repository, write=True)
        return RegistryClient(self._url, self.profile, self._exchanger, authorizer, Throttle(1))

    def log_in(self, client: RegistryClient) -> Tried:
        """Ask for ``/v2/`` with credentials."""
        request = Request("GET", "/v2/", doing=f"logging in to {self.registry}")
        return self._tried(client, request, lambda send: send())[0]

    def upload(self, client: RegistryClient, reference: Reference, lag: float = 0.0) -> Tried:
        """Open an upload of a blob into a repository, and cancel it. OCI distribution-spec "Pushing blobs".

        One that the registry does not know is waited for ``lag`` seconds, as a push does.
        """
        doing = f"opening an upload to {reference.store}"
        path = f"/v2/{reference.repository}/blobs/uploads/"
        request = Request("POST", path, reference.repository, {}, Body.of(b""), doing=doing, writes=True)
        waiting = MissingRepository(reference.store, None, lag, self.runtime)
        tried, location = self._tried(client, request, waiting.writing)
        if tried.error is not None:
            return tried
        return replace(tried, left=not self._cancelled(client, reference, location))

    def store(self, client: RegistryClient, reference: Reference) -> RegistryStore:
        """Return a repository as a push sees it."""
        return RegistryStore(reference, client, self._retries, self.runtime)

    def _cancelled(self, client: RegistryClient, reference: Reference, location: str) -> bool:
        request = Request("DELETE", location, reference.repository, doing="cancelling the upload", writes=True)
        try:
            return bool(location) and client.send(request).ok
        except ManifestctlError:
            return False

    def _greeted(self, request: Request) -> Greeting:
        url = self._exchanger.located(request, self._url, request.path)
        raw = self._exchanger.open(request, url, None)
        encryption = encryption_of(raw)
        body, truncated = self._exchanger.read(raw, request, BODY_LIMIT)
        headers = {key.lower(): value for key, value in raw.headers.items()}
        response = Response(raw.status_code, headers, body, truncated=truncated)
        if response.status in TRANSIENT:
            self._fail(response, request)
        return Greeting(response, encryption)

    def _tried(
        self, client: RegistryClient, request: Request, waiting: Callable[[Callable[[], None]], None]
    ) -> tuple[Tried, str]:
        """Send a request, again if need be; returns how that ended, and the Location of the answer."""
        answers: list[Response] = []

        def once() -> None:
            answers.append(client.send(request))
            if not answers[-1].ok:
                self._fail(answers[-1], request)

        error: ManifestctlError | None = None
        try:
            waiting(lambda: self._retries.run(f"{request.method} when {request.doing}", once))
        except ManifestctlError as failed:
            error = failed
        if not answers:
            return Tried("", 0, error), ""
        last = answers[-1]
        return Tried(last.credentials, last.status, error), last.headers.get("location", "")

    def _fail(self, response: Response, request: Request) -> NoReturn:
        wait = retry_after(response.headers.get("retry-after"), self.runtime.now())
        raise failure(response, request.doing, retry_after=wait, writing=request.writes)
