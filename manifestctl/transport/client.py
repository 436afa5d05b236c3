"""The one loop over HTTP: authentication, redirects and caps, over ``client.send`` of httpx.

`httpx.Auth` and ``follow_redirects`` are not used: with them a redirect target that answers 401 is given the registry's
password, and bodies of 401 and 3xx are read whole, whatever their size. Here a challenge is answered only if it came from
the registry's own origin, credentials are sent to that origin (and to its token realm) alone, and no body is read past
its cap.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from manifestctl.errors import DeniedError, UnreachableError
from manifestctl.text import outside
from manifestctl.transport.failures import network_failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response
from manifestctl.transport.wire_log import exchanged

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import httpx

    from manifestctl.runtime import Runtime
    from manifestctl.transport.auth import Authorization, Authorizer
    from manifestctl.transport.connections import Connections
    from manifestctl.transport.meter import Meter
    from manifestctl.transport.profiles import Profile
    from manifestctl.transport.settings import TransportSettings
    from manifestctl.transport.throttle import Pacer, Throttle

_MAX_REDIRECTS = 5
_MAX_CHALLENGES = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNAUTHORIZED, SEE_OTHER, TOO_MANY = 401, 303, 429


class _Replay:
    """A body that httpx may iterate more than once."""

    def __init__(self, body: Body, meter: Meter) -> None:
        self._body = body
        self._meter = meter

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body.open():
            self._meter.sent_bytes(len(chunk))
            yield chunk


@dataclass(frozen=True, slots=True)
class Stream:
    """A response whose body is still on the wire."""

    response: Response
    chunks: Iterator[bytes]


class Exchanger:
    """Sends single requests: no authentication, no redirects. Shared by all registries of a run."""

    def __init__(self, connections: Connections, settings: TransportSettings, runtime: Runtime, meter: Meter) -> None:
        """Keep what every exchange needs."""
        self.settings = settings
        self.runtime = runtime
        self.meter = meter
        self._connections = connections

    def open(self, request: Request, url: str, authorization: Authorization | None) -> httpx.Response:
        """Send and return the response with its body unread. Raises `UnreachableError`."""
        import httpx

        self.runtime.cancel.check()
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UnreachableError(f"{request.method} {outside(url, 300)}: not a URL that can be asked") from error
        client = self._connections.client(target)
        headers = dict(request.headers)
        if authorization is not None:
            headers["Authorization"] = authorization.value
        content = None
        if request.body is not None:
            content = _Replay(request.body, self.meter)
            if request.body.length is not None:
                headers["Content-Length"] = str(request.body.length)
        started = self.runtime.monotonic()
        self.meter.sent()
        built = client.build_request(request.method, target, headers=headers, content=content)
        with self._translated(request, target):
            response = client.send(built, stream=True, auth=None, follow_redirects=False)
        self.runtime.observe(exchanged(built, response, self.runtime.monotonic() - started))
        return response

    def read(self, response: httpx.Response, request: Request, limit: int) -> tuple[bytes, bool]:
        """Read at most ``limit`` bytes of a body and close; returns the bytes and whether there were more."""
        deadline = self.runtime.monotonic() + self.settings.retry_deadline
        parts: list[bytes] = []
        count = 0
        try:
            with contextlib.closing(self.chunks(response, request)) as chunks:
                for chunk in chunks:
                    parts.append(chunk)
                    count += len(chunk)
                    if count > limit:
                        return b"".join(parts)[:limit], True
                    if self.runtime.monotonic() > deadline:
                        raise UnreachableError(f"{request.method} {_host(response)}: the answer came too slowly")
        finally:
            response.close()
        return b"".join(parts), False

    def chunks(self, response: httpx.Response, request: Request) -> Generator[bytes]:
        """Yield the body as it comes. Raises `UnreachableError` if it breaks off."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise UnreachableError(
                f"{request.method} {_host(response)}: the answer is packed as {outside(encoding, 40)}, which was not asked for",
                hint="A proxy may be changing what the registry sends; manifestctl needs the bytes as they are stored.",
            )
        with self._translated(request, response.url):
            for chunk in response.iter_raw():
                self.meter.received(len(chunk))
                yield chunk

    @contextlib.contextmanager
    def _translated(self, request: Request, url: httpx.URL) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TransportError as error:
            host = url.netloc.decode("ascii", "replace")
            writing = request.method not in ("GET", "HEAD")
            raise network_failure(error, f"{request.method} {host}", host, writing=writing) from error


