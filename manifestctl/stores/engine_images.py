"""Images as an engine lists them: reading its answers, and finding an image by its name or id.

Three kinds of stores differ in what an image's id is, and in what the engine says of platforms:

- Docker's graph drivers: the id is the config's digest, an image has one platform, and only inspecting it tells which.
- Docker's containerd image store: the id is the digest of a manifest or list. From API 1.47 on the list of images says
  which platforms there are, and of which the content is on this machine. Before that nobody says it truly: inspecting
  an image of several platforms gives the host's.
- Podman's storage: as with graph drivers, but a list is an image of its own, and whatever is asked about it by name or
  id is answered for the host's image in it.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.descriptor import Descriptor, read_platform
from manifestctl.model.digest import Digest
from manifestctl.model.media_types import INDEXES
from manifestctl.model.platforms import Platform
from manifestctl.model.reference import DOCKER_HUB, Reference
from manifestctl.model.strict_json import MAX_INTEGER, Fields
from manifestctl.stores.local_names import id_digits, means, podman_store, references
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

StoreKind = Literal["graph-driver", "containerd", "podman"]

_SUMMARY_KEYS = frozenset(
    {"Id", "RepoTags", "RepoDigests", "Created", "Size", "Descriptor", "Manifests", "Digest", "IsManifestList"}
)
_INSPECT_KEYS = frozenset({"Id", "Os", "Architecture", "Variant", "OsVersion", "ManifestType"})
_PART_KEYS = frozenset({"ID", "Descriptor", "Available", "Kind", "Size", "ImageData"})
_SIZE_KEYS = frozenset({"Content", "Total"})
_PLATFORM_KEYS = frozenset({"architecture", "os", "os.version", "os.features", "variant"})
_LIST_KEYS = frozenset({"schemaVersion", "mediaType", "manifests"})
_NO_NAME = "<none>"
_FULL_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_MAX_NEAR = 5


@dataclass(frozen=True, slots=True)
class EnginePart:
    """One runnable image of an engine's image.

    ``digest`` names it in the archive that the engine makes: a manifest's digest with the containerd image store, else
    the config's. ``size`` is in bytes, about as the archive will have them, if the engine says it. ``available`` tells
    whether the content is on this machine, ``attested`` whether the list has attestations of it.
    """

    platform: Platform
    digest: Digest
    size: int | None = None
    available: bool = True
    attested: bool = False


@dataclass(frozen=True, slots=True)
class EngineImage:
    """An image in an engine.

    ``names`` are its tags and ``digests`` its names with a digest, as the engine writes them. ``created`` is in seconds
    since 1970 and ``size`` in bytes, if the engine knows them. ``parts`` are its images, one for most; none if the
    engine does not say. ``is_list`` tells whether it is a list, if only of one image. ``media_type`` is that of its
    manifest or list, and ``manifest`` its digest, if the engine tells.
    """

    id: Digest
    kind: StoreKind
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    created: int | None = None
    size: int | None = None
    parts: tuple[EnginePart, ...] = ()
    is_list: bool = False
    media_type: str = ""
    manifest: Digest | None = None

    @property
    def label(self) -> str:
        """What messages call it, safe to print: its first name, else its id, shortened."""
        return escape(self.names[0], 300) if self.names else self.id.short

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms of its images, in the engine's order; none if the engine does not say."""
        return tuple(part.platform for part in self.parts)


def read_summaries(value: object, kind: StoreKind, what: str) -> list[EngineImage]:
    """Read the list of images; entries with one id are one image. Raises `DocumentError`."""
    if not isinstance(value, list):
        raise DocumentError(f"{what}: is not a JSON array")
    images: dict[Digest, EngineImage] = {}
    for place, entry in enumerate(value):
        image = _summary(Fields.of(entry, what, f"/{place}", _SUMMARY_KEYS), kind)
        if (known := images.get(image.id)) is not None:
            # Docker 24 lists an image of the containerd store once for each name and platform.
            names, digests = _merged(known.names, image.names), _merged(known.digests, image.digests)
            image = replace(known, names=names, digests=digests)
        images[image.id] = image
    return list(images.values())


