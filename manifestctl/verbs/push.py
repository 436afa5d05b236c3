"""`push`: an image from an engine, an archive or a layout into a repository.

Layers that are compressed go up as they are; others are verified, compressed and sent in one pass. What the target has
is not sent, and nothing is compressed if what the target's tag holds is this image already. The config goes up first: a
push that finds it there finishes one that was killed, or gives another tag, and looks for each layer once it is
compressed. The manifest goes up last.

An image that has to be brought here first, out of an engine say, is not if what the target's tag holds is that image;
and the target is asked before it is, so that it is not brought here in vain.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manifestctl.errors import InputError, ManifestctlError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted, Warned
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest
from manifestctl.model.reference import DEFAULT_TAG
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import HOPELESS, Pool
from manifestctl.stores.base import Blob, Content, StreamWriter
from manifestctl.stores.quotas import check_layers
from manifestctl.text import escape
from manifestctl.verbs.image_manifest import compose_manifest
from manifestctl.verbs.pack import PackedLayer
from manifestctl.verbs.publish import Guard, TagState, order_tags, publish_tag, state_without_tag
from manifestctl.verbs.push_plan import check_foretold, foresee, plan_image
from manifestctl.verbs.push_reading import Source, foretell
from manifestctl.verbs.push_request import Packing, Pushed, PushedLayer, PushRequest
from manifestctl.verbs.push_source import choose, lost_attestations
from manifestctl.verbs.push_target import Known, config_of
from manifestctl.verbs.tagging import at_once, check_quota, publish_tags
from manifestctl.verbs.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from manifestctl.compression import Format
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Foretold, OpenStore, Store
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
        self.store = source
        self.target = target
        self.pool = pool
        self.runtime = runtime
        self.spooled = spooled
        self.what = escape(str(pushed.request.source), 300)
        self.own = self.request.target.tag or DEFAULT_TAG
        self.known = Known(self.request, self.own, target, pool)
        self.source = Source(source, self.known)
        # Whether an earlier push of this image may have left some of its layers.
        self.begun = False

    def run(self) -> None:
        """Read, send, write, prove."""
        request = self.request
        # A push by digest moves no tag, but one that is named tells what may be there already.
        names = [] if request.by_digest and request.target.tag is None else order_tags(self.own, request.tags)
        check_quota(self.target, names)
        foretold = foretell(self.store, request)
        final = None
        if foretold is not None:
            # What takes long comes after all that may end the run, or make it short; whoever may not read the target
            # is told so now.
            self._look(names or [self.own])
            final = self._as_foretold(foretold)
        final = self.pushed.content = final or self._brought(names)
        if request.by_digest:
            self.pushed.untagged = state_without_tag(self.target, final)
            publish_tag(self.target, final, self.pushed.untagged, Guard(), self.runtime)
        else:
            self._refuse(final)
            self._write(final)
        manifest = final.parse(self.what)
        if manifest.subject is not None:
            from manifestctl.verbs.referrers import list_as_referrer

            list_as_referrer(manifest, self.target, self.runtime)

    def _look(self, names: Sequence[str], blobs: Sequence[Descriptor] = ()) -> None:
        """Ask the target at once for whatever can be asked by now."""
        self.known.ask([*names, *blobs])
        if not self.request.by_digest and not self.pushed.tags:
            olds = {name: held.digest if held is not None else None for name, held in self.known.held.items()}
            self.pushed.tags = [TagState(name, olds[name], olds[name]) for name in names]

    def _as_foretold(self, foretold: Foretold) -> Content | None:
        """Return what the target's tag holds if it is certain that this is the image; the image is not here yet.

        Raises what is certain to stand in the way of pushing it.
        """
        if foretold.attested:
            self.runtime.observe(Noted(lost_attestations(self.what, self.request.source)))
        if foretold.manifest is not None:
            self.source.stand_in(self.known.with_digest(foretold.manifest))
        if foretold.config is None:
            return None
        check_foretold(self.request, self.what)
        self._refuse(None, foretold.config)
        old = self.known.old(self.request.packing.family or "docker")
        if old is None or old.config.digest != foretold.config:
            return None
        raw = self.known.read_config(old)
        image = foresee(old, raw, self.request, self.what) if raw is not None else None
        return self._unchanged(old, image) if image is not None else None

    def _brought(self, names: Sequence[str]) -> Content:
        """Read the source, and bring over what the target lacks; returns the manifest to write."""
        content = choose(self.source, self.request, self.what, self.runtime.observe)
        image = self._planned(content)
        # Whatever can be asked by now is asked at once.
        self._look(names, image.known if image is not None else ())
        return self._sent(image) if image is not None else self._sent_whole(content)

    def _planned(self, content: Content) -> ImagePlan | None:
        """Decide what becomes of the image; None for what is pushed as it is, a list or an artifact."""
        request, manifest = self.request, content.parse(self.what)
        if isinstance(manifest, Manifest) and manifest.config.media_type in media_types.CONFIGS:
            image = plan_image(manifest, self.source.read_blob(manifest.config, CONFIG_LIMIT), request, self.what)
            self._tell(image)
            return image
        if request.packing != Packing() or request.annotations:
            kind = "a list" if isinstance(manifest, Index) else "an artifact, not an image"
            raise InputError(
                f"{self.what} is {kind}: it is pushed as it is",
                hint="--compression, --format and --annotation are for one image; of a list choose it with --platform.",
            )
        if isinstance(manifest, Index):
            self.pushed.platforms = [entry.platform for entry in manifest.entries if not entry.is_attestation]
        return None

    def _tell(self, image: ImagePlan) -> None:
        platform = self.pushed.platform = image.config.platform
        absent = [name for name, value in (("os", platform.os), ("architecture", platform.architecture)) if not value]
        if absent:
            said = f"{self.what}: its config names no {' and no '.join(absent)}"
            refused = "'create' refuses it (platform-missing) unless --set-platform says what it is for"
            self.runtime.observe(Warned(f"{said}; {refused}"))

    def _unchanged(self, old: Manifest, image: ImagePlan) -> Content | None:
        """Return what the target holds if it is this image, with all its layers, else None."""
        if not self.known.is_same(old, image):
            return None
        self._tell(image)
        self.pushed.layers = [PushedLayer(layer, "exists") for layer in old.layers]
        return Content(old.raw, old.media_type, old.digest)

    def _sent(self, image: ImagePlan) -> Content:
        """Bring over all that the image names; returns the manifest to write."""
        config = image.manifest.config.digest
        self._refuse(image.final, config)
        old = self.known.old(image.family) if image.final is None else None
        same = self._unchanged(old, image) if old is not None else None
        if same is not None:
            return same
        check_layers(self.target, [plan.ready for plan in image.layers if plan.ready and not plan.is_foreign])
        # The config goes up first. Where it is, a push that was killed, or had another tag, may have left layers.
        self.begun = self.known.blobs[config]
        self._bring(image, self.known.reusable(old, image) if old is not None else {})
        layers = [layer.descriptor for layer in self.pushed.layers]
        return image.final or compose_manifest(image.manifest, layers, image.family, self.request.annotations)

    def _sent_whole(self, content: Content) -> Content:
        self._refuse(content)
        manifest = content.parse(self.what)
        if isinstance(manifest, Manifest):
            check_layers(self.target, [one for one in manifest.layers if not media_types.is_foreign(one.media_type)])
        Transfer(self.source, self.target, self.pool, self.runtime).image(content)
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
            held = self.known.held[state.tag]
            if final is None and held is not None and config_of(held) == config:
                continue
            where = escape(f"{self.target.name}:{state.tag}", 400)
            self._guard(state).check(state, final or Content.of(b"", ""), where)

    def _bring(self, image: ImagePlan, reused: Mapping[Digest, Descriptor]) -> None:
        """Bring over config and layers, each once: the config, then the largest, so that none is alone at the end."""
        config, plans = image.manifest.config, image.layers
        unique = {plan.layer.digest: plan for plan in plans}
        ordered = sorted(unique.values(), key=lambda plan: -plan.layer.size)
        done: dict[Digest, PushedLayer] = {}

        def bring(plan: LayerPlan | None) -> None:
            if plan is not None:
                done[plan.layer.digest] = self._layer(plan, reused.get(plan.layer.digest))
            elif not self.known.blobs[config.digest]:
                self.target.write_blob(Blob(config, lambda: iter((image.raw,))))

        self.pool.map(bring, [None, *ordered], stop=HOPELESS)
        self.pushed.layers = [
            PushedLayer(plan.ready or done[plan.layer.digest].descriptor, done[plan.layer.digest].how) for plan in plans
        ]

    def _layer(self, plan: LayerPlan, known: Descriptor | None) -> PushedLayer:
        layer, ready = plan.layer, plan.ready
        if known is not None:
            self._moved(layer, "exists")
            return PushedLayer(known, "reused")
        if plan.is_foreign and self.source.can_lack(layer):
            return PushedLayer(ready or layer, "exists")
        if ready is None:
            ready, how = self._packed(plan, plan.pack or "gzip")
        elif self.known.blobs.get(ready.digest) or not self.target.write_blob(Blob(ready, lambda: self._read(layer))):
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
        from manifestctl.spool import NoSpaceError, Spool

        if size <= self.spooled:
            with contextlib.suppress(NoSpaceError), Spool(self.runtime.environ, packed.name) as spool:
                for chunk in packed.open():
                    spool.write(chunk)
                made = packed.descriptor()
                sent = self.target.write_blob(Blob(made, lambda: spool.chunks(0, made.size)))
                return made, "packed" if sent else "exists"
        # Without space for it, it is packed once to know it, and again to send it.
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
