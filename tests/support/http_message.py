"""Requests and responses as the test servers see them."""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT_BODY = 4 * 1024 * 1024
"""Bodies up to this many bytes are kept in what is recorded."""
_LONGEST_LINE = 64 * 1024
_OF_A_BODY = frozenset({"content-length", "content-type", "expect", "transfer-encoding"})


class BadRequestError(Exception):
    """The client sent something that is not HTTP/1.1."""


class HangUp(Exception):  # noqa: N818 - a wish of the script, not an error
    """Raised by an action: end the connection without a response, with a TCP reset or a plain close."""

    def __init__(self, *, reset: bool = False) -> None:
        """Keep how to end it."""
        super().__init__("reset" if reset else "close")
        self.reset = reset


@dataclass(slots=True)
class Recorded:
    """One request as it came. Header names are lower-case; ``status`` is 0 until it is answered.

    ``body`` is the request's body if it has at most `KEPT_BODY` bytes; ``body_size`` its whole size. ``sent`` is the
    number of bytes of the response's body that the server could send.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    connection_id: int
    body_size: int = 0
    body: bytes = b""
    status: int = 0
    sent: int = 0

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's parameters, decoded, in order."""
        return parse_qsl(self.query, keep_blank_values=True)

    @property
    def authorization(self) -> str | None:
        """The Authorization header, or None."""
        return self.headers.get("authorization")


class Request:
    """One request; the body is read from the socket when it is first asked for."""

    def __init__(self, head: Recorded, stream: BinaryIO, writer: BinaryIO) -> None:
        """Take a parsed head and the streams of its connection."""
        self.recorded = head
        self._stream = stream
        self._writer = writer
        self._body: bytes | None = None

    @property
    def method(self) -> str:
        """The method, e.g. ``GET``."""
        return self.recorded.method

    @property
    def path(self) -> str:
        """The path as sent, without the query."""
        return self.recorded.path

    @property
    def query(self) -> str:
        """The query as sent, without the question mark."""
        return self.recorded.query

    @property
    def target(self) -> str:
        """Path and query as sent."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case."""
        return self.recorded.headers

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        return next((value for key, value in self.recorded.parameters if key == name), None)

    def parameters(self, name: str) -> list[str]:
        """Return all values of a query parameter."""
        return [value for key, value in self.recorded.parameters if key == name]

    @property
    def basic(self) -> tuple[str, str] | None:
        """User and password of an ``Authorization: Basic`` header, or None."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return (user, password) if colon else None

    @property
    def bearer(self) -> str | None:
        """The token of an ``Authorization: Bearer`` header, or None."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    @property
    def body(self) -> bytes:
        """The whole body."""
        if self._body is None:
            self._body = self._read_body()
            self.recorded.body_size = len(self._body)
            self.recorded.body = self._body if len(self._body) <= KEPT_BODY else b""
        return self._body

    def variant(self, method: str, body: bytes, content_type: str | None) -> Request:
        """Return a request that came on no connection: the same target and headers, another method and body."""
        headers = {key: value for key, value in self.headers.items() if key not in _OF_A_BODY}
        headers["content-length"] = str(len(body))
        if content_type is not None:
            headers["content-type"] = content_type
        head = Recorded(method, self.path, self.query, headers, self.recorded.connection_id)
        return Request(head, io.BytesIO(body), io.BytesIO())

    def _read_body(self) -> bytes:
        if self.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._writer.flush()
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return b"".join(iter(self._read_chunk, b""))
        return _exactly(self._stream, int(self.headers.get("content-length", "0")))

    def _read_chunk(self) -> bytes:
        size = int(_line(self._stream).partition(b";")[0], 16)
        chunk = _exactly(self._stream, size)
        if _line(self._stream):
            raise BadRequestError("a chunk does not end where it says")
        return chunk


@dataclass(slots=True)
class Response:
    """What a server answers.

    A body in pieces is sent chunked unless ``length`` says how long it will be. ``length`` also overrides the
    Content-Length of a whole body, which is how a body is cut short. ``end`` says what becomes of the connection
    after a response; a body shorter than its ``length`` needs an end other than ``keep``.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    end: Literal["keep", "close", "reset"] = "keep"

    def header(self, name: str, value: str | None) -> None:
        """Set a header, whatever the case of its name, or remove it if the value is None."""
        for key in [key for key in self.headers if key.lower() == name.lower()]:
            del self.headers[key]
        if value is not None:
            self.headers[name] = value


def json_response(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON document as a response."""
    return Response(status, json.dumps(document).encode(), {"Content-Type": "application/json"} | (headers or {}))


def registry_error(
    status: int, code: str, message: str, *, detail: object = None, headers: dict[str, str] | None = None
) -> Response:
    """Return an error as registries word them. OCI distribution-spec "Error Codes"."""
    error: dict[str, object] = {"code": code, "message": message}
    if detail is not None:
        error["detail"] = detail
    return json_response({"errors": [error]}, status, headers)


def read_request(stream: BinaryIO, writer: BinaryIO, connection_id: int) -> Request | None:
    """Read the head of the next request, or None if the client closed. Raises `BadRequestError`."""
    first = stream.readline(_LONGEST_LINE)
    if not first:
        return None
    parts = first.decode("latin-1").strip().split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError(f"not a request line: {first[:80]!r}")
    path, _, query = parts[1].partition("?")
    headers: dict[str, str] = {}
    while line := _line(stream):
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequestError(f"not a header: {line[:80]!r}")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Request(Recorded(parts[0], path, query, headers, connection_id), stream, writer)


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise BadRequestError("the client closed in the middle of a request")
    return line.rstrip(b"\r\n")


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise BadRequestError("the client closed in the middle of a body")
    return data
