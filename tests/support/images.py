"""Tiny images and lists in pure Python, for the fakes, for layouts, and for checks of what was published.

Platforms are written ``os/architecture[/variant][:os.version]`` and go into configs as they are, aliases and all, so
that tests can make images that say what they should not.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from manifestctl.compression import compressor, decompressed, detect
from manifestctl.model.media_types import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    layer_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from manifestctl.compression import Format

JSON = dict[str, Any]

DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
IN_TOTO = "application/vnd.in-toto+json"
ATTESTATION_ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
PREDICATE_TYPE = "in-toto.io/predicate-type"
PROVENANCE = "https://slsa.dev/provenance/v0.2"
SBOM = "https://spdx.dev/Document"
REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "2024-05-06T07:08:09Z"
UNKNOWN = {"architecture": "unknown", "os": "unknown"}


def digest_of(data: bytes) -> str:
    """Return ``sha256:`` and the hexadecimal digest of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def dump(document: object, indent: int | None = None) -> bytes:
    """Return JSON bytes: compact, or indented by so many spaces."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(document, indent=indent, separators=separators, ensure_ascii=False).encode()


def descriptor(data: bytes, media_type: str, **fields: object) -> JSON:
    """Return the descriptor of bytes as JSON; ``fields`` are added to it (``platform=…``, ``annotations=…``)."""
    made: JSON = {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}
    return made | fields


def platform_fields(platform: str) -> JSON:
    """Return what a config or a descriptor says about a platform: ``architecture``, ``os`` and what else is given."""
    name, _, version = platform.partition(":")
    os, architecture, *variant = name.split("/")
    fields: JSON = {"architecture": architecture, "os": os}
    if variant:
        fields["variant"] = variant[0]
    if version:
        fields["os.version"] = version
    return fields


@dataclass(frozen=True, slots=True)
class Image:
    """One image: the manifest's bytes, and all the blobs that it names.

    ``platform`` is what the config says in JSON's words, empty if it says nothing.
    """

    manifest: bytes
    media_type: str
    config: bytes
    config_media_type: str
    layers: tuple[bytes, ...]
    layer_media_types: tuple[str, ...]
    platform: JSON

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        """The config's digest."""
        return digest_of(self.config)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Config and layers by digest."""
        return {digest_of(data): data for data in (self.config, *self.layers)}

    @property
    def children(self) -> tuple[Content, ...]:
        """An image has none."""
        return ()

    def descriptor(self, **fields: object) -> JSON:
        """Return the entry that a list has for this image, its platform included if the config names one."""
        platform = {"platform": dict(self.platform)} if self.platform else {}
        return descriptor(self.manifest, self.media_type, **(platform | fields))


@dataclass(frozen=True, slots=True)
class Index:
    """One list: its bytes, and the images and lists in it (those given as content, not as bare descriptors)."""

    manifest: bytes
    media_type: str
    children: tuple[Content, ...]

    @property
    def digest(self) -> str:
        """The list's digest."""
        return digest_of(self.manifest)

    @property
    def blobs(self) -> dict[str, bytes]:
        """A list has none of its own."""
        return {}

    def descriptor(self, **fields: object) -> JSON:
        """Return the entry that a list of lists has for this one."""
        return descriptor(self.manifest, self.media_type, **fields)


Content = Image | Index


def walk(content: Content) -> Iterator[Content]:
    """Yield the content's children, deepest first, then itself: the order in which they are pushed."""
    for child in content.children:
        yield from walk(child)
    yield content


def layer(text: str, name: str = "file.txt") -> tuple[bytes, str]:
    """Return a gzip-compressed tar with one file, and the digest of the tar uncompressed (the ``diff_id``)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(text.encode())
        entry.mode = 0o644
        tar.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(buffer.getvalue(), 1, mtime=0), digest_of(buffer.getvalue())


def image(
    platform: str | None = "linux/amd64",
    *,
    docker: bool = False,
    layers: int = 1,
    seed: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    created: str | None = CREATED,
    config: Mapping[str, object] | bytes | None = None,
    manifest: Mapping[str, object] | None = None,
    with_media_type: bool = True,
) -> Image:
    """Make an image.

    ``platform=None`` leaves os and architecture out of the config. Images with another ``seed`` differ in their layers.
    ``config`` adds or replaces fields of the config (a field given as None is left out), or is all its bytes;
    ``manifest`` does the same for fields of the manifest. ``with_media_type=False`` leaves ``mediaType`` out.
    """
    made = [layer(f"{platform} {seed} layer {number}\n", f"layer-{number}.txt") for number in range(layers)]
    blobs = tuple(data for data, _ in made)
    fields = platform_fields(platform) if platform else {}
    if isinstance(config, bytes):
        config_bytes = config
    else:
        document = _config(fields, labels, created, [diff_id for _, diff_id in made])
        config_bytes = dump(_overlaid(document, config))
    media_type, config_type, layer_type = (
        (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP) if docker else (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)
    )
    body: JSON = {"schemaVersion": 2, "mediaType": media_type} if with_media_type else {"schemaVersion": 2}
    body["config"] = descriptor(config_bytes, config_type)
    body["layers"] = [descriptor(data, layer_type) for data in blobs]
    if annotations:
        body["annotations"] = dict(annotations)
    return Image(
        dump(_overlaid(body, manifest)), media_type, config_bytes, config_type, blobs, (layer_type,) * layers, fields
    )


def repacked(made: Image, kind: Format) -> Image:
    """Return an image with its layers packed otherwise, in OCI's types; its config is as it was."""
    layers = []
    for data in made.layers:
        packer = compressor(kind)
        tar = b"".join(decompressed([data], detect(data)))
        layers.append(packer.update(tar) + packer.finish())
    media_type = layer_type(docker=False, packed=kind)
    document = json.loads(made.manifest) | {"layers": [descriptor(data, media_type) for data in layers]}
    kinds = (media_type,) * len(layers)
    return replace(made, manifest=dump(document), layers=tuple(layers), layer_media_types=kinds)


