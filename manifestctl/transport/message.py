"""Requests and responses of one registry, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.transport.credentials import Credential

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
    repository's permission it needs. At most ``limit`` bytes of a successful body are read. ``doing`` names the
    operation and the image in messages, e.g. ``reading example.com/web:1``; ``writes`` says that the registry holds
    something else once it has heeded the request, so that a lost answer leaves that unknown.
    """

    method: str
    path: str
    repository: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    limit: int = BODY_LIMIT
    doing: str = ""
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header and whose it is; with an empty value nothing is sent.

    ``expires`` is in seconds of the run's monotonic clock. ``fetched``: it is a token that a service gave for the
    ``credential``, which otherwise was sent itself. ``joint``: it was asked for several repositories. ``again``: it
    stands in the place of one that was refused.
    """

    value: str = field(repr=False)
    source: str
    credential: Credential | None = None
    expires: float = float("inf")
    fetched: bool = False
    joint: bool = False
    again: bool = False

    @property
    def vouched(self) -> bool:
        """Tell whether a token service took whom it is of for who that is."""
        return self.fetched and (self.credential is not None or self.source == ANONYMOUS.source)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. ``headers`` has lower-case names; ``credentials`` says which were used, never their value.

    ``body`` is cut at the request's limit, and ``truncated`` is true then. A ``location`` header is an absolute URL.
    ``away`` is the host that answered, if a redirect or a URL of the registry's led to another host than its own.
    ``request`` is what was asked, if it was asked of a ``registry`` (``host[:port]``) and not of its token service.
    ``by_token``: a token was sent that a token service had given for the credentials, or to nobody in particular.
    ``without_aws``: AWS credentials would have been looked for, had they not been left out.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    credentials: str = ""
    truncated: bool = False
    away: str = ""
    request: Request | None = field(default=None, repr=False, compare=False)
    registry: str = field(default="", compare=False)
    by_token: bool = False
    without_aws: bool = False

    @property
    def ok(self) -> bool:
        """Tell whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def length(self) -> int | None:
        """What Content-Length says of the content's size; None if it does not, or speaks of a packed form of it."""
        text = self.headers.get("content-length", "")
        if not is_plain(self.headers.get("content-encoding", "")) or not (text.isascii() and text.isdigit()):
            return None
        return int(text[:20])


def is_plain(encoding: str) -> bool:
    """Tell whether a Content-Encoding says that the bytes are as they are stored (RFC 9110 §8.4)."""
    return encoding.strip().lower() in ("", "identity")
