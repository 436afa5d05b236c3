"""Templates of tags: which tag the image for a platform gets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.model.platforms import Platform
from manifestctl.model.reference import check_tag
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from manifestctl.stores.base import Content

_FIELD = re.compile(r"\{(\w*)\}")
_SAMPLE = Platform("linux", "amd64", "v2")


def child_tags(
    template: str, tag_name: str, children: Iterable[tuple[Platform, Content]], *, taken: Collection[str]
) -> dict[str, Content]:
    """Return the tag that the template gives each image, with the image.

    Raises `InputError` if two images would get one tag, or one of those that are ``taken``, for they are the list's.
    """
    tags: dict[str, Content] = {}
    for platform, child in children:
        name = filled(template, tag_name, platform)
        if name in taken:
            raise InputError(
                f"the template '{escape(template, 200)}' gives the image for {platform.shown} the tag {name}, "
                "which is the list's",
                hint="Use {arch} and {variant} in it too, as in '{tag}-{arch}{variant}'.",
            )
        if tags.setdefault(name, child).digest != child.digest:
            raise InputError(
                f"the template '{escape(template, 200)}' gives two images the tag {name}",
                hint="Use {os}, {arch} and {variant}, or {platform}, so that every platform gets a tag of its own.",
            )
    return tags


def check_template(template: str) -> None:
    """Raise `InputError` if this cannot be a template of tags."""
    filled(template, "tag", _SAMPLE)


def filled(template: str, tag_name: str, platform: Platform) -> str:
    """Fill ``{tag}``, ``{os}``, ``{arch}``, ``{variant}`` and ``{platform}`` in. Raises `InputError` if that is no tag.

    ``{platform}`` is the whole platform, with the version of Windows if it has one, and with ``-`` between its parts.
    """
    parts = (platform.os, platform.architecture, platform.variant, platform.os_version)
    values = {
        "tag": tag_name,
        "os": platform.os,
        "arch": platform.architecture,
        "variant": platform.variant,
        "platform": "-".join(part for part in parts if part),
    }
    unknown = [name for name in _FIELD.findall(template) if name not in values]
    if unknown:
        raise InputError(
            f"'{escape(template, 200)}' is not a template: it has {{{escape(unknown[0], 40)}}} in it",
            hint="It may have {tag}, {os}, {arch}, {variant} and {platform} in it.",
        )
    if "{tag}" in template and not tag_name:
        raise InputError(
            f"'{escape(template, 200)}' needs a tag, but the list is named by its digest alone",
            hint="Name it by its tag, or write the tag into the template.",
        )
    return check_tag(_FIELD.sub(lambda match: values[match[1]], template))
