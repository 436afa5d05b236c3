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

from manifestctl.errors import DeniedError, IntegrityError, UnreachableError
from manifestctl.text import outside
from manifestctl.transport.failures import network_failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response, is_plain
from manifestctl.transport.wire_log import exchanged, unanswered
from manifestctl.values import dataclass

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
_MAX_LABEL = 63
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FINAL = (b"not authorized to perform", b"maximum allowed", b"exceed")
_TOKEN = b"token"
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SEE_OTHER, _TOO_MANY = 401, 403, 404, 303, 429


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
            raise UnreachableError(f"{doing} failed: '{outside(target, 300)}' is not a URL that can be asked")
        return url.copy_with(userinfo=b"") if url.userinfo else url

    def open(self, request: Request, url: httpx.URL, authorization: Authorization | None) -> httpx.Response:
        """Send and return the response with its body unread. Raises `UnreachableError`."""
        self.runtime.cancel.check()
        client = self._connections.client(url)
        headers = dict(request.headers)
        if authorization is not None:
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
                response = client.send(built, stream=True, auth=None, follow_redirects=False)
        except UnreachableError as error:
            self.runtime.observe(unanswered(built, self.runtime.monotonic() - started, error.message))
            raise
        self._connections.check_open(response)
        self.runtime.observe(exchanged(built, response, self.runtime.monotonic() - started))
        return response

    def read(self, response: httpx.Response, request: Request, limit: int) -> tuple[bytes, bool]:
        """Read at most ``limit`` bytes of a body and close; returns the bytes and whether there were more.

        The body of an error that comes packed is dropped: the status says enough.
        """
        deadline = self.runtime.monotonic() + self.settings.retry_deadline
        wanted = response.is_success or is_plain(response.headers.get("content-encoding", ""))
        parts: list[bytes] = []
        count = 0
        try:
            with contextlib.closing(self.chunks(response, request)) as chunks:
                for chunk in chunks:
                    parts.append(chunk)
                    count += len(chunk)
                    if count > limit:
                        return b"".join(parts)[:limit] if wanted else b"", True
                    if self.runtime.monotonic() > deadline:
                        raise UnreachableError(f"{_doing(request, response.url)} failed: the answer came too slowly")
        finally:
            response.close()
        return b"".join(parts) if wanted else b"", False

    def chunks(self, response: httpx.Response, request: Request) -> Generator[bytes]:
        """Yield the body as it comes. Raises `UnreachableError` if it is packed, or breaks off."""
        encoding = response.headers.get("content-encoding", "")
        if response.is_success and request.method != "HEAD" and not is_plain(encoding):
            raise UnreachableError(
                f"{_doing(request, response.url)} failed: the answer is packed as '{outside(encoding, 40)}', "
                "which was not asked for",
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
            raise network_failure(error, _doing(request, url), url, writing=request.writes) from error
        except UnicodeError as error:
            # Though it is told not to follow redirects, httpx reads where they lead.
            doing = _doing(request, url)
            raise UnreachableError(f"{doing} failed: the answer leads to no URL: {outside(str(error), 200)}") from error


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
        home = self._exchanger.located(request, self.origin, "/")
        redirects = challenges = 0
        while True:
            at_home = (url.scheme, url.netloc) == (home.scheme, home.netloc)
            if not at_home:
                self._check_away(request, url)
            used = self.authorizer.authorization(request.repository) if at_home else None
            raw = self._exchanger.open(request, url, used)
            final = _Final(request, raw, used, home=_netloc(home), away="" if at_home else _netloc(url))
            if at_home and self._may_be_refusal(final):
                self.authorizer.hear(raw.headers.get_list("www-authenticate"))
                final = replace(final, body=self._exchanger.read(raw, request, BODY_LIMIT))
                if challenges == _MAX_CHALLENGES or not self._renewed(final):
                    return final
                challenges += 1
                continue
            if used is not None and (raw.status_code < 400 or raw.status_code == _NOT_FOUND):
                self.authorizer.accepted(request.repository, used)
            if raw.status_code not in _REDIRECTS or "location" not in raw.headers or redirects == _MAX_REDIRECTS:
                return final
            redirects += 1
            request, url = self._redirected(final)

    def _may_be_refusal(self, final: _Final) -> bool:
        status = final.raw.status_code
        return status in (_UNAUTHORIZED, _FORBIDDEN) or status in self.profile.bad_token_statuses

    def _renewed(self, final: _Final) -> bool:
        request, used = final.request, final.used
        if final.raw.status_code == _UNAUTHORIZED:
            challenges = final.raw.headers.get_list("www-authenticate")
            return self.authorizer.answer(request.repository, challenges, used)
        if used is None:
            return False
        if final.raw.status_code in self.profile.bad_token_statuses:
            text = final.body[0].lower() if final.body else b""
            # A denial that names a permission or a quota is final; any other may mean that the token went bad.
            silent = request.method == "HEAD" and not text
            if silent or (b"denied" in text and not any(words in text for words in _FINAL)):
                return self.authorizer.replace(request.repository, used, unsaid=_TOKEN not in text)
        return final.raw.status_code == _FORBIDDEN and self.authorizer.narrow(request.repository, used)

    def _redirected(self, final: _Final) -> tuple[Request, httpx.URL]:
        request, raw = final.request, final.raw
        self._exchanger.read(raw, request, BODY_LIMIT)
        if raw.status_code == _SEE_OTHER and request.method != "HEAD":
            request = replace(request, method="GET", body=None)
        return request, self._exchanger.located(request, str(raw.url), raw.headers["location"])

    def _check_away(self, request: Request, url: httpx.URL) -> None:
        from manifestctl.transport.addresses import forbidden_address

        doing = f"{request.doing or request.method} failed: {_home_name(self.origin)}"
        if url.scheme != "https" and not (url.scheme == "http" and self.origin.startswith("http:")):
            raise UnreachableError(f"{doing} leads to {outside(str(url), 200)}, which is not https")
        if forbidden_address(_netloc(url), _home_name(self.origin)):
            raise DeniedError(
                f"{doing} leads to {outside(_netloc(url), 100)}, an address inside a private network",
                hint="Redirects from a registry into the local network are refused.",
            )


@dataclass(frozen=True, slots=True)
class _Final:
    """A response that no challenge and no redirect follows; ``body`` is there if it was read already."""

    request: Request
    raw: httpx.Response
    used: Authorization | None
    body: tuple[bytes, bool] | None = None
    home: str = ""
    away: str = ""

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
        )


def _home_name(origin: str) -> str:
    return origin.partition("://")[2]


def _netloc(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace")


def _doing(request: Request, url: httpx.URL) -> str:
    return request.doing or f"{request.method} {outside(_netloc(url), 300)}"
