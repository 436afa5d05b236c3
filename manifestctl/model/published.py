"""Whether something was published: yes, no, or nobody knows."""

from __future__ import annotations

from enum import Enum


class Published(Enum):
    """Whether a run published something, as JSON results say it; it counts as true only if that is certain."""

    YES = True
    NO = False
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        """Tell whether it is certain."""
        return self is Published.YES
