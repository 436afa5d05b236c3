"""`inspect`: what a reference holds, as a tree: a list, its images, their layers and attestations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model.manifest import ImageConfig, Index, Manifest, parse_config
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.verbs.gather import category_rule
from manifestctl.verbs.rules import found

if TYPE_CHECKING:
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store

PREDICATE = "in-toto.io/predicate-type"


@dataclass(slots=True)
class Node:
    """One entry of the tree. ``manifest`` is None if it could not be read; ``finding`` says why then.

    ``attestations`` are those of this image; ``entries`` those of a list in the list.
    """

    descriptor: Descriptor
    manifest: Manifest | Index | None = None
    config: ImageConfig | None = None
    attestations: list[Node] = field(default_factory=list)
    entries: list[Node] = field(default_factory=list)
    finding: Finding | None = None

    @property
    def platform(self) -> Platform | None:
        """The platform, as the list or the image's config says it."""
        if self.descriptor.platform is not None:
            return self.descriptor.platform
        return self.config.platform if self.config is not None else None

    @property
    def predicates(self) -> list[str]:
        """What an attestation holds, by predicate type."""
        layers = self.manifest.layers if isinstance(self.manifest, Manifest) else ()
        return [layer.annotations[PREDICATE] for layer in layers if PREDICATE in layer.annotations]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a reference holds: the bytes themselves and the tree of what they name."""

    location: Location
    content: Content
    root: Node

    @property
    def findings(self) -> list[Finding]:
        """What could not be read."""
        return list(_findings(self.root))


def read(location: Location, open_store: OpenStore, platform: Platform | None = None) -> Content:
    """Return the stored bytes of a reference, or of the one image in it for a platform; nothing more is read."""
    store = open_store(location)
    content = store.read_manifest(location.selector)
    return content if platform is None else _narrowed(location, store, content, platform)


def inspect(
    location: Location,
    open_store: OpenStore,
    runtime: Runtime,
    platform: Platform | None = None,
    concurrency: int = 16,
) -> Inspected:
    """Read a reference and everything that it names, but for configs of a list's images, and layers.

    With ``platform`` only that image of a list. Raises `NotFoundError` if there is no such reference or platform. What a
    list names and cannot be read is a finding.
    """
    store = open_store(location)
    content = store.read_manifest(location.selector)
    if platform is not None:
        content = _narrowed(location, store, content, platform)
    manifest = content.parse(escape(str(location), 300))
    root = Node(manifest.descriptor, manifest)
    if isinstance(manifest, Index):
        with Pool(concurrency, runtime.cancel) as pool:
            root.entries = _attach(pool.map(lambda entry: _node(store, entry, deeper=True), manifest.entries))
    else:
        root.config = _config(store, manifest)
    return Inspected(location, content, root)


def _narrowed(location: Location, store: Store, content: Content, platform: Platform) -> Content:
    manifest = content.parse(escape(str(location), 300))
    if isinstance(manifest, Manifest):
        config = _config(store, manifest)
        if config is not None and config.platform.satisfies(platform):
            return content
        there = config.platform.shown if config is not None else "an artifact"
    else:
        entries = [
            e for e in manifest.entries if e.platform and not e.is_attestation and e.platform.satisfies(platform)
        ]
        if len(entries) == 1:
            return store.read_manifest(entries[0])
        if entries:
            several = ", ".join(f"{entry.digest.short} ({entry.platform.shown})" for entry in entries if entry.platform)
            raise NotFoundError(
                f"{location}: several images are for {platform}: {several}", hint="Name the image by its digest."
            )
        there = ", ".join(e.platform.shown for e in manifest.entries if e.platform and not e.is_attestation) or "none"
    raise NotFoundError(f"{location}: there is no image for {platform}; there is: {there}")


def _config(store: Store, manifest: Manifest) -> ImageConfig | None:
    """Return an image's config, or None for an artifact, whose config may be anything."""
    try:
        return parse_config(store.read_blob(manifest.config, CONFIG_LIMIT), "the config")
    except DocumentError:
        return None


def _node(store: Store, entry: Descriptor, *, deeper: bool) -> Node:
    try:
        content = store.read_manifest(entry)
        manifest = content.parse(f"{store.name}@{entry.digest}")
    except DocumentError as error:
        # Lists may name documents of any kind; that this is one is no fault.
        return Node(entry) if error.rule == "not-an-image" else Node(entry, finding=_finding(store, entry, error))
    except ManifestctlError as error:
        return Node(entry, finding=_finding(store, entry, error))
    node = Node(entry, manifest)
    if isinstance(manifest, Index) and deeper:
        node.entries = _attach([_node(store, inner, deeper=False) for inner in manifest.entries])
    return node


def _attach(nodes: list[Node]) -> list[Node]:
    """Put attestations under the images that they are about; those of absent images stay where they are."""
    images = {str(node.descriptor.digest): node for node in nodes if not node.descriptor.is_attestation}
    top: list[Node] = []
    for node in nodes:
        image = images.get(node.descriptor.attests)
        (top if image is None else image.attestations).append(node)
    return top


def _finding(store: Store, entry: Descriptor, error: ManifestctlError) -> Finding:
    return found(
        category_rule(error),
        error.message,
        where=f"{store.name}@{entry.digest}",
        hint=error.hint,
        image=f"{store.name}@{entry.digest}",
        platform=entry.platform.shown if entry.platform else "",
        repository=store.name,
    )


def _findings(node: Node) -> list[Finding]:
    own = [node.finding] if node.finding is not None else []
    return own + [finding for inner in (*node.attestations, *node.entries) for finding in _findings(inner)]
