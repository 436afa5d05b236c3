"""`images`: what is on this machine and could be pushed: of an engine, an archive or a layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.location import EngineLocation
from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.model.reference import Reference
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.stores.base import ImageLister, LocalImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.stores.base import OpenStore, Store


def local_images(
    location: Location | None, open_store: OpenStore, platforms: Sequence[Platform] = ()
) -> list[LocalImage]:
    """List the images of a layout or an archive, or, for None, of the engine; only those for one of ``platforms``, if any.

    Raises `InputError` for a place that is not on this machine, and what its store raises.
    """
    if isinstance(location, Reference):
        raise InputError(
            f"{location}: images lists what is on this machine",
            hint=f"'manifestctl tags {location.store}' lists what is in that repository.",
        )
    store = open_store(location if location is not None else EngineLocation(""))
    found = store.images() if isinstance(store, ImageLister) else [_tagged(store, tag) for tag in store.tags()]
    if not platforms:
        return found
    return [image for image in found if any(p.satisfies(wanted) for p in image.platforms for wanted in platforms)]


def _tagged(store: Store, tag: str) -> LocalImage:
    content = store.read_manifest(tag)
    manifest = content.parse(f"{store.name}:{tag}")
    if isinstance(manifest, Manifest):
        return _image(store, tag, manifest)
    images = [entry for entry in manifest.entries if not entry.is_attestation]
    contents = [store.read_manifest(entry).parse(f"{store.name}@{entry.digest}") for entry in images]
    size = sum(0 if isinstance(one, Index) else one.size for one in contents)
    platforms = tuple(entry.platform for entry in images if entry.platform is not None)
    return LocalImage((tag,), content.digest, platforms, size)


def _image(store: Store, tag: str, manifest: Manifest) -> LocalImage:
    try:
        config = parse_config(store.read_blob(manifest.config, CONFIG_LIMIT), "the config")
    except DocumentError:
        # An artifact: its config may be anything.
        return LocalImage((tag,), manifest.config.digest, (), manifest.size)
    return LocalImage((tag,), manifest.config.digest, (config.platform,), manifest.size, config.created)
