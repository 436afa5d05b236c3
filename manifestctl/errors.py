"""Every error of manifestctl, and the exit code each becomes.

::

    ManifestctlError                 70  a bug, unless a subclass says otherwise
    ├── InputError                    2  bad usage, or an option or credential file that cannot be used
    ├── DocumentError                 1  bytes that are not the document they should be
    ├── MissingContentError           1  something that a list, a manifest or an archive names is absent
    ├── NotFoundError                 3  the thing named does not exist
    ├── DeniedError                   4  authentication or permission
    ├── UnreachableError              5  registry or network failed after all retries
    ├── IntegrityError                6  content is not what its digest or size says
    ├── ConflictError                 7  the tag holds something else
    ├── WaitedError                   8  waited, and it did not come
    ├── PartialError                 10  published, but not everything that was asked
    └── InterruptedRun         130, 143  a signal ended the run

Errors never print, log or exit: ``manifestctl.cli.main`` is the one place that turns them into
text and a status. A *finding* has a category instead of a class; `exit_code` is the one function
that derives a status from either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

Category = Literal["missing", "wrong", "denied", "unreachable", "integrity", "conflict"]

_CATEGORY_CODES: dict[Category, int] = {
    "missing": 1,
    "wrong": 1,
    "denied": 4,
    "unreachable": 5,
    "integrity": 6,
    "conflict": 7,
}

# When several apply: what could not be checked (4, 5) outranks what was found (1).
_PRECEDENCE = (130, 143, 70, 10, 4, 5, 6, 7, 3, 8, 1)


class ManifestctlError(Exception):
    """Base of all errors that manifestctl raises on purpose.

    ``message`` says what happened and to which image, ``hint`` the next step. Both are plain text on
    one line; text that came from outside is already escaped. ``outcome_unknown`` is true if a write may have taken
    effect all the same. ``statement`` is what `DeniedError` has there, and empty elsewhere.
    """

    exit_code: int = 70
    category: ClassVar[Category] = "wrong"
    outcome_unknown: bool = False
    statement: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message."""
        return self.message

    def again(self) -> Self:
        """Return a copy to raise, of an error that is kept: whoever catches one may add to it."""
        copy = type(self).__new__(type(self), *self.args)
        vars(copy).update(vars(self))
        copy.__cause__, copy.__context__ = self.__cause__, self.__context__
        copy.__suppress_context__ = self.__suppress_context__
        return copy.with_traceback(self.__traceback__)


class InputError(ManifestctlError):
    """Bad usage, or an option file or credential file that cannot be used."""

    exit_code = 2


class DocumentError(ManifestctlError):
    """Bytes that are not the JSON document they should be: syntax, encoding, limits, shape.

    ``rule`` is the stable name of the rule that was broken, ``pointer`` the JSON pointer (RFC 6901) of the place.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", rule: str = "document-invalid", pointer: str = "") -> None:
        """Keep the rule and the place beside the message."""
        super().__init__(message, hint=hint)
        self.rule = rule
        self.pointer = pointer


class MissingContentError(ManifestctlError):
    """Content that a document names is not there.

    A registry refused a list or manifest for that, or an archive or layout lacks a part of the image that was asked
    for. ``digests`` are those that are known to be absent, as text.
    """

    exit_code = 1
    category = "missing"

    def __init__(self, message: str, *, hint: str = "", digests: frozenset[str] = frozenset()) -> None:
        """Keep which digests are absent."""
        super().__init__(message, hint=hint)
        self.digests = digests


class NotFoundError(ManifestctlError):
    """The thing named does not exist: a source, a repository, a reference.

    ``repository_unknown`` is true if the registry said that the whole repository does not exist.
    """

    exit_code = 3
    category = "missing"

    def __init__(self, message: str, *, hint: str = "", repository_unknown: bool = False) -> None:
        """Keep whether the whole repository is absent."""
        super().__init__(message, hint=hint)
        self.repository_unknown = repository_unknown


class DeniedError(ManifestctlError):
    """Authentication failed, or a permission is missing.

    ``statement`` is an IAM policy statement, as JSON on one line, that would allow what was denied; empty if there is
    none or it is not known.
    """

    exit_code = 4
    category = "denied"

    def __init__(self, message: str, *, hint: str = "", statement: str = "") -> None:
        """Keep the statement beside the message."""
        super().__init__(message, hint=hint)
        self.statement = statement


class UnreachableError(ManifestctlError):
    """The registry or the network failed after all retries; running again is safe.

    ``transient`` is true if trying again may help, ``retry_after`` the seconds that the server asked for.
    """

    exit_code = 5
    category = "unreachable"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        transient: bool = False,
        retry_after: float | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        """Keep whether and when to try again, and whether a write may have happened."""
        super().__init__(message, hint=hint)
        self.transient = transient
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown


class IntegrityError(ManifestctlError):
    """Content is not what its digest or its size says."""

    exit_code = 6
    category = "integrity"


class ConflictError(ManifestctlError):
    """The tag holds something else than what was expected, or may not be overwritten."""

    exit_code = 7
    category = "conflict"


class WaitedError(ManifestctlError):
    """Waited for as long as asked, and it did not come."""

    exit_code = 8
    category = "missing"


class PartialError(ManifestctlError):
    """Published, but not everything that was asked for was done."""

    exit_code = 10


class InterruptedRun(ManifestctlError):  # noqa: N818 - it is what happened, and reads so in a traceback
    """A signal ended the run; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        """Keep the signal's number."""
        super().__init__(f"interrupted by signal {signum}")
        self.signum = signum
        self.exit_code = 128 + signum


def exit_code(categories: Iterable[Category] = (), codes: Iterable[int] = ()) -> int:
    """Return the one exit status for all that went wrong: findings by category, errors by code.

    Nothing at all is 0. When several apply, the order of `docs/exit-codes.md` decides.
    """
    found = {_CATEGORY_CODES[category] for category in categories} | set(codes)
    found.discard(0)
    if not found:
        return 0
    return next((code for code in _PRECEDENCE if code in found), max(found))