def index(
    children: Sequence[Content | Mapping[str, object]],
    *,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
    fields: Mapping[str, object] | None = None,
    indent: int | None = None,
    with_media_type: bool = True,
) -> Index:
    """Make a list of images, lists, or bare descriptors (JSON objects), in this order.

    For an entry with other fields give ``image.descriptor(platform=…, annotations=…)``. ``fields`` adds or replaces
    fields of the list; None leaves one out.
    """
    media_type = DOCKER_LIST if docker else OCI_INDEX
    body: JSON = {"schemaVersion": 2, "mediaType": media_type} if with_media_type else {"schemaVersion": 2}
    body["manifests"] = [child.descriptor() if isinstance(child, (Image, Index)) else dict(child) for child in children]
    if annotations:
        body["annotations"] = dict(annotations)
    held = tuple(child for child in children if isinstance(child, (Image, Index)))
    return Index(dump(_overlaid(body, fields), indent), media_type, held)


def attestation(subject: Content, *, artifact: bool = False) -> Image:
    """Make the attestation manifest that buildx adds for an image: provenance and SBOM as in-toto layers.

    With ``artifact`` it has the newer form, with ``artifactType`` and ``subject``.
    """
    head = {"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"digest": subject.digest}]}
    statements = [dump(head | {"predicateType": kind}) for kind in (SBOM, PROVENANCE)]
    layers = [
        descriptor(data, IN_TOTO, annotations={PREDICATE_TYPE: kind})
        for data, kind in zip(statements, (SBOM, PROVENANCE), strict=True)
    ]
    if artifact:
        config, config_type = b"{}", OCI_EMPTY
        extra: JSON = {"artifactType": ATTESTATION_ARTIFACT}
        tail: JSON = {"subject": descriptor(subject.manifest, subject.media_type)}
    else:
        diff_ids = [digest_of(statement) for statement in statements]
        config = dump(UNKNOWN | {"config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        config_type, extra, tail = OCI_CONFIG, {}, {}
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        **extra,
        "config": descriptor(config, config_type),
        "layers": layers,
        **tail,
    }
    return Image(dump(body, 2), OCI_MANIFEST, config, config_type, tuple(statements), (IN_TOTO, IN_TOTO), dict(UNKNOWN))


def attestation_entry(manifest: Image, subject: str) -> JSON:
    """Return the entry that buildx's index has for an attestation manifest of the image with this digest."""
    return manifest.descriptor(annotations={REFERENCE_DIGEST: subject, REFERENCE_TYPE: "attestation-manifest"})


def buildx_index(images: Sequence[Image], *, attestations: bool = True, artifact: bool = False) -> Index:
    """Make the index that ``docker buildx build --push`` leaves: images first, then their attestations."""
    held: list[Content] = list(images)
    entries = [made.descriptor() for made in images]
    for subject in images if attestations else ():
        made = attestation(subject, artifact=artifact)
        held.append(made)
        entries.append(attestation_entry(made, subject.digest))
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Index(dump(body, 2), OCI_INDEX, tuple(held))


def write_layout(directory: Path, tagged: Mapping[str, Content]) -> None:
    """Write an OCI image layout whose ``index.json`` names each content by its tag. OCI image-spec "Image Layout"."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for content in tagged.values():
        for part in walk(content):
            for digest, data in {part.digest: part.manifest, **part.blobs}.items():
                (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    entries = [content.descriptor(annotations={REF_NAME: tag}) for tag, content in tagged.items()]
    (directory / "oci-layout").write_bytes(dump({"imageLayoutVersion": "1.0.0"}))
    (directory / "index.json").write_bytes(dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))


def _config(platform: JSON, labels: Mapping[str, str] | None, created: str | None, diff_ids: list[str]) -> JSON:
    runtime: JSON = {"Env": ["PATH=/usr/bin"], "Cmd": ["/hello"]}
    if labels:
        runtime["Labels"] = dict(labels)
    head: JSON = {"created": created} if created is not None else {}
    history = [{"created_by": f"COPY layer-{number}.txt /"} for number in range(len(diff_ids))]
    return {
        **head,
        **platform,
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }


def _overlaid(document: JSON, fields: Mapping[str, object] | None) -> JSON:
    merged = document | dict(fields or {})
    return {key: value for key, value in merged.items() if value is not None or key not in (fields or {})}
