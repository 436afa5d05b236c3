"""What a check found. Checks return findings; they do not raise and they do not stop at the first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.errors import Category

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. All texts are one safe line each; outside text in them is escaped.

    ``rule`` is a stable name that ``--allow`` and ``--deny`` take (all are listed in docs/rules.md). ``where`` is the
    place: a JSON pointer in a document (``/manifests/0/size``), or an image reference. ``image``, ``platform`` and
    ``repository`` name the child it is about, ``found`` and ``expected`` the two sides of a comparison, ``hint`` the
    next step, ``statement`` an IAM policy statement that would allow what was denied, as JSON on one line; each may be
    empty.
    """

    severity: Severity
    rule: str
    category: Category
    where: str
    message: str
    hint: str = ""
    image: str = ""
    platform: str = ""
    repository: str = ""
    found: str = ""
    expected: str = ""
    statement: str = ""

    @property
    def is_error(self) -> bool:
        """Tell whether this finding stops a publish."""
        return self.severity == "error"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON documents carry it; empty optional fields are left out."""
        required = {
            "severity": self.severity,
            "rule": self.rule,
            "category": self.category,
            "where": self.where,
            "message": self.message,
            "hint": self.hint,
        }
        optional = {
            "image": self.image,
            "platform": self.platform,
            "repository": self.repository,
            "found": self.found,
            "expected": self.expected,
        }
        allowing = {"statement": json.loads(self.statement)} if self.statement else {}
        return required | {key: value for key, value in optional.items() if value} | allowing
