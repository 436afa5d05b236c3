"""`inspect`: what a reference holds, as a tree: a list, its images, their layers and attestations."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import ImageConfig, Index, Manifest, parse_config
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.unreadable import OF_ONE_IMAGE, unreadable

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
    """Read a reference and everything that it names, but for layers, and configs where the list says the platform.

    With ``platform`` only that image of a list. Raises `NotFoundError` if there is no such reference or platform. What
    the reference's document names and cannot be read is a finding.
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
        _fill(root, store, manifest)
    return Inspected(location, content, root)


def _narrowed(location: Location, store: Store, content: Content, platform: Platform) -> Content:
    name = escape(str(location), 300)
    manifest = content.parse(name)
    if isinstance(manifest, Manifest):
        config = _config(store, manifest)
        if config is not None and config.platform.satisfies(platform):
            return content
        there = config.platform.shown if config is not None else "an artifact"
    else:
        images = [(entry, entry.platform) for entry in manifest.entries if entry.platform and not entry.is_attestation]
        fitting = [(entry, its) for entry, its in images if its.satisfies(platform)]
        if len(fitting) == 1:
            return store.read_manifest(fitting[0][0])
        if fitting:
            several = ", ".join(f"{entry.digest.short} ({its.shown})" for entry, its in fitting)
            raise NotFoundError(
                f"{name}: several images are for {platform}: {several}", hint="Name the image by its digest."
            )
        there = ", ".join(its.shown for _, its in images) or "none"
    raise NotFoundError(
        f"{name}: there is no image for {platform}; there is: {there}",
        hint="Name one of these platforms, or leave out --platform to see everything.",
    )


def _config(store: Store, manifest: Manifest) -> ImageConfig | None:
    """Return an image's config, or None for an artifact, whose config may be anything. Raises `DocumentError`."""
    if manifest.config.media_type not in media_types.CONFIGS:
        return None
    try:
        raw = store.read_blob(manifest.config, CONFIG_LIMIT)
    except NotFoundError as error:
        raise DocumentError(error.message, rule="config-missing") from error
    try:
        return parse_config(raw, f"the config {manifest.config.digest.short}")
    except DocumentError as error:
        error.rule = "config-unreadable"
        raise


def _fill(node: Node, store: Store, manifest: Manifest) -> None:
    """Read the config of a node's image; that it cannot be read is the node's finding."""
    try:
        node.config = _config(store, manifest)
    except OF_ONE_IMAGE as error:
        node.finding = _finding(store, node.descriptor, error)


def _node(store: Store, entry: Descriptor, *, deeper: bool) -> Node:
    # Lists may name documents of any kind.
    if entry.media_type not in media_types.INDEXES | media_types.MANIFESTS:
        return Node(entry)
    try:
        manifest = store.read_manifest(entry).parse(f"{escape(store.name, 300)}@{entry.digest}")
    except OF_ONE_IMAGE as error:
        return Node(entry, finding=_finding(store, entry, error))
    node = Node(entry, manifest)
    if isinstance(manifest, Manifest):
        if entry.platform is None:
            _fill(node, store, manifest)
    elif deeper:
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
    name = f"{escape(store.name, 300)}@{entry.digest}"
    finding = unreadable(error, where=name, repository=store.name, entry=entry)
    return replace(finding, image=name)


def _findings(node: Node) -> list[Finding]:
    own = [node.finding] if node.finding is not None else []
    return own + [finding for inner in (*node.attestations, *node.entries) for finding in _findings(inner)]
