"""Where an image is: in a registry, or in an OCI image layout directory.

Both kinds answer to the same names: ``store`` (what a store is bound to), ``tag``, ``digest``, ``selector``,
``with_tag``, ``with_digest``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Self

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.reference import Reference, check_tag
from manifestctl.text import escape
from manifestctl.values import dataclass

_LAYOUT = "oci:"
# Names of places that a reference must not be mistaken for.
_OTHER_PLACES = ("oci-archive:", "docker-archive:", "docker-daemon:")
# What stands alone or after "@" and is meant as a digest, however malformed: a directory's name may hold an "@", and
# "web:0f3c…" (a tag made of a commit) is a reference.
_DIGEST = re.compile(r"(?:sha\d+|blake\d+[a-z]?):[^:/\\]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class LayoutLocation:
    """An image in an OCI image layout directory: ``oci:DIR[:TAG][@DIGEST]``.

    The tag follows the last ``:`` after the last path separator. ``path`` is held without ``./``, doubled and final
    separators, so that two spellings of one directory are one store; but a last component that has a ``:`` keeps its
    final separator, for what follows the ``:`` would be taken for a tag.
    """

    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the part after ``oci:``; raises `InputError`."""
        digest = None
        head, at, tail = text.rpartition("@")
        if at and _DIGEST.fullmatch(tail):
            text, digest = head, Digest.parse(tail)
        colon, separator = text.rfind(":"), max(text.rfind("/"), text.rfind("\\"))
        tag = None
        if colon > separator:
            text, tag = text[:colon], check_tag(text[colon + 1 :])
        if not text or "\0" in text:
            raise InputError(f"'oci:{escape(text)}' names no directory", hint="Write oci:DIR or oci:DIR:TAG.")
        return cls(_canonical(text), tag, digest)

    @property
    def selector(self) -> str:
        """What the layout is asked for: the digest, else the tag, else ``""``: its only image, or ``latest``."""
        return str(self.digest) if self.digest else self.tag or ""

    @property
    def store(self) -> str:
        """The directory as text: what a store is bound to."""
        return f"{_LAYOUT}{self.path}"

    def with_tag(self, tag: str | None) -> Self:
        """Return the same directory with this tag and no digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Self:
        """Return the same directory with this digest and no tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        """Return the canonical form."""
        tag = f":{self.tag}" if self.tag is not None else ""
        return f"{self.store}{tag}" + (f"@{self.digest}" if self.digest else "")


def _canonical(path: str) -> str:
    # ".." stays: with links on the way it is not what it seems.
    root = "/" if path.startswith("/") else ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        return root or "."
    return root + "/".join(parts) + ("/" if parts[-1].rfind(":") > parts[-1].rfind("\\") else "")


Location = Reference | LayoutLocation


def parse_location(text: str) -> Location:
    """Parse a location that a user typed; raises `InputError`."""
    if text.startswith(_LAYOUT):
        return LayoutLocation.parse(text.removeprefix(_LAYOUT))
    for place in _OTHER_PLACES:
        if text.startswith(place):
            raise InputError(
                f"'{escape(text, 300)}': images in {place[:-1]} cannot be used here",
                hint="Name an image in a registry, or in an OCI layout as oci:DIR:TAG.",
            )
    return Reference.parse(text)


def parse_child(text: str, target: Location) -> Location:
    """Parse a child of a list, which may be given relative to the target: ``:tag``, ``@digest``, or a bare digest.

    Raises `InputError`.
    """
    if text.startswith(":"):
        tag, at, digest = text[1:].partition("@")
        located = target.with_tag(check_tag(tag))
        return replace(located, digest=Digest.parse(digest)) if at else located
    if text.startswith("@"):
        return target.with_digest(Digest.parse(text[1:]))
    if _DIGEST.fullmatch(text):
        return target.with_digest(Digest.parse(text))
    return parse_location(text)
