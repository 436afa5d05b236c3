"""What can go wrong: actions for a server's fault script. See `tests.support.faults`."""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from tests.support.faults import Exchange, Fault
from tests.support.http_message import HangUp, Response, registry_error
from tests.support.images import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.faults import Action
    from tests.support.http_message import Request

HOSTILE_TEXT = (
    "first line\n::add-mask::secret\r\n::error file=a::forged\x1b[2J\x1b]0;title\x07 ##[command]x \u202e\x00end"
)
"""A message that tries to forge lines, runner commands, terminal controls and reading order."""

PROXY_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Blocked</title></head><body><h1>Access denied by policy</h1></body></html>\n"
)
"""What a company's proxy answers instead of the registry."""

_MIB = 1024 * 1024
_PIECE = b" " * (64 * 1024)


def respond(response: Callable[[], Response]) -> Action:
    """Answer with a response made anew each time."""
    return lambda _exchange: response()


def status(
    code: int,
    body: bytes = b"",
    *,
    content_type: str | None = "text/plain",
    retry_after: float | datetime | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Action:
    """Answer with a status; ``retry_after`` is a number of seconds, a date with a zone, or the header's raw text."""
    return respond(lambda: Response(code, body, _headers(content_type, retry_after, headers)))


def error(
    code: int,
    name: str,
    message: str,
    *,
    detail: object = None,
    retry_after: float | datetime | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Action:
    """Answer with a registry's JSON error: status, code such as ``TOOMANYREQUESTS``, message."""
    extra = _headers(None, retry_after, headers)
    return respond(lambda: registry_error(code, name, message, detail=detail, headers=extra))


def hostile_error(code: int, name: str = "DENIED") -> Action:
    """Answer with a registry error whose message is `HOSTILE_TEXT`."""
    return error(code, name, HOSTILE_TEXT, detail={"text": HOSTILE_TEXT})


def proxy_page(code: int = 200) -> Action:
    """Answer with the HTML page of a proxy."""
    return status(code, PROXY_PAGE, content_type="text/html; charset=utf-8")


def unauthorized(challenge: str | None, body: bytes = b"") -> Action:
    """Answer 401 with this WWW-Authenticate header, or none; with ``times=FOREVER`` it is a loop."""
    return status(401, body, headers={"WWW-Authenticate": challenge} if challenge is not None else None)


def reset() -> Action:
    """Reset the TCP connection without an answer."""
    return _hang_up(reset=True)


def close() -> Action:
    """Close the connection without an answer, as a keep-alive server does that was restarted."""
    return _hang_up(reset=False)


def stall() -> Action:
    """Answer nothing until the server is released or closed; then close the connection."""

    def action(exchange: Exchange) -> Response:
        exchange.server.released.wait()
        raise HangUp

    return action


def hold(until: Callable[[], object]) -> Action:
    """Call ``until`` (say, `threading.Event.wait` with a time-out) before the ordinary answer."""

    def action(exchange: Exchange) -> Response:
        until()
        return exchange.serve()

    return action


def truncated(keep: int | None = None, *, by_reset: bool = False) -> Action:
    """Send only ``keep`` bytes (half, if None) of the body that Content-Length announces, then end the connection."""

    def action(exchange: Exchange) -> Response:
        response = exchange.serve()
        body = _whole(response)
        response.body, response.length = body[: len(body) // 2 if keep is None else keep], len(body)
        response.end = "reset" if by_reset else "close"
        return response

    return action


def wrong_bytes(body: bytes | None = None) -> Action:
    """Answer with other bytes under the same headers: these, or the right ones with the last byte changed."""

    def action(exchange: Exchange) -> Response:
        response = exchange.serve()
        right = _whole(response)
        response.body = right[:-1] + bytes([right[-1] ^ 1]) if body is None else body
        return response

    return action


def header(name: str, value: str | None) -> Action:
    """Answer as usual, but with this header set, or without it if the value is None."""

    def action(exchange: Exchange) -> Response:
        response = exchange.serve()
        response.header(name, value)
        return response

    return action


def digest_header(value: str | None) -> Action:
    """Answer as usual, but with another Docker-Content-Digest header or none."""
    return header("Docker-Content-Digest", value)


def content_type(value: str | None) -> Action:
    """Answer as usual, but with another Content-Type or none."""
    return header("Content-Type", value)


def huge(
    code: int = 200, mebibytes: int = 400, *, declared: bool = True, headers: Mapping[str, str] | None = None
) -> Action:
    """Answer with a body of so many MiB, made while it is sent; undeclared it comes chunked, with no Content-Length."""

    def pieces() -> Iterator[bytes]:
        for _ in range(mebibytes * _MIB // len(_PIECE)):
            yield _PIECE

    length = mebibytes * _MIB if declared else None
    plain = {"Content-Type": "application/json"} | dict(headers or {})
    return respond(lambda: Response(code, pieces(), dict(plain), length))


def gzip_bomb(mebibytes: int = 64) -> Action:
    """Answer with ``Content-Encoding: gzip``: a small body that unpacks to so many MiB of spaces."""

    def action(exchange: Exchange) -> Response:
        response = exchange.serve()
        response.body = _bomb(mebibytes)
        response.header("Content-Encoding", "gzip")
        return response

    return action


def slow(pieces: int = 8, delay: float = 0.005) -> Action:
    """Send the ordinary body in so many pieces, with a delay in seconds before each; a release ends the delays."""

    def action(exchange: Exchange) -> Response:
        response = exchange.serve()
        body = _whole(response)
        size = max(1, -(-len(body) // pieces))

        def dribble() -> Iterator[bytes]:
            for start in range(0, len(body), size):
                exchange.server.released.wait(delay)
                yield body[start : start + size]

        response.body, response.length = dribble(), len(body)
        return response

    return action


def redirect(to: str | Callable[[Request], str], code: int = 307, *, query: str = "") -> Action:
    """Redirect to the same path at another origin, or wherever ``to`` says if it is a function.

    ``query`` (``X-Amz-Signature=…``) is added to the location. A ``to`` with a path of its own is taken as it is.
    """

    def action(exchange: Exchange) -> Response:
        if callable(to):
            location = to(exchange.request)
        else:
            location = to + (exchange.request.path if re.fullmatch(r"\w+://[^/]+", to) else "")
        return Response(code, b"", {"Location": location + (f"?{query}" if query else "")})

    return action


def false_created() -> Action:
    """Answer a PUT with 201 and the right headers, and store nothing."""

    def action(exchange: Exchange) -> Response:
        headers = {"Location": exchange.request.path, "Docker-Content-Digest": digest_of(exchange.request.body)}
        return Response(201, b"", headers)

    return action


def after_serving(then: Action) -> Action:
    """Do what was asked (store it, say), then answer with another action: the client cannot know the outcome."""

    def action(exchange: Exchange) -> Response:
        exchange.serve()
        return then(exchange)

    return action


def store_instead(data: bytes, media_type: str) -> Action:
    """Store another manifest than was sent, and answer 201 as if it were the one sent."""

    def action(exchange: Exchange) -> Response:
        sent = digest_of(exchange.request.body)
        response = exchange.answer("PUT", data, media_type)
        response.header("Docker-Content-Digest", sent)
        return response

    return action


def lag(reads: int, *, missing: bool = False) -> Action:
    """Do the PUT, but answer the next ``reads`` reads of the same path with the old content, or with 404.

    If the path held nothing before, that is 404 too.
    """

    def action(exchange: Exchange) -> Response:
        old = exchange.answer("GET")
        response = exchange.serve()
        if missing:
            old = registry_error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        path = re.compile(re.escape(exchange.request.path) + r"\Z")
        exchange.server.faults.add_first(
            Fault(respond(lambda: replace(old)), "GET|HEAD", path, reads, after=0, before_auth=False, when=None)
        )
        return response

    return action


def _hang_up(*, reset: bool) -> Action:
    def action(_exchange: Exchange) -> Response:
        raise HangUp(reset=reset)

    return action


def _headers(
    content_type: str | None, retry_after: float | datetime | str | None, headers: Mapping[str, str] | None
) -> dict[str, str]:
    made = {} if content_type is None else {"Content-Type": content_type}
    if isinstance(retry_after, datetime):
        made["Retry-After"] = format_datetime(retry_after.astimezone(UTC), usegmt=True)
    elif retry_after is not None:
        made["Retry-After"] = str(retry_after)
    return made | dict(headers or {})


def _whole(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


@functools.cache
def _bomb(mebibytes: int) -> bytes:
    compressor = zlib.compressobj(1, wbits=31)
    block = b" " * _MIB
    return b"".join(compressor.compress(block) for _ in range(mebibytes)) + compressor.flush()
