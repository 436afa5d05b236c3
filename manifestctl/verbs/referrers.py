"""What refers to an image: signatures, SBOMs. OCI distribution-spec "Listing Referrers", "Referrers Tag Schema"."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.errors import InterruptedRun, ManifestctlError, NotFoundError, PartialError
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest
from manifestctl.stores.base import Content, ReferrerStore
from manifestctl.stores.referrers import fallback_tag, tagged
from manifestctl.text import escape
from manifestctl.verbs.publish import Guard, TagState, publish_tag, read_tag
from manifestctl.verbs.transfer import typed, write_patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Store
    from manifestctl.verbs.transfer import Transfer

# Where cosign keeps what it makes, in registries without the referrers API.
_COSIGN = ("sig", "att", "sbom")
# A signature of an SBOM of an image is two steps away from it.
_MAX_STEPS = 5


def copy_referrers(content: Content, transfer: Transfer, guard: Guard, runtime: Runtime) -> int:
    """Bring over what refers to an image, or to a list and its images, and what refers to that.

    Returns how many manifests that were. What the target has already is left. ``guard`` says when a tag of cosign's may
    be overwritten.
    """
    source, target = transfer.source, transfer.target
    if source.name == target.name:
        return 0
    manifest = content.parse(f"{source.name}@{content.digest}")
    subjects = [content.digest]
    if isinstance(manifest, Index):
        subjects += [entry.digest for entry in manifest.entries]
    seen = dict.fromkeys(subjects)
    named = len(seen)
    for _step in range(_MAX_STEPS):
        found = transfer.pool.map(lambda subject: _referrers(source, subject), subjects)
        pairs = [(subject, listed) for subject, listed in zip(subjects, found, strict=True) if listed]
        transfer.entries([descriptor for _, listed in pairs for descriptor in listed])
        transfer.pool.map(lambda pair: _make_known(pair[0], pair[1], target, runtime), pairs)
        new = dict.fromkeys(descriptor.digest for _, listed in pairs for descriptor in listed)
        subjects = [digest for digest in new if digest not in seen]
        seen |= dict.fromkeys(subjects)
        if not subjects:
            break
    return len(seen) - named + _cosign_tags(list(seen), transfer, guard, runtime)


def list_as_referrer(manifest: Manifest | Index, target: Store, runtime: Runtime) -> None:
    """Let what was published in a registry, and has a subject, be found among the subject's referrers.

    Registries with the referrers API see to that by themselves; for others the client writes the tag of the tag scheme
    (distribution-spec "Pushing Manifests with Subject"). Raises `PartialError` if that fails.
    """
    if manifest.subject is None or not isinstance(target, ReferrerStore):
        return
    kind = manifest.artifact_type or (manifest.config.media_type if isinstance(manifest, Manifest) else "")
    entry = replace(manifest.descriptor, artifact_type=kind, annotations=manifest.annotations)
    subject = manifest.subject.digest
    try:
        _make_known(subject, [entry], target, runtime)
    except InterruptedRun:
        raise
    except ManifestctlError as error:
        raise PartialError(
            f"{escape(target.name, 300)}@{manifest.digest} is published, but not among the referrers of {subject}, "
            f"where tools look for it: {error.message}",
            hint=error.hint or "Run this again: nothing that is there is sent again.",
        ) from error


def _referrers(store: Store, subject: Digest) -> list[Descriptor]:
    return store.referrers(subject) if isinstance(store, ReferrerStore) else tagged(store, subject)


def _make_known(subject: Digest, found: Sequence[Descriptor], target: Store, runtime: Runtime) -> None:
    """Write the tag of the tag scheme where the target does not list referrers by itself.

    It is asked whether it does: the header OCI-Subject of its answer to a PUT has been seen where there is no API.
    """
    there = _referrers(target, subject)
    known = {descriptor.digest for descriptor in there}
    new = [descriptor for descriptor in found if descriptor.digest not in known]
    if not new:
        return
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [descriptor.to_json() for descriptor in (*there, *new)],
    }
    raw = json.dumps(document, indent=2, ensure_ascii=False).encode()
    write_patiently(target, Content.of(raw, media_types.OCI_INDEX), fallback_tag(subject), runtime)


def _cosign_tags(subjects: Sequence[Digest], transfer: Transfer, guard: Guard, runtime: Runtime) -> int:
    """Bring over tags such as ``sha256-….sig``; returns how many there are."""
    source, target = transfer.source, transfer.target
    wanted = {f"{subject.algorithm}-{subject.encoded}.{kind}" for subject in subjects for kind in _COSIGN}
    try:
        tags = [tag for tag in source.tags() if tag in wanted]
    except NotFoundError:
        return 0
    for tag in tags:
        content = source.read_manifest(tag)
        held = read_tag(target, tag)
        state = TagState(tag, held, held)
        if not state.holds(content):
            manifest = transfer.image(content)
            publish_tag(target, typed(content, manifest), state, guard, runtime)
    return len(tags)
