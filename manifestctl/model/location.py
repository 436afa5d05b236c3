"""Where an image is: in a registry, in an OCI image layout directory, in an archive file, or in an engine.

All kinds answer to the same names: ``store`` (what a store is bound to), ``tag``, ``digest``, ``selector``,
``with_tag``, ``with_digest``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.reference import Reference, Tagged, check_tag, without_user
from manifestctl.text import escape, redact
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.model.platforms import Platform

_LAYOUT = "oci:"
_ENGINE = "docker-daemon:"
_MAX_NAME = 512
_DOCKER_ARCHIVE = "docker-archive:"
_ARCHIVES = ("oci-archive:", _DOCKER_ARCHIVE)
# A file's name ends at the first colon behind what archives are called, and if it is called something else, at the
# first colon that does not follow the letter of a drive.
_ARCHIVE_FILE = re.compile(
    r".*?\.(?:tar(?:\.gz|\.zst)?|tgz|tzst)(?=$|:|@(?:sha\d+|blake\d+[a-z]?):)", re.IGNORECASE | re.DOTALL
)
_OTHER_FILE = re.compile(r"(?:[A-Za-z]:(?=[/\\]))?[^:]*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/+-]{0,511}")
# What stands alone or after "@" and is meant as a digest, however malformed: a directory's name may hold an "@", and
# "web:0f3c…" (a tag made of a commit) is a reference.
_DIGEST = re.compile(r"(?:sha\d+|blake\d+[a-z]?):[^:/\\]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class LayoutLocation(Tagged):
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


@dataclass(frozen=True, slots=True)
class ArchiveLocation(Tagged):
    """An image in an archive file: ``oci-archive:FILE[:NAME][@DIGEST]`` or ``docker-archive:FILE[:NAME][@DIGEST]``.

    ``tag`` is a name by which the archive knows the image, in full or short, a tag, or an image's id. The scheme says
    which is meant where a file is both kinds of archive.
    """

    scheme: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a location with its scheme; raises `InputError`."""
        scheme, _, rest = text.partition(":")
        digest = None
        head, at, tail = rest.rpartition("@")
        if at and _DIGEST.fullmatch(tail):
            rest, digest = head, Digest.parse(tail)
        match = _ARCHIVE_FILE.match(rest) or _OTHER_FILE.match(rest)
        path = match.group() if match is not None else ""
        name = rest[len(path) + 1 :] if len(path) < len(rest) else None
        if not path or "\0" in path:
            raise InputError(f"'{escape(text, 300)}' names no file", hint=f"Write {scheme}:FILE or {scheme}:FILE:NAME.")
        if name is not None and not _NAME.fullmatch(name):
            raise InputError(
                f"'{escape(text, 300)}': '{escape(name, 200)}' is not the name of an image",
                hint=f"What follows '{escape(path, 200)}:' is a name, a tag or an id that the archive has.",
            )
        return cls(scheme, path, name, digest)

    @property
    def is_docker(self) -> bool:
        """Tell whether what ``docker save`` writes is meant first."""
        return self.store.startswith(_DOCKER_ARCHIVE)

    @property
    def selector(self) -> str:
        """What the archive is asked for: the digest, else the name, else ``""``: its only image."""
        return str(self.digest) if self.digest else self.tag or ""

    @property
    def store(self) -> str:
        """The file as text: what a store is bound to."""
        return f"{self.scheme}:{self.path}"


def _canonical(path: str) -> str:
    # ".." stays: with links on the way it is not what it seems.
    root = "/" if path.startswith("/") else ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        return root or "."
    return root + "/".join(parts) + ("/" if parts[-1].rfind(":") > parts[-1].rfind("\\") else "")


