"""What the target of a push has already: what its tags hold, and which blobs are there. Nothing is asked twice."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, IntegrityError, InterruptedRun, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import Manifest, parse_config
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import HOPELESS
from manifestctl.verbs.image_manifest import family_of
from manifestctl.verbs.publish import read_content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.parallel import Pool
    from manifestctl.stores.base import Content, Store
    from manifestctl.verbs.image_manifest import Family
    from manifestctl.verbs.push_plan import ImagePlan
    from manifestctl.verbs.push_request import PushRequest


class Known:
    """What the target was asked in this run, and its answers.

    ``held`` is what each tag held before, ``blobs`` whether a blob is there.
    """

    def __init__(self, request: PushRequest, own: str, target: Store, pool: Pool) -> None:
        """Bind to the target, whose own tag is ``own``; nothing is asked yet."""
        self.held: dict[str, Content | None] = {}
        self.blobs: dict[Digest, bool] = {}
        self._request = request
        self._own = own
        self._target = target
        self._pool = pool

    def ask(self, asked: Sequence[str | Descriptor]) -> None:
        """Learn at once what tags hold, and whether blobs are there, as far as that is not known."""
        new = [one for one in asked if (one not in self.held if isinstance(one, str) else one.digest not in self.blobs)]
        self._pool.map(self._ask, new, stop=HOPELESS)

    def there(self, blobs: Sequence[Descriptor]) -> list[bool]:
        """Tell of each whether the target has it; what need not be in a registry counts as there."""
        asked = {blob.digest: blob for blob in blobs if not media_types.is_foreign(blob.media_type)}
        self.ask(list(asked.values()))
        return [self.blobs.get(blob.digest, True) for blob in blobs]

    def read_blob(self, descriptor: Descriptor) -> bytes | None:
        """Read a small blob of the target; None if it is not there, or not what it should be."""
        raw = None
        with contextlib.suppress(NotFoundError, IntegrityError):
            raw = self._target.read_blob(descriptor, CONFIG_LIMIT)
        self.blobs[descriptor.digest] = raw is not None
        return raw

    def read_config(self, manifest: Manifest) -> bytes | None:
        """Read the config of an image that the target holds, and ask meanwhile for its layers."""
        reading = self._pool.submit(self.read_blob, manifest.config)
        self.there(manifest.layers)
        return reading.result()

    def with_digest(self, digest: Digest) -> Content | None:
        """Return this manifest or list, if one of the tags holds it."""
        return next((held for held in self.held.values() if held is not None and held.digest == digest), None)

    def old(self, family: Family) -> Manifest | None:
        """Return the image that the target's tag holds, or else a further tag, if it is one of this family."""
        held = next((held for held in (self.held.get(self._own), *self.held.values()) if held is not None), None)
        manifest = _image(held) if held is not None else None
        return manifest if manifest is not None and family_of(manifest) == family else None

    def is_same(self, old: Manifest, image: ImagePlan) -> bool:
        """Tell whether an image that the target holds is the one that is pushed, with all its layers."""
        said, packing = {**image.manifest.annotations, **self._request.annotations}, self._request.packing
        return (
            old.config.digest == image.manifest.config.digest
            and len(old.layers) == len(image.layers)
            and all(plan.takes(layer, packing) for plan, layer in zip(image.layers, old.layers, strict=True))
            and said.items() <= old.annotations.items()
            and all(self.there([old.config, *old.layers]))
        )

    def reusable(self, old: Manifest, image: ImagePlan) -> dict[Digest, Descriptor]:
        """Return, by what the source calls them, the layers that the target's image has packed in the same place."""
        ours = theirs = image.config.diff_ids
        if old.config.digest != image.manifest.config.digest:
            try:
                theirs = parse_config(self._target.read_blob(old.config, CONFIG_LIMIT), "the target's config").diff_ids
            except InterruptedRun:
                raise
            except ManifestctlError:
                return {}
        found = {
            plan.layer.digest: layer
            for plan, our, their, layer in zip(image.layers, ours, theirs, old.layers, strict=False)
            if plan.pack is not None and our == their and plan.takes(layer, self._request.packing)
        }
        there = self.there(list(found.values()))
        return {digest: layer for (digest, layer), is_there in zip(found.items(), there, strict=True) if is_there}

    def _ask(self, one: str | Descriptor) -> None:
        if isinstance(one, str):
            # A tag that is not written is looked at for what may be of use in it, so that it may hold anything.
            faults = (DocumentError, IntegrityError) if self._request.by_digest else ()
            self.held[one] = None
            with contextlib.suppress(*faults):
                self.held[one] = read_content(self._target, one)
            return
        try:
            self.blobs[one.digest] = self._target.has(one)
        except IntegrityError:
            # Whatever names it is wrong, so that nothing of it is used.
            self.blobs[one.digest] = False


def config_of(content: Content) -> Digest | None:
    """Return the digest of an image's config; None for anything else."""
    manifest = _image(content)
    return manifest.config.digest if manifest is not None else None


def _image(content: Content) -> Manifest | None:
    try:
        manifest = content.parse("what the target holds")
    except DocumentError:
        return None
    return manifest if isinstance(manifest, Manifest) else None
