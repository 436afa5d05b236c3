"""What refers to an image: signatures, SBOMs. OCI distribution-spec "Listing Referrers", "Referrers Tag Schema"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from manifestctl.model import media_types
from manifestctl.model.manifest import Index
from manifestctl.stores.base import Content, ReferrerStore
from manifestctl.stores.referrers import fallback_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Store
    from manifestctl.verbs.transfer import Transfer

# Where cosign keeps what it makes, in registries without the referrers API.
_COSIGN = ("sig", "att", "sbom")


def copy_referrers(content: Content, source: Store, target: Store, transfer: Transfer, runtime: Runtime) -> int:
    """Bring over what refers to an image, or to a list and its images; returns how many manifests that were."""
    if not isinstance(source, ReferrerStore):
        return 0
    manifest = content.parse(f"{source.name}@{content.digest}")
    subjects = [content.digest]
    if isinstance(manifest, Index):
        subjects += [entry.digest for entry in manifest.entries]
    count = 0
    for subject, found in zip(subjects, transfer.pool.map(source.referrers, subjects), strict=True):
        if found:
            transfer.entries(found)
            _make_known(subject, found, target, runtime)
            count += len(found)
    return count + _cosign_tags(subjects, source, target, transfer)


def _make_known(subject: Digest, found: Sequence[Descriptor], target: Store, runtime: Runtime) -> None:
    """Write the tag of the tag scheme where the target does not list referrers by itself."""
    del runtime
    if not isinstance(target, ReferrerStore):
        return
    known = {descriptor.digest for descriptor in target.referrers(subject)}
    if {descriptor.digest for descriptor in found} <= known:
        return
    merged = {descriptor.digest: descriptor for descriptor in (*target.referrers(subject), *found)}
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [descriptor.to_json() for descriptor in merged.values()],
    }
    raw = json.dumps(document, indent=2, ensure_ascii=False).encode()
    target.write_manifest(Content.of(raw, media_types.OCI_INDEX), fallback_tag(subject))


def _cosign_tags(subjects: Sequence[Digest], source: Store, target: Store, transfer: Transfer) -> int:
    """Bring over tags such as ``sha256-….sig``."""
    wanted = {f"{subject.algorithm}-{subject.encoded}.{kind}" for subject in subjects for kind in _COSIGN}
    count = 0
    for tag in source.tags():
        if tag in wanted:
            content = source.read_manifest(tag)
            transfer.image(content)
            target.write_manifest(content, tag)
            count += 1
    return count