class RegistryClient:
    """Requests to one registry, with its authentication and its pace."""

    def __init__(
        self,
        origin: str,
        profile: Profile,
        exchanger: Exchanger,
        authorizer: Authorizer,
        throttle: Throttle,
        manifest_pacer: Pacer | None = None,
    ) -> None:
        """Bind to ``origin``, e.g. ``https://registry.example.com``; ``manifest_pacer`` paces manifest PUTs, if there is one."""
        self.origin = origin
        self.profile = profile
        self.authorizer = authorizer
        self.manifest_pacer = manifest_pacer
        self._exchanger = exchanger
        self._throttle = throttle

    def send(self, request: Request) -> Response:
        """Send a request and read its whole answer, up to the request's limit. Raises `UnreachableError`, `DeniedError`."""
        with self._throttle.place():
            final = self._final(request)
            response = final.whole(self._exchanger, request.limit if final.raw.is_success else BODY_LIMIT)
        if response.status == TOO_MANY:
            self._throttle.slow_down()
        else:
            self._throttle.speed_up()
        return response

    @contextlib.contextmanager
    def stream(self, request: Request) -> Iterator[Stream]:
        """Send a request and give its answer while the body is still coming; error bodies are read up to their cap."""
        with self._throttle.place():
            final = self._final(request)
            try:
                if final.raw.is_success:
                    yield Stream(final.response(b""), self._exchanger.chunks(final.raw, request))
                else:
                    yield Stream(final.whole(self._exchanger, BODY_LIMIT), iter(()))
            finally:
                final.raw.close()

    def _final(self, request: Request) -> _Final:
        url = urljoin(self.origin, request.path) if "://" not in request.path else request.path
        redirects = challenges = 0
        while True:
            at_home = _origin(url) == self.origin
            used = self.authorizer.authorization(request.repository) if at_home else None
            final = _Final(request, self._exchanger.open(request, url, used), used)
            status = final.raw.status_code
            if at_home and (status == UNAUTHORIZED or (used and status in self.profile.bad_token_statuses)):
                final = replace(final, body=self._exchanger.read(final.raw, request, BODY_LIMIT))
                if challenges == _MAX_CHALLENGES or not self._renewed(final):
                    return final
                challenges += 1
            elif status in _REDIRECTS and "location" in final.raw.headers and redirects < _MAX_REDIRECTS:
                redirects += 1
                request, url = self._redirected(final, url)
            else:
                return final

    def _renewed(self, final: _Final) -> bool:
        if final.raw.status_code == UNAUTHORIZED:
            challenges = final.raw.headers.get_list("www-authenticate")
            return self.authorizer.answer(final.request.repository, challenges, final.used)
        text = final.body[0].lower() if final.body else b""
        # A denial that names a permission is final; any other means that the token went bad.
        went_bad = final.used is not None and b"denied" in text and b"not authorized to perform" not in text
        return went_bad and self.authorizer.replace(final.request.repository, final.used)

    def _redirected(self, final: _Final, url: str) -> tuple[Request, str]:
        from manifestctl.transport.addresses import forbidden_address

        request = final.request
        target = urljoin(url, final.raw.headers["location"])
        self._exchanger.read(final.raw, request, BODY_LIMIT)
        scheme = target.partition("://")[0]
        doing = f"{request.method} {_netloc(self.origin)}"
        if scheme not in ("http", "https") or (scheme == "http" and not self.origin.startswith("http:")):
            raise UnreachableError(f"{doing}: it redirects to {outside(target, 200)}, which is not https")
        if forbidden_address(_netloc(target), _netloc(self.origin)):
            raise DeniedError(
                f"{doing}: it redirects to {outside(_netloc(target), 100)}, an address inside a private network",
                hint="Redirects from a registry into the local network are refused.",
            )
        if final.raw.status_code == SEE_OTHER:
            request = replace(request, method="GET", body=None)
        return request, target


@dataclass(frozen=True, slots=True)
class _Final:
    """A response that no challenge and no redirect follows; ``body`` is there if it was read already."""

    request: Request
    raw: httpx.Response
    used: Authorization | None
    body: tuple[bytes, bool] | None = None

    def whole(self, exchanger: Exchanger, limit: int) -> Response:
        """Read what is left and return the response."""
        return self.response(*(self.body or exchanger.read(self.raw, self.request, limit)))

    def response(self, body: bytes, truncated: bool = False) -> Response:
        """Return the response with this body."""
        return Response(
            status=self.raw.status_code,
            headers={key.lower(): value for key, value in self.raw.headers.items()},
            body=body,
            url=outside(str(self.raw.url), 300),
            credentials=self.used.source if self.used else "",
            truncated=truncated,
        )


def _origin(url: str) -> str:
    scheme, _, _ = url.partition("://")
    return f"{scheme.lower()}://{_netloc(url)}"


def _netloc(url: str) -> str:
    rest = url.partition("://")[2]
    for stop in "/?#":
        rest = rest.partition(stop)[0]
    return rest.rpartition("@")[2].lower()


def _host(response: httpx.Response) -> str:
    return outside(response.url.netloc.decode("ascii", "replace"), 300)
