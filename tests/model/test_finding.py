"""Findings as documents carry them."""

from __future__ import annotations

from manifestctl.model.finding import Finding


def test_a_finding_as_json_leaves_out_what_is_empty() -> None:
    plain = Finding("warning", "rule-name", "wrong", "/manifests/0", "what is wrong")
    assert list(plain.to_json().items()) == [
        ("severity", "warning"),
        ("rule", "rule-name"),
        ("category", "wrong"),
        ("where", "/manifests/0"),
        ("message", "what is wrong"),
        ("hint", ""),
    ]
    assert not plain.is_error


def test_a_finding_as_json_carries_all_that_is_known() -> None:
    full = Finding(
        "error", "image-missing", "missing", "r/x:1", "gone", "push it", "r/x:1", "linux/amd64", "r/x", "nothing", "it"
    )
    assert full.is_error
    assert list(full.to_json()) == [
        "severity",
        "rule",
        "category",
        "where",
        "message",
        "hint",
        "image",
        "platform",
        "repository",
        "found",
        "expected",
    ]
    assert Finding(**full.to_json()) == full


def test_a_finding_as_json_carries_the_statement_as_a_document() -> None:
    statement = '{"Effect": "Allow", "Action": "ecr:PutImage", "Resource": "*"}'
    denied = Finding("error", "image-denied", "denied", "r/x:1", "no", statement=statement)
    assert denied.to_json()["statement"] == {"Effect": "Allow", "Action": "ecr:PutImage", "Resource": "*"}
