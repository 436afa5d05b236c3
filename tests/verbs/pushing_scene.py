"""A fake registry to push to, archives and layouts to push from, and `push` in one line."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.platforms import Platform
from manifestctl.model.published import Published
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.publish import Guard
from manifestctl.verbs.push import SPOOLED, push
from manifestctl.verbs.push_request import Packing, PushRequest
from tests.support import archives, images
from tests.support.images import digest_of
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from manifestctl.model.location import Location
    from manifestctl.model.manifest import Manifest
    from manifestctl.verbs.push_request import Pushed
    from tests.support.fake_registry import FakeRegistry

WEB = "team/web"
BLOBS = r"/blobs/sha256:"
UPLOADS = r"/blobs/uploads/"


class PushScene:
    """A place for sources, and a registry for targets; each push has a `World` of its own, the last is ``world``."""

    def __init__(self, registry: FakeRegistry, directory: Path) -> None:
        """Keep both."""
        self.registry = registry
        self.directory = directory
        self.world = World()
        self.settings = TransportSettings()
        self.environ: dict[str, str] = {}

    def saved(self, image: images.Image, *names: str, file: str = "saved.tar") -> str:
        """Write what ``docker save`` writes of an image, with its layers as plain tars; returns its location."""
        found = archives.saved(image, *(names or ("web:1",)))
        archives.write_archive(self.directory / file, archives.legacy_save(found))
        return f"docker-archive:{self.directory / file}"

    def layout(self, content: images.Content, tag: str = "1", directory: str = "layout") -> str:
        """Write a layout; returns the location of its one content."""
        images.write_layout(self.directory / directory, {tag: content})
        return f"oci:{self.directory / directory}:{tag}"

    def push(
        self,
        source: str | Location,
        tag: str | None = "1.4",
        *,
        target: str | None = None,
        platform: Iterable[str] = (),
        packing: Packing | None = None,
        no_overwrite: bool = False,
        expect: str | None = None,
        annotations: Mapping[str, str] | None = None,
        spooled: int = SPOOLED,
        **options: Any,
    ) -> Pushed:
        """Run `push`."""
        self.world = World(self.environ)
        request = PushRequest(
            source=parse_location(source) if isinstance(source, str) else source,
            target=parse_location(target or self.registry.reference(WEB, tag)),
            platforms=tuple(Platform.parse(text) for text in platform),
            packing=packing or Packing(),
            guard=Guard(no_overwrite, Digest.parse(expect) if expect else None),
            annotations=dict(annotations or {}),
            **options,
        )
        with Stores.of_system(self.world.runtime, self.settings) as stores:
            return push(request, stores, self.world.runtime, spooled=spooled)

    def stored(self, reference: str = "1.4") -> Any:
        """Return the manifest that a tag or digest names."""
        return self.registry.document(WEB, reference)

    def held(self, reference: str = "1.4") -> list[bytes]:
        """Return the unpacked layers of an image in the registry."""
        blobs = self.registry.repository(WEB).blobs
        return [gzip.decompress(blobs[layer["digest"]]) for layer in self.stored(reference)["layers"]]


def plain(image: images.Image, *, docker: bool = False) -> images.Image:
    """Return an image with its layers unpacked, as layouts of some builders have them."""
    layers = tuple(gzip.decompress(layer) for layer in image.layers)
    kind = "application/vnd.docker.image.rootfs.diff.tar" if docker else "application/vnd.oci.image.layer.v1.tar"
    return relayered(image, layers, kind)


def relayered(image: images.Image, layers: tuple[bytes, ...], *kinds: str) -> images.Image:
    """Return an image with other layers of these media types (or of one); its config is as it was."""
    types = kinds if len(kinds) == len(layers) else kinds * len(layers)
    document = json.loads(image.manifest)
    document["layers"] = [images.descriptor(data, kind) for data, kind in zip(layers, types, strict=True)]
    return images.Image(
        images.dump(document),
        image.media_type,
        image.config,
        image.config_media_type,
        layers,
        types,
        image.platform,
    )


def sent(registry: FakeRegistry) -> list[str]:
    """Return the methods of all requests that send content."""
    return sorted(recorded.method for recorded in registry.find("POST|PATCH|PUT"))


def done(pushed: Pushed, status: str = "created") -> str:
    """Return the digest of what was pushed, which must have ended well."""
    assert pushed.error is None, pushed.error
    assert (pushed.status, pushed.published, pushed.exit_code) == (status, Published.YES, 0)
    assert pushed.content is not None
    assert str(pushed.content.digest) == digest_of(pushed.content.raw)
    return str(pushed.content.digest)


def failed(pushed: Pushed, code: int, *words: str) -> str:
    """Return the message of a push that failed with this status before anything was published."""
    assert pushed.error is not None
    assert (pushed.exit_code, pushed.status, pushed.published) == (code, "failed", Published.NO), pushed.error
    text = f"{pushed.error.message} | {pushed.error.hint}"
    for word in words:
        assert word in text
    assert "\n" not in text
    return text


def layers_of(manifest: Manifest) -> list[str]:
    """Return the digests of a manifest's layers."""
    return [str(layer.digest) for layer in manifest.layers]
