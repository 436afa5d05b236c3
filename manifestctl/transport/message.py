"""Requests and responses of one registry, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

BODY_LIMIT = 64 * 1024
"""Bytes read of a 401, 3xx, token or error body; the rest is dropped with its connection."""

BodyOpener = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: its length in bytes and an opener that can be called again for every replay."""

    open: BodyOpener = field(repr=False)
    length: int | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Wrap bytes."""
        return cls(lambda: iter((data,)), len(data))


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a registry.

    ``path`` is a path below the registry's origin, or an absolute URL that the registry gave. ``repository`` says which
    repository's permission it needs. At most ``limit`` bytes of a successful body are read.
    """

    method: str
    path: str
    repository: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    limit: int = BODY_LIMIT


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. ``headers`` has lower-case names; ``credentials`` says which were used, never their value.

    ``body`` is cut at the request's limit, and ``truncated`` is true then. ``url`` is the final one, redacted.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    credentials: str = ""
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Tell whether the status is 2xx."""
        return 200 <= self.status < 300
