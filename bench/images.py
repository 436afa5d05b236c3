"""The children to publish: images of distinct platforms, pushed to a registry; and a look at what was published."""

from __future__ import annotations

import hashlib
import http.client
import json
from dataclasses import dataclass
from typing import Any, Self

from delay_proxy import LOOPBACK

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

LAYERS = 3
LAYER_SIZE = 2048

# os, architecture, variant, os.version: the usual ones first, then what every peer's allow-list takes.
PLATFORMS = [
    ("linux", "amd64", "", ""),
    ("linux", "arm64", "", ""),
    ("linux", "arm", "v7", ""),
    ("linux", "arm", "v6", ""),
    ("linux", "386", "", ""),
    ("linux", "ppc64le", "", ""),
    ("linux", "s390x", "", ""),
    ("linux", "riscv64", "", ""),
    ("linux", "arm", "v5", ""),
    ("linux", "mips64le", "", ""),
    ("linux", "mips64", "", ""),
    ("windows", "amd64", "", "10.0.14393.6796"),
    ("windows", "amd64", "", "10.0.17763.5576"),
    ("windows", "amd64", "", "10.0.18363.1556"),
    ("windows", "amd64", "", "10.0.19042.1889"),
    ("windows", "amd64", "", "10.0.20348.2340"),
    ("windows", "amd64", "", "10.0.25398.763"),
    ("windows", "amd64", "", "10.0.26100.2033"),
    ("windows", "386", "", ""),
    ("freebsd", "amd64", "", ""),
    ("freebsd", "386", "", ""),
    ("freebsd", "arm", "", ""),
    ("netbsd", "amd64", "", ""),
    ("netbsd", "386", "", ""),
    ("netbsd", "arm", "", ""),
    ("openbsd", "amd64", "", ""),
    ("openbsd", "386", "", ""),
    ("openbsd", "arm", "", ""),
    ("darwin", "amd64", "", ""),
    ("dragonfly", "amd64", "", ""),
    ("plan9", "amd64", "", ""),
    ("solaris", "amd64", "", ""),
]


@dataclass(frozen=True, slots=True)
class Child:
    """A child as it was pushed."""

    tag: str
    digest: str
    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""


class Backend:
    """A plain client of the registry behind the proxy, over one connection. Use it as a context manager."""

    def __init__(self, port: int, repository: str) -> None:
        """Talk to the registry on ``port`` about one repository."""
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        self.repository = repository

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._connection.close()

    def push(self, children: int) -> list[Child]:
        """Push images of the first ``children`` platforms, with layers of their own."""
        return [
            self._push_image(f"child-{number}", platform, [b"%d.%d" % (number, layer) for layer in range(LAYERS)])
            for number, platform in enumerate(PLATFORMS[:children])
        ]

    def push_windows(self, children: int) -> list[Child]:
        """Push images for one platform in many versions, all on one layer: a list far longer than real ones."""
        return [
            self._push_image(f"many-{number}", ("windows", "amd64", "", f"10.0.{10000 + number}.1"), [b"shared"])
            for number in range(children)
        ]

    def entries(self, tag: str) -> list[str]:
        """Return the digests in the list that a tag holds; none if there is no such tag or it is not a list."""
        status, body = self._request(
            "GET", f"manifests/{tag}", headers={"Accept": f"{INDEX}, {DOCKER_LIST}, {MANIFEST}"}
        )
        document: dict[str, Any] = json.loads(body) if status == 200 else {}
        return [entry["digest"] for entry in document.get("manifests", [])]

    def _push_image(self, tag: str, platform: tuple[str, str, str, str], layers: list[bytes]) -> Child:
        os, architecture, variant, os_version = platform
        config: dict[str, object] = {"os": os, "architecture": architecture, "config": {}}
        config |= {"variant": variant} if variant else {}
        config |= {"os.version": os_version} if os_version else {}
        blobs = [seed.ljust(LAYER_SIZE, b".") for seed in layers]
        config["rootfs"] = {"type": "layers", "diff_ids": [_digest(blob) for blob in blobs]}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._push_blob(CONFIG, json.dumps(config).encode()),
            "layers": [self._push_blob(LAYER, blob) for blob in blobs],
        }
        raw = json.dumps(manifest).encode()
        self._expect(201, "PUT", f"manifests/{tag}", raw, {"Content-Type": MANIFEST})
        return Child(tag, _digest(raw), *platform)

    def _push_blob(self, media_type: str, content: bytes) -> dict[str, object]:
        digest = _digest(content)
        location = self._expect(202, "POST", "blobs/uploads/")
        path = location.partition(f"/v2/{self.repository}/")[2]
        headers = {"Content-Type": "application/octet-stream"}
        self._expect(201, "PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", content, headers)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _expect(
        self, status: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> str:
        seen, answer = self._request(method, path, body, headers or {})
        if seen != status:
            raise RuntimeError(f"{method} {path}: {seen} {answer[:200]!r}")
        return self._location

    def _request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        self._connection.request(method, f"/v2/{self.repository}/{path}", body or None, headers or {})
        response = self._connection.getresponse()
        self._location = response.headers.get("Location", "")
        return response.status, response.read()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
