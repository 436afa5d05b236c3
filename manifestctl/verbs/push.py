"""`push`: an image from an engine, an archive or a layout into a repository.

Layers that are compressed go up as they are; others are verified, compressed and sent in one pass. What the target has
is not sent, and nothing is compressed if what the target's tag holds is this image already. The config goes up first: a
push that finds it there finishes one that was killed, or gives another tag, and looks for each layer once it is
compressed. The manifest goes up last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import (
    DocumentError,
    InputError,
    IntegrityError,
    InterruptedRun,
    ManifestctlError,
)
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.model.reference import DEFAULT_TAG
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.stores.base import Blob, Content, StreamWriter
from manifestctl.text import escape
from manifestctl.verbs.image_manifest import compose_manifest, family_of
from manifestctl.verbs.pack import PackedLayer
from manifestctl.verbs.publish import Guard, TagState, order_tags, publish_tag, read_content, state_without_tag
from manifestctl.verbs.push_plan import plan_image
from manifestctl.verbs.push_request import Packing, Pushed, PushedLayer, PushRequest
from manifestctl.verbs.push_source import choose
from manifestctl.verbs.tagging import at_once, check_quota, publish_tags
from manifestctl.verbs.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from manifestctl.compression import Format
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore, Store
    from manifestctl.verbs.image_manifest import Family
    from manifestctl.verbs.push_plan import ImagePlan, LayerPlan


SPOOLED = 63 * 1024 * 1024
"""The most bytes of a layer that is packed into a temporary file, of which there may be one a worker.

