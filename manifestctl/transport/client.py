"""The one loop over HTTP: authentication, redirects and caps, over ``client.send`` of httpx.

`httpx.Auth` and ``follow_redirects`` are not used: with them a redirect target that answers 401 is given the registry's
password, and bodies of 401 and 3xx are read whole, whatever their size. Here a challenge is answered only if it came
from the registry's own origin, credentials are sent to that origin (and to its token realm) alone, and no body is read
past its cap.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from manifestctl.errors import IntegrityError, ManifestctlError, UnreachableError
from manifestctl.text import outside
from manifestctl.transport.away import as_at_home, check_away
from manifestctl.transport.failures import network_failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response, is_plain
from manifestctl.transport.secrets import Secrets
from manifestctl.transport.wire_log import exchanged, unanswered
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import httpx

    from manifestctl.runtime import Runtime
    from manifestctl.transport.auth import Authorizer
    from manifestctl.transport.connections import Connections
    from manifestctl.transport.message import Authorization
    from manifestctl.transport.meter import Meter
    from manifestctl.transport.profiles import Profile
    from manifestctl.transport.settings import TransportSettings
    from manifestctl.transport.throttle import Pacer, Throttle

_MAX_REDIRECTS = 5
_MAX_CHALLENGES = 3
_MAX_LABEL = 63
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_FOUND, _SEE_OTHER, _TOO_MANY = 404, 303, 429
_NO_URL_HINT = "A proxy may have answered in the registry's place; check the host and the proxy variables."


class _Replay:
    """A body that httpx may iterate more than once; one of another length than it said it has is not sent whole."""

    def __init__(self, body: Body, doing: str, meter: Meter) -> None:
        self._body = body
        self._doing = doing
        self._meter = meter

    def __iter__(self) -> Iterator[bytes]:
        count, length = 0, self._body.length
        for chunk in self._body.open():
            count += len(chunk)
            if length is not None and count > length:
                break
            self._meter.sent_bytes(len(chunk))
            yield chunk
        if length is not None and count != length:
            more = "more than" if count > length else f"{count} bytes, not"
            raise IntegrityError(f"{self._doing} failed: what was to be sent has {more} the {length} bytes it should")


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
        self.secrets = Secrets()
        self._connections = connections

    def located(self, request: Request, base: str, target: str) -> httpx.URL:
        """Return the URL of a target, which may be relative to ``base``, without a user name and password.

        Raises `UnreachableError` for what is no URL of a host that could exist.
        """
        import httpx

        from manifestctl.transport.addresses import split_host

        try:
            url = httpx.URL(target if "://" in target.partition("?")[0] else urljoin(base, target))
            names = url.host.split(".")
        except (httpx.InvalidURL, ValueError):
            url, names = httpx.URL(), []
        if split_host(_netloc(url)) is None or any(len(name) > _MAX_LABEL for name in names):
            doing = request.doing or request.method
            leads = f"the answer leads to '{self.secrets.outside(target, 300)}', which is not a URL that can be asked"
            raise UnreachableError(f"{doing} failed: {leads}", hint=_NO_URL_HINT)
        return url.copy_with(userinfo=b"") if url.userinfo else url

    def open(self, request: Request, url: httpx.URL, authorization: Authorization | None) -> httpx.Response:
        """Send and return the response with its body unread. Raises `UnreachableError`."""
        from manifestctl.transport.sending import send

        self.runtime.cancel.check()
        client = self._connections.client(url)
        headers = dict(request.headers)
        self.secrets.learn(authorization)
        if authorization is not None and authorization.value:
            headers["Authorization"] = authorization.value
        content = None
        if request.body is not None:
            content = _Replay(request.body, _doing(request, url), self.meter)
            if request.body.length is not None:
                headers["Content-Length"] = str(request.body.length)
        started = self.runtime.monotonic()
        self.meter.sent()
        built = client.build_request(request.method, url, headers=headers, content=content)
        try:
            with self._translated(request, url):
                response = send(client, built, self.runtime.monotonic)
        except UnreachableError as error:
            seconds = self.runtime.monotonic() - started
            self.runtime.observe(unanswered(built, seconds, error.message, self.secrets.outside))
            raise
        self._connections.check_open(response)
        if "warning" in response.headers:
            response.headers["warning"] = self.secrets.hidden(response.headers["warning"]).replace("…", "...")
        self.runtime.observe(exchanged(built, response, self.runtime.monotonic() - started, self.secrets.outside))
        return response

    def read(self, response: httpx.Response, request: Request, limit: int) -> tuple[bytes, bool]:
        """Read at most ``limit`` bytes of a body and close; returns the bytes and whether there were more.

        The body of an error that comes packed is dropped: the status says enough. What it says of the credentials
        themselves is hidden.
        """
        deadline = self.runtime.monotonic() + self.settings.retry_deadline
        parts: list[bytes] = []
        count = 0
        try:
            with contextlib.closing(self.chunks(response, request)) as chunks:
                for chunk in chunks:
                    parts.append(chunk)
                    count += len(chunk)
                    if count > limit:
                        break
                    if self.runtime.monotonic() > deadline:
                        raise UnreachableError(f"{_doing(request, response.url)} failed: the answer came too slowly")
        finally:
            response.close()
        body = b"".join(parts)[:limit]
        if not response.is_success:
            body = self.secrets.hide(body) if is_plain(response.headers.get("content-encoding", "")) else b""
        return body, count > limit

    def chunks(self, response: httpx.Response, request: Request) -> Generator[bytes]:
        """Yield the body as it comes. Raises `UnreachableError` if it is packed, or breaks off."""
        from manifestctl.transport.sending import pieces

        encoding = response.headers.get("content-encoding", "")
        if response.is_success and request.method != "HEAD" and not is_plain(encoding):
            packed = f"packed as '{self.secrets.outside(encoding, 40)}', which was not asked for"
            raise UnreachableError(
                f"{_doing(request, response.url)} failed: the answer is {packed}",
                hint="A proxy may be changing what the registry sends; manifestctl needs the bytes as they are stored.",
            )
        with self._translated(request, response.url):
            for chunk in pieces(response):
                self.meter.received(len(chunk))
                yield chunk

    @contextlib.contextmanager
    def _translated(self, request: Request, url: httpx.URL) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TransportError as error:
            self.secrets.hush(error)
            raise network_failure(error, _doing(request, url), url, writing=request.writes) from error


class RegistryClient:
    """Requests to one registry, with its authentication and its pace.

    ``manifest_pacer`` and ``blob_pacer`` say when the next manifest or blob may be written, if the registry has a rate.
    """

    def __init__(
        self,
        origin: str,
        profile: Profile,
        exchanger: Exchanger,
        authorizer: Authorizer,
        throttle: Throttle,
        *,
        manifest_pacer: Pacer | None = None,
        blob_pacer: Pacer | None = None,
    ) -> None:
        """Bind to ``origin``, e.g. ``https://registry.example.com``."""
        self.origin = origin
        self.profile = profile
        self.authorizer = authorizer
        self.manifest_pacer = manifest_pacer
        self.blob_pacer = blob_pacer
        self._exchanger = exchanger
        self._throttle = throttle

    def send(self, request: Request) -> Response:
        """Send a request and read its whole answer, up to its limit. Raises `UnreachableError`, `DeniedError`."""
        with self._throttle.place() as since:
            final = self._final(request)
            response = final.whole(self._exchanger, request.limit if final.raw.is_success else BODY_LIMIT)
        self._heed(response, since)
        return response

    @contextlib.contextmanager
    def stream(self, request: Request) -> Iterator[Stream]:
        """Send a request and give its answer while the body is still coming; error bodies are read up to their cap."""
        with self._throttle.place() as since:
            final = self._final(request)
            try:
                if final.raw.is_success:
                    stream = Stream(final.response(b""), self._exchanger.chunks(final.raw, request))
                else:
                    stream = Stream(final.whole(self._exchanger, BODY_LIMIT), iter(()))
                self._heed(stream.response, since)
                yield stream
            finally:
                final.raw.close()

    def below(self, request: Request, target: str) -> str | None:
        """Return path and query of a target that the answer to a request names; None if it is on another host.

        Its scheme does not count: registries behind a proxy do not always know their own.
        """
        base = self._exchanger.located(request, self.origin, request.path)
        url = self._exchanger.located(request, str(base), target)
        return url.raw_path.decode("ascii") if url.netloc == base.netloc else None

    def _heed(self, response: Response, since: int) -> None:
        if response.status == _TOO_MANY:
            self._throttle.slow_down(since)
        else:
            self._throttle.speed_up()

    def _final(self, request: Request) -> _Final:
        url = self._exchanger.located(request, self.origin, request.path)
        moves = 0
        try:
            while True:
                final = self._answered(request, url)
                if not final.leads or moves == _MAX_REDIRECTS:
                    return final
                moves += 1
                request, url = self._redirected(final)
        except ManifestctlError as error:
            # Who redirects a write may have heeded it all the same.
            error.outcome_unknown |= moves > 0 and request.writes
            raise

    def _answered(self, request: Request, url: httpx.URL) -> _Final:
        """Send a request to one place, and again if it is challenged and there is an answer to that."""
        home = self._exchanger.located(request, self.origin, "/")
        url = as_at_home(url, home)
        at_home = (url.scheme, url.netloc) == (home.scheme, home.netloc)
        if not at_home:
            check_away(request, url, home, self._exchanger.secrets.outside)
        challenges = 0
        while True:
            used = self.authorizer.authorization(request.repository) if at_home else None
            raw = self._exchanger.open(request, url, used)
            away = "" if at_home else _netloc(url)
            final = _Final(request, raw, used, home=_netloc(home), away=away, without_aws=self.authorizer.without_aws)
            if not at_home or not self.authorizer.may_refuse(raw.status_code):
                if used is not None and (raw.status_code < 400 or raw.status_code == _NOT_FOUND):
                    self.authorizer.accepted(request, used)
                return final
            headers = raw.headers.get_list("www-authenticate")
            self.authorizer.hear(headers)
            final = replace(final, body=(body := self._exchanger.read(raw, request, BODY_LIMIT)))
            refusal = (raw.status_code, headers, body[0])
            if challenges == _MAX_CHALLENGES or not self.authorizer.renewed(request, used, *refusal):
                return replace(final, used=used or self.authorizer.nobody())
            challenges += 1

    def _redirected(self, final: _Final) -> tuple[Request, httpx.URL]:
        request, raw = final.request, final.raw
        self._exchanger.read(raw, request, BODY_LIMIT)
        if raw.status_code == _SEE_OTHER and request.method != "HEAD":
            request = replace(request, method="GET", body=None)
        return request, self._exchanger.located(request, str(raw.url), raw.headers["location"])


