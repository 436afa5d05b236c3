"""The children to publish: images of distinct platforms, pushed to a registry; and a look at what was published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX
from tests.support.images import image

if TYPE_CHECKING:
    from tests.support.images import Image
    from tests.support.pushing import Client

REPOSITORY = "bench/web"
LAYERS = 3

# The usual ones first, then what the allow-list of every peer takes: some know few architectures and variants.
PLATFORMS = (
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/arm/v5",
    "linux/mips64le",
    "linux/mips64",
    "windows/amd64:10.0.14393.6796",
    "windows/amd64:10.0.17763.5576",
    "windows/amd64:10.0.18363.1556",
    "windows/amd64:10.0.19042.1889",
    "windows/amd64:10.0.20348.2340",
    "windows/amd64:10.0.25398.763",
    "windows/amd64:10.0.26100.2033",
    "windows/386",
    "freebsd/amd64",
    "freebsd/386",
    "freebsd/arm",
    "netbsd/amd64",
    "netbsd/386",
    "netbsd/arm",
    "openbsd/amd64",
    "openbsd/386",
    "openbsd/arm",
    "darwin/amd64",
    "dragonfly/amd64",
    "plan9/amd64",
    "solaris/amd64",
)


@dataclass(frozen=True, slots=True)
class Child:
    """A child as it was pushed: its tag, its digest, and its platform in the words of its config."""

    tag: str
    digest: str
    platform: dict[str, str]


def push_children(client: Client, count: int) -> list[Child]:
    """Push images of the first ``count`` platforms, with a few layers of their own each."""
    return [
        _push(client, f"child-{number}", image(platform, layers=LAYERS))
        for number, platform in enumerate(PLATFORMS[:count])
    ]


def push_many(client: Client, count: int) -> list[Child]:
    """Push images for very many versions of one platform, for a list far longer than real ones."""
    return [_push(client, f"many-{number}", image(f"windows/amd64:10.0.{10000 + number}.1")) for number in range(count)]


def _push(client: Client, tag: str, made: Image) -> Child:
    return Child(tag, client.push(REPOSITORY, tag, made), made.platform)


def entries(client: Client, tag: str) -> list[str]:
    """Return the digests in the list that a tag holds; none if there is no such tag, or no list under it."""
    answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/{tag}", Accept=f"{OCI_INDEX}, {DOCKER_LIST}")
    document: dict[str, Any] = json.loads(answer.body) if answer.status == 200 else {}
    return [entry["digest"] for entry in document.get("manifests", [])]
