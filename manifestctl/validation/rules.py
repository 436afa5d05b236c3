"""Every rule that a document can break: its stable name, how much it weighs, and what it means.

What a specification forbids is an error; what it allows, but clients or people stumble over, is at most a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.model.finding import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """How much breaking a rule weighs, and the rule in one sentence."""

    severity: Severity
    meaning: str


def _error(meaning: str) -> Rule:
    return Rule("error", meaning)


def _warning(meaning: str) -> Rule:
    return Rule("warning", meaning)


RULES: dict[str, Rule] = {
    "json-too-large": _error("A manifest has at most 4 MiB, a config at most 16 MiB."),
    "json-not-utf-8": _error("JSON is UTF-8 without a byte-order mark."),
    "json-syntax": _error("The document is JSON (RFC 8259)."),
    "json-too-deep": _error("Objects and arrays are nested at most 100 levels deep."),
    "json-number": _error("Numbers are finite and have at most 400 digits."),
    "json-surrogate": _error("Text has no lone surrogates."),
    "json-duplicate-key": _error("No object has two keys that are equal, or equal without regard to case."),
    "json-key-case": _error("A known key is written in its own case: Go programs take it in any case, others do not."),
    "document-invalid": _error("The document has the form that its kind asks for."),
    "kind-unknown": _error("The document is of a kind that is known, or --as says which it is."),
    "kind-unsupported": _error("The document is not a Docker schema 1 manifest."),
    "document-ambiguous": _error("No document is both a list and a manifest (CVE-2021-41190)."),
    "schema-required": _error("A key that the schema requires is there."),
    "schema-type": _error("A value has the type that the schema says."),
    "schema-null": _error("A value is null only where the schema allows it."),
    "schema-const": _error("A value that can only be one thing is that thing."),
    "schema-pattern": _error("A text has the form that the schema says: digests, media types, NAME=value."),
    "schema-minimum": _error("A number is not below the schema's minimum."),
    "schema-maximum": _error("A number is not above the schema's maximum."),
    "schema-min-items": _error("An array has as many entries as the schema asks for."),
    "schema-other": _error("The document keeps every other rule of the schema."),
    "integer-token": _error("An integer is written as one: 2, neither 2.0 nor 2e0."),
    "digest-size-conflict": _error("One digest has one size wherever it stands in a document."),
    "data-base64": _error("A descriptor's data is base64 with padding (RFC 4648 section 4)."),
    "data-size": _error("A descriptor's data has the size that the descriptor says."),
    "data-digest": _error("A descriptor's data has the digest that the descriptor says."),
    "date-invalid": _error("A date is written as RFC 3339 says."),
    "uri-invalid": _error("An entry of urls is a URI with a scheme (RFC 3986)."),
    "attestation-dangling": _error("An attestation names an image of the same list."),
    "uri-scheme": _warning("An entry of urls uses http or https."),
    "os-unknown": _warning("An operating system is named as Go's GOOS names it."),
    "architecture-unknown": _warning("An architecture is named as Go's GOARCH names it."),
    "variant-unknown": _warning("A variant of arm, arm64 or amd64 is written v and a version."),
    "os-version-missing": _warning("An image for Windows says the build that it needs in os.version."),
    "platform-duplicate": _warning("No two entries of a list look the same to a client: it takes the first."),
    "entry-repeated": _warning("No entry stands twice in a list."),
    "history-layers": _warning("history has as many steps with a layer as rootfs.diff_ids has layers."),
    "docker-oci-only": _warning("A Docker manifest or list uses only what Docker's specification knows."),
    "findings-truncated": _error("A document has fewer faults than are listed at most."),
}
"""All rules by name, in the order in which they are documented."""