@dataclass(frozen=True, slots=True)
class EngineLocation:
    """An image in the Docker or Podman engine: ``docker-daemon:NAME`` or ``docker-daemon:ID``.

    ``platform`` chooses from an image of several, ``every`` takes all of them; ``by_name`` means that it is a name,
    even if it looks like an id. None of these is part of the text.
    """

    image: str
    platform: Platform | None = None
    every: bool = False
    by_name: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the part after ``docker-daemon:``; raises `InputError`."""
        if not text or len(text) > _MAX_NAME or not text.isprintable() or " " in text:
            raise InputError(
                f"'{_ENGINE}{escape(text, 200)}' names no image",
                hint=f"Write {_ENGINE}NAME or {_ENGINE}ID; 'manifestctl images' lists what is there.",
            )
        return cls(text)

    @property
    def tag(self) -> str | None:
        """The tag in the name, if it has one; an id has none."""
        name = self.image.partition("@")[0]
        colon = name.rfind(":")
        return name[colon + 1 :] if colon > name.rfind("/") and not name.startswith("sha256:") else None

    @property
    def digest(self) -> Digest | None:
        """None: the engine finds images by name and id."""
        return None

    @property
    def selector(self) -> str:
        """``""``: a store of this location has one image."""
        return ""

    @property
    def store(self) -> str:
        """What a store is bound to: this one image."""
        return f"{_ENGINE}{self.image}"

    def with_tag(self, tag: str | None) -> Self:
        """Refuse: raises `InputError`, for the engine is no place to publish to."""
        raise InputError(f"{self}: nothing is written to an engine here: {tag or 'no tag'}")

    def with_digest(self, digest: Digest) -> Self:
        """Refuse: raises `InputError`."""
        raise InputError(f"{self}: images in an engine are not named by digest here: {digest}")

    def __str__(self) -> str:
        """Return the canonical form."""
        return self.store


Location = Reference | LayoutLocation | ArchiveLocation | EngineLocation
Writable = Reference | LayoutLocation


def parse_location(text: str) -> Location:
    """Parse a location that a user typed; raises `InputError`."""
    if text.startswith(_LAYOUT):
        return LayoutLocation.parse(text.removeprefix(_LAYOUT))
    if text.startswith(_ARCHIVES):
        return ArchiveLocation.parse(text)
    if text.startswith(_ENGINE):
        return EngineLocation.parse(text.removeprefix(_ENGINE))
    return Reference.parse(text)


def presentable(text: str) -> str:
    """Return what a user typed as a location, fit for documents: what is none may hold a password."""
    try:
        parse_location(text)
    except InputError:
        return redact(without_user(text))
    return text


def check_target(target: Location) -> Writable:
    """Return where something is to be written; raises `InputError` for an archive or an engine."""
    if isinstance(target, ArchiveLocation | EngineLocation):
        place = "an archive" if isinstance(target, ArchiveLocation) else "an engine"
        raise InputError(
            f"'{escape(str(target), 300)}': {place} cannot be used here, as the target",
            hint="Name a registry, or an OCI layout as oci:DIR:TAG.",
        )
    return target


def parse_child(text: str, target: Location) -> Location:
    """Parse a child of a list, which may be given relative to the target: ``:tag``, ``@digest``, or a bare digest.

    Raises `InputError`, also if what is named is in an archive or an engine.
    """
    place = check_target(target)
    if text.startswith(":"):
        tag, at, digest = text[1:].partition("@")
        located = place.with_tag(check_tag(tag))
        return replace(located, digest=Digest.parse(digest)) if at else located
    if text.startswith("@"):
        return place.with_digest(Digest.parse(text[1:]))
    if _DIGEST.fullmatch(text):
        return place.with_digest(Digest.parse(text))
    location = parse_location(text)
    if isinstance(location, ArchiveLocation | EngineLocation):
        where = "an archive" if isinstance(location, ArchiveLocation) else "an engine"
        raise InputError(
            f"'{escape(text, 300)}': an image in {where} cannot be used here, as part of a list",
            hint="Push it first.",
        )
    return location
