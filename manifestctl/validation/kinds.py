"""The kinds of documents that can be validated, and how one is told from another.

A new kind is one line in `_TABLE` and one file ``schemas/<name>.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, InputError
from manifestctl.model import media_types
from manifestctl.model.strict_json import CONFIG_LIMIT, MANIFEST_LIMIT
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNKNOWN = "unknown"
"""The kind that a `Validation` names when none could be recognised."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document.

    ``limit`` is its size cap in bytes. ``media_types`` are those of its documents; if ``self_describing``, its
    documents say theirs in ``mediaType``. ``marks`` are keys that no other kind has; ``clues`` are keys that decide,
    by their number, only if there is no mark at all.
    """

    name: str
    limit: int = MANIFEST_LIMIT
    media_types: frozenset[str] = frozenset()
    self_describing: bool = False
    marks: frozenset[str] = frozenset()
    clues: frozenset[str] = frozenset()


_TABLE = (
    Kind("docker-manifest-list", media_types=frozenset({media_types.DOCKER_LIST}), self_describing=True),
    Kind("docker-manifest", media_types=frozenset({media_types.DOCKER_MANIFEST}), self_describing=True),
    Kind(
        "oci-index",
        media_types=frozenset({media_types.OCI_INDEX}),
        self_describing=True,
        marks=frozenset({"manifests"}),
    ),
    Kind(
        "oci-manifest",
        media_types=frozenset({media_types.OCI_MANIFEST}),
        self_describing=True,
        marks=frozenset({"layers"}),
        clues=frozenset({"config", "subject"}),
    ),
    Kind(
        "oci-descriptor", media_types=frozenset({"application/vnd.oci.descriptor.v1+json"}), clues=frozenset({"digest"})
    ),
    Kind(
        "oci-config",
        limit=CONFIG_LIMIT,
        media_types=media_types.CONFIGS,
        marks=frozenset({"rootfs"}),
        clues=frozenset({"architecture", "os", "history"}),
    ),
    Kind(
        "oci-layout",
        media_types=frozenset({"application/vnd.oci.layout.header.v1+json"}),
        marks=frozenset({"imageLayoutVersion"}),
    ),
)
_BY_NAME = {kind.name: kind for kind in _TABLE}
_BY_MEDIA_TYPE = {media_type: kind for kind in _TABLE for media_type in kind.media_types}
_SCHEMA_1 = frozenset({media_types.DOCKER_SCHEMA_1, media_types.DOCKER_SCHEMA_1_SIGNED})

KINDS: tuple[str, ...] = tuple(kind.name for kind in _TABLE)
"""The names that ``validate --as`` and ``schema`` take."""
INDEX_KINDS = frozenset({"docker-manifest-list", "oci-index"})
MANIFEST_KINDS = frozenset({"docker-manifest", "oci-manifest"})
DOCKER_KINDS = frozenset({"docker-manifest-list", "docker-manifest"})
LARGEST = max(kind.limit for kind in _TABLE)
"""Bytes of the largest document of any kind."""


def kind_named(name: str) -> Kind:
    """Return a kind by its name; raises `InputError` if there is none."""
    if name not in _BY_NAME:
        raise InputError(f"'{escape(name, 60)}' is not a kind of document", hint=f"Kinds are {', '.join(KINDS)}.")
    return _BY_NAME[name]


def kind_of_media_type(media_type: str) -> str | None:
    """Return the kind of the documents that have this media type (parameters are ignored), or None."""
    kind = _BY_MEDIA_TYPE.get(media_types.essence(media_type))
    return kind.name if kind else None


def recognise(document: object, what: str = "the document") -> str:
    """Return the kind of a parsed document: by its ``mediaType`` if it is an index or manifest, else by its keys.

    Raises `DocumentError`: rule ``kind-unknown``, ``document-ambiguous``, or ``kind-unsupported`` (Docker's schema 1).
    """
    if not isinstance(document, dict):
        raise DocumentError(f"{what}: is not a JSON object", rule="kind-unknown", hint=_hint())
    marked = _kinds_with(document, lambda kind: kind.marks)
    said = document.get("mediaType")
    declared = said if isinstance(said, str) else ""
    kind = _BY_MEDIA_TYPE.get(declared)
    # A descriptor has a mediaType too: that of what it points to.
    if kind is not None and kind.self_describing and (marked or "digest" not in document):
        return kind.name
    if declared in _SCHEMA_1 or document.get("fsLayers") is not None:
        raise DocumentError(
            f"{what}: is a Docker schema 1 manifest, which registries and clients no longer take",
            rule="kind-unsupported",
            hint="Pull the image and push it again with a current tool: it becomes schema 2 or OCI.",
        )
    candidates = marked or _best(_kinds_with(document, lambda kind: kind.clues), document)
    if len(candidates) == 1:
        return candidates[0].name
    if not candidates:
        raise DocumentError(
            f"{what}: is of no known kind: it has none of the keys that would tell", rule="kind-unknown", hint=_hint()
        )
    raise DocumentError(
        f"{what}: has keys of several kinds ({_names(candidates)}) and no mediaType that decides",
        rule="document-ambiguous",
        hint="Readers would disagree on what it is (CVE-2021-41190): keep the keys of one kind only.",
    )


def _kinds_with(document: Mapping[str, object], keys: Callable[[Kind], frozenset[str]]) -> list[Kind]:
    # What is null counts only if nothing that has a value decides.
    for value_matters in (True, False):
        present = {key for key, value in document.items() if not value_matters or value is not None}
        if found := [kind for kind in _TABLE if keys(kind) & present]:
            return found
    return []


def _best(candidates: list[Kind], document: Mapping[str, object]) -> list[Kind]:
    most = max((len(kind.clues & document.keys()) for kind in candidates), default=0)
    return [kind for kind in candidates if len(kind.clues & document.keys()) == most]


def _names(kinds: list[Kind]) -> str:
    return ", ".join(kind.name for kind in kinds)


def _hint() -> str:
    return f"Say what it is with --as; kinds are {', '.join(KINDS)}."
