"""Progress as values. The library reports what happens by calling an `Observer`; it prints nothing."""

from __future__ import annotations

from collections.abc import Callable

from manifestctl.values import dataclass


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know that changes no result. The text is one safe line."""

    message: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A step of the run, in words. The text is one safe line."""

    message: str


@dataclass(frozen=True, slots=True)
class Retried:
    """An operation failed in a passing way and is tried again after `delay` seconds."""

    operation: str
    reason: str
    attempt: int
    attempts: int
    delay: float


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One HTTP exchange, for the wire log. URL and headers are redacted already.

    `status` is 0 if no response came; `seconds` is the time until the response's headers.
    """

    method: str
    url: str
    status: int
    seconds: float
    sent: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BlobStarted:
    """A blob is about to move, or a whole image, which is brought here first.

    `name` is a blob's short digest, or what an image is called; `size` the bytes that will go by (of a blob that is
    packed on the way, unpacked), None if nobody knows. `doing` says what is done with it: ``sending``, ``exporting``,
    ``unpacking``, ``copying``.
    """

    name: str
    size: int | None
    doing: str = "sending"


@dataclass(frozen=True, slots=True)
class BytesMoved:
    """So many more bytes of a blob have gone by; after a retry they are counted again from its beginning."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class BlobMoved:
    """A blob is where it should be; `how` is ``exists``, ``mounted``, ``sent`` or ``packed``.

    Of a whole image that was brought here it is ``exported``, ``unpacked`` or ``copied``.
    """

    name: str
    size: int
    how: str


Event = Warned | Noted | Retried | Exchanged | BlobStarted | BytesMoved | BlobMoved
Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Observe nothing."""
    del event
