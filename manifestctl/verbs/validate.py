"""`validate`: documents against their JSON Schemas, from files, from a layout, or from a registry."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest, parse_manifest
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.text import escape
from manifestctl.validation import UNKNOWN, kind_of_media_type, validate
from manifestctl.values import dataclass
from manifestctl.verbs.rules import found
from manifestctl.verbs.unreadable import OF_ONE_IMAGE, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.stores.base import Content, OpenStore, Store

_MAX_DEPTH = 8
_JUDGED = media_types.INDEXES | media_types.MANIFESTS


@dataclass(frozen=True, slots=True)
class Judged:
    """A document that was judged: its name for people, its kind, and what was found."""

    name: str
    kind: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Tell whether nothing in it is an error."""
        return not any(finding.is_error for finding in self.findings)


def judge_bytes(raw: bytes, name: str, kind: str | None) -> Judged:
    """Judge the bytes of one document; ``kind`` None means that it is recognised.

    Raises `InputError` for an unknown kind.
    """
    validation = validate(raw, name, kind)
    return Judged(name, validation.kind, validation.findings)


def judge_location(location: Location, open_store: OpenStore) -> Iterator[Judged]:
    """Judge what a reference holds, and everything that it names but layers.

    Raises `NotFoundError` if there is no such reference, and what else keeps it from being read.
    """
    store = open_store(location)
    content = store.read_manifest(location.selector)
    yield from _judge(store, content, f"{escape(store.name, 300)}@{content.digest}", _Seen())


def judge_layout(
    location: Location, open_store: OpenStore, documents: Iterable[tuple[str, bytes, str]]
) -> Iterator[Judged]:
    """Judge a layout: its own files, given as (name, bytes, kind), and everything that its index names but layers."""
    store = open_store(location)
    seen = _Seen()
    for name, raw, kind in documents:
        yield judge_bytes(raw, name, kind)
        if kind != "oci-index":
            continue
        try:
            manifest = parse_manifest(raw, "", "the index")
        except DocumentError:
            # Judged above; what cannot be read names nothing.
            continue
        yield from _judge_entries(store, manifest, seen)


@dataclass(slots=True)
class _Seen:
    """The digests that were judged, and how deep in lists of lists the next document stands."""

    digests: set[Digest] = field(default_factory=set)
    depth: int = 0


def _judge_entries(store: Store, manifest: Manifest | Index, seen: _Seen) -> Iterator[Judged]:
    for entry in manifest.entries if isinstance(manifest, Index) else ():
        # What else a list may name is not ours to judge.
        if entry.media_type not in _JUDGED or entry.digest in seen.digests:
            continue
        name = f"{escape(store.name, 300)}@{entry.digest}"
        if seen.depth >= _MAX_DEPTH:
            yield Judged(name, UNKNOWN, (_too_deep(entry, store),))
            return
        try:
            content = store.read_manifest(entry)
        except OF_ONE_IMAGE as error:
            yield Judged(name, UNKNOWN, (_unreadable(error, name, entry, store),))
            continue
        seen.depth += 1
        yield from _judge(store, content, name, seen)
        seen.depth -= 1


def _judge(store: Store, content: Content, name: str, seen: _Seen) -> Iterator[Judged]:
    seen.digests.add(content.digest)
    judged = judge_bytes(content.raw, name, kind_of_media_type(content.media_type))
    try:
        manifest = content.parse(name)
    except DocumentError as error:
        # What is wrong with the document itself was said in more words; what it was served as was not.
        unfit = replace(unreadable(error, where=name, repository=store.name), where=error.pointer)
        yield replace(judged, findings=(*judged.findings, unfit)) if judged.ok else judged
        return
    yield judged
    yield from _judge_entries(store, manifest, seen)
    if isinstance(manifest, Manifest) and manifest.config.media_type in media_types.CONFIGS:
        yield from _judge_config(store, manifest.config, seen)


def _judge_config(store: Store, config: Descriptor, seen: _Seen) -> Iterator[Judged]:
    name = f"{escape(store.name, 300)}@{config.digest}"
    if config.digest in seen.digests:
        return
    seen.digests.add(config.digest)
    try:
        yield judge_bytes(store.read_blob(config, CONFIG_LIMIT), name, "oci-config")
    except NotFoundError as error:
        missing = DocumentError(error.message, rule="config-missing")
        yield Judged(name, "oci-config", (_unreadable(missing, name, config, store),))
    except OF_ONE_IMAGE as error:
        yield Judged(name, "oci-config", (_unreadable(error, name, config, store),))


def _unreadable(error: ManifestctlError, name: str, entry: Descriptor, store: Store) -> Finding:
    finding = unreadable(error, where=name, repository=store.name, entry=entry)
    return replace(finding, where="", image=name)


def _too_deep(entry: Descriptor, store: Store) -> Finding:
    return found(
        "list-too-deep",
        f"lists are nested deeper than {_MAX_DEPTH} levels, so {entry.digest} was not looked at",
        where="",
        hint="Name it by its digest to have it judged too.",
        image=f"{escape(store.name, 300)}@{entry.digest}",
        repository=store.name,
    )
