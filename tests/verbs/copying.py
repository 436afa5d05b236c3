"""Copying and tagging in one line: two places, what a user says, and the verbs run upon them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.copy import Copied, CopyRequest, copy
from manifestctl.verbs.publish import Guard
from manifestctl.verbs.tag import Retagged, TagRequest, tag
from tests.support import images
from tests.support.world import World
from tests.verbs.scene import platforms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manifestctl.verbs.transfer import Moved
    from tests.support.fake_registry import FakeRegistry
    from tests.support.images import Content

SOURCE, TARGET = "team/from", "team/to"


def copied(
    source: str,
    target: str,
    *,
    world: World | None = None,
    settings: TransportSettings | None = None,
    only: str = "",
    **options: Any,
) -> Copied:
    """Run `copy`; ``only`` is ``--platform``, ``expect`` and ``no_overwrite`` make the guard."""
    world = world or World()
    guard = _guard(options)
    request = CopyRequest(parse_location(source), parse_location(target), platforms(only), guard=guard, **options)
    with Stores.of_system(world.runtime, settings or TransportSettings()) as stores:
        return copy(request, stores, world.runtime)


def tagged(
    target: str, *tags: str, world: World | None = None, settings: TransportSettings | None = None, **options: Any
) -> Retagged:
    """Run `tag`."""
    world = world or World()
    request = TagRequest(parse_location(target), tags, guard=_guard(options), **options)
    with Stores.of_system(world.runtime, settings or TransportSettings()) as stores:
        return tag(request, stores, world.runtime)


def done(result: Copied | Retagged) -> str:
    """Return the digest of what was copied or tagged, which must have gone well."""
    assert result.error is None, result.error
    assert (result.exit_code, result.content is not None) == (0, True)
    assert result.content is not None
    return str(result.content.digest)


def holds(registry: FakeRegistry, repository: str, content: Content) -> bool:
    """Tell whether a repository has a list or image whole: every manifest and every blob of it, with the same bytes."""
    held = registry.repository(repository)
    return all(
        part.digest in held.manifests
        and held.manifests[part.digest].data == part.manifest
        and part.blobs.items() <= held.blobs.items()
        for part in images.walk(content)
    )


def hows(moved: Moved | None) -> Mapping[str, int]:
    """Count how blobs came where they are."""
    found = list(moved.blobs.values()) if moved is not None else []
    return {how: found.count(how) for how in dict.fromkeys(sorted(found))}


def writes(registry: FakeRegistry) -> list[str]:
    """Return the writing requests as ``METHOD what``, in order."""
    wanted = registry.find("POST|PUT|PATCH|DELETE", "^/v2/")
    return [f"{request.method} {request.path.partition('/v2/')[2]}" for request in wanted]


def layout_tags(directory: Path) -> list[str]:
    """Return the tags of a layout."""
    with Stores.of_system(World().runtime) as stores:
        return stores(parse_location(f"oci:{directory}")).tags()


def _guard(options: dict[str, Any]) -> Guard:
    expect = options.pop("expect", None)
    return Guard(options.pop("no_overwrite", False), Digest.parse(expect) if expect else None)