def with_inspected(image: EngineImage, value: object, what: str) -> EngineImage | None:
    """Return the image with the platform that inspecting gave; None if that is about another image.

    Raises `DocumentError`.
    """
    fields = Fields.of(value, what, "", _INSPECT_KEYS)
    if _digest(fields, "Id") != image.id:
        return None
    os, architecture = fields.text("Os") or "", fields.text("Architecture") or ""
    platform = Platform(os, architecture, fields.text("Variant") or "", fields.text("OsVersion") or "")
    part = EnginePart(platform, image.id, image.size)
    return replace(image, parts=(part,), media_type=fields.text("ManifestType") or "")


def with_entries(image: EngineImage, value: object, images: Iterable[EngineImage], what: str) -> EngineImage:
    """Return a list of Podman's with its entries; those that are images of this machine are available.

    Raises `DocumentError`.
    """
    fields = Fields.of(value, what, "", _LIST_KEYS)
    local = {digest: other for other in images for digest in _manifest_digests(other)}
    parts = []
    for place, item in enumerate(fields.array("manifests") or []):
        entry = Descriptor.from_json(item, what, f"/manifests/{place}")
        if entry.is_attestation:
            continue
        platform, found = entry.platform or Platform("", ""), local.get(entry.digest)
        if found is None:
            parts.append(EnginePart(platform, entry.digest, available=False))
        else:
            parts.append(EnginePart(platform, found.id, found.size))
    return replace(image, parts=tuple(parts), is_list=True, media_type=fields.text("mediaType") or "")


def find_images(
    images: Sequence[EngineImage], text: str, *, every_tag: bool = False, by_name: bool = False
) -> list[EngineImage]:
    """Return the images that a name, an id or the beginning of one may mean; several if that is not clear.

    The name that was meant comes first among an image's own. A name without a tag means ``latest``, or with
    ``every_tag`` all tags; Podman's ``localhost/`` may be left out. With ``by_name`` no id is meant.

    Raises `InputError` for what is neither a name nor an id.
    """
    if not _FULL_ID.fullmatch(text) and (named := _by_name(images, text, every_tag=every_tag)):
        return named
    digits = id_digits(text) if not by_name else ""
    if not digits:
        return []
    by_id = [image for image in images if image.id.encoded.startswith(digits)]
    return by_id or [image for image in images if any(digest.encoded == digits for digest in _manifest_digests(image))]


def near_names(images: Iterable[EngineImage], text: str) -> list[str]:
    """Return a few names that are like the one that was asked for, first those of a repository of that name."""
    names = _merged((name for image in images for name in image.names), ())
    same = [name for name in names if _repository(name) == _repository(text)]
    last = [name for name in names if _repository(name).rpartition("/")[2] == _repository(text).rpartition("/")[2]]
    return list(_merged((*same, *last), difflib.get_close_matches(text, names, n=_MAX_NEAR)))[:_MAX_NEAR]


def _summary(fields: Fields, kind: StoreKind) -> EngineImage:
    entries, value = fields.array("Manifests"), fields.value.get("Descriptor")
    descriptor = Descriptor.from_json(value, fields.what, f"{fields.where}/Descriptor") if value is not None else None
    if kind != "podman" and (entries is not None or descriptor is not None):
        kind = "containerd"
    media_type = descriptor.media_type if descriptor is not None else ""
    identity, parts = _digest(fields, "Id"), _parts(entries or [], fields)
    return EngineImage(
        id=identity,
        kind=kind,
        names=_names(fields, "RepoTags"),
        digests=_names(fields, "RepoDigests"),
        # A date that is not known is one before 1970, a size that is not known is -1.
        created=_number(fields, "Created", least=1),
        size=_number(fields, "Size"),
        parts=parts,
        is_list=media_type in INDEXES
        or any(part.digest != identity for part in parts)
        or fields.value.get("IsManifestList") is True,
        media_type=media_type,
        manifest=_digest(fields, "Digest") if kind == "podman" and fields.text("Digest") else None,
    )


