"""Rules for descriptors, wherever they stand: embedded data, URIs, dates, platforms, one size for one digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.errors import InputError
from manifestctl.model.descriptor import ATTESTATION_TYPE
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import pointer
from manifestctl.text import escape
from manifestctl.validation.faults import Fault, Path, name, shown
from manifestctl.validation.formats import WEB_SCHEMES, base64_content, is_date_time, uri_scheme
from manifestctl.validation.kinds import DOCKER_KINDS
from manifestctl.validation.platform_rules import platform_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATED = "org.opencontainers.image.created"

Object = dict[str, Any]

# Where documents of each kind have descriptors.
_SINGLE = {"docker-manifest": ("config",), "oci-manifest": ("config", "subject"), "oci-index": ("subject",)}
_ARRAY = {
    "docker-manifest": "layers",
    "oci-manifest": "layers",
    "docker-manifest-list": "manifests",
    "oci-index": "manifests",
}


def descriptor_faults(kind: str, document: Object) -> Iterator[Fault]:
    """Yield what is wrong with the descriptors of a document, and with its own annotations."""
    if kind not in DOCKER_KINDS:
        yield from annotation_faults(document, ())
    sizes: dict[str, tuple[int, Path]] = {}
    for path, descriptor in descriptors(kind, document):
        yield from _size_conflict(path, descriptor, sizes)
        yield from _urls(path, descriptor)
        if kind not in DOCKER_KINDS:
            yield from _data(path, descriptor)
            if path:
                yield from annotation_faults(descriptor, path)
        if not attests(descriptor):
            yield from platform_faults((*path, "platform"), descriptor.get("platform"))


def descriptors(kind: str, document: Object) -> Iterator[tuple[Path, Object]]:
    """Yield the descriptors that documents of this kind have, in document order, each with its place.

    What is not a JSON object is left out.
    """
    if kind == "oci-descriptor":
        yield (), document
    for key, value in document.items():
        if key in _SINGLE.get(kind, ()) and isinstance(value, dict):
            yield (key,), value
        elif key == _ARRAY.get(kind) and isinstance(value, list):
            for position, item in enumerate(value):
                if isinstance(item, dict):
                    yield (key, position), item


def attests(descriptor: Object) -> bool:
    """Tell whether an entry is one of buildx's attestations, which is for no platform."""
    annotations = descriptor.get("annotations")
    return isinstance(annotations, dict) and ATTESTATION_TYPE in annotations


def annotation_faults(holder: Object, path: Path) -> Iterator[Fault]:
    """Yield what is wrong with the annotations of an object at the path."""
    annotations = holder.get("annotations")
    if isinstance(annotations, dict):
        yield from date_faults(annotations.get(CREATED), (*path, "annotations", CREATED))


def date_faults(value: object, path: Path) -> Iterator[Fault]:
    """Yield a fault if the value is a text but not a date; other types are the schema's business."""
    if isinstance(value, str) and not is_date_time(value):
        yield Fault(
            path,
            "date-invalid",
            f"{name(path)} {shown(value)} is not a date and time of RFC 3339",
            hint="Write it like 2026-01-31T22:22:56Z or 2026-01-31T22:22:56+01:00.",
            found=value,
        )


def _size_conflict(path: Path, descriptor: Object, sizes: dict[str, tuple[int, Path]]) -> Iterator[Fault]:
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or not isinstance(size, int) or isinstance(size, bool):
        return
    first, where = sizes.setdefault(digest, (size, path))
    if first != size:
        yield Fault(
            (*path, "size"),
            "digest-size-conflict",
            f"size is {shown(size)}, but the same digest has size {shown(first)} at {pointer(*where) or 'the root'}",
            hint="One of the two is wrong: ask the registry for the size of this digest.",
            found=str(size),
            expected=str(first),
        )


def _urls(path: Path, descriptor: Object) -> Iterator[Fault]:
    urls = descriptor.get("urls")
    for position, url in enumerate(urls if isinstance(urls, list) else ()):
        if not isinstance(url, str):
            continue
        place, scheme = (*path, "urls", position), uri_scheme(url)
        if scheme is None:
            hint = "Write it with its scheme and host, e.g. https://example.com/blob, other characters percent-encoded."
            yield Fault(place, "uri-invalid", f"{name(place)} {shown(url)} is not a URI", hint, url)
        elif scheme not in WEB_SCHEMES:
            message = f"{name(place)} has the scheme {escape(scheme, 40)}, which few clients can fetch"
            yield Fault(place, "uri-scheme", message, "Use https.", url)


def _data(path: Path, descriptor: Object) -> Iterator[Fault]:
    data, size = descriptor.get("data"), descriptor.get("size")
    if not isinstance(data, str):
        return
    place = (*path, "data")
    content = base64_content(data)
    if content is None:
        hint = "Encode the content with the standard alphabet, padded with =, without line breaks."
        yield Fault(place, "data-base64", "data is not base64", hint)
        return
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0 and size != len(content):
        message = f"data holds {len(content)} bytes, but size is {shown(size)}"
        yield Fault(place, "data-size", message, "Embed the whole content or none of it.", str(len(content)), str(size))
    digest = _verifiable(descriptor.get("digest"))
    if digest is not None and not digest.matches(content):
        actual = Digest.of(content, digest.algorithm)
        message = f"data has the digest {actual.short}…, but digest is {digest.short}…"
        hint = "Do not trust either: fetch the content again."
        yield Fault(place, "data-digest", message, hint, str(actual), str(digest))


def _verifiable(value: object) -> Digest | None:
    if not isinstance(value, str):
        return None
    try:
        digest = Digest.parse(value)
    except InputError:
        return None
    return digest if digest.verifiable else None
