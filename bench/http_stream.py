"""Reads HTTP/1.1 messages out of a stream of bytes, as far as counting and timing them needs (RFC 9112 section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Body = int | Literal["chunked", "until-close"]
HEAD_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a message and its header fields, names in lower case."""

    first_line: str
    fields: dict[str, str]

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Parse a head without its closing empty line."""
        first, *rest = raw.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in rest)
        return cls(first, {name.strip().lower(): value.strip() for name, _, value in pairs})

    @property
    def stated_body(self) -> Body | None:
        """Return the body's extent as the fields state it, or None if they do not."""
        if "chunked" in self.fields.get("transfer-encoding", "").lower():
            return "chunked"
        if "content-length" in self.fields:
            return int(self.fields["content-length"])
        return None


class MessageReader:
    """Splits one direction of a connection into messages: feed it bytes, it tells of heads and ends.

    ``body_of`` says how long the body after a head is; for a response that depends on the request.
    """

    def __init__(self, body_of: Callable[[Head], Body]) -> None:
        """Begin at the start of a message."""
        self._body_of = body_of
        self._buffer = b""
        self._left = 0
        self._state: Literal["head", "body", "chunk-size", "chunk", "trailer", "until-close"] = "head"

    def feed(self, data: bytes) -> Iterator[Head | Literal["end"]]:
        """Take bytes in; yield each `Head` that became complete, and ``"end"`` where its message ended."""
        self._buffer += data
        while self._buffer:
            if self._state == "head":
                raw, found, rest = self._buffer.lstrip(b"\r\n").partition(b"\r\n\r\n")
                if not found:
                    if len(self._buffer) > HEAD_MAX:
                        raise ValueError("a message head of more than 1 MiB")
                    return
                self._buffer = rest
                head = Head.parse(raw)
                yield head
                yield from self._begin_body(self._body_of(head))
            elif self._state in ("body", "chunk"):
                yield from self._skip()
            elif self._state == "until-close":
                self._buffer = b""
            else:
                line, found, rest = self._buffer.partition(b"\r\n")
                if not found:
                    return
                self._buffer = rest
                yield from self._chunk_line(line)

    def close(self) -> Iterator[Literal["end"]]:
        """Tell that the stream ended, which ends a body that had no other end."""
        if self._state == "until-close":
            self._state = "head"
            yield "end"

    def _begin_body(self, body: Body) -> Iterator[Literal["end"]]:
        if body == "chunked":
            self._state = "chunk-size"
        elif body == "until-close":
            self._state = "until-close"
        elif body:
            self._state, self._left = "body", body
        else:
            yield "end"

    def _skip(self) -> Iterator[Literal["end"]]:
        taken = min(self._left, len(self._buffer))
        self._buffer = self._buffer[taken:]
        self._left -= taken
        if self._left:
            return
        if self._state == "chunk":
            self._state = "chunk-size"
        else:
            self._state = "head"
            yield "end"

    def _chunk_line(self, line: bytes) -> Iterator[Literal["end"]]:
        if self._state == "trailer":
            if not line:
                self._state = "head"
                yield "end"
        elif size := int(line.partition(b";")[0], 16):
            # The line break after the chunk is skipped with it.
            self._state, self._left = "chunk", size + 2
        else:
            self._state = "trailer"