def _parts(entries: list[Any], fields: Fields) -> tuple[EnginePart, ...]:
    """Read what the containerd image store says of an image's manifests; attestations and the like are no images."""
    parts = []
    attested = {_attested(entry) for entry in entries}
    for place, entry in enumerate(entries):
        where = f"{fields.where}/Manifests/{place}"
        part = Fields.of(entry, fields.what, where, _PART_KEYS)
        if part.text("Kind") != "image":
            continue
        descriptor = Descriptor.from_json(part.value.get("Descriptor"), fields.what, f"{where}/Descriptor")
        sizes = Fields.of(part.value.get("Size") or {}, fields.what, f"{where}/Size", _SIZE_KEYS)
        platform = _part_platform(part) or descriptor.platform or Platform("", "")
        parts.append(
            EnginePart(
                platform,
                descriptor.digest,
                _number(sizes, "Content"),
                available=part.value.get("Available") is True,
                attested=str(descriptor.digest) in attested,
            )
        )
    return tuple(parts)


def _attested(entry: Any) -> object:
    """Return the digest, as text, of the image that an entry attests; None if it attests nothing."""
    data = entry.get("AttestationData") if isinstance(entry, dict) else None
    named = data.get("For") if isinstance(data, dict) else None
    return named if isinstance(named, str) else None


def _part_platform(part: Fields) -> Platform | None:
    data = part.value.get("ImageData")
    value = data.get("Platform") if isinstance(data, dict) else None
    where = f"{part.where}/ImageData/Platform"
    return read_platform(Fields.of(value, part.what, where, _PLATFORM_KEYS)) if value is not None else None


def _digest(fields: Fields, key: str) -> Digest:
    text: str = fields.required(fields.text, key)
    try:
        # Podman leaves the algorithm out.
        return Digest.parse(text if ":" in text else f"sha256:{text}")
    except InputError as error:
        raise DocumentError(f"{fields.what}: {fields.where}/{key}: {error.message}") from error


def _names(fields: Fields, key: str) -> tuple[str, ...]:
    return tuple(text for text in fields.texts(key) if _NO_NAME not in text)


def _number(fields: Fields, key: str, least: int = 0) -> int | None:
    value = fields.value.get(key)
    known = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_INTEGER
    return value if known else None


def _merged(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _manifest_digests(image: EngineImage) -> set[Digest]:
    """Return the digests of the manifest under which an image is known to registries."""
    named = {reference.digest for reference in references(image.digests) if reference.digest is not None}
    return named | {image.manifest} if image.manifest is not None else named


def _by_name(images: Iterable[EngineImage], text: str, *, every_tag: bool) -> list[EngineImage]:
    exact = [_called(image, text) for image in images if text in image.names]
    if exact:
        return exact
    wanted = Reference.parse(text)
    local = podman_store(text)
    found = []
    for image in images:
        stores = (wanted.store, local) if image.kind == "podman" else (wanted.store,)
        fitting = [
            name
            for name in (*image.names, *image.digests)
            if any(means(wanted, name, store, every_tag=every_tag) for store in stores)
        ]
        if fitting:
            found.append(_called(image, *(name for name in fitting if name in image.names)))
    return found


def _called(image: EngineImage, *names: str) -> EngineImage:
    return replace(image, names=_merged(names, image.names))


def _repository(name: str) -> str:
    reference = next(references((name,)), None)
    if reference is None:
        return name
    plain = reference.repository.removeprefix("library/")
    return plain if reference.registry in (DOCKER_HUB, "localhost") else f"{reference.registry}/{plain}"
