"""Composing a list: from the images that were read to bytes. Same inputs, same bytes, on every machine.

OCI image-spec "Image Index"; Docker "Image Manifest Version 2, Schema 2", manifest list.
"""

from __future__ import annotations

import json
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.errors import InputError
from manifestctl.model import media_types
from manifestctl.stores.base import Content
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.rules import found

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.model.finding import Finding
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.gather import Attestation, Member

Format = Literal["auto", "docker", "oci"]

_USE_OCI = "Pass --format oci; registries and runtimes of today take both."


@dataclass(frozen=True, slots=True)
class Wording:
    """What the user wants the list to be and to say; making one raises `InputError` for what JSON cannot say."""

    format: Format = "auto"
    annotations: Mapping[str, str] = field(default_factory=dict)
    entry_annotations: Sequence[tuple[Platform, str, str]] = ()

    def __post_init__(self) -> None:
        """Refuse annotations that are not Unicode text, as the bytes of a command line may be."""
        pairs = [*self.annotations.items(), *((key, value) for _, key, value in self.entry_annotations)]
        for key, value in pairs:
            try:
                (key + value).encode()
            except UnicodeEncodeError:
                raise InputError(
                    f"the annotation '{escape(key, 120)}={escape(value, 120)}' is not UTF-8 text",
                    hint="Annotations are JSON, which holds Unicode text only.",
                ) from None


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
    same: dict[Digest, list[Member]] = {}
    for member in members:
        same.setdefault(member.manifest.digest, []).append(member)
    entries = [_Entry(_entry(of_one, wording), of_one[0]) for of_one in same.values()]
    entries += _attestation_entries(attestations)
    docker, findings = _format(entries, wording)
    findings += _unmatched(members, wording)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_LIST if docker else media_types.OCI_INDEX,
        "manifests": [entry.descriptor.to_json() for entry in entries],
    }
    if wording.annotations:
        document["annotations"] = dict(wording.annotations)
    raw = json.dumps(document, indent=2, ensure_ascii=False).encode()
    content = Content.of(raw, document["mediaType"])
    return Composed(content, tuple(entry.descriptor for entry in entries), tuple(findings))


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the list, and what it was made of."""

    descriptor: Descriptor
    source: Member | Attestation


def _entry(same: Sequence[Member], wording: Wording) -> Descriptor:
    """Return the entry of an image that was given by these names."""
    member = same[0]
    annotations = _merged(other.entry.annotations for other in same)
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


def _attestation_entries(attestations: Sequence[Attestation]) -> list[_Entry]:
    same: dict[Digest, list[Attestation]] = {}
    for attestation in attestations:
        same.setdefault(attestation.entry.digest, []).append(attestation)
    return [
        _Entry(replace(first.entry, annotations=_merged(other.entry.annotations for other in (first, *others))), first)
        for first, *others in same.values()
    ]


def _merged(annotations: Iterable[Mapping[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for some in annotations:
        merged |= some
    return merged


def _format(entries: Sequence[_Entry], wording: Wording) -> tuple[bool, list[Finding]]:
    """Decide whether it is Docker's list rather than OCI's index, and find what that cannot say.

    Where all images are Docker's but something else is not, the list becomes an index, and that is said.
    """
    if wording.format == "oci" or not entries:
        return wording.format == "docker", []
    if wording.format == "docker":
        return True, _foreign(entries) + [
            found(
                "format-unsupported",
                f"Docker's list cannot hold {thing}",
                where="--format",
                hint=_USE_OCI,
                repository=entries[0].source.repository,
                found=thing,
                expected="what Docker's list can hold",
            )
            for thing in _unsayable(entries, wording)
        ]
    unsayable = _unsayable(entries, wording)
    if _foreign(entries) or not unsayable:
        return not _foreign(entries), []
    things = ", ".join(unsayable)
    return False, [
        found(
            "format-widened",
            f"all images are Docker's, but Docker's list cannot hold {things}, so the list is an OCI index",
            where="--format",
            hint="Pass --format oci to say that this is meant, or leave it out.",
            repository=entries[0].source.repository,
            found=things,
            expected="what Docker's list can hold",
        )
    ]


def _foreign(entries: Sequence[_Entry]) -> list[Finding]:
    """Find the entries whose media type Docker's list cannot hold."""
    return [
        found(
            "media-type-format",
            f"{entry.source.name} is {escape(entry.descriptor.media_type, 120)}, which Docker's list cannot hold",
            where=escape(entry.source.request.given, 300),
            hint="Pass --format oci, or leave it out with --attestations drop."
            if entry.descriptor.is_attestation
            else _USE_OCI,
            image=f"{escape(entry.source.request.given, 300)} ({entry.descriptor.digest})",
            platform=entry.descriptor.platform.shown if entry.descriptor.platform else "",
            repository=entry.source.repository,
            found=escape(entry.descriptor.media_type, 120),
            expected=media_types.DOCKER_MANIFEST,
        )
        for entry in entries
        if entry.descriptor.media_type != media_types.DOCKER_MANIFEST
    ]


def _unsayable(entries: Sequence[_Entry], wording: Wording) -> list[str]:
    """Say what Docker's list cannot hold besides media types: annotations, and what only OCI descriptors have."""
    descriptors = [entry.descriptor for entry in entries]
    said = ["annotations"] if wording.annotations else []
    said += ["annotations of entries"] if any(descriptor.annotations for descriptor in descriptors) else []
    said += ["an artifactType"] if any(descriptor.artifact_type for descriptor in descriptors) else []
    extra = dict.fromkeys(key for descriptor in descriptors for key in descriptor.extra)
    return said + [f"the member {escape(key, 80)}" for key in extra]


def _unmatched(members: Sequence[Member], wording: Wording) -> list[Finding]:
    there = ", ".join(dict.fromkeys(member.platform.shown for member in members))
    return [
        found(
            "annotation-unmatched",
            f"no image is for {wanted}, so the annotation {escape(key, 120)} has no entry to go to",
            where="--entry-annotation",
            hint="Name a platform that one of the images has.",
            platform=str(wanted),
            repository=members[0].repository,
            found=there,
            expected=str(wanted),
        )
        for wanted, key, _ in wording.entry_annotations
        if members and not any(member.platform.satisfies(wanted) for member in members)
    ]
