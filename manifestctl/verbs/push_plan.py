"""What becomes of an image that is pushed, and of each of its layers, decided before anything is sent."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import InputError, IntegrityError
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.manifest import Manifest, parse_config
from manifestctl.text import escape, plural
from manifestctl.values import dataclass
from manifestctl.verbs.image_manifest import check_annotations, compose_manifest, family_of
from manifestctl.verbs.push_source import check_platform

if TYPE_CHECKING:
    from manifestctl.compression import Format
    from manifestctl.model.manifest import ImageConfig
    from manifestctl.stores.base import Content
    from manifestctl.verbs.image_manifest import Family
    from manifestctl.verbs.push_request import Packing, PushRequest

_FOREIGN_DOCKER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
_FOREIGN_OCI = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
_FOREIGN: dict[Family, dict[str, str]] = {
    "docker": {_FOREIGN_OCI: _FOREIGN_DOCKER},
    "oci": {_FOREIGN_DOCKER: _FOREIGN_OCI},
}


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What becomes of one layer: ``layer`` is what the source has, ``media_type`` what it is afterwards.

    ``pack`` is how it is packed, None if it goes up as it is. ``diff_id`` is what the config calls a plain tar.
    """

    layer: Descriptor
    media_type: str
    pack: Format | None = None
    diff_id: Digest | None = None

    @property
    def ready(self) -> Descriptor | None:
        """The layer as the new manifest names it; None if it has to be packed first."""
        return None if self.pack is not None else replace(self.layer, media_type=self.media_type)

    @property
    def is_foreign(self) -> bool:
        """Tell whether it need not be in a registry."""
        return media_types.is_foreign(self.media_type)

    def takes(self, held: Descriptor, packing: Packing) -> bool:
        """Tell whether a layer that the target has of the same content may stand in its place."""
        if self.pack is None:
            return held.digest == self.layer.digest
        if held.media_type not in media_types.LAYERS:
            return False
        found = media_types.packing(held.media_type)
        return found == packing.format if packing.format is not None else found != "none"


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What becomes of an image: ``manifest`` and ``config`` are the source's, ``raw`` is what the config was read from.

    ``final`` is the manifest to write; None if layers have to be packed first.
    """

    manifest: Manifest
    config: ImageConfig
    raw: bytes = field(repr=False)
    family: Family
    layers: tuple[LayerPlan, ...]
    final: Content | None

    @property
    def known(self) -> list[Descriptor]:
        """What the target needs and may have already: the config, and the layers that go up as they are."""
        ready = [plan.ready for plan in self.layers if plan.ready is not None and not plan.is_foreign]
        return list({blob.digest: blob for blob in (self.manifest.config, *ready)}.values())


def plan_image(manifest: Manifest, raw: bytes, request: PushRequest, what: str) -> ImagePlan:
    """Decide what becomes of an image with this config; ``what`` names it in messages.

    Raises `DocumentError` for a config that cannot be read, and what `plan_layers` raises.
    """
    config = parse_config(raw, f"the config of {what}")
    family = request.packing.family or family_of(manifest)
    check_annotations(family, {**manifest.annotations, **request.annotations})
    layers = tuple(plan_layers(manifest, config, request.packing, family, what))
    ready = [plan.ready for plan in layers if plan.ready is not None]
    final = compose_manifest(manifest, ready, family, request.annotations) if len(ready) == len(layers) else None
    return ImagePlan(manifest, config, raw, family, layers, final)


def check_foretold(request: PushRequest, what: str) -> None:
    """Raise `InputError` for what the image of an engine cannot be given, which has Docker's types and plain layers."""
    family = request.packing.family or "docker"
    check_annotations(family, request.annotations)
    if family == "docker" and request.packing.format == "zstd":
        raise _no_zstd(what, packed=False)


