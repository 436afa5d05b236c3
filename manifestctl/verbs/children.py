"""What `create` does to the images of its list on the way: bring them into the target's repository, and tag them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.model.reference import DEFAULT_TAG
from manifestctl.stores.base import Content
from manifestctl.verbs.checks import same_repository
from manifestctl.verbs.gather import Member
from manifestctl.verbs.publish import Guard
from manifestctl.verbs.tagging import at_once, check_quota, publish_tags
from manifestctl.verbs.template import child_tags
from manifestctl.verbs.transfer import Transfer, tell_gaps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.parallel import Pool
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Store
    from manifestctl.verbs.check import Checked
    from manifestctl.verbs.gather import Attestation
    from manifestctl.verbs.publish import TagState
    from manifestctl.verbs.transfer import Moved


def bring(
    checked: Checked,
    stores: Sequence[Store],
    target: Store,
    moved: Moved,
    pool: Pool,
    *,
    runtime: Runtime,
    there: bool,
) -> None:
    """Bring the images and attestations of the list that live elsewhere into the target's repository, by digest.

    What is in that repository already, under another of the names that were given, is not copied. ``there`` says that
    the list is; that something is missing all the same is worth a warning.
    """
    items: list[Member | Attestation] = [*checked.gathered.members, *checked.gathered.attestations]
    home = checked.request.target
    at_home = {_digest(item) for item in items if same_repository(item.request.location, home)}
    places: dict[Digest, str] = {}
    for item in items:
        places.setdefault(_digest(item), item.repository)
    wanted: dict[str, list[Descriptor]] = {}
    for entry in checked.composed.entries if checked.composed is not None else ():
        if entry.digest not in at_home:
            wanted.setdefault(places[entry.digest], []).append(entry)
    by_name = {store.name: store for store in stores}
    for name, entries in wanted.items():
        transfer = Transfer(
            by_name[name], target, pool, runtime, moved, known=_manifests(checked), small=_configs(checked)
        )
        transfer.entries(entries, there=there)
    if there and checked.composed is not None:
        tell_gaps(target, checked.composed.content, (0, 0), moved, runtime)


def tags_of_children(checked: Checked, template: str, names: Sequence[str], target: Store) -> dict[str, Content]:
    """Return the tag that each image of the list gets, with the image; ``names`` are the list's own tags.

    Raises `InputError` if that is one tag for two, or one of the list's.
    """
    own = checked.request.target.tag or DEFAULT_TAG
    children = [(member.platform, _content(member)) for member in checked.members]
    tags = child_tags(template, own, children, taken=names)
    check_quota(target, tags, {name: child.digest for name, child in tags.items()})
    return tags


def tag_children(
    target: Store,
    wanted: Mapping[str, Content],
    states: Sequence[TagState],
    guard: Guard,
    pool: Pool,
    *,
    runtime: Runtime,
) -> None:
    """Give the images their tags; raises the error that counts most if one of them fails."""
    own = Guard(no_overwrite=guard.no_overwrite)
    publish_tags(target, wanted, at_once(states), lambda _: own, pool, runtime=runtime, main=False)


def _manifests(checked: Checked) -> dict[Digest, Content]:
    found = {member.manifest.digest: _content(member) for member in checked.members}
    for attestation in checked.gathered.attestations:
        manifest = attestation.manifest
        if manifest is not None:
            found[manifest.digest] = Content(manifest.raw, manifest.media_type, manifest.digest)
    return found


def _configs(checked: Checked) -> dict[Digest, bytes]:
    return {member.manifest.config.digest: member.config_raw for member in checked.members}


def _content(member: Member) -> Content:
    return Content(member.manifest.raw, member.manifest.media_type, member.manifest.digest)


def _digest(item: Member | Attestation) -> Digest:
    return item.manifest.digest if isinstance(item, Member) else item.entry.digest