What cannot be compressed gets a little larger, but not 64 MiB.
"""


def push(request: PushRequest, open_store: OpenStore, runtime: Runtime, *, spooled: int = SPOOLED) -> Pushed:
    """Push an image; returns what became of it, also when it failed.

    An earlier push may have been killed; then layers that have to be packed are packed before it is known whether they
    are missing, in a temporary file if they have at most ``spooled`` bytes.
    """
    pushed = Pushed(request)
    try:
        source = open_store(request.source)
        target = open_store(request.target, write=True)
        with Pool(request.concurrency, runtime.cancel) as pool:
            _Push(pushed, source, target, pool, runtime, spooled=spooled).run()
    except ManifestctlError as error:
        pushed.error = error
    return pushed


class _Push:
    """The steps of one push."""

    def __init__(
        self, pushed: Pushed, source: Store, target: Store, pool: Pool, runtime: Runtime, *, spooled: int
    ) -> None:
        self.pushed = pushed
        self.request = pushed.request
        self.source = source
        self.target = target
        self.pool = pool
        self.runtime = runtime
        self.spooled = spooled
        self.what = escape(str(pushed.request.source), 300)
        self.own = self.request.target.tag or DEFAULT_TAG
        # What each tag of the run held before.
        self.held: dict[str, Content | None] = {}
        # What the target was asked for, and its answer.
        self.known: dict[Digest, bool] = {}
        # Whether an earlier push of this image may have left some of its layers.
        self.begun = False

    def run(self) -> None:
        """Read, send, write, prove."""
        request = self.request
        # A push by digest moves no tag, but one that is named tells what may be there already.
        names = [] if request.by_digest and request.target.tag is None else order_tags(self.own, request.tags)
        check_quota(self.target, names)
        content = choose(self.source, request, self.what)
        image = self._planned(content)
        self.held = dict.fromkeys(names)
        # Whatever can be asked by now is asked at once.
        self._ask([*names, *(image.known if image is not None else ())])
        if not request.by_digest:
            olds = {name: held.digest if held is not None else None for name, held in self.held.items()}
            self.pushed.tags = [TagState(name, old, old) for name, old in olds.items()]
        final = self._sent(image) if image is not None else self._sent_whole(content)
        self.pushed.content = final
        if request.by_digest:
            self.pushed.untagged = state_without_tag(self.target, final)
            publish_tag(self.target, final, self.pushed.untagged, Guard(), self.runtime)
            return
        self._refuse(final)
        self._write(final)

    def _planned(self, content: Content) -> ImagePlan | None:
        """Decide what becomes of the image; None for what is pushed as it is, a list or an artifact."""
        request, manifest = self.request, content.parse(self.what)
        if isinstance(manifest, Manifest) and manifest.config.media_type in media_types.CONFIGS:
            raw = self.source.read_blob(manifest.config, CONFIG_LIMIT)
            image = plan_image(manifest, raw, request, self.what)
            self.pushed.platform = image.config.platform
            return image
        if request.packing != Packing() or request.annotations:
            kind = "a list" if isinstance(manifest, Index) else "an artifact, not an image"
            raise InputError(
                f"{self.what} is {kind}: it is pushed as it is",
                hint="--compression, --format and --annotation are for one image; of a list choose it with --platform.",
            )
        return None

    def _sent(self, image: ImagePlan) -> Content:
        """Bring over all that the image names; returns the manifest to write."""
        config = image.manifest.config.digest
        self._refuse(image.final, config)
        old = self._old(image.family) if image.final is None else None
        if old is not None and self._is_same(old, image):
            self.pushed.layers = [PushedLayer(layer, "exists") for layer in old.layers]
            return Content(old.raw, old.media_type, old.digest)
        # The config goes up first. Where it is, a push that was killed, or had another tag, may have left layers.
        self.begun = self.known[config]
        self._bring(image, self._reusable(old, image) if old is not None else {})
        layers = [layer.descriptor for layer in self.pushed.layers]
        return image.final or compose_manifest(image.manifest, layers, image.family, self.request.annotations)

    def _sent_whole(self, content: Content) -> Content:
        self._refuse(content)
        Transfer(self.source, self.target, self.pool, self.runtime.observe).image(content)
        return content

    def _write(self, final: Content) -> None:
        """Write the first tag, then the others in parallel, ``latest`` last."""
        first, *others = self.pushed.tags
        wanted = dict.fromkeys((state.tag for state in self.pushed.tags), final)
        waves = [[first], *at_once(others)]
        publish_tags(self.target, wanted, waves, self._guard, self.pool, runtime=self.runtime)

    def _guard(self, state: TagState) -> Guard:
        return self.request.guard.for_tag(own=state.tag == self.own)

    def _refuse(self, final: Content | None, config: Digest | None = None) -> None:
        """Raise `ConflictError` for a tag that may not be written, as soon as that is certain.

        As long as it is not known what will be written, a tag that holds an image with this config may hold just that.
        """
        for state in self.pushed.tags:
            held = self.held[state.tag]
            if final is None and held is not None and _config_of(held) == config:
                continue
            where = escape(f"{self.target.name}:{state.tag}", 400)
            self._guard(state).check(state, final or Content.of(b"", ""), where)

    def _old(self, family: Family) -> Manifest | None:
        """Return the image that the target's tag holds, or else a further tag, if it is one of this family."""
        held = next((held for held in (self.held.get(self.own), *self.held.values()) if held is not None), None)
        manifest = _image(held) if held is not None else None
        return manifest if manifest is not None and family_of(manifest) == family else None

    def _is_same(self, old: Manifest, image: ImagePlan) -> bool:
        """Tell whether the target's tag holds this image already, with all its layers."""
        said, packing = {**image.manifest.annotations, **self.request.annotations}, self.request.packing
        return (
            old.config.digest == image.manifest.config.digest
            and len(old.layers) == len(image.layers)
            and all(plan.takes(layer, packing) for plan, layer in zip(image.layers, old.layers, strict=True))
            and said.items() <= old.annotations.items()
            and all(self._there([old.config, *old.layers]))
        )

    def _reusable(self, old: Manifest, image: ImagePlan) -> dict[Digest, Descriptor]:
        """Return, by what the source calls them, the layers that the target's image has packed in the same place."""
        ours = theirs = image.config.diff_ids
        if old.config.digest != image.manifest.config.digest:
            try:
                theirs = parse_config(self.target.read_blob(old.config, CONFIG_LIMIT), "the target's config").diff_ids
            except InterruptedRun:
                raise
            except ManifestctlError:
                return {}
        found = {
            plan.layer.digest: layer
            for plan, our, their, layer in zip(image.layers, ours, theirs, old.layers, strict=False)
            if plan.pack is not None and our == their and plan.takes(layer, self.request.packing)
        }
        there = self._there(list(found.values()))
        return {digest: layer for (digest, layer), is_there in zip(found.items(), there, strict=True) if is_there}

    def _there(self, blobs: Sequence[Descriptor]) -> list[bool]:
        """Tell of each whether the target has it; what need not be in a registry counts as there."""
        asked = {blob.digest: blob for blob in blobs if not media_types.is_foreign(blob.media_type)}
        self._ask([blob for digest, blob in asked.items() if digest not in self.known])
        return [self.known.get(blob.digest, True) for blob in blobs]

    def _ask(self, asked: Sequence[str | Descriptor]) -> None:
        """Learn what tags hold, and whether blobs are there."""

        def ask(one: str | Descriptor) -> None:
            if isinstance(one, str):
                self.held[one] = read_content(self.target, one)
                return
            try:
                self.known[one.digest] = self.target.has(one)
            except IntegrityError:
                # Whatever names it is wrong, so that nothing of it is used.
                self.known[one.digest] = False

        self.pool.map(ask, asked)

    def _bring(self, image: ImagePlan, reused: Mapping[Digest, Descriptor]) -> None:
        """Bring over config and layers, each once: the config, then the largest, so that none is alone at the end."""
        config, plans = image.manifest.config, image.layers
        unique = {plan.layer.digest: plan for plan in plans}
        ordered = sorted(unique.values(), key=lambda plan: -plan.layer.size)
        done: dict[Digest, PushedLayer] = {}

        def bring(plan: LayerPlan | None) -> None:
            if plan is not None:
                done[plan.layer.digest] = self._layer(plan, reused.get(plan.layer.digest))
            elif not self.known[config.digest]:
                self.target.write_blob(Blob(config, lambda: iter((image.raw,))))

        self.pool.map(bring, [None, *ordered])
        self.pushed.layers = [
            PushedLayer(plan.ready or done[plan.layer.digest].descriptor, done[plan.layer.digest].how) for plan in plans
        ]

    def _layer(self, plan: LayerPlan, known: Descriptor | None) -> PushedLayer:
        layer, ready = plan.layer, plan.ready
        if known is not None:
            self._moved(layer, "exists")
            return PushedLayer(known, "reused")
        if plan.is_foreign and not self.source.has(layer):
            return PushedLayer(ready or layer, "exists")
        if ready is None:
            ready, how = self._packed(plan, plan.pack or "gzip")
        elif self.known.get(ready.digest) or not self.target.write_blob(Blob(ready, lambda: self._read(layer))):
            how = "exists"
        else:
            how = "sent"
        self._moved(layer, how)
        return PushedLayer(ready, how)

    def _packed(self, plan: LayerPlan, pack: Format) -> tuple[Descriptor, str]:
        """Bring over a layer that is packed on the way; returns what it is then, and how it came there."""
        layer, target = plan.layer, self.target
        if not isinstance(target, StreamWriter):
            raise InputError(f"{target.name} does not take layers that are compressed on the way")
        packed = PackedLayer(
            f"layer {layer.digest.short} of {escape(self.source.name, 300)}",
            layer,
            lambda: self._read(layer),
            (pack, self.request.packing.level),
            media_type=plan.media_type,
            diff_id=plan.diff_id if plan.diff_id != layer.digest else None,
        )
        if not self.begun:
            return target.write_stream(packed), "packed"
        return self._packed_first(packed, layer.size, target)

    def _packed_first(self, packed: PackedLayer, size: int, target: StreamWriter) -> tuple[Descriptor, str]:
        """Pack a layer of so many bytes, and send it only if what it becomes is not there already."""
        if size <= self.spooled:
            from manifestctl.spool import Spool

            with Spool(self.runtime.environ, packed.name) as spool:
                for chunk in packed.open():
                    spool.write(chunk)
                made = packed.descriptor()
                sent = self.target.write_blob(Blob(made, lambda: spool.chunks(0, made.size)))
            return made, "packed" if sent else "exists"
        # There is no space for a larger one: it is packed once to know it, and again to send it.
        for _ in packed.open():
            pass
        made = packed.descriptor()
        if self.target.has(made):
            return made, "exists"
        return target.write_stream(packed), "packed"

    def _read(self, layer: Descriptor) -> Iterator[bytes]:
        """Read a layer, verified, and tell of it; each time from its beginning."""
        name = layer.digest.short
        self.runtime.observe(BlobStarted(name, layer.size))
        with self.source.open_blob(layer) as chunks:
            for chunk in chunks:
                self.runtime.cancel.check()
                self.runtime.observe(BytesMoved(name, len(chunk)))
                yield chunk

    def _moved(self, layer: Descriptor, how: str) -> None:
        self.runtime.observe(BlobMoved(layer.digest.short, layer.size, how))


def _image(content: Content) -> Manifest | None:
    try:
        manifest = content.parse("what the target holds")
    except DocumentError:
        return None
    return manifest if isinstance(manifest, Manifest) else None


def _config_of(content: Content) -> Digest | None:
    manifest = _image(content)
    return manifest.config.digest if manifest is not None else None
