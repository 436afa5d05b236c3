"""The rules that `check` and `create` judge by, each with its stable name; docs/rules.md shows the same table.

``--allow RULE`` lets an error pass as a warning, ``--deny RULE`` makes a warning stop. Nothing lets an integrity error
pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.errors import Category, InputError
from manifestctl.model.finding import Finding, Severity
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: how bad a breach is by default, what kind it is, and what it means in one sentence."""

    severity: Severity
    category: Category
    summary: str


RULES: dict[str, Rule] = {
    "image-missing": Rule(
        "error", "missing", "An image named on the command line, or by a list, is not in its repository."
    ),
    "config-missing": Rule("error", "missing", "The config that an image's manifest names is not in the repository."),
    "layer-missing": Rule("error", "missing", "A layer that an image's manifest names is not in the repository."),
    "image-denied": Rule("error", "denied", "The registry refuses to show an image with the credentials in use."),
    "image-unreachable": Rule("error", "unreachable", "An image could not be read after all retries."),
    "image-integrity": Rule("error", "integrity", "An image's bytes are not what its digest or its size says."),
    "other-repository": Rule(
        "error", "wrong", "An image is in another repository than the list; a list can only name its own."
    ),
    "not-an-image": Rule(
        "error", "wrong", "Something given as an image is not one: an artifact, an attestation, schema 1."
    ),
    "document-invalid": Rule("error", "wrong", "A manifest or list cannot be read as one."),
    "document-ambiguous": Rule(
        "error", "wrong", "A document is a manifest and a list at once, or says it is what it is not."
    ),
    "media-type-mismatch": Rule("error", "wrong", "A document's mediaType is not the type it was served as."),
    "media-type-format": Rule("error", "wrong", "The chosen format cannot hold an entry of this media type."),
    "format-unsupported": Rule("error", "wrong", "The chosen format cannot say something that was asked for."),
    "format-widened": Rule(
        "warning", "wrong", "All images are Docker's, but only an OCI index can hold the annotations asked for."
    ),
    "config-unreadable": Rule("error", "wrong", "An image's config cannot be read as one."),
    "platform-missing": Rule(
        "error", "wrong", "An image's config names no os or no architecture, and none was declared."
    ),
    "platform-mismatch": Rule("error", "wrong", "An image's config names another platform than was declared for it."),
    "platform-duplicate": Rule(
        "error", "wrong", "Two images are for the same platform, so a client could not tell them apart."
    ),
    "image-duplicate": Rule("warning", "wrong", "The same image was given twice; it stands in the list once."),
    "platform-required": Rule("error", "missing", "A platform that is required is not among the images."),
    "platform-unexpected": Rule("error", "wrong", "There is a platform that was not required, and --exact was given."),
    "platform-not-listed": Rule("error", "missing", "A list given as an image has none of the platforms asked for."),
    "attestation-orphan": Rule("error", "wrong", "An attestation is about an image that is not in the list."),
    "attestation-required": Rule(
        "error", "missing", "An image has no attestation, and --attestations require was given."
    ),
    "list-empty": Rule(
        "error", "wrong", "There is no image to put into the list, or a list given as an image has none."
    ),
    "list-too-deep": Rule("error", "wrong", "A list given as an image has lists in lists."),
    "annotation-unmatched": Rule("error", "wrong", "An --entry-annotation names a platform that no image has."),
    "list-annotations-dropped": Rule(
        "warning", "wrong", "A list given as an image has annotations of its own, which the new list does not carry."
    ),
    "label-differs": Rule("error", "wrong", "A label that --same names is not equal in all images."),
    "revision-differs": Rule("warning", "wrong", "The images say that they were built from different revisions."),
    "tag-exists": Rule("error", "conflict", "A tag holds something else, and --no-overwrite was given."),
    "tag-unexpected": Rule("error", "conflict", "The tag does not hold what --expect says."),
    "target-denied": Rule("error", "denied", "The registry refuses to show what the target's tag holds."),
    "target-unreachable": Rule(
        "error", "unreachable", "What the target's tag holds could not be read after all retries."
    ),
    "target-integrity": Rule("error", "integrity", "What the target's tag holds does not hash to its digest."),
}
"""All rules of checks, by name. Rules of documents (``schema-…``, ``json-…``) are those of `manifestctl.validation`."""


def found(
    rule: str,
    message: str,
    *,
    where: str,
    hint: str = "",
    image: str = "",
    platform: str = "",
    repository: str = "",
    found: str = "",
    expected: str = "",
    statement: str = "",
) -> Finding:
    """Make a finding with the severity and category that the rule has; all texts are one safe line."""
    kind = RULES[rule]
    return Finding(
        kind.severity,
        rule,
        kind.category,
        where,
        message,
        hint,
        image=image,
        platform=platform,
        repository=escape(repository, 300),
        found=found,
        expected=expected,
        statement=statement,
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user allows and denies, by rule."""

    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()

    def apply(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return the findings with the severities that the user wants, errors of integrity unchanged."""
        return [self._apply(finding) for finding in findings]

    def _apply(self, finding: Finding) -> Finding:
        if finding.rule in self.deny:
            return replace(finding, severity="error")
        if finding.rule in self.allow and finding.category != "integrity":
            return replace(finding, severity="warning")
        return finding


def check_rule_names(names: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """Return the names if all are rules; raises `InputError` with the nearest name."""
    wanted, known = frozenset(names), frozenset(known)
    for name in sorted(wanted - known):
        from difflib import get_close_matches

        near = get_close_matches(name, sorted(known), 1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise InputError(f"'{escape(name, 80)}' is not a rule", hint=f"{meant}docs/rules.md lists all rules.")
    return wanted
