"""Any bytes in, findings out; and whatever is done to a good document, never an exception."""

from __future__ import annotations

import base64
import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifestctl.validation import KINDS, RULES, UNKNOWN, Validation, validate, validate_value
from manifestctl.validation.formats import base64_content, is_date_time, uri_scheme

DOCUMENTS = Path(__file__).resolve().parents[2] / "fixtures" / "documents"
GOOD = [path.read_bytes() for path in sorted((DOCUMENTS / "good").glob("*.json")) if ".expected" not in path.name]
WORDS = [
    "manifests",
    "layers",
    "config",
    "digest",
    "size",
    "mediaType",
    "platform",
    "os",
    "annotations",
    "rootfs",
    "data",
]

keys = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["sha256:" + "0" * 64, "application/vnd.oci.image.index.v1+json", "linux", "e30=", "https://x"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def check(result: Validation) -> None:
    """Whatever was found is told in full: a known rule, a place, a reason on one safe line, once."""
    assert result.kind in (*KINDS, UNKNOWN)
    assert result.ok is not any(finding.severity == "error" for finding in result.findings)
    assert len({(finding.rule, finding.where, finding.message) for finding in result.findings}) == len(result.findings)
    for finding in result.findings:
        assert finding.severity == RULES[finding.rule].severity
        assert finding.where == "" or finding.where.startswith("/")
        assert finding.message
        assert "\n" not in "".join(finding.to_json().values())


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    check(validate(raw, "bytes"))


@given(st.text(max_size=100), st.sampled_from(KINDS))
def test_any_text_as_any_kind(text: str, kind: str) -> None:
    check(validate(text.encode("utf-8", "surrogatepass"), "text", kind))


@given(values, st.sampled_from((None, *KINDS)))
def test_any_json(value: object, kind: str | None) -> None:
    check(validate(json.dumps(value).encode(), "value", kind))


@given(values, st.sampled_from(KINDS))
def test_any_parsed_value(value: object, kind: str) -> None:
    check(validate_value(value, kind))


@given(st.sampled_from(GOOD), st.data())
@settings(max_examples=200)
def test_bytes_of_good_documents_changed(raw: bytes, data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(raw)))
    gone = data.draw(st.integers(0, 5))
    check(validate(raw[:where] + data.draw(st.binary(max_size=5)) + raw[where + gone :], "changed"))


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside: list[tuple[Any, ...]] = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        inside += places(item, (*path, key))
    return inside


@given(st.sampled_from(GOOD), st.data())
@settings(max_examples=300)
def test_values_of_good_documents_changed(raw: bytes, data: st.DataObject) -> None:
    document = copy.deepcopy(json.loads(raw))
    *parents, last = data.draw(st.sampled_from(places(document)))
    holder = document
    for part in parents:
        holder = holder[part]
    action = data.draw(st.sampled_from(("remove", "replace", "misspell")))
    if action == "remove":
        del holder[last]
    elif action == "misspell" and isinstance(last, str):
        holder[last.swapcase()] = holder.pop(last)
    else:
        holder[last] = data.draw(values)
    check(validate(json.dumps(document).encode(), "changed"))


@pytest.mark.parametrize("parse", [is_date_time, uri_scheme, base64_content])
@given(text=st.text(max_size=40))
def test_formats_take_any_text(parse: Any, text: str) -> None:
    assert parse(text) in (True, False, None) or isinstance(parse(text), str | bytes)


@given(st.datetimes(timezones=st.timezones()))
def test_pythons_dates_are_dates(moment: Any) -> None:
    whole_minutes = moment.utcoffset() % timedelta(minutes=1) == timedelta(0)
    assert is_date_time(moment.isoformat()) is whole_minutes


@given(st.binary(max_size=60))
def test_base64_comes_back(content: bytes) -> None:
    assert base64_content(base64.b64encode(content).decode()) == content
