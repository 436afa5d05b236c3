"""Which image of a source is pushed: the only one, the one of a platform, or a list as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from manifestctl.errors import InputError, NotFoundError
from manifestctl.events import Noted, ignore
from manifestctl.model import media_types
from manifestctl.model.location import EngineLocation
from manifestctl.model.manifest import Manifest, parse_config
from manifestctl.model.strict_json import CONFIG_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifestctl.events import Observer
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.stores.base import Content, Store
    from manifestctl.verbs.push_request import PushRequest

T = TypeVar("T")


def choose(source: Store, request: PushRequest, what: str, observe: Observer = ignore) -> Content:
    """Return the image to push out of what the source holds; the host's own platform plays no part.

    What is left behind is told to ``observe``. Raises `NotFoundError` if there is none of the platform, and
    `InputError` if several could be meant.
    """
    content = source.read_manifest(request.source.selector)
    manifest = content.parse(what)
    # What the store does not say, or says in general words only, the document itself does.
    content = replace(content, media_type=manifest.media_type)
    if isinstance(manifest, Manifest):
        if request.platforms:
            check_platform(_platform_of(manifest, source, what), request.platforms, what)
        return content
    images = [entry for entry in manifest.entries if not entry.is_attestation]
    if request.everything or (len(images) == 1 and not request.platforms):
        return content
    found = _fitting([(entry, _platform_in(entry, source, what)) for entry in images], request.platforms, what)
    if len(found) == 1:
        if any(entry.attests == str(found[0].digest) for entry in manifest.entries):
            observe(Noted(lost_attestations(what, request.source)))
        return source.read_manifest(found[0])
    if not found:
        raise NotFoundError(f"{what} is a list without images", hint="--platform all pushes it as it is.")
    raise InputError(
        f"{what} has {_several(request.platforms)}: {_shown(_platform_in(entry, source, what) for entry in found)}",
        hint="Choose one with --platform, or push all of them as a list with --platform all.",
    )


def check_platform(platform: Platform | None, wanted: tuple[Platform, ...], what: str) -> None:
    """Raise `NotFoundError` if an image is for none of the platforms asked for."""
    _fitting([(what, platform)], wanted, what)


def lost_attestations(what: str, place: Location) -> str:
    """Return the note for an image that was taken out of a list without what the list has about it."""
    other = "" if isinstance(place, EngineLocation) else ", and so does 'manifestctl copy --platform'"
    return (
        f"{what}: the list has attestations of this image (provenance, SBOM), which are not pushed with it; "
        f"--platform all pushes them{other}"
    )


def _several(platforms: tuple[Platform, ...]) -> str:
    wanted = ", ".join(str(platform) for platform in platforms)
    return f"several images for {wanted}" if wanted else "images for several platforms"


def _fitting(images: list[tuple[T, Platform | None]], wanted: tuple[Platform, ...], what: str) -> list[T]:
    """Return the images that are for one of the platforms asked for, all if none are; raises `NotFoundError`."""
    if not wanted:
        return [image for image, _ in images]
    found = [image for image, platform in images if platform and any(platform.satisfies(one) for one in wanted)]
    if not found:
        names = ", ".join(str(platform) for platform in wanted)
        raise NotFoundError(
            f"{what}: there is no image for {names}; there is: {_shown(platform for _, platform in images)}",
            hint="Name one of these platforms, or take another source.",
        )
    return found


def _shown(platforms: Iterable[Platform | None]) -> str:
    return ", ".join(platform.shown if platform is not None else "no platform" for platform in platforms) or "none"


def _platform_in(entry: Descriptor, source: Store, what: str) -> Platform | None:
    """Return what an entry of a list is for: as it says, else as the config of its image does."""
    if entry.platform is not None:
        return entry.platform
    manifest = source.read_manifest(entry).parse(what)
    return _platform_of(manifest, source, what) if isinstance(manifest, Manifest) else None


def _platform_of(manifest: Manifest, source: Store, what: str) -> Platform | None:
    if manifest.config.media_type not in media_types.CONFIGS:
        return None
    return parse_config(source.read_blob(manifest.config, CONFIG_LIMIT), f"the config of {what}").platform