def foresee(old: Manifest, raw: bytes, request: PushRequest, what: str) -> ImagePlan | None:
    """Decide what would become of an image that an engine has not exported yet; None if that cannot be known.

    Its config is ``raw``, which is that of an image ``old`` in the target, its types will be Docker's, and its layers
    plain tars, of sizes that nobody knows. Raises as `plan_image`, and `NotFoundError` for one of another platform.
    """
    config = parse_config(raw, f"the config of {what}")
    check_platform(config.platform, request.platforms, what)
    try:
        layers = [Descriptor(media_types.DOCKER_LAYER, Digest.parse(diff_id), 0) for diff_id in config.diff_ids]
    except InputError:
        return None
    # A layer that cannot be checked is refused when it is read. Of an image that is not packed the whole manifest would
    # have to be the same, and the sizes of its layers are not known.
    if not layers or request.packing.format == "none" or not all(layer.digest.verifiable for layer in layers):
        return None
    config_type = replace(old.config, media_type=media_types.DOCKER_CONFIG)
    manifest = Manifest(b"", media_types.DOCKER_MANIFEST, Digest.of(b""), config_type, tuple(layers))
    return plan_image(manifest, raw, request, what)


def plan_layers(
    manifest: Manifest, config: ImageConfig, packing: Packing, family: Family, what: str
) -> list[LayerPlan]:
    """Decide for each layer of an image; ``what`` names the image in messages.

    Raises `InputError` for what cannot be packed or said so, and `IntegrityError` if a layer that is a plain tar is not
    the one that the config names in its place.
    """
    diff_ids = config.diff_ids
    if len(diff_ids) != len(manifest.layers):
        if any(_state(layer) == "none" for layer in manifest.layers):
            counted = f"{plural(len(manifest.layers), 'layer')}, but its config has {plural(len(diff_ids), 'diff_id')}"
            raise IntegrityError(f"{what}: it has {counted}", hint="Build or save the image again.")
        diff_ids = ("",) * len(manifest.layers)
    return [
        _plan(layer, diff_id, packing, family, what, converted=family != family_of(manifest))
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
    ]


def _state(layer: Descriptor) -> Format | None:
    """Return how a layer is packed; None for one that is no tar of this image, or not known."""
    return media_types.packing(layer.media_type) if layer.media_type in media_types.LAYERS else None


def _plan(
    layer: Descriptor, diff_id: str, packing: Packing, family: Family, what: str, *, converted: bool
) -> LayerPlan:
    state = _state(layer)
    name = f"{what}: layer {layer.digest.short}"
    if state is None:
        return LayerPlan(layer, _other_type(layer.media_type, family, name) if converted else layer.media_type)
    checked = _checked(layer, diff_id, name) if state == "none" else None
    pack = packing.format or ("gzip" if state == "none" else state)
    if pack == state and not converted:
        return LayerPlan(layer, layer.media_type, diff_id=checked)
    if family == "docker" and (state == "zstd" or (state == "none" and pack == "zstd")):
        raise _no_zstd(name, packed=state != "none")
    if state not in ("none", pack):
        raise InputError(
            f"{name} is compressed with {state} already",
            hint=f"Leave out --compression, or give it --compression {state}.",
        )
    media_type = media_types.layer_type(docker=family == "docker", packed=pack)
    return LayerPlan(layer, media_type, None if pack == state else pack, checked)


def _no_zstd(name: str, *, packed: bool) -> InputError:
    # A layer that is compressed is not compressed anew, so that no other option would help.
    other = "; compressed layers are pushed as they are." if packed else ", or --compression gzip."
    return InputError(f"{name}: Docker's manifest cannot hold zstd layers", hint=f"Pass --format oci{other}")


def _other_type(media_type: str, family: Family, name: str) -> str:
    if media_type in _FOREIGN[family]:
        return _FOREIGN[family][media_type]
    raise InputError(
        f"{name} is {escape(media_type, 120)}, which has no counterpart in the other format", hint="Leave out --format."
    )


def _checked(layer: Descriptor, diff_id: str, name: str) -> Digest:
    """Return the diff_id of a plain tar, which is its digest; one of another algorithm is verified when it is read."""
    try:
        digest = Digest.parse(diff_id)
    except InputError as error:
        raise IntegrityError(f"{name}: its config's diff_id: {error.message}") from error
    if digest != layer.digest and (digest.algorithm == layer.digest.algorithm or not digest.verifiable):
        raise IntegrityError(
            f"{name} is {layer.digest}, but the image's config says {digest} in its place",
            hint="The image is damaged; build or save it again.",
        )
    return digest
