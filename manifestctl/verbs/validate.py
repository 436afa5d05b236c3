"""`validate`: documents against their JSON Schemas, from files, from a layout, or from a registry."""

from __future__ import annotations

import contextlib
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest, parse_manifest
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.stores.base import Content
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
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore, Store

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


def judge_location(
    location: Location, open_store: OpenStore, runtime: Runtime, *, concurrency: int = 16
) -> list[Judged]:
    """Judge what a reference holds, and everything that it names but layers; each document before those it names.

    Raises `NotFoundError` if there is no such reference, and what else keeps it from being read.
    """
    store = open_store(location)
    content = store.read_manifest(location.selector)
    with Pool(concurrency, runtime.cancel) as pool:
        walk = _Walk(store, pool)
        return walk.judge([walk.named(content.digest, content=content)])


def judge_layout(
    location: Location,
    open_store: OpenStore,
    documents: Iterable[tuple[str, bytes, str]],
    runtime: Runtime,
    *,
    concurrency: int = 16,
) -> list[Judged]:
    """Judge a layout: its own files, given as (name, bytes, kind), and everything that its index names but layers."""
    judged: list[Judged] = []
    with Pool(concurrency, runtime.cancel) as pool:
        walk = _Walk(open_store(location), pool)
        for name, raw, kind in documents:
            judged.append(judge_bytes(raw, name, kind))
            # What a layout of another version, or an index that cannot be read, names is not known.
            if kind == "oci-index" and all(item.ok for item in judged if item.kind == "oci-layout"):
                with contextlib.suppress(DocumentError):
                    judged += walk.judge(walk.entries_of(parse_manifest(raw, "", "the index"), 0))
    return judged


@dataclass(slots=True)
class _Node:
    """A document, or what stands for it if it cannot be read; ``below`` are those that it names, in its order.

    ``entry`` is what names it, None for the first of all.
    """

    name: str
    entry: Descriptor | None = None
    is_config: bool = False
    depth: int = 0
    content: Content | None = None
    judged: Judged | None = None
    below: list[_Node] = field(default_factory=list)

    def in_order(self) -> Iterator[Judged]:
        """Yield what was judged, from here on down."""
        if self.judged is not None:
            yield self.judged
        for node in self.below:
            yield from node.in_order()


class _Walk:
    """A way through all that is named in one store, level by level: each level is read at once."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._seen: set[Digest] = set()

    def judge(self, nodes: list[_Node]) -> list[Judged]:
        """Judge documents and all below them."""
        level = nodes
        while level:
            self._pool.map(self._read, level)
            for node in level:
                if node.content is not None:
                    self._judge(node, node.content)
            level = [below for node in level for below in node.below]
        return [judged for node in nodes for judged in node.in_order()]

    def named(self, digest: Digest, **known: Any) -> _Node:
        """Return a node for a document that was not met before."""
        self._seen.add(digest)
        return _Node(f"{escape(self._store.name, 300)}@{digest}", **known)

    def entries_of(self, manifest: Manifest | Index, depth: int) -> list[_Node]:
        """Return what a list names, each once; nothing for a manifest."""
        found: list[_Node] = []
        for entry in manifest.entries if isinstance(manifest, Index) else ():
            # What else a list may name is not ours to judge.
            if entry.media_type not in _JUDGED or entry.digest in self._seen:
                continue
            node = self.named(entry.digest, entry=entry, depth=depth + 1)
            found.append(node)
            if depth >= _MAX_DEPTH:
                node.judged = Judged(node.name, UNKNOWN, (_too_deep(entry, self._store),))
                break
        return found

    def _read(self, node: _Node) -> None:
        entry = node.entry
        if entry is None or node.judged is not None:
            return
        try:
            if node.is_config:
                node.content = Content(self._store.read_blob(entry, CONFIG_LIMIT), entry.media_type, entry.digest)
            else:
                node.content = self._store.read_manifest(entry)
        except OF_ONE_IMAGE as error:
            missing = node.is_config and isinstance(error, NotFoundError)
            told = DocumentError(error.message, rule="config-missing") if missing else error
            kind = "oci-config" if node.is_config else UNKNOWN
            node.judged = Judged(node.name, kind, (_unreadable(told, node.name, entry, self._store),))

    def _judge(self, node: _Node, content: Content) -> None:
        if node.is_config:
            node.judged = judge_bytes(content.raw, node.name, "oci-config")
            return
        node.judged = judged = judge_bytes(content.raw, node.name, kind_of_media_type(content.media_type))
        try:
            manifest = content.parse(node.name)
        except DocumentError as error:
            # What is wrong with the document itself was said in more words; what it was served as was not.
            if judged.ok:
                unfit = replace(unreadable(error, where=node.name, repository=self._store.name), where=error.pointer)
                node.judged = replace(judged, findings=(*judged.findings, unfit))
            return
        node.below = self.entries_of(manifest, node.depth)
        if isinstance(manifest, Manifest) and manifest.config.media_type in media_types.CONFIGS:
            config = manifest.config
            if config.digest not in self._seen:
                node.below.append(self.named(config.digest, entry=config, is_config=True))


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
