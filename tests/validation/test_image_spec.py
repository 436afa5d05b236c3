"""What OCI's image-spec and Docker's schema 2 allow and forbid, each case as one change to a good document.

Where the text of image-spec and the tests of its own schemas differ, the tests decide.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from manifestctl.validation import validate

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SHA = "sha256:" + "5b0bcabd1ed22e9f" * 4
ABSENT = object()

DESCRIPTOR: dict[str, Any] = {"mediaType": MANIFEST, "size": 7682, "digest": SHA}
BASE: dict[str, dict[str, Any]] = {
    "oci-descriptor": DESCRIPTOR,
    "oci-index": {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**DESCRIPTOR, "platform": {"architecture": "amd64", "os": "linux"}}],
    },
    "oci-manifest": {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": 1470, "digest": SHA},
        "layers": [{"mediaType": LAYER, "size": 148, "digest": "sha256:" + "c5" * 32}],
    },
    "oci-config": {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "9d" * 32]},
        "config": {},
    },
    "oci-layout": {"imageLayoutVersion": "1.0.0"},
    "docker-manifest-list": {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [
            {
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "size": 7143,
                "digest": SHA,
                "platform": {"architecture": "ppc64le", "os": "linux"},
            }
        ],
    },
    "docker-manifest": {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 7023, "digest": SHA},
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": 32654,
                "digest": "sha256:" + "e6" * 32,
            }
        ],
    },
}


def changed(kind: str, where: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(BASE[kind])
    place: Any = document
    *parents, last = where.split("/")[1:]
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return document


def verdict(kind: str, where: str, value: object) -> bool:
    return validate(json.dumps(changed(kind, where, value)).encode(), "document", kind).ok


@pytest.mark.parametrize("kind", sorted(BASE))
def test_the_unchanged_document_passes_and_is_recognised(kind: str) -> None:
    result = validate(json.dumps(BASE[kind]).encode(), "document")
    assert (result.kind, result.findings) == (kind, ())


ACCEPTED: list[tuple[str, str, object]] = [
    ("oci-descriptor", "/size", 0),
    ("oci-descriptor", "/size", 2**63 - 1),
    ("oci-descriptor", "/mediaType", "application/octet-stream"),
    ("oci-descriptor", "/mediaType", "1" * 127 + "/" + "2" * 127),
    ("oci-descriptor", "/digest", "sha256+b64:" + "c8" * 32),
    ("oci-descriptor", "/digest", "sha256+foo-bar:" + "c8" * 32),
    ("oci-descriptor", "/digest", "sha256.foo-bar:" + "c8" * 32),
    ("oci-descriptor", "/digest", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"),
    ("oci-descriptor", "/digest", "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564"),
    ("oci-descriptor", "/digest", "sha256+b64u.unknownlength:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564="),
    ("oci-descriptor", "/digest", "sha512:" + "ab" * 64),
    ("oci-descriptor", "/digest", "sha384:" + "ab" * 48),
    ("oci-descriptor", "/digest", "blake3:" + "ab" * 32),
    ("oci-descriptor", "/digest", "x:y"),
    ("oci-descriptor", "/urls", ["https://example.com/foo"]),
    ("oci-descriptor", "/urls", []),
    ("oci-descriptor", "/artifactType", MANIFEST),
    ("oci-descriptor", "/annotations", {}),
    ("oci-descriptor", "/annotations", {"": "", "key": ""}),
    ("oci-descriptor", "/unknown", {"size": "free"}),
    ("oci-index", "/manifests", []),
    ("oci-index", "/mediaType", ABSENT),
    ("oci-index", "/manifests/0/platform", ABSENT),
    ("oci-index", "/manifests/0/mediaType", "application/customized.manifest+json"),
    ("oci-index", "/manifests/0/mediaType", "application/vnd.oci.image.index.v1+json"),
    ("oci-index", "/manifests/0/artifactType", "application/vnd.example1+type"),
    ("oci-index", "/manifests/0/platform/features", ["sse4"]),
    ("oci-index", "/manifests/0/platform/variant", "whatever"),
    ("oci-index", "/artifactType", "application/vnd.example+type"),
    ("oci-index", "/subject", {"mediaType": MANIFEST, "size": 1234, "digest": "sha256:" + "22" * 32}),
    ("oci-index", "/annotations", {"com.example.key1": "value1"}),
    ("oci-index", "/config", None),
    ("oci-manifest", "/mediaType", ABSENT),
    ("oci-manifest", "/annotations", {"key1": "value1"}),
    ("oci-manifest", "/layers/0/mediaType", "application/vnd.other.layer"),
    ("oci-manifest", "/config/mediaType", "application/octet-stream"),
    ("oci-manifest", "/subject", {**DESCRIPTOR, "digest": "sha256:" + "22" * 32}),
    ("oci-manifest", "/artifactType", "application/vnd.example+type"),
    ("oci-manifest", "/manifests", None),
    ("oci-config", "/variant", "v8"),
    ("oci-config", "/os.version", "10.0.17763.1"),
    ("oci-config", "/os.features", ["win32k"]),
    ("oci-config", "/config", None),
    ("oci-config", "/config", ABSENT),
    ("oci-config", "/config/Entrypoint", None),
    ("oci-config", "/config/Cmd", None),
    ("oci-config", "/config/Volumes", None),
    ("oci-config", "/config/Labels", None),
    ("oci-config", "/config/OnBuild", None),
    ("oci-config", "/config/StopSignal", "SIGKILL"),
    ("oci-config", "/config/Env", ["FOO=", "PATH=/bin", "MULTI=a\nb\n"]),
    ("oci-config", "/config/ExposedPorts", {"8080/tcp": {}, "53": {"extra": 1}}),
    ("oci-config", "/rootfs/diff_ids", []),
    ("oci-config", "/created", "2015-10-31T22:22:56.015925234Z"),
    ("oci-config", "/created", "0001-01-01T00:00:00Z"),
    ("oci-config", "/history", [{"created_by": "ADD x", "unknown": 1}]),
    ("oci-config", "/os", "templeos"),
    ("oci-layout", "/extra", 1),
    ("docker-manifest-list", "/manifests", []),
    ("docker-manifest-list", "/manifests/0/platform/features", ["sse4"]),
    ("docker-manifest-list", "/manifests/0/platform/os.version", "10.0.10586"),
    ("docker-manifest-list", "/manifests/0/mediaType", MANIFEST),
    ("docker-manifest-list", "/annotations", {"k": "v"}),
    ("docker-manifest", "/layers", []),
    ("docker-manifest", "/config/mediaType", "application/octet-stream"),
    ("docker-manifest", "/layers/0/urls", ["https://example.com/layer"]),
    ("docker-manifest", "/unknown", []),
]


@pytest.mark.parametrize(("kind", "where", "value"), ACCEPTED)
def test_what_the_specification_allows_passes(kind: str, where: str, value: object) -> None:
    assert verdict(kind, where, value)


REFUSED: list[tuple[str, str, object]] = [
    ("oci-descriptor", "/mediaType", ABSENT),
    ("oci-descriptor", "/mediaType", "application"),
    ("oci-descriptor", "/mediaType", ".foo/bar"),
    ("oci-descriptor", "/mediaType", "foo/.bar"),
    ("oci-descriptor", "/mediaType", "1" * 128 + "/bar"),
    ("oci-descriptor", "/mediaType", "foo/" + "1" * 128),
    ("oci-descriptor", "/mediaType", "text/plain; charset=utf-8"),
    ("oci-descriptor", "/size", ABSENT),
    ("oci-descriptor", "/size", "7682"),
    ("oci-descriptor", "/size", -7682),
    ("oci-descriptor", "/size", 2**63),
    ("oci-descriptor", "/size", 7682.0),
    ("oci-descriptor", "/size", None),
    ("oci-descriptor", "/digest", ABSENT),
    ("oci-descriptor", "/digest", ":" + "5b" * 32),
    ("oci-descriptor", "/digest", "sha256"),
    ("oci-descriptor", "/digest", "sha256:"),
    ("oci-descriptor", "/digest", "SHA256:" + "5b" * 32),
    ("oci-descriptor", "/digest", "sha256:" + "5B" * 32),
    ("oci-descriptor", "/digest", "sha256:" + "5b" * 31),
    ("oci-descriptor", "/digest", "sha512:" + "5b" * 32),
    ("oci-descriptor", "/digest", "sha384:" + "5b" * 32),
    ("oci-descriptor", "/digest", "blake3:" + "5B" * 32),
    ("oci-descriptor", "/digest", "sha256+foo+-b:" + "c8" * 32),
    ("oci-descriptor", "/digest", SHA + "\n"),
    ("oci-descriptor", "/urls", ["value"]),
    ("oci-descriptor", "/urls", "https://example.com"),
    ("oci-descriptor", "/artifactType", "foo/.bar"),
    ("oci-descriptor", "/artifactType", ""),
    ("oci-descriptor", "/annotations", {"key": 1}),
    ("oci-descriptor", "/annotations", {"": None}),
    ("oci-descriptor", "/annotations", None),
    ("oci-index", "/schemaVersion", ABSENT),
    ("oci-index", "/schemaVersion", 1),
    ("oci-index", "/schemaVersion", "2"),
    ("oci-index", "/mediaType", "invalid"),
    ("oci-index", "/mediaType", MANIFEST),
    ("oci-index", "/manifests", ABSENT),
    ("oci-index", "/manifests", None),
    ("oci-index", "/manifests", {}),
    ("oci-index", "/manifests/0/mediaType", "invalid"),
    ("oci-index", "/manifests/0/mediaType", ""),
    ("oci-index", "/manifests/0/size", "7682"),
    ("oci-index", "/manifests/0/digest", ABSENT),
    ("oci-index", "/manifests/0/platform/architecture", ABSENT),
    ("oci-index", "/manifests/0/platform/os", ABSENT),
    ("oci-index", "/manifests/0/platform/os.features", "win32k"),
    ("oci-index", "/subject", "nope"),
    ("oci-index", "/layers", []),
    ("oci-manifest", "/schemaVersion", ABSENT),
    ("oci-manifest", "/mediaType", "invalid"),
    ("oci-manifest", "/config", ABSENT),
    ("oci-manifest", "/config/mediaType", "invalid"),
    ("oci-manifest", "/config/size", "1470"),
    ("oci-manifest", "/config/digest", "sha256:c86f7763873b6c0aaehhhhhhhhhhhhhhhhmmmmmmmmmmmmmmmm22d9h3bab59b4f"),
    ("oci-manifest", "/config/mediaType", "application/vnd.oci.empty.v1+json"),
    ("oci-manifest", "/layers", ABSENT),
    ("oci-manifest", "/layers", []),
    ("oci-manifest", "/layers", None),
    ("oci-manifest", "/layers/0/size", "675598"),
    ("oci-manifest", "/subject", "nope"),
    ("oci-manifest", "/manifests", []),
    ("oci-config", "/architecture", ABSENT),
    ("oci-config", "/os", ABSENT),
    ("oci-config", "/os", 123),
    ("oci-config", "/variant", 123),
    ("oci-config", "/rootfs", ABSENT),
    ("oci-config", "/rootfs", None),
    ("oci-config", "/rootfs/type", ABSENT),
    ("oci-config", "/rootfs/type", "overlay"),
    ("oci-config", "/rootfs/diff_ids", ABSENT),
    ("oci-config", "/rootfs/diff_ids", None),
    ("oci-config", "/config/User", 1234),
    ("oci-config", "/config/Env", [7353]),
    ("oci-config", "/config/Env", ["foo"]),
    ("oci-config", "/config/Env", None),
    ("oci-config", "/config/Volumes", ["/var/job-result-data"]),
    ("oci-config", "/config/Labels", {"a": 1}),
    ("oci-config", "/config/ExposedPorts", ["80/tcp"]),
    ("oci-config", "/config/ArgsEscaped", "true"),
    ("oci-config", "/history", "should be an array"),
    ("oci-config", "/history", [{"empty_layer": "yes"}]),
    ("oci-config", "/created", "31 Oct 2015"),
    ("oci-layout", "/imageLayoutVersion", ABSENT),
    ("oci-layout", "/imageLayoutVersion", "1.0.1"),
    ("oci-layout", "/imageLayoutVersion", 1),
    ("docker-manifest-list", "/mediaType", ABSENT),
    ("docker-manifest-list", "/mediaType", "application/vnd.oci.image.index.v1+json"),
    ("docker-manifest-list", "/schemaVersion", 1),
    ("docker-manifest-list", "/manifests", None),
    ("docker-manifest-list", "/manifests/0/platform", ABSENT),
    ("docker-manifest-list", "/manifests/0/platform/os", ABSENT),
    ("docker-manifest-list", "/manifests/0/platform/features", "sse4"),
    ("docker-manifest-list", "/layers", []),
    ("docker-manifest", "/mediaType", ABSENT),
    ("docker-manifest", "/mediaType", MANIFEST),
    ("docker-manifest", "/config", ABSENT),
    ("docker-manifest", "/layers", ABSENT),
    ("docker-manifest", "/layers/0/urls", ["layer.tar"]),
    ("docker-manifest", "/manifests", []),
]


@pytest.mark.parametrize(("kind", "where", "value"), REFUSED)
def test_what_the_specification_forbids_fails_at_its_place(kind: str, where: str, value: object) -> None:
    result = validate(json.dumps(changed(kind, where, value)).encode(), "document", kind)
    assert not result.ok
    errors = [finding for finding in result.findings if finding.is_error]
    special = {"application/vnd.oci.empty.v1+json": "/artifactType"}
    place = special.get(value, where) if isinstance(value, str) else where
    assert all(finding.where.startswith(place) for finding in errors)
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("data", "ok"),
    [
        ("aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCg==", True),
        ("aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCg", False),
        ("aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCg==\n", False),
        ("aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCQ==", False),
    ],
)
def test_embedded_data(data: str, ok: bool) -> None:
    descriptor = {
        "mediaType": "text/plain",
        "size": 34,
        "digest": "sha256:2690af59371e9eca9453dc29882643f46e5ca47ec2862bd517b5e17351325153",
        "data": data,
    }
    assert validate(json.dumps(descriptor).encode(), "document").ok is ok
