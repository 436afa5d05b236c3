"""Composing a list: from the images that were read to bytes. Same inputs, same bytes, on every machine.

OCI image-spec "Image Index"; Docker "Image Manifest Version 2, Schema 2", manifest list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.stores.base import Content
from manifestctl.text import escape
from manifestctl.verbs.checks import distinct
from manifestctl.verbs.rules import found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manifestctl.model.finding import Finding
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.gather import Attestation, Member

Format = Literal["auto", "docker", "oci"]


@dataclass(frozen=True, slots=True)
class Wording:
    """What the user wants the list to be and to say."""

    format: Format = "auto"
    annotations: Mapping[str, str] = field(default_factory=dict)
    entry_annotations: Sequence[tuple[Platform, str, str]] = ()


@dataclass(frozen=True, slots=True)
class Composed:
    """A list that was composed: its bytes, its entries in order, and what is wrong with it."""

    content: Content
    entries: tuple[Descriptor, ...]
    findings: tuple[Finding, ...]


def compose(members: Sequence[Member], attestations: Sequence[Attestation], wording: Wording) -> Composed:
    """Compose the list of these images, in their order, and of these attestations after them.

    An image that was given twice stands once, with the annotations of both. Nothing that was asked for is dropped
    silently: what the format cannot say is a finding.
    """
    entries = [_entry(member, members, wording) for member in distinct(members)]
    entries += {attestation.entry.digest: attestation.entry for attestation in attestations}.values()
    docker, findings = _is_docker(entries, wording)
    findings += _unmatched(members, wording)
    if docker:
        findings += _unsayable(entries, wording)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_LIST if docker else media_types.OCI_INDEX,
        "manifests": [entry.to_json() for entry in entries],
    }
    if wording.annotations:
        document["annotations"] = dict(wording.annotations)
    raw = json.dumps(document, indent=2, ensure_ascii=False).encode()
    return Composed(Content.of(raw, document["mediaType"]), tuple(entries), tuple(findings))


def _entry(member: Member, members: Sequence[Member], wording: Wording) -> Descriptor:
    annotations: dict[str, str] = {}
    for same in members:
        if same.manifest.digest == member.manifest.digest:
            annotations |= same.entry.annotations
    platform = member.platform
    for wanted, key, value in wording.entry_annotations:
        if platform.satisfies(wanted):
            annotations[key] = value
    return replace(
        member.entry,
        media_type=member.manifest.media_type,
        size=len(member.manifest.raw),
        platform=platform,
        annotations=annotations,
    )


def _is_docker(entries: Sequence[Descriptor], wording: Wording) -> tuple[bool, list[Finding]]:
    """Decide the format: Docker's list, or OCI's index (with a finding if annotations alone make it that)."""
    if wording.format != "auto":
        return wording.format == "docker", []
    if not entries or not all(media_types.is_docker(entry.media_type) for entry in entries):
        return False, []
    if not (wording.annotations or wording.entry_annotations):
        return True, []
    return False, [
        found(
            "format-widened",
            "all images are Docker's, but Docker's list cannot hold annotations, so the list is an OCI index",
            where="--format",
            hint="Pass --format oci to say that this is meant, or leave the annotations out.",
        )
    ]


def _unmatched(members: Sequence[Member], wording: Wording) -> list[Finding]:
    return [
        found(
            "annotation-unmatched",
            f"no image is for {wanted}, so the annotation {escape(key, 120)} has no entry to go to",
            where="--entry-annotation",
            hint="Name a platform that one of the images has.",
            platform=str(wanted),
        )
        for wanted, key, _ in wording.entry_annotations
        if members and not any(member.platform.satisfies(wanted) for member in members)
    ]


def _unsayable(entries: Sequence[Descriptor], wording: Wording) -> list[Finding]:
    """Find what Docker's list cannot hold: OCI media types, annotations, members that only OCI descriptors have."""
    hint = "Pass --format oci; registries and runtimes of today take both."
    findings = [
        found(
            "media-type-format",
            f"{entry.digest.short} is {escape(entry.media_type, 120)}, which Docker's list cannot hold",
            where="--format",
            hint=hint,
            platform=entry.platform.shown if entry.platform else "",
            found=escape(entry.media_type, 120),
            expected=media_types.DOCKER_MANIFEST,
        )
        for entry in entries
        if entry.media_type != media_types.DOCKER_MANIFEST
    ]
    said = ["annotations"] if wording.annotations else []
    said += ["annotations of entries"] if any(entry.annotations for entry in entries) else []
    said += ["the member " + escape(key, 80) for key in dict.fromkeys(key for entry in entries for key in entry.extra)]
    findings += [
        found("format-unsupported", f"Docker's list cannot hold {thing}", where="--format", hint=hint) for thing in said
    ]
    return findings
