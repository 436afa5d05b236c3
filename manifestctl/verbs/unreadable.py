"""What an error about one image becomes: a finding, so that the rest can be judged all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import (
    DeniedError,
    DocumentError,
    IntegrityError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.verbs.rules import RULES, found

if TYPE_CHECKING:
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding

OF_ONE_IMAGE = (
    DeniedError,
    DocumentError,
    IntegrityError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
"""What an image (and not the run) may fail by; anything else ends the run."""

_RULE_OF_CATEGORY = {
    "missing": "image-missing",
    "denied": "image-denied",
    "unreachable": "image-unreachable",
    "integrity": "image-integrity",
    "wrong": "document-invalid",
}
_AGAIN = "Build and push the image again with a current tool."
_HINTS = {
    "image-missing": "Push the image first, or check the tag's spelling.",
    "image-integrity": "What the store holds cannot be used; push the image again.",
    "config-missing": "The image was not pushed whole; push it again.",
    "config-unreadable": _AGAIN,
    "document-invalid": _AGAIN,
    "document-ambiguous": _AGAIN,
    "media-type-mismatch": "The registry, or a proxy before it, says what the document is not; push the image again.",
    "not-an-image": "A list for container runtimes holds images; leave this out.",
}
_GONE_FROM_LIST = "The list names what is not there any more; build it and push it again."
# What was found and what was expected, where the error has no fields for it.
_SIDES = {
    "image-missing": ("nothing", "an image"),
    "config-missing": ("nothing", "the image's config"),
    "image-denied": ("no permission", "an image that can be read"),
    "image-unreachable": ("no answer that can be used", "an image that can be read"),
    "image-integrity": ("other bytes", "the bytes that digest and size say"),
    "not-an-image": ("something else", "an image"),
    "config-unreadable": ("a document that cannot be used", "an image config"),
}
_OTHER_SIDES = ("a document that cannot be used", "an image manifest or a list")


def category_rule(error: ManifestctlError) -> str:
    """Return the rule that an error about one image breaks."""
    if isinstance(error, DocumentError) and error.rule in RULES:
        return error.rule
    return _RULE_OF_CATEGORY.get(error.category, "document-invalid")


def unreadable(
    error: ManifestctlError, *, where: str, repository: str, entry: Descriptor | None = None, platform: str = ""
) -> Finding:
    """Return the finding for something that could not be read.

    ``where`` names it as the user did, ``entry`` is how a list describes it if it was found in one.
    """
    rule = category_rule(error)
    hint = _GONE_FROM_LIST if rule == "image-missing" and entry is not None else _HINTS.get(rule, "")
    is_there, wanted = _SIDES.get(rule, _OTHER_SIDES)
    return found(
        rule,
        error.message if where in error.message else f"{where}: {error.message}",
        where=where,
        hint=error.hint or hint,
        image=where if entry is None else f"{where} ({entry.digest})",
        platform=entry.platform.shown if entry is not None and entry.platform is not None else platform,
        repository=repository,
        found=is_there,
        expected=str(entry.digest) if rule == "image-missing" and entry is not None else wanted,
        statement=error.statement,
    )