@dataclass(frozen=True, slots=True)
class _Final:
    """A response that no challenge and no redirect follows; ``body`` is there if it was read already."""

    request: Request
    raw: httpx.Response
    used: Authorization | None
    body: tuple[bytes, bool] | None = None
    home: str = ""
    away: str = ""
    without_aws: bool = False

    @property
    def leads(self) -> bool:
        """Tell whether it sends to another URL."""
        return self.raw.status_code in _REDIRECTS and "location" in self.raw.headers

    def whole(self, exchanger: Exchanger, limit: int) -> Response:
        """Read what is left and return the response."""
        return self.response(*(self.body or exchanger.read(self.raw, self.request, limit)))

    def response(self, body: bytes, truncated: bool = False) -> Response:
        """Return the response with this body."""
        headers = {key.lower(): value for key, value in self.raw.headers.items()}
        if "location" in headers:
            # Relative to the URL that was asked last, not to the one that was asked first. What is no URL stays as it
            # is, and is refused when it is asked.
            with contextlib.suppress(ValueError):
                headers["location"] = urljoin(str(self.raw.url), headers["location"])
        return Response(
            status=self.raw.status_code,
            headers=headers,
            body=body,
            credentials=self.used.source if self.used else "",
            truncated=truncated,
            away=outside(self.away, 300),
            request=self.request,
            registry=self.home,
            by_token=self.used is not None and self.used.vouched,
            without_aws=self.without_aws,
        )


def _netloc(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace")


def _doing(request: Request, url: httpx.URL) -> str:
    return request.doing or f"{request.method} {outside(_netloc(url), 300)}"
