"""Documents against the JSON Schemas and the rules that no schema can hold; nothing is raised, all is found.

The one room that imports jsonschema and referencing, and not before the first document is checked; `warm` does that
ahead of time.
"""

from __future__ import annotations

from manifestctl.validation.checker import warm
from manifestctl.validation.kinds import KINDS, UNKNOWN, kind_of_media_type, recognise
from manifestctl.validation.rules import RULES, Rule
from manifestctl.validation.schemas import RESULTS, schema_text, schema_title
from manifestctl.validation.validator import MAX_FINDINGS, Validation, validate, validate_value

__all__ = [
    "KINDS",
    "MAX_FINDINGS",
    "RESULTS",
    "RULES",
    "UNKNOWN",
    "Rule",
    "Validation",
    "kind_of_media_type",
    "recognise",
    "schema_text",
    "schema_title",
    "validate",
    "validate_value",
    "warm",
]
