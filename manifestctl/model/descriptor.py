"""Content descriptors. OCI image-spec "OCI Content Descriptors"; Docker's lists and manifests use the same shape."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Self

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.digest import Digest
from manifestctl.model.platforms import Platform
from manifestctl.model.strict_json import Fields
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTESTATION_TYPE = "vnd.docker.reference.type"
ATTESTATION_SUBJECT = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"

_PLATFORM_KEYS = frozenset({"architecture", "os", "os.version", "os.features", "variant", "features"})
_UNREAD = frozenset({"urls", "data"})
_KEYS = _UNREAD | {"mediaType", "digest", "size", "annotations", "artifactType", "platform"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a piece of content is: media type, digest, size in bytes, and what is said about it.

    ``extra`` holds the JSON members that have no field here (``urls``, ``data``, unknown ones), so that an entry taken
    over from another list loses nothing; ``platform_extra`` those of the platform object (``features``).
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    platform_extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, value: object, what: str, where: str) -> Self:
        """Read a descriptor from parsed JSON; raises `DocumentError` with the JSON pointer of the fault."""
        fields = Fields.of(value, what, where, _KEYS)
        text = fields.required(fields.text, "digest")
        try:
            digest = Digest.parse(text)
        except InputError as error:
            raise DocumentError(f"{what}: {where}/digest: {error.message}", pointer=f"{where}/digest") from error
        platform, platform_extra = _platform(fields.value.get("platform"), what, f"{where}/platform")
        return cls(
            media_type=fields.required(fields.text, "mediaType"),
            digest=digest,
            size=fields.required(fields.integer, "size"),
            platform=platform,
            annotations=fields.words("annotations"),
            artifact_type=fields.text("artifactType") or "",
            extra={key: item for key, item in fields.value.items() if _is_extra(key, item)},
            platform_extra=platform_extra,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as a JSON object in this product's one order of keys."""
        result: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform is not None:
            result["platform"] = platform_json(self.platform) | dict(self.platform_extra)
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        return result | dict(self.extra)

    @property
    def attests(self) -> str:
        """The digest, as text, of the image that this entry attests, if it is a buildx attestation, else ``""``."""
        if self.annotations.get(ATTESTATION_TYPE) != _ATTESTATION:
            return ""
        return self.annotations.get(ATTESTATION_SUBJECT) or "nothing"

    @property
    def is_attestation(self) -> bool:
        """Tell whether this entry is a buildx attestation rather than something that runs."""
        return ATTESTATION_TYPE in self.annotations or (self.platform is not None and self.platform.unknown)

    def annotated(self, annotations: Mapping[str, str]) -> Descriptor:
        """Return the descriptor with more annotations; a key that is there already is replaced in its place."""
        return replace(self, annotations={**self.annotations, **annotations})


def platform_json(platform: Platform) -> dict[str, Any]:
    """Return a platform as the JSON object of a list's entry, with the parts that it has."""
    result: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        result["os.version"] = platform.os_version
    if platform.os_features:
        result["os.features"] = list(platform.os_features)
    if platform.variant:
        result["variant"] = platform.variant
    return result


def read_platform(fields: Fields) -> Platform:
    """Read the platform members that list entries and image configs share; absent ones are empty."""
    return Platform(
        os=fields.text("os") or "",
        architecture=fields.text("architecture") or "",
        variant=fields.text("variant") or "",
        os_version=fields.text("os.version") or "",
        os_features=fields.texts("os.features"),
    )


def _is_extra(key: str, item: object) -> bool:
    # In a member of the specification null means absent, in an unknown one it may mean anything.
    return item is not None if key in _UNREAD else key not in _KEYS


def _platform(value: object, what: str, where: str) -> tuple[Platform | None, dict[str, Any]]:
    if value is None:
        return None, {}
    fields = Fields.of(value, what, where, _PLATFORM_KEYS)
    known = _PLATFORM_KEYS - {"features"}
    return read_platform(fields), {key: item for key, item in fields.value.items() if key not in known}
