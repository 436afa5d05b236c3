"""What a push is asked for, and what becomes of it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import InputError, ManifestctlError, exit_code
from manifestctl.model.reference import check_tag
from manifestctl.values import dataclass
from manifestctl.verbs.outcome import change, first_published
from manifestctl.verbs.publish import Guard, TagState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.compression import Format
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.model.published import Published
    from manifestctl.stores.base import Content
    from manifestctl.verbs.image_manifest import Family

Status = Literal["created", "updated", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class Packing:
    """How a layer that is not compressed is packed, and which family of media types the image has in the end.

    ``format`` None means gzip where something must be packed; a given format is an order. ``family`` None keeps the
    image's own.
    """

    format: Format | None = None
    level: int | None = None
    family: Family | None = None

    def __post_init__(self) -> None:
        """Refuse what no manifest can say, and levels that a format does not have; raises `InputError`."""
        if self.level is not None:
            from manifestctl.compression import compressor

            compressor(self.format or "gzip", self.level)
        if self.family == "docker" and self.format == "zstd":
            raise InputError(
                "Docker's manifest cannot hold zstd layers", hint="Pass --format oci, or leave out --compression."
            )


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What to push, and where to.

    ``platforms`` chooses from a source of several platforms; ``everything`` takes all of them, as a list. With
    ``by_digest`` no tag moves.
    """

    source: Location
    target: Location
    platforms: tuple[Platform, ...] = ()
    everything: bool = False
    tags: tuple[str, ...] = ()
    packing: Packing = Packing()
    by_digest: bool = False
    guard: Guard = Guard()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    concurrency: int = 16

    def __post_init__(self) -> None:
        """Refuse what makes no sense; raises `InputError`."""
        for tag in self.tags:
            check_tag(tag)
        if self.target.digest is not None:
            raise InputError(
                f"{self.target}: the target of a push is a tag or a repository, not a digest",
                hint="Leave the digest out; --by-digest pushes without moving a tag, and prints the digest.",
            )
        if self.by_digest and (self.tags or self.guard.any):
            raise InputError("--by-digest moves no tag, so --tag, --no-overwrite and --expect do not go with it")
        self.guard.refuse_both()


@dataclass(frozen=True, slots=True)
class PushedLayer:
    """One layer of the image that was pushed, and how it came there: sent, packed, exists, mounted, reused."""

    descriptor: Descriptor
    how: str


@dataclass(slots=True)
class Pushed:
    """What became of a push; filled as the run goes on.

    ``platform`` is that of an image, ``platforms`` are those of a list, as far as it says them. ``untagged`` stands in
    for ``tags`` of a push by digest.
    """

    request: PushRequest
    content: Content | None = None
    platform: Platform | None = None
    platforms: list[Platform | None] = field(default_factory=list)
    layers: list[PushedLayer] = field(default_factory=list)
    tags: list[TagState] = field(default_factory=list)
    untagged: TagState | None = None
    error: ManifestctlError | None = None

    @property
    def exit_code(self) -> int:
        """The exit status."""
        return exit_code(codes=[self.error.exit_code] if self.error is not None else [])

    @property
    def published(self) -> Published:
        """Tell whether the image is under the first tag now, or there at all for a push by digest.

        The first is the target's own, unless that is ``latest`` and comes last.
        """
        return first_published(self._states, self.content)

    @property
    def status(self) -> Status:
        """Say in one word how it ended."""
        if self.error is not None or self.content is None:
            return "failed"
        return change(self._states)

    @property
    def _states(self) -> list[TagState]:
        return [self.untagged] if self.untagged is not None else self.tags
