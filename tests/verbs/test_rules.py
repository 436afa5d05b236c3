"""The rules: their names are a promise, and so is what nothing lets pass."""

from __future__ import annotations

import re

import pytest

from manifestctl.errors import DeniedError, DocumentError, InputError, IntegrityError, NotFoundError, UnreachableError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.media_types import OCI_MANIFEST
from manifestctl.verbs.rules import RULES, Policy, check_rule_names, found
from manifestctl.verbs.unreadable import category_rule, unreadable

ENTRY = Descriptor(OCI_MANIFEST, Digest.of(b"x"), 1)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_a_name_and_a_sentence(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert re.fullmatch(r"[A-Z][^\n]+\.", RULES[name].summary)


def test_what_cannot_be_checked_is_an_error_by_its_kind() -> None:
    assert {name for name, rule in RULES.items() if rule.category == "integrity"} == {
        "image-integrity",
        "target-integrity",
    }
    assert {name for name, rule in RULES.items() if rule.category == "denied"} == {"image-denied", "target-denied"}
    assert {name for name, rule in RULES.items() if rule.severity == "warning"} == {
        "image-duplicate",
        "format-widened",
        "list-annotations-dropped",
        "revision-differs",
    }


@pytest.mark.parametrize(
    ("rule", "allow", "deny", "severity"),
    [
        ("image-missing", (), (), "error"),
        ("image-missing", ("image-missing",), (), "warning"),
        ("image-missing", ("image-denied",), (), "error"),
        ("image-missing", ("image-missing",), ("image-missing",), "error"),
        ("image-duplicate", (), (), "warning"),
        ("image-duplicate", (), ("image-duplicate",), "error"),
        ("image-duplicate", ("image-duplicate",), (), "warning"),
        ("image-integrity", ("image-integrity",), (), "error"),
        ("target-integrity", ("target-integrity",), (), "error"),
        ("target-integrity", (), ("target-integrity",), "error"),
    ],
)
def test_severities_are_the_users_but_for_integrity(
    rule: str, allow: tuple[str, ...], deny: tuple[str, ...], severity: str
) -> None:
    finding = found(rule, "message", where="here")
    [judged] = Policy(frozenset(allow), frozenset(deny)).apply([finding])
    assert judged.severity == severity
    assert (judged.rule, judged.category, judged.message) == (rule, RULES[rule].category, "message")


def test_names_are_checked() -> None:
    assert check_rule_names(iter(["image-missing", "image-missing"]), RULES) == {"image-missing"}
    assert check_rule_names((), ()) == frozenset()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("image-mising", "Did you mean image-missing? docs/rules.md lists all rules."),
        ("Image-Missing", "Did you mean image-missing?"),
        ("zzz", "docs/rules.md lists all rules."),
        ("", "docs/rules.md lists all rules."),
        ("x\n::error::", "docs/rules.md lists all rules."),
    ],
)
def test_a_name_that_is_no_rule_is_bad_usage_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        check_rule_names(["image-missing", name], RULES)
    assert caught.value.hint.startswith(hint)
    assert "\n" not in caught.value.message


def test_a_finding_shows_its_repository_harmless() -> None:
    assert found("list-empty", "m", where="w", repository="oci:a\nb").repository == r"oci:a\nb"


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (NotFoundError("m"), "image-missing"),
        (DeniedError("m"), "image-denied"),
        (UnreachableError("m"), "image-unreachable"),
        (IntegrityError("m"), "image-integrity"),
        (DocumentError("m"), "document-invalid"),
        (DocumentError("m", rule="not-an-image"), "not-an-image"),
        (DocumentError("m", rule="json-syntax"), "document-invalid"),
    ],
)
def test_an_error_breaks_the_rule_of_its_kind(error: Exception, rule: str) -> None:
    assert category_rule(error) == rule  # type: ignore[arg-type]  # all of them are ours


@pytest.mark.parametrize("entry", [None, ENTRY])
@pytest.mark.parametrize("hint", ["", "The error's own."])
def test_an_error_about_an_image_becomes_a_finding_that_says_all(entry: Descriptor | None, hint: str) -> None:
    finding = unreadable(
        NotFoundError("it is not there", hint=hint), where=":a", repository="r", entry=entry, platform="linux/arm64"
    )
    assert finding.message == ":a: it is not there"
    assert finding.hint == hint or (not hint and finding.hint)
    assert ("list" in finding.hint) == (entry is not None and not hint)
    assert finding.image == (f":a ({ENTRY.digest})" if entry else ":a")
    assert finding.expected == (str(ENTRY.digest) if entry else "an image")
    assert finding.platform == "linux/arm64"


def test_the_name_is_not_said_twice() -> None:
    assert unreadable(DeniedError("r:a: no"), where="r:a", repository="r").message == "r:a: no"
