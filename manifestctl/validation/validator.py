"""The one call that judges a document: decode, recognise, schema, rules, and the findings in document order."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError
from manifestctl.model.finding import Finding
from manifestctl.model.strict_json import load
from manifestctl.text import escape
from manifestctl.validation.checker import schema_faults
from manifestctl.validation.document_rules import rule_faults
from manifestctl.validation.faults import Fault, finding, in_order, merged
from manifestctl.validation.kinds import LARGEST, UNKNOWN, kind_named, recognise
from manifestctl.validation.rules import RULES
from manifestctl.validation.shapes import shape_faults
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FINDINGS = 1000
"""So many findings are listed for one document at most."""
# How the messages of `strict_json` go on after the document's name, which the reader of a finding sees beside it.
_PREDICATES = ("is ", "has ", "begins ")


@dataclass(frozen=True, slots=True)
class Validation:
    """What was found in one document.

    ``kind`` is one of `KINDS`, or ``unknown`` if it could not be told. The findings stand in document order; ``where``
    of each is a JSON pointer, empty for the document as a whole.
    """

    kind: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Tell whether no finding is an error."""
        return not any(found.is_error for found in self.findings)


def validate(raw: bytes, what: str, kind: str | None = None) -> Validation:
    """Judge the bytes of a document, of this kind or of the one that is recognised; ``what`` names them.

    Any bytes get findings, never an exception. Raises `InputError` if there is no such kind.
    """
    limit = kind_named(kind).limit if kind else LARGEST
    try:
        document = load(raw, what, limit)
        if kind is None:
            kind = recognise(document, what)
            if len(raw) > kind_named(kind).limit:
                load(raw, what, kind_named(kind).limit)
    except DocumentError as error:
        return Validation(kind or UNKNOWN, (_refusal(error, what),))
    return validate_value(document, kind)


def validate_value(document: object, kind: str) -> Validation:
    """Judge a document that was parsed already, or composed here; raises `InputError` if there is no such kind."""
    kind_named(kind)
    # The type of a value comes first, so that what else is said of it can be told to follow from that.
    sources = (schema_faults(kind, document), shape_faults(kind, document), rule_faults(kind, document))
    faults = merged(fault for source in sources for fault in islice(source, MAX_FINDINGS + 1))
    return Validation(kind, tuple(_listed(document, in_order(document, faults))))


def _listed(document: object, faults: list[Fault]) -> Iterator[Finding]:
    for fault in faults[:MAX_FINDINGS]:
        yield finding(fault, document)
    if len(faults) > MAX_FINDINGS:
        message = f"there are more faults than the {MAX_FINDINGS} that are listed"
        yield finding(Fault((), "findings-truncated", message, "Mend these first and validate again."), document)


def _refusal(error: DocumentError, what: str) -> Finding:
    message = error.message.removeprefix(f"{what}: ")
    rule = error.rule if error.rule in RULES else "document-invalid"
    return Finding(
        severity="error",
        rule=rule,
        category="wrong",
        where=escape(error.pointer),
        message=f"the document {message}" if message.startswith(_PREDICATES) else message,
        hint=error.hint or RULES[rule].step,
    )
