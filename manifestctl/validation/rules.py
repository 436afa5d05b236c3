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
    """How much breaking a rule weighs, the rule in one sentence, and the next step if a finding knows no better one."""

    severity: Severity
    meaning: str
    step: str


def _error(meaning: str, step: str) -> Rule:
    return Rule("error", meaning, step)


def _warning(meaning: str, step: str) -> Rule:
    return Rule("warning", meaning, step)


RULES: dict[str, Rule] = {
    "json-too-large": _error(
        "A manifest has at most 4 MiB, a config at most 16 MiB.",
        "Nothing that registries take is larger; look for what made it grow (annotations, inline data).",
    ),
    "json-not-utf-8": _error(
        "JSON is UTF-8 without a byte-order mark.", "Save it as UTF-8, without a byte-order mark."
    ),
    "json-syntax": _error("The document is JSON (RFC 8259).", "Mend it at the line and column that the finding names."),
    "json-too-deep": _error(
        "Objects and arrays are nested at most 100 levels deep.",
        "No document of these kinds is nested so deep; it may be meant to harm parsers.",
    ),
    "json-too-many-values": _error(
        "A document has at most 1000000 values.",
        "No document of these kinds has so many; it may be meant to harm parsers.",
    ),
    "json-number": _error("Numbers are finite and have at most 400 digits.", "Write a finite number."),
    "json-surrogate": _error(
        "Text has no lone surrogates.", "Replace the half of a surrogate pair by the character that is meant."
    ),
    "json-duplicate-key": _error(
        "No object has two keys that are equal, or equal without regard to case.",
        "Remove one of the two: programs disagree on which one counts.",
    ),
    "json-key-case": _error(
        "A known key is written in its own case: Go programs take it in any case, others do not.",
        "Write the key as the specification does.",
    ),
    "document-invalid": _error(
        "The document has the form that its kind asks for.", "Compare it with the schema: 'manifestctl schema KIND'."
    ),
    "kind-unknown": _error(
        "The document is of a kind that is known, or --as says which it is.",
        "Say what it is: --as KIND. 'manifestctl schema' lists the kinds.",
    ),
    "kind-unsupported": _error(
        "The document is not a Docker schema 1 manifest.",
        "Pull the image and push it again with a current tool: it becomes schema 2 or OCI.",
    ),
    "document-ambiguous": _error(
        "No document is both a list and a manifest (CVE-2021-41190).", "Keep the keys of one kind only."
    ),
    "schema-required": _error(
        "A key that the schema requires is there.", "Add the key; the hint says what belongs there."
    ),
    "schema-type": _error("A value has the type that the schema says.", "Write a value of the type that is named."),
    "schema-null": _error("A value is null only where the schema allows it.", "Leave the key out, or give it a value."),
    "schema-const": _error("A value that can only be one thing is that thing.", "Write the value that is named."),
    "schema-pattern": _error(
        "A text has the form that the schema says: digests, media types, NAME=value.",
        "Write it in the form that is named.",
    ),
    "schema-minimum": _error("A number is not below the schema's minimum.", "Write a larger number."),
    "schema-maximum": _error("A number is not above the schema's maximum.", "Write a smaller number."),
    "schema-min-items": _error("An array has as many entries as the schema asks for.", "Add an entry."),
    "schema-other": _error(
        "The document keeps every other rule of the schema.", "See the schema: 'manifestctl schema KIND'."
    ),
    "integer-token": _error(
        "An integer is written as one: 2, neither 2.0 nor 2e0.",
        "Write the number without point and exponent: Go programs refuse others.",
    ),
    "digest-size-conflict": _error(
        "One digest has one size wherever it stands in a document.",
        "Look up the size of that content, and write it in both places.",
    ),
    "data-base64": _error(
        "A descriptor's data is base64 with padding (RFC 4648 section 4).", "Encode the content anew."
    ),
    "data-size": _error("A descriptor's data has the size that the descriptor says.", "Correct size, or data."),
    "data-digest": _error(
        "A descriptor's data has the digest that the descriptor says.",
        "Correct digest, or data: clients take the one for the other.",
    ),
    "date-invalid": _error("A date is written as RFC 3339 says.", "Write it as 2024-01-31T12:00:00Z."),
    "uri-invalid": _error("An entry of urls is a URI with a scheme (RFC 3986).", "Write a whole URI, with its scheme."),
    "attestation-dangling": _error(
        "An attestation names an image of the same list.",
        "Add the image that it is about, or take the attestation out.",
    ),
    "platform-characters": _error(
        "A platform is written in letters, digits, _, . and -; os.version in printable ASCII.",
        "Build the image again, with a platform that is written in such characters.",
    ),
    "uri-scheme": _warning("An entry of urls uses http or https.", "Use http or https: clients follow no other."),
    "os-unknown": _warning(
        "An operating system is named as Go's GOOS names it.",
        "Write linux, windows, …; clients compare the word as it is.",
    ),
    "architecture-unknown": _warning(
        "An architecture is named as Go's GOARCH names it.",
        "Write amd64 for x86_64, arm64 for aarch64; clients compare the word as it is.",
    ),
    "variant-unknown": _warning("A variant of arm, arm64 or amd64 is written v and a version.", "Write v7, v8, …"),
    "os-version-missing": _warning(
        "An image for Windows says the build that it needs in os.version.",
        "Add os.version, e.g. 10.0.20348.2340: Windows clients choose by it.",
    ),
    "platform-duplicate": _warning(
        "No two entries of a list look the same to a client: it takes the first.",
        "Take one of them out, or tell them apart by variant or os.version.",
    ),
    "entry-repeated": _warning("No entry stands twice in a list.", "Take one of them out."),
    "history-layers": _warning(
        "history has as many steps with a layer as rootfs.diff_ids has layers.",
        "Build the image again; tools that show its history will show it wrong.",
    ),
    "docker-oci-only": _warning(
        "A Docker manifest or list uses only what Docker's specification knows.",
        "Take it out, or make the document an OCI one.",
    ),
    "findings-truncated": _error(
        "A document has fewer faults than are listed at most.", "Mend what is listed, and validate again."
    ),
}
"""All rules by name, in the order in which they are documented."""
