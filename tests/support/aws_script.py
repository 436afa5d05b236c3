"""What was called, and which calls go wrong however right they are."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.aws_identity import AwsError

QUOTA_TEXT = (
    "The operation did not succeed because it would have exceeded a service limit for your account. For more"
    " information, see Amazon ECR Service Quotas in the Amazon Elastic Container Registry User Guide."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the fake; ``error`` is the code of its refusal, empty if it went well."""

    service: str
    region: str
    operation: str
    parameters: dict[str, Any]
    access_key: str
    error: str = ""


@dataclass(slots=True, eq=False)
class Failure:
    """An error that an operation answers, ``times`` times (None: always); ``hits`` counts how often it did."""

    operation: str
    error: AwsError
    times: int | None
    hits: int = 0

    def fits(self, operation: str) -> bool:
        """Tell whether this is about a call of an operation."""
        return re.fullmatch(self.operation, operation) is not None and (self.times is None or self.hits < self.times)


class Script:
    """The failures, in the order in which they were added; the first that fits is the one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._failures: list[Failure] = []
        self._lock = threading.Lock()

    def add(self, operation: str, error: AwsError, times: int | None) -> Failure:
        """Add a failure behind those already there."""
        failure = Failure(operation, error, times)
        with self._lock:
            self._failures.append(failure)
        return failure

    def play(self, operation: str) -> None:
        """Raise the error of the first failure that fits a call, and count it."""
        with self._lock:
            failure = next((held for held in self._failures if held.fits(operation)), None)
            if failure is None:
                return
            failure.hits += 1
        raise failure.error
