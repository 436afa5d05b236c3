"""Which image of an engine's image to take. One of several platforms is never chosen without being asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifestctl.model.platforms import Platform
    from manifestctl.stores.engine_images import EngineImage, EnginePart

_LISTED = 10


def chosen(image: EngineImage, platform: Platform | None, *, every: bool) -> EnginePart | None:
    """Return the image to take of a list; None if it is all of it, or if nobody can tell what is in it."""
    if platform is not None:
        return _of_platform(image, platform) if image.parts else None
    if len(image.parts) > 1 and not every:
        raise InputError(
            f"{image.label} is an image of {len(image.parts)} platforms: {_platforms(image.parts)}",
            hint="Choose one with --platform.",
        )
    absent = [part for part in image.parts if not part.available]
    if absent:
        raise _not_here(image, absent)
    if image.kind != "podman" or not image.is_list:
        return None
    if len(image.parts) != 1:
        raise InputError(
            f"{image.label} is a list, and Podman exports only single images",
            hint=f"Run 'podman manifest push --all {image.label} oci:DIR:TAG', and take it from there.",
        )
    return image.parts[0]


def _of_platform(image: EngineImage, platform: Platform) -> EnginePart:
    fitting = [part for part in image.parts if _fits(image, part, platform)]
    if not fitting:
        raise NotFoundError(
            f"{image.label} has no image for {platform.shown}", hint=f"It has {_platforms(image.parts)}."
        )
    if len(fitting) > 1:
        raise InputError(
            f"{image.label} has {len(fitting)} images for {platform.shown}: {_platforms(fitting)}",
            hint="Name one of them in full.",
        )
    if not fitting[0].available:
        raise _not_here(image, fitting)
    return fitting[0]


def _fits(image: EngineImage, part: EnginePart, platform: Platform) -> bool:
    if image.kind == "podman" and not image.is_list:
        # Inspecting tells neither; what the archive's config says is compared when it is read.
        platform = replace(platform, variant=part.platform.variant, os_version=part.platform.os_version)
    return part.platform.satisfies(platform)


def _not_here(image: EngineImage, parts: Iterable[EnginePart]) -> NotFoundError:
    absent = [part.platform.shown for part in parts]
    pull = f"'docker pull --platform {absent[0]} {image.label}'"
    return NotFoundError(
        f"{image.label}: the content for {listed(absent)} is not on this machine",
        hint=f"Bring it here with {pull}, or choose another platform with --platform.",
    )


def _platforms(parts: Iterable[EnginePart]) -> str:
    return listed(part.platform.shown + ("" if part.available else " (not on this machine)") for part in parts)


def listed(labels: Iterable[str]) -> str:
    """Return labels in a row, of many only the first."""
    every = list(labels)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more
