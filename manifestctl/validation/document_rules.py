"""Rules for whole documents: lists whose entries clash, configs that contradict themselves, mixed documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.model.descriptor import ATTESTATION_SUBJECT, ATTESTATION_TYPE
from manifestctl.model.media_types import is_docker
from manifestctl.model.strict_json import pointer
from manifestctl.text import escape, plural
from manifestctl.validation.descriptor_rules import attests, date_faults, descriptor_faults, descriptors
from manifestctl.validation.faults import Fault, Path, name, platform_in, shown
from manifestctl.validation.kinds import DOCKER_KINDS, INDEX_KINDS, MANIFEST_KINDS
from manifestctl.validation.platform_rules import platform_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

# An image layout's index names its entries with these: entries of different names never compete for a client.
_NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
_OCI_ONLY = ("annotations", "artifactType", "subject", "data")


def rule_faults(kind: str, document: object) -> Iterator[Fault]:
    """Yield what the rules that no schema can hold say against a parsed document of the kind."""
    if not isinstance(document, dict):
        return
    yield from _mixed(kind, document)
    if kind == "oci-config":
        yield from _config(document)
    else:
        yield from descriptor_faults(kind, document)
    if kind in INDEX_KINDS:
        yield from _clashes(kind, document)
        yield from _dangling(kind, document)
    if kind in DOCKER_KINDS:
        yield from _docker(kind, document)


def _mixed(kind: str, document: Object) -> Iterator[Fault]:
    foreign = ("config", "layers") if kind in INDEX_KINDS else ("manifests",) if kind in MANIFEST_KINDS else ()
    is_a, other = ("a list", "an image manifest") if kind in INDEX_KINDS else ("an image manifest", "a list")
    for key in foreign:
        if document.get(key) is not None:
            yield Fault(
                (key,),
                "document-ambiguous",
                f"{key} has no place in {is_a}: some readers would take the document for {other}",
                hint=f"Registries and clients refuse such documents (CVE-2021-41190): remove {key}.",
            )


def _clashes(kind: str, document: Object) -> Iterator[Fault]:
    seen: dict[object, Path] = {}
    for path, entry in descriptors(kind, document):
        platform = platform_in(entry.get("platform"))
        if path[0] != "manifests" or attests(entry) or platform is None or platform.unknown:
            continue
        annotations = entry.get("annotations")
        named = annotations if isinstance(annotations, dict) else {}
        # JSON gives lists and objects too where texts belong; those have no place in a key.
        parts = [part for part in (entry.get("artifactType"), *map(named.get, _NAMES)) if isinstance(part, str)]
        key = (platform.key, *parts)
        first = seen.setdefault(key, path)
        if first is not path:
            yield _clash(path, entry, first, document["manifests"][first[1]], str(platform))


def _clash(path: Path, entry: Object, first: Path, other: Object, platform: str) -> Fault:
    where = pointer(*first)
    if entry.get("digest") == other.get("digest"):
        message = f"{name(path)} is the same as the entry at {where}"
        return Fault(path, "entry-repeated", message, "Remove one of the two.")
    return Fault(
        (*path, "platform"),
        "platform-duplicate",
        f"platform {escape(platform, 120)} is that of the entry at {where} too, and clients take the first",
        hint="Remove one of the two, or tell them apart by variant or os.version.",
    )


def _dangling(kind: str, document: Object) -> Iterator[Fault]:
    entries = [(path, entry) for path, entry in descriptors(kind, document) if path[0] == "manifests"]
    images = {entry["digest"] for _, entry in entries if isinstance(entry.get("digest"), str) and not attests(entry)}
    for path, entry in entries:
        # What else buildx may put there one day is not ours to judge.
        if not attests(entry) or entry["annotations"][ATTESTATION_TYPE] != "attestation-manifest":
            continue
        subject = entry["annotations"].get(ATTESTATION_SUBJECT)
        place = (*path, "annotations", ATTESTATION_SUBJECT)
        hint = "Remove the attestation, or put its image into the list."
        if subject is None:
            yield Fault(place, "attestation-dangling", "an attestation does not say which image it is for", hint)
        elif isinstance(subject, str) and subject not in images:
            message = f"an attestation is for {escape(subject, 160)}, which is not in the list"
            yield Fault(place, "attestation-dangling", message, hint, subject)


def _docker(kind: str, document: Object) -> Iterator[Fault]:
    for path, holder in [((), document), *descriptors(kind, document)]:
        for key in _OCI_ONLY:
            if holder.get(key) is not None:
                message = f"{key} is known to OCI only: readers of Docker's format ignore it"
                yield Fault((*path, key), "docker-oci-only", message, "Use the OCI format, or leave it out.")
        media_type = holder.get("mediaType")
        if kind in INDEX_KINDS and path and isinstance(media_type, str) and not is_docker(media_type):
            message = f"mediaType {shown(media_type)} in a Docker manifest list is refused by some registries"
            hint = "Use an OCI index for entries that are not Docker's."
            yield Fault((*path, "mediaType"), "docker-oci-only", message, hint, media_type)


def _config(document: Object) -> Iterator[Fault]:
    yield from platform_faults((), document)
    yield from date_faults(document.get("created"), ("created",))
    history = document.get("history")
    steps = history if isinstance(history, list) else []
    for position, step in enumerate(steps):
        if isinstance(step, dict):
            yield from date_faults(step.get("created"), ("history", position, "created"))
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    made = sum(1 for step in steps if isinstance(step, dict) and step.get("empty_layer") is not True)
    if steps and isinstance(diff_ids, list) and made != len(diff_ids):
        yield Fault(
            ("history",),
            "history-layers",
            f"history has {plural(made, 'step')} with a layer, rootfs.diff_ids has {plural(len(diff_ids), 'layer')}",
            hint="Mark the steps that made no layer with empty_layer, or tools that map steps to layers go wrong.",
            found=str(made),
            expected=str(len(diff_ids)),
        )
