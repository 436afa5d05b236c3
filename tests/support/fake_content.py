"""What a fake registry holds: repositories with manifests, tags and blobs, in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.support.images import digest_of


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was PUT: its bytes and the Content-Type it came with."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The digest of the bytes."""
        return digest_of(self.data)


@dataclass(slots=True)
class Repository:
    """One repository: manifests and blobs by digest, digests by tag."""

    manifests: dict[str, StoredManifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, reference: str) -> StoredManifest | None:
        """Return the manifest that a tag or a digest names."""
        return self.manifests.get(self.tags.get(reference, reference))

    def put(self, manifest: StoredManifest, reference: str | None = None) -> None:
        """Store a manifest, and tag it if the reference is a tag.

        Under a digest that is not its own it is found by that digest, which is how a registry with a fault is made.
        """
        self.manifests[manifest.digest] = manifest
        if reference is None:
            return
        if ":" in reference:
            self.manifests[reference] = manifest
        else:
            self.tags[reference] = manifest.digest

    def missing(self, data: bytes) -> list[str]:
        """Return the digests that a manifest names and that are not here."""
        document = json.loads(data)
        blobs = [entry["digest"] for entry in [document.get("config"), *document.get("layers", [])] if entry]
        children = [entry["digest"] for entry in document.get("manifests", [])]
        return [digest for digest in blobs if digest not in self.blobs] + [
            digest for digest in children if digest not in self.manifests
        ]
