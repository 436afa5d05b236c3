"""`push`: an image from an engine, an archive or a layout into a repository.

Layers that are compressed go up as they are; others are verified, compressed and sent in one pass. What the target has is
not sent, and nothing is compressed if what the target's tag holds is this image already. The manifest goes up last.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.errors import InputError, ManifestctlError, NotFoundError, PartialError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.model import media_types
from manifestctl.model.manifest import ImageConfig, Index, Manifest, parse_config
from manifestctl.model.reference import DEFAULT_TAG
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.stores.base import Blob, StreamWriter
from manifestctl.text import escape
from manifestctl.verbs.image_manifest import Family, compose_manifest, family_of
from manifestctl.verbs.pack import PackedLayer
from manifestctl.verbs.publish import Guard, TagState, order_tags, publish_tags, read_content
from manifestctl.verbs.push_request import Packing, Pushed, PushedLayer, PushRequest
from manifestctl.verbs.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.compression import Format
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store


def push(request: PushRequest, open_store: OpenStore, runtime: Runtime) -> Pushed:
    """Push an image; returns what became of it, also when it failed."""
    pushed = Pushed(request)
    try:
        source = open_store(request.source)
        target = open_store(request.target, write=True)
        with Pool(request.concurrency, runtime.cancel) as pool:
            _Push(pushed, source, target, pool, runtime).run()
    except ManifestctlError as error:
        pushed.error = error
    return pushed


class _Push:
    """The steps of one push."""

    def __init__(self, pushed: Pushed, source: Store, target: Store, pool: Pool, runtime: Runtime) -> None:
        self.pushed = pushed
        self.request = pushed.request
        self.source = source
        self.target = target
        self.pool = pool
        self.runtime = runtime

    def run(self) -> None:
        """Read, send, write, prove."""
        names = order_tags(self.request.target.tag or DEFAULT_TAG, self.request.tags)
        held = None
        if not self.request.by_digest:
            held = self.pool.submit(lambda name: read_content(self.target, name), names[0])
        content = self._chosen(self.source.read_manifest(self.request.source.selector))
        old = held.result() if held is not None else None
        self.pushed.tags = [] if self.request.by_digest else [TagState(name) for name in names]
        for state in self.pushed.tags:
            state.old = state.now = None if old is None or state is not self.pushed.tags[0] else old.digest
        final = self._sent(content, old)
        self.pushed.content = final
        if self.request.by_digest:
            self._write_by_digest(final)
        else:
            self._write_tags(final)

    def _chosen(self, content: Content) -> Content:
        """Return the image to push out of what the source holds; the host's own platform plays no part."""
        manifest = content.parse(escape(str(self.request.source), 300))
        if isinstance(manifest, Manifest):
            return content
        images = [entry for entry in manifest.entries if not entry.is_attestation]
        wanted = [
            entry
            for entry in images
            if not self.request.platforms
            or (entry.platform is not None and any(entry.platform.satisfies(p) for p in self.request.platforms))
        ]
        there = ", ".join(entry.platform.shown for entry in images if entry.platform) or "none"
        if not wanted:
            names = ", ".join(str(platform) for platform in self.request.platforms)
            raise NotFoundError(f"{self.request.source}: there is no image for {names}; there is: {there}")
        if self.request.everything or (len(images) == 1 and not self.request.platforms):
            return content
        if len(wanted) == 1:
            return self.source.read_manifest(wanted[0])
        raise InputError(
            f"{self.request.source} has images for several platforms: {there}",
            hint="Choose one with --platform, or push all of them as a list with --platform all.",
        )

    def _sent(self, content: Content, old: Content | None) -> Content:
        """Bring over all that the image names; returns the manifest or list to write."""
        manifest = content.parse(escape(str(self.request.source), 300))
        if isinstance(manifest, Index):
            return self._sent_list(content)
        raw = self.source.read_blob(manifest.config, CONFIG_LIMIT)
        config = parse_config(raw, f"the config of {self.request.source}")
        self.pushed.platform = config.platform
        family = self.request.packing.family or family_of(manifest)
        held = self._held(old, manifest, family)
        if held is not None and self._same(held, manifest):
            self.pushed.layers = [PushedLayer(layer, "exists") for layer in held.layers]
            return old if old is not None else content
        layers = self._layers(manifest, config, held, family)
        config_blob = Blob.of(raw, manifest.config.media_type)
        self.target.write_blob(config_blob)
        if family == family_of(manifest) and not self.request.annotations and layers == list(manifest.layers):
            return content
        return compose_manifest(manifest, config_blob.descriptor, layers, family, self.request.annotations)

    def _sent_list(self, content: Content) -> Content:
        if self.request.packing != Packing() or self.request.annotations:
            raise InputError(
                f"{self.request.source} is a list: it is pushed as it is",
                hint="--compression, --format and --annotation are for one image; choose it with --platform.",
            )
        transfer = Transfer(self.source, self.target, self.pool, self.runtime.observe)
        transfer.image(content)
        return content

    def _held(self, old: Content | None, manifest: Manifest, family: Family) -> Manifest | None:
        """Return the image that the target's tag holds, if it is one of this family."""
        if old is None:
            return None
        try:
            held = old.parse("what the target holds")
        except ManifestctlError:
            return None
        return held if isinstance(held, Manifest) and family_of(held) == family else None

    def _same(self, held: Manifest, manifest: Manifest) -> bool:
        """Tell whether the target's tag holds this image already, with all its layers."""
        packing = self.request.packing
        if held.config.digest != manifest.config.digest or len(held.layers) != len(manifest.layers):
            return False
        if packing.format is not None and any(
            media_types.packing(layer.media_type) != packing.format for layer in held.layers
        ):
            return False
        if not self.request.annotations.items() <= held.annotations.items():
            return False
        return all(self.pool.map(self.target.has, [held.config, *dict.fromkeys(held.layers)]))

    def _layers(
        self, manifest: Manifest, config: ImageConfig, held: Manifest | None, family: Family
    ) -> list[Descriptor]:
        """Bring over the layers, each once; returns them as the new manifest names them."""
        known = self._packed_already(config, held)
        jobs: dict[Descriptor, str] = {}
        for layer, diff_id in zip(manifest.layers, _diff_ids(manifest, config), strict=True):
            jobs.setdefault(layer, diff_id)
        ordered = sorted(jobs, key=lambda layer: -layer.size)

        def bring(layer: Descriptor) -> PushedLayer:
            return self._layer(layer, known.get(jobs[layer]), family)

        done = dict(zip(ordered, self.pool.map(bring, ordered), strict=True))
        self.pushed.layers = [done[layer] for layer in manifest.layers]
        return [pushed.descriptor for pushed in self.pushed.layers]

    def _packed_already(self, config: ImageConfig, held: Manifest | None) -> dict[str, Descriptor]:
        """Return, by diff_id, the layers that the target's image has in the same place and in the right format."""
        if held is None:
            return {}
        try:
            old = parse_config(self.target.read_blob(held.config, CONFIG_LIMIT), "the target's config")
        except ManifestctlError:
            return {}
        wanted = self.request.packing.format or "gzip"
        places = zip(config.diff_ids, old.diff_ids, held.layers, strict=False)
        return {
            ours: layer
            for ours, theirs, layer in places
            if ours and ours == theirs and media_types.packing(layer.media_type) == wanted
        }

    def _layer(self, layer: Descriptor, known: Descriptor | None, family: Family) -> PushedLayer:
        packing = self.request.packing
        state = media_types.packing(layer.media_type)
        name = layer.digest.short
        if media_types.is_foreign(layer.media_type):
            return PushedLayer(layer, "exists")
        pack = packing.format or ("gzip" if state == "none" else state)
        if state == pack:
            ready = replace(layer, media_type=media_types.layer_type(docker=family == "docker", packed=pack))
            self.runtime.observe(BlobStarted(name, layer.size))
            written = self.target.write_blob(Blob(ready, lambda: _read(self.source, layer, self.runtime)))
            how = "sent" if written else "exists"
            self.runtime.observe(BlobMoved(name, layer.size, how))
            return PushedLayer(ready, how)
        if state != "none":
            raise InputError(
                f"{self.source.name}: layer {name} is compressed with {state} already",
                hint=f"Leave out --compression, or give it --compression {state}.",
            )
        if known is not None and self.target.has(known):
            self.runtime.observe(BlobMoved(name, layer.size, "exists"))
            return PushedLayer(known, "reused")
        return self._packed(
            layer, media_types.layer_type(docker=family == "docker", packed=pack), (pack, packing.level)
        )

    def _packed(self, layer: Descriptor, media_type: str, pack: tuple[Format, int | None]) -> PushedLayer:
        name = layer.digest.short
        self.runtime.observe(BlobStarted(name, layer.size))
        produced = PackedLayer(
            self.source, layer, media_type, pack, lambda count: self.runtime.observe(BytesMoved(name, count))
        )
        if not isinstance(self.target, StreamWriter):
            raise InputError(f"{self.target.name} does not take layers that are compressed on the way")
        made = self.target.write_stream(produced)
        self.runtime.observe(BlobMoved(name, layer.size, "packed"))
        return PushedLayer(replace(made, media_type=media_type), "packed")

    def _write_by_digest(self, content: Content) -> None:
        """Write without a tag, unless it is there, and read it back."""
        try:
            self.target.resolve(str(content.digest))
        except NotFoundError:
            self.target.write_manifest(content)
            self.pushed.written = True
            self.target.read_manifest(str(content.digest))

    def _write_tags(self, content: Content) -> None:
        try:
            publish_tags(self.target, content, self.pushed.tags, lambda state: self._guard(state), self.runtime)
        except ManifestctlError as error:
            if self.pushed.published == "true" and not isinstance(error, PartialError):
                raise PartialError(error.message, hint=error.hint) from error
            raise

    def _guard(self, state: TagState) -> Guard:
        return self.request.guard.for_tag(own=state is self.pushed.tags[0])


def _diff_ids(manifest: Manifest, config: ImageConfig) -> Sequence[str]:
    """Return a diff_id for each layer; artifacts' configs have none."""
    ids = config.diff_ids
    return ids if len(ids) == len(manifest.layers) else ("",) * len(manifest.layers)


def _read(source: Store, layer: Descriptor, runtime: Runtime) -> Iterator[bytes]:
    with source.open_blob(layer) as chunks:
        for chunk in chunks:
            runtime.observe(BytesMoved(layer.digest.short, len(chunk)))
            yield chunk
