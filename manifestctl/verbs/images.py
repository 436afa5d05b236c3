"""`images`: what is on this machine and could be pushed: of an engine, an archive or a layout."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, InputError, NotFoundError
from manifestctl.model.location import EngineLocation, LayoutLocation
from manifestctl.model.manifest import Manifest, parse_config
from manifestctl.model.reference import Reference
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.stores.base import ImageLister, LocalImage, described
from manifestctl.stores.local_names import names_host, references
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.location import Location
    from manifestctl.model.manifest import ImageConfig, Index
    from manifestctl.model.platforms import Platform
    from manifestctl.stores.base import OpenStore, Store


def local_images(
    location: Location | None, open_store: OpenStore, platforms: Sequence[Platform] = ()
) -> list[LocalImage]:
    """List the images of a layout or an archive, or, for None, of the engine; if given, only those for ``platforms``.

    A location that names an image gives the one that a push of it takes; but in an engine or an archive a name without
    a tag gives all tags of that repository. Raises `InputError` for a place that is not on this machine,
    `NotFoundError` if there is no image of that name, and what its store raises.
    """
    if isinstance(location, Reference):
        raise InputError(
            f"{location}: images lists what is on this machine",
            hint=f"'manifestctl tags {location.store}' lists what is in that repository.",
        )
    store = open_store(location if location is not None else EngineLocation(""))
    if isinstance(store, ImageLister):
        name = location.image if isinstance(location, EngineLocation) else location.selector if location else ""
        try:
            found = store.images(name)
        except NotFoundError as error:
            error.hint = f"{error.hint}{_in_its_registry(name)}"
            raise
    elif isinstance(location, LayoutLocation) and location.selector:
        found = [_held(store, location.selector, () if location.digest else (location.selector,))]
    else:
        found = _merged([_held(store, tag, (tag,)) for tag in store.tags()])
    if not platforms:
        return found
    return [image for image in found if any(p.satisfies(wanted) for p in image.platforms for wanted in platforms)]


def _in_its_registry(name: str) -> str:
    """Return where to look on for what is not on this machine, and has the name of an image in a registry."""
    reference = next(references((name,) if names_host(name) else ()), None)
    if reference is None:
        return ""
    shown = escape(name, 300)
    return f" In its registry, 'manifestctl inspect {shown}' and 'manifestctl tags {reference.store}' look for it."


def _merged(images: list[LocalImage]) -> list[LocalImage]:
    """Return each image once, with all its names."""
    names: dict[LocalImage, tuple[str, ...]] = {}
    for image in images:
        nameless = replace(image, names=())
        names[nameless] = (*names.get(nameless, ()), *image.names)
    return [replace(image, names=found) for image, found in names.items()]


def _held(store: Store, selector: str, names: tuple[str, ...]) -> LocalImage:
    content = store.read_manifest(selector)
    manifest = content.parse(described(selector, store.name))
    identity = manifest.config.digest if isinstance(manifest, Manifest) else content.digest
    images = [manifest] if isinstance(manifest, Manifest) else _images(store, manifest)
    configs = [config for image in images if (config := _config(store, image)) is not None]
    created = next((config.created for config in configs if config.created), "")
    size = sum(image.size for image in images)
    return LocalImage(names, identity, tuple(config.platform for config in configs), size, created)


def _images(store: Store, index: Index) -> list[Manifest]:
    """Return the images of a list that are there; a layout may hold some of them only."""
    found = []
    for entry in index.entries:
        with suppress(NotFoundError):
            image = store.read_manifest(entry).parse(described(entry, store.name)) if not entry.is_attestation else None
            if isinstance(image, Manifest):
                found.append(image)
    return found


def _config(store: Store, image: Manifest) -> ImageConfig | None:
    # An artifact's config may be anything.
    with suppress(DocumentError, NotFoundError):
        return parse_config(store.read_blob(image.config, CONFIG_LIMIT), f"{store.name}@{image.config.digest}")
    return None
