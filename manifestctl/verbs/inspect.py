"""`inspect`: what a reference holds, as a tree: a list, its images, their layers and attestations."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import ImageConfig, Index, Manifest, parse_config
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.reader import Reader
from manifestctl.verbs.unreadable import OF_ONE_IMAGE, unreadable

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store

PREDICATE = "in-toto.io/predicate-type"
MAX_LAYERS = 500_000
"""Layers that are shown at most: a list that names one large image many times would have any number of them."""


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
    def listed(self) -> tuple[Descriptor, ...]:
        """What a list names; nothing if this is none."""
        return self.manifest.entries if isinstance(self.manifest, Index) else ()

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
    with Pool(concurrency, runtime.cancel) as pool:
        tree = _Tree(store, pool)
        if isinstance(manifest, Index):
            tree.grow([root], deeper=True)
        else:
            tree.fill(root, manifest)
    return Inspected(location, content, root)


def _narrowed(location: Location, store: Store, content: Content, platform: Platform) -> Content:
    name = escape(str(location), 300)
    manifest = content.parse(name)
    if isinstance(manifest, Manifest):
        config = _config(store, Reader(), manifest)
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


def _config(store: Store, reader: Reader, manifest: Manifest) -> ImageConfig | None:
    """Return an image's config, or None for an artifact, whose config may be anything. Raises `DocumentError`."""
    if manifest.config.media_type not in media_types.CONFIGS:
        return None
    try:
        raw = reader.config(store, manifest.config)
    except NotFoundError as error:
        raise DocumentError(error.message, rule="config-missing") from error
    try:
        return parse_config(raw, f"the config {manifest.config.digest.short}")
    except DocumentError as error:
        error.rule = "config-unreadable"
        raise


_Seen = tuple[Manifest | Index | None, ImageConfig | None, ManifestctlError | None]
"""What an entry turned out to be, its config if the list does not say the platform, and why something is not known."""


class _Tree:
    """Grows the tree level by level. What several entries name is read once, and the tree is not endless."""

    def __init__(self, store: Store, pool: Pool) -> None:
        self._store = store
        self._pool = pool
        self._reader = Reader()
        self._layers = 0
        self._seen: dict[Hashable, _Seen] = {}

    def grow(self, lists: Sequence[Node], *, deeper: bool) -> None:
        """Give lists their entries; with ``deeper`` the lists among these too."""
        opened = [node for node in lists if self._enter(node)]
        named = {_key(entry): entry for node in opened for entry in node.listed}
        new = [key for key in named if key not in self._seen]
        self._seen |= zip(new, self._pool.map(lambda key: self._look(named[key]), new), strict=True)
        nodes = [[self._node(entry) for entry in node.listed] for node in opened]
        if deeper:
            self.grow([inner for entries in nodes for inner in entries if inner.listed], deeper=False)
        for node, entries in zip(opened, nodes, strict=True):
            node.entries = _attach(entries)

    def fill(self, node: Node, manifest: Manifest) -> None:
        """Read the config of a node's image; that it cannot be read is the node's finding."""
        try:
            node.config = _config(self._store, self._reader, manifest)
        except OF_ONE_IMAGE as error:
            node.finding = _finding(self._store, node.descriptor, error)

    def _enter(self, node: Node) -> bool:
        """Tell whether there is room for a list's entries; that there is none is the node's finding."""
        try:
            self._reader.enter(len(node.listed), _named(self._store, node.descriptor))
        except DocumentError as error:
            node.finding = _finding(self._store, node.descriptor, error)
        return node.finding is None

    def _look(self, entry: Descriptor) -> _Seen:
        # Lists may name documents of any kind.
        if entry.media_type not in media_types.INDEXES | media_types.MANIFESTS:
            return None, None, None
        try:
            manifest = self._reader.manifest(self._store, entry).parse(_named(self._store, entry))
        except OF_ONE_IMAGE as error:
            return None, None, error
        if isinstance(manifest, Index) or entry.platform is not None:
            return manifest, None, None
        try:
            return manifest, _config(self._store, self._reader, manifest), None
        except OF_ONE_IMAGE as error:
            return manifest, None, error

    def _node(self, entry: Descriptor) -> Node:
        manifest, config, error = self._seen[_key(entry)]
        layers = len(manifest.layers) if isinstance(manifest, Manifest) else 0
        if self._layers + layers > MAX_LAYERS:
            manifest, error = None, self._too_many(entry)
        else:
            self._layers += layers
        return Node(entry, manifest, config, finding=_finding(self._store, entry, error) if error else None)

    def _too_many(self, entry: Descriptor) -> DocumentError:
        name = _named(self._store, entry)
        return DocumentError(
            f"{name}: its layers are not shown, for there are more than {MAX_LAYERS} in all images together",
            hint=f"Look at it alone: 'manifestctl inspect {name}'.",
        )


def _key(entry: Descriptor) -> Hashable:
    """Return what decides what reading an entry gives."""
    return str(entry.digest), entry.size, entry.media_type, entry.platform is None


def _named(store: Store, entry: Descriptor) -> str:
    return f"{escape(store.name, 300)}@{entry.digest}"


def _attach(nodes: list[Node]) -> list[Node]:
    """Put attestations under the images that they are about; those of absent images stay where they are."""
    images = {str(node.descriptor.digest): node for node in nodes if not node.descriptor.is_attestation}
    top: list[Node] = []
    for node in nodes:
        image = images.get(node.descriptor.attests)
        (top if image is None else image.attestations).append(node)
    return top


def _finding(store: Store, entry: Descriptor, error: ManifestctlError) -> Finding:
    name = _named(store, entry)
    finding = unreadable(error, where=name, repository=store.name, entry=entry)
    return replace(finding, image=name)


def _findings(node: Node) -> list[Finding]:
    own = [node.finding] if node.finding is not None else []
    return own + [finding for inner in (*node.attestations, *node.entries) for finding in _findings(inner)]
