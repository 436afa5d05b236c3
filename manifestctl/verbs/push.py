"""`push`: an image from an engine, an archive or a layout into a repository.

Layers that are compressed go up as they are; others are verified, compressed and sent in one pass. What the target has
is not sent, and nothing is compressed if what the target's tag holds is this image already. The manifest goes up last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import (
    DocumentError,
    InputError,
    IntegrityError,
    InterruptedRun,
    ManifestctlError,
    PartialError,
)
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.model.reference import DEFAULT_TAG
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.stores.base import Blob, Content, StreamWriter
from manifestctl.text import escape
from manifestctl.verbs.image_manifest import check_annotations, compose_manifest, family_of
from manifestctl.verbs.pack import PackedLayer
from manifestctl.verbs.publish import Guard, TagState, order_tags, publish_tags, publish_untagged, read_content
from manifestctl.verbs.push_plan import plan_layers
from manifestctl.verbs.push_request import Packing, Pushed, PushedLayer, PushRequest
from manifestctl.verbs.push_source import choose
from manifestctl.verbs.tag import check_quota, failed, move
from manifestctl.verbs.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from manifestctl.compression import Format
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore, Store
    from manifestctl.verbs.image_manifest import Family
    from manifestctl.verbs.push_plan import LayerPlan


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
        self.what = escape(str(pushed.request.source), 300)
        self.own = self.request.target.tag or DEFAULT_TAG
        # What each tag of the run held before.
        self.held: dict[str, Content | None] = {}
        # What the target was asked for, and its answer.
        self.known: dict[Digest, bool] = {}

    def run(self) -> None:
        """Read, send, write, prove."""
        request = self.request
        # A push by digest moves no tag, but one that is named tells what may be there already.
        names = [] if request.by_digest and request.target.tag is None else order_tags(self.own, request.tags)
        check_quota(self.target, names)
        content = choose(self.source, request, self.what)
        held = self.pool.map(lambda name: read_content(self.target, name), names)
        self.held = dict(zip(names, held, strict=True))
        if not request.by_digest:
            olds = {name: held.digest if held is not None else None for name, held in self.held.items()}
            self.pushed.tags = [TagState(name, old, old) for name, old in olds.items()]
        final = self._sent(content)
        self.pushed.content = final
        if request.by_digest:
            self.pushed.written = publish_untagged(self.target, final, self.runtime)
            return
        self._refuse(final)
        self._write(final)

    def _sent(self, content: Content) -> Content:
        """Bring over all that the image names; returns the manifest or list to write."""
        request = self.request
        manifest = content.parse(self.what)
        if isinstance(manifest, Index) or manifest.config.media_type not in media_types.CONFIGS:
            return self._sent_whole(content, "a list" if isinstance(manifest, Index) else "an artifact, not an image")
        raw = self.source.read_blob(manifest.config, CONFIG_LIMIT)
        config = parse_config(raw, f"the config of {self.what}")
        self.pushed.platform = config.platform
        family = request.packing.family or family_of(manifest)
        check_annotations(family, {**manifest.annotations, **request.annotations})
        plans = plan_layers(manifest, config, request.packing, family, self.what)
        ready = [plan.ready for plan in plans if plan.ready is not None]
        final = compose_manifest(manifest, ready, family, request.annotations) if len(ready) == len(plans) else None
        self._refuse(final, manifest.config.digest)
        old = self._old(family) if final is None else None
        if old is not None and self._is_same(old, manifest, plans):
            self.pushed.layers = [PushedLayer(layer, "exists") for layer in old.layers]
            return Content(old.raw, old.media_type, old.digest)
        reused = self._reusable(old, manifest, plans, config.diff_ids) if old is not None else {}
        self._bring(Blob(manifest.config, lambda: iter((raw,))), plans, reused)
        layers = [layer.descriptor for layer in self.pushed.layers]
        return final or compose_manifest(manifest, layers, family, request.annotations)

    def _write(self, final: Content) -> None:
        """Write the first tag, then the others in parallel, ``latest`` last."""
        first, *others = self.pushed.tags
        publish_tags(self.target, final, [first], self._guard, self.runtime)
        wanted = dict.fromkeys((state.tag for state in self.pushed.tags), final)
        errors = move(self.target, wanted, others, self._guard, self.pool, runtime=self.runtime)
        if errors:
            error = failed(self.pushed.tags, wanted, errors)
            raise error if isinstance(error, PartialError) else PartialError(error.message, hint=error.hint) from error

    def _sent_whole(self, content: Content, kind: str) -> Content:
        if self.request.packing != Packing() or self.request.annotations:
            raise InputError(
                f"{self.what} is {kind}: it is pushed as it is",
                hint="--compression, --format and --annotation are for one image; of a list choose it with --platform.",
            )
        self._refuse(content)
        Transfer(self.source, self.target, self.pool, self.runtime.observe).image(content)
        return content

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

    def _is_same(self, old: Manifest, manifest: Manifest, plans: Sequence[LayerPlan]) -> bool:
        """Tell whether the target's tag holds this image already, with all its layers."""
        said = {**manifest.annotations, **self.request.annotations}
        return (
            old.config.digest == manifest.config.digest
            and len(old.layers) == len(plans)
            and all(plan.takes(layer, self.request.packing) for plan, layer in zip(plans, old.layers, strict=True))
            and said.items() <= old.annotations.items()
            and all(self._there([old.config, *old.layers]))
        )

    def _reusable(
        self, old: Manifest, manifest: Manifest, plans: Sequence[LayerPlan], diff_ids: Sequence[str]
    ) -> dict[Digest, Descriptor]:
        """Return, by what the source calls them, the layers that the target's image has packed in the same place."""
        theirs: Sequence[str] = diff_ids
        if old.config.digest != manifest.config.digest:
            try:
                theirs = parse_config(self.target.read_blob(old.config, CONFIG_LIMIT), "the target's config").diff_ids
            except InterruptedRun:
                raise
            except ManifestctlError:
                return {}
        found = {
            plan.layer.digest: layer
            for plan, ours, their, layer in zip(plans, diff_ids, theirs, old.layers, strict=False)
            if plan.pack is not None and ours == their and plan.takes(layer, self.request.packing)
        }
        there = self._there(list(found.values()))
        return {digest: layer for (digest, layer), is_there in zip(found.items(), there, strict=True) if is_there}

    def _there(self, layers: Sequence[Descriptor]) -> list[bool]:
        """Tell of each whether the target has it; what need not be in a registry counts as there."""

        def ask(layer: Descriptor) -> bool:
            try:
                return media_types.is_foreign(layer.media_type) or self.target.has(layer)
            except IntegrityError:
                # The manifest that names it is wrong, so that nothing of it is used.
                return False

        unknown = [layer for layer in dict.fromkeys(layers) if layer.digest not in self.known]
        for layer, answer in zip(unknown, self.pool.map(ask, unknown), strict=True):
            self.known[layer.digest] = answer
        return [self.known[layer.digest] for layer in layers]

    def _bring(self, config: Blob, plans: Sequence[LayerPlan], reused: Mapping[Digest, Descriptor]) -> None:
        """Bring over config and layers, each once and the largest first, so that none of them is alone at the end."""
        unique = {plan.layer.digest: plan for plan in plans}
        ordered = sorted(unique.values(), key=lambda plan: -plan.layer.size)
        done: dict[Digest, PushedLayer] = {}

        def bring(plan: LayerPlan | None) -> None:
            if plan is None:
                self.target.write_blob(config)
            else:
                done[plan.layer.digest] = self._layer(plan, reused.get(plan.layer.digest))

        self.pool.map(bring, [*ordered, None])
        self.pushed.layers = [
            PushedLayer(plan.ready or done[plan.layer.digest].descriptor, done[plan.layer.digest].how) for plan in plans
        ]

    def _layer(self, plan: LayerPlan, known: Descriptor | None) -> PushedLayer:
        layer, ready, how = plan.layer, plan.ready, "packed"
        if known is not None:
            self._moved(layer, "exists")
            return PushedLayer(known, "reused")
        if plan.is_foreign and not self.source.has(layer):
            return PushedLayer(ready or layer, "exists")
        if ready is not None:
            how = "sent" if self.target.write_blob(Blob(ready, lambda: self._read(layer))) else "exists"
        else:
            ready = self._packed(plan, plan.pack or "gzip")
        self._moved(layer, how)
        return PushedLayer(ready, how)

    def _packed(self, plan: LayerPlan, pack: Format) -> Descriptor:
        layer = plan.layer
        if not isinstance(self.target, StreamWriter):
            raise InputError(f"{self.target.name} does not take layers that are compressed on the way")
        other = plan.diff_id if plan.diff_id != layer.digest else None
        name = f"layer {layer.digest.short} of {escape(self.source.name, 300)}"
        level = self.request.packing.level
        return self.target.write_stream(
            PackedLayer(
                name, layer, lambda: self._read(layer), (pack, level), media_type=plan.media_type, diff_id=other
            )
        )

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
