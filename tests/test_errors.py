"""Every error has its exit code, and one function decides when several apply."""

from __future__ import annotations

import inspect
import pickle
from typing import get_args

import pytest

from manifestctl import errors
from manifestctl.errors import (
    Category,
    ConflictError,
    DeniedError,
    DocumentError,
    InputError,
    IntegrityError,
    InterruptedRun,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    PartialError,
    UnreachableError,
    WaitedError,
    exit_code,
)

CODES: dict[type[ManifestctlError], int] = {
    ManifestctlError: 70,
    InputError: 2,
    DocumentError: 1,
    MissingContentError: 1,
    NotFoundError: 3,
    DeniedError: 4,
    UnreachableError: 5,
    IntegrityError: 6,
    ConflictError: 7,
    WaitedError: 8,
    PartialError: 10,
}
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ManifestctlError) and kind is not InterruptedRun
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_its_code_message_and_hint(kind: type[ManifestctlError]) -> None:
    error = kind("what happened", hint="what to do")
    assert (error.exit_code, error.message, error.hint, str(error)) == (
        CODES[kind],
        "what happened",
        "what to do",
        "what happened",
    )
    assert kind("x").hint == ""
    assert error.category in get_args(Category)


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_of_the_module_lists_every_error_with_its_code(kind: type[ManifestctlError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if f"{kind.__name__} " in line]
    assert len(lines) == 1
    assert f" {CODES[kind]}  " in lines[0]


@pytest.mark.parametrize(
    ("signum", "code"),
    [(2, 130), (15, 143)],
)
def test_an_interrupted_run_ends_as_shells_expect(signum: int, code: int) -> None:
    error = InterruptedRun(signum)
    assert (error.signum, error.exit_code) == (signum, code)
    assert str(signum) in error.message


RICH = [
    *(kind("what happened", hint="what to do") for kind in KINDS),
    DeniedError("x", statement="{}"),
    UnreachableError("x", transient=True, retry_after=1.5, outcome_unknown=True),
    MissingContentError("x", digests=frozenset({"sha256:0"})),
    InterruptedRun(15),
]


@pytest.mark.parametrize("error", RICH, ids=lambda error: type(error).__name__)
def test_an_error_that_is_raised_again_is_a_copy(error: ManifestctlError) -> None:
    try:
        raise error from ValueError("the cause")
    except ManifestctlError as caught:
        copy = caught.again()
    assert type(copy) is type(error)
    assert copy is not error
    assert vars(copy) == vars(error)
    assert (copy.exit_code, str(copy), copy.__cause__) == (error.exit_code, str(error), error.__cause__)
    # Where it came from can be seen.
    assert copy.__traceback__ is error.__traceback__ is not None
    copy.message += "; nothing was stored"
    copy.hint = "another"
    assert "stored" not in error.message
    assert error.hint != "another"


def test_errors_carry_what_a_caller_decides_by() -> None:
    document = DocumentError("x", rule="json-syntax", pointer="/a")
    assert (document.rule, document.pointer) == ("json-syntax", "/a")
    assert (DocumentError("x").rule, DocumentError("x").pointer) == ("document-invalid", "")
    assert MissingContentError("x", digests=frozenset({"sha256:a"})).digests == {"sha256:a"}
    assert MissingContentError("x").digests == frozenset()
    assert NotFoundError("x", repository_unknown=True).repository_unknown
    assert not NotFoundError("x").repository_unknown
    lost = UnreachableError("x", transient=True, retry_after=2.5, outcome_unknown=True)
    assert (lost.transient, lost.retry_after, lost.outcome_unknown) == (True, 2.5, True)
    plain = UnreachableError("x")
    assert (plain.transient, plain.retry_after, plain.outcome_unknown) == (False, None, False)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_a_process_boundary(kind: type[ManifestctlError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what", hint="next")))
    assert (type(error), error.message, error.hint) == (kind, "what", "next")


@pytest.mark.parametrize(
    ("categories", "codes", "status"),
    [
        ((), (), 0),
        ((), (0, 0), 0),
        (("missing",), (), 1),
        (("wrong",), (), 1),
        (("denied",), (), 4),
        (("unreachable",), (), 5),
        (("integrity",), (), 6),
        (("conflict",), (), 7),
        ((), (3,), 3),
        ((), (2,), 2),
        ((), (9,), 9),
        (("wrong", "missing"), (0,), 1),
        (("wrong", "denied", "unreachable"), (), 4),
        (("wrong", "unreachable", "integrity"), (), 5),
        (("integrity", "conflict", "wrong"), (3,), 6),
        (("conflict",), (3, 8), 7),
        (("missing",), (3,), 3),
        (("missing",), (8,), 8),
        (("denied",), (10,), 10),
        ((), (10, 70), 70),
        (("denied",), (70, 130), 130),
        ((), (143, 70), 143),
    ],
)
def test_one_status_for_all_that_went_wrong(
    categories: tuple[Category, ...], codes: tuple[int, ...], status: int
) -> None:
    assert exit_code(categories, codes) == status
    assert exit_code(reversed(categories), reversed(codes)) == status


def test_every_category_has_a_code() -> None:
    assert all(exit_code((category,)) in range(1, 8) for category in get_args(Category))
