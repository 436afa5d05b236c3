"""`validate`: documents against their JSON Schemas, from files, from a layout, or from a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.finding import Finding
from manifestctl.model.manifest import Index, Manifest
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.text import escape
from manifestctl.validation import validate
from manifestctl.verbs.gather import category_rule
from manifestctl.verbs.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import Location
    from manifestctl.stores.base import Content, OpenStore, Store


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
    """Judge the bytes of one document; ``kind`` None means that it is recognised. Raises `InputError` for an unknown kind."""
    validation = validate(raw, name, kind)
    return Judged(name, validation.kind, validation.findings)


def judge_location(location: Location, open_store: OpenStore) -> Iterator[Judged]:
    """Judge what a reference holds, and everything that it names but layers. Raises `NotFoundError` if there is no such."""
    store = open_store(location)
    content = store.read_manifest(location.selector)
    yield from _judge(store, content, f"{store.name}@{content.digest}", set())


def judge_layout(
    location: Location, open_store: OpenStore, documents: Iterator[tuple[str, bytes, str]]
) -> Iterator[Judged]:
    """Judge a layout: its own files, given as (name, bytes, kind), and everything that its index names but layers."""
    store = open_store(location)
    seen: set[str] = set()
    for name, raw, kind in documents:
        yield judge_bytes(raw, name, kind)
        if kind != "oci-index":
            continue
        try:
            manifest = _parsed(raw)
        except DocumentError:
            # Judged above; what cannot be read names nothing.
            continue
        yield from _judge_entries(store, manifest, seen)


def _parsed(raw: bytes) -> Manifest | Index:
    from manifestctl.model.manifest import parse_manifest

    return parse_manifest(raw, "", "the index")


def _judge_entries(store: Store, manifest: Manifest | Index, seen: set[str]) -> Iterator[Judged]:
    for entry in manifest.entries if isinstance(manifest, Index) else ():
        name = f"{store.name}@{entry.digest}"
        try:
            content = store.read_manifest(entry)
        except ManifestctlError as error:
            yield Judged(name, "unknown", (_unreadable(error, name, entry),))
            continue
        yield from _judge(store, content, name, seen)


def _judge(store: Store, content: Content, name: str, seen: set[str]) -> Iterator[Judged]:
    if str(content.digest) in seen:
        return
    seen.add(str(content.digest))
    from manifestctl.validation import kind_of_media_type

    yield judge_bytes(content.raw, name, kind_of_media_type(content.media_type))
    try:
        manifest = content.parse(name)
    except DocumentError:
        # Judged above, in more words.
        return
    yield from _judge_entries(store, manifest, seen)
    if isinstance(manifest, Manifest) and manifest.config.media_type in media_types.CONFIGS:
        yield _judge_config(store, manifest.config)


def _judge_config(store: Store, config: Descriptor) -> Judged:
    name = f"{store.name}@{config.digest}"
    try:
        return judge_bytes(store.read_blob(config, CONFIG_LIMIT), name, "oci-config")
    except NotFoundError as error:
        missing = DocumentError(error.message, hint="The image was not pushed whole.", rule="config-missing")
        return Judged(name, "oci-config", (_unreadable(missing, name, config),))
    except ManifestctlError as error:
        return Judged(name, "oci-config", (_unreadable(error, name, config),))


def _unreadable(error: ManifestctlError, name: str, entry: Descriptor) -> Finding:
    rule = category_rule(error)
    category = RULES[rule].category
    return Finding(
        "error", rule, category, "", error.message, error.hint, image=escape(name, 300), found=str(entry.digest)
    )
