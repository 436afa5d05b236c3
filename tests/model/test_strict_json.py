"""The door for untrusted JSON: what two readers could take for two things does not pass, and nothing else is held up."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

import pytest

from manifestctl.errors import DocumentError
from manifestctl.model.strict_json import (
    CONFIG_LIMIT,
    MANIFEST_LIMIT,
    MAX_DIGITS,
    MAX_INTEGER,
    MAX_VALUES,
    Fields,
    load,
    pointer,
)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


GOOD: list[tuple[bytes, Any]] = [
    (b"{}", {}),
    (b' \t\r\n[1, -2.5, 1e3, true, false, null, "x"]\n', [1, -2.5, 1000.0, True, False, None, "x"]),
    (b'""', ""),
    (b"0", 0),
    (b"-0", 0),
    ('{"ключ":"значение 🐳"}'.encode(), {"ключ": "значение 🐳"}),
    (b'"\\ud83d\\udc33"', "🐳"),
    (b'"\\u0000\\u001b\\ufeff"', "\0\x1b\ufeff"),
    (b'"\\\\ud800"', "\\ud800"),
    (b'"' + "\ufeff".encode() + b'"', "\ufeff"),
    (b'{"a":{"A":1},"b":{"a":1}}', {"a": {"A": 1}, "b": {"a": 1}}),
    (nested(100), None),
    (b'["' + b"[{" * 500 + b'"]', ["[{" * 500]),
    (b'["\\"' + b"[" * 500 + b'\\\\"]', ['"' + "[" * 500 + "\\"]),
    (b"[" + b",".join([b"[]"] * 500) + b"]", [[]] * 500),
    (b"9" * MAX_DIGITS, int("9" * MAX_DIGITS)),
    (b"1e-5000", 0.0),
    (b"1.7976931348623157e308", 1.7976931348623157e308),
    (str(MAX_INTEGER).encode(), MAX_INTEGER),
    # Labels and annotations are the user's own words, in which case matters.
    (b'{"annotations":{"key":"1","KEY":"2"}}', {"annotations": {"key": "1", "KEY": "2"}}),
    (b'{"config":{"Labels":{"a":"1","A":"2"}}}', {"config": {"Labels": {"a": "1", "A": "2"}}}),
    (b'{"Volumes":{"/A":{},"/a":{}}}', {"Volumes": {"/A": {}, "/a": {}}}),
    (b'[{"annotations":{"\xc5\xbf":"1","s":"2"}}]', [{"annotations": {"\u017f": "1", "s": "2"}}]),
]


@pytest.mark.parametrize(("raw", "value"), GOOD)
def test_what_is_sound_passes(raw: bytes, value: Any) -> None:
    loaded = load(raw, "x")
    assert value is None or loaded == value
    assert loaded == json.loads(raw)


REFUSED: list[tuple[bytes, str, str, str]] = [
    (b"", "json-syntax", "", "is not JSON: Expecting value (line 1, column 1)"),
    (b"{", "json-syntax", "", "is not JSON"),
    (b"{}{}", "json-syntax", "", "Extra data"),
    (b"[1,]", "json-syntax", "", "is not JSON"),
    (b"{'a':1}", "json-syntax", "", "is not JSON"),
    (b'{"a":1,}', "json-syntax", "", "is not JSON"),
    (b"[01]", "json-syntax", "", "is not JSON"),
    (b"[+1]", "json-syntax", "", "is not JSON"),
    (b"[.5]", "json-syntax", "", "is not JSON"),
    (b"[1.]", "json-syntax", "", "is not JSON"),
    (b"[0x10]", "json-syntax", "", "is not JSON"),
    (b"// comment\n{}", "json-syntax", "", "is not JSON"),
    (b'"a\nb"', "json-syntax", "", "Invalid control character"),
    (b'"a\tb"', "json-syntax", "", "Invalid control character"),
    (b'"a\0b"', "json-syntax", "", "Invalid control character"),
    (b'"\\x41"', "json-syntax", "", "Invalid \\escape"),
    (b'"\\u12"', "json-syntax", "", "is not JSON"),
    (b"{}\0", "json-syntax", "", "Extra data"),
    ("[٣]".encode(), "json-syntax", "", "is not JSON"),
    ("[1\u00a0]".encode(), "json-syntax", "", "is not JSON"),
    (b"]" * 500 + nested(50), "json-syntax", "", "is not JSON"),
    (b"<!DOCTYPE html><html>" + b"{" * 500, "json-too-deep", "", "nested deeper"),
    (b"\n <!DOCTYPE html>", "json-syntax", "", "is not JSON but a web page or XML; a proxy may have answered"),
    (b"\xff", "json-not-utf-8", "", "is not UTF-8 (byte 0)"),
    (b'{"a":"\xe4"}', "json-not-utf-8", "", "is not UTF-8 (byte 6)"),
    (b'"\xed\xa0\x80"', "json-not-utf-8", "", "is not UTF-8 (byte 1)"),
    (b'"\xc0\xaf"', "json-not-utf-8", "", "is not UTF-8 (byte 1)"),
    (b'"\xf4\x90\x80\x80"', "json-not-utf-8", "", "is not UTF-8 (byte 1)"),
    ("{}".encode("utf-8-sig"), "json-not-utf-8", "", "begins with a byte-order mark"),
    ("{}".encode("utf-16"), "json-not-utf-8", "", "is not UTF-8"),
    ("{}".encode("utf-16-le"), "json-syntax", "", "is not JSON"),
    (nested(101), "json-too-deep", "", "is nested deeper than 100 levels"),
    (b'{"a":' * 101 + b"1" + b"}" * 101, "json-too-deep", "", "is nested deeper than 100 levels"),
    (b"[" * 100_000, "json-too-deep", "", "is nested deeper than 100 levels"),
    (b'["\\\\",' + b"[" * 200, "json-too-deep", "", "is nested deeper than 100 levels"),
    (b"9" * (MAX_DIGITS + 1), "json-number", "", "has a number of 401 digits"),
    (b'{"size":' + b"1" * 5000 + b"}", "json-number", "", "has a number of 5000 digits"),
    (b"-" + b"1" * 5000, "json-number", "", "has a number of 5001 digits"),
    (b"1." + b"1" * 5000, "json-number", "", "has a number of 5002 digits"),
    (b"1e400", "json-number", "", "has a number that is too large: 1e400"),
    (b"-1e999999999", "json-number", "", "has a number that is too large"),
    (b"NaN", "json-number", "", "has the value NaN, which is not JSON"),
    (b"[Infinity]", "json-number", "", "has the value Infinity"),
    (b'{"a":-Infinity}', "json-number", "", "has the value -Infinity"),
    (b'"\\ud800"', "json-surrogate", "", "has a lone surrogate at its root"),
    (b'{"a":["\\udc00"]}', "json-surrogate", "/a/0", "has a lone surrogate at /a/0"),
    (b'{"a/b~c":{"d":"x\\udc33\\ud83d"}}', "json-surrogate", "/a~1b~0c/d", "has a lone surrogate at /a~1b~0c/d"),
    (b'{"x":{"\\ud800":1}}', "json-surrogate", "/x", "has a lone surrogate at /x"),
    (b'{"a\\n::error::\\u001b":"\\ud800"}', "json-surrogate", "/a\\n::error::\\x1b", "at /a\\n::error::\\x1b"),
    (b'{"a":1,"a":1}', "json-duplicate-key", "", "the key 'a' stands twice in one object"),
    (b'{"a":1,"\\u0061":2}', "json-duplicate-key", "", "the key 'a' stands twice"),
    (b'[{"annotations":{"k":"1","k":"1"}}]', "json-duplicate-key", "", "the key 'k' stands twice"),
    (b'{"":1,"":2}', "json-duplicate-key", "", "the key '' stands twice"),
    (b'{"x\\ny":1,"x\\ny":2}', "json-duplicate-key", "", "the key 'x\\ny' stands twice"),
    (b'{"\\ud800":1,"\\ud800":2}', "json-duplicate-key", "", "the key '\\ud800' stands twice"),
    (b'{"digest":1,"DIGEST":2}', "json-duplicate-key", "", "has the keys 'digest' and 'DIGEST' in one object"),
    (b'{"x":[{"size":1,"Size":2}]}', "json-duplicate-key", "/x/0", "'size' and 'Size'"),
    (b'{"a\\u001b":{"k":1,"K":2}}', "json-duplicate-key", "/a\\x1b", "'k' and 'K'"),
    # Go folds the long s and the Kelvin sign too.
    ('{"digest":1,"dige\u017ft":2}'.encode(), "json-duplicate-key", "", "'digest' and 'dige\u017ft'"),
    ('{"k":1,"\u212a":2}'.encode(), "json-duplicate-key", "", "'k' and '\u212a'"),
    (b'{"s":1,"\\u017f":2}', "json-duplicate-key", "", "in one object"),
    # Only the map itself is words, not what is in it, nor what has its name in another case.
    (b'{"annotations":[{"a":1,"A":2}]}', "json-duplicate-key", "/annotations/0", "'a' and 'A'"),
    (b'{"annotations":{"x":{"a":1,"A":2}}}', "json-duplicate-key", "/annotations/x", "'a' and 'A'"),
    (b'{"Annotations":{"a":1,"A":2}}', "json-duplicate-key", "/Annotations", "'a' and 'A'"),
    (b'{"annotations":{},"ANNOTATIONS":{}}', "json-duplicate-key", "", "'annotations' and 'ANNOTATIONS'"),
    (b'{"annotations":{"a":1,"A":2},"b":{"c":1,"C":2}}', "json-duplicate-key", "/b", "'c' and 'C'"),
]


@pytest.mark.parametrize(("raw", "rule", "where", "reason"), REFUSED)
def test_what_is_not_sound_is_refused_with_its_rule_and_place(raw: bytes, rule: str, where: str, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load(raw, "the document x")
    assert (caught.value.rule, caught.value.pointer) == (rule, where)
    assert caught.value.message.startswith("the document x: ")
    assert reason in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("limit", "size"), [(5, 6), (MANIFEST_LIMIT, MANIFEST_LIMIT + 1), (CONFIG_LIMIT, CONFIG_LIMIT + 1)]
)
def test_the_size_is_capped_before_anything_else(limit: int, size: int) -> None:
    with pytest.raises(DocumentError, match=f"is larger than {limit} bytes") as caught:
        load(b"\xff" * size, "x", limit)
    assert caught.value.rule == "json-too-large"
    assert load(b"1" + b" " * (limit - 1), "x", limit) == 1


def test_a_hostile_document_is_judged_in_a_time_that_grows_with_its_size() -> None:
    """Each of these took minutes or hours with a quadratic step in the wrong place."""
    # A quadratic step takes minutes at this size too.
    limit = MANIFEST_LIMIT // 4
    mapping = b'{"annotations":{"a":"","A":""}}'
    documents = [
        # A string that never ends, with a quote at every second byte.
        b"[" * 101 + b'"' + b'\\"' * (limit // 2 - 60),
        b"[" * 101 + b'"\\' * (limit // 2 - 60),
        # As many objects with keys that differ by case, in places where they may, as fit.
        b"[" + b",".join([mapping] * (limit // (len(mapping) + 1) - 1)) + b"]",
        # Many strings and many brackets.
        b"[" + b'"",' * (limit // 3 - 70) + b"[" * 101,
        b'{"a":' + b"[]," * (limit // 3 - 10),
        b"1" * limit,
        b"-" * limit,
        b'"\\u0061' + b"\\u0061" * (limit // 6 - 2) + b'"',
    ]
    started = time.process_time()
    for raw in documents:
        assert len(raw) <= limit
        with contextlib.suppress(DocumentError):
            load(raw, "x")
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((), ""),
        (("",), "/"),
        (("manifests", 0, "size"), "/manifests/0/size"),
        (("a/b", "c~d", "~1"), "/a~1b/c~0d/~01"),
    ],
)
def test_pointers(parts: tuple[str | int, ...], text: str) -> None:
    assert pointer(*parts) == text


def fields(**value: Any) -> Fields:
    return Fields.of(value, "x", "/at", frozenset({"known", "os.version"}))


def test_fields_give_values_of_their_types() -> None:
    found = fields(text="t", integer=5, array=[1], texts=["a"], words={"a": "b"}, other=None)
    assert found.text("text") == "t"
    assert found.integer("integer") == 5
    assert found.array("array") == [1]
    assert found.texts("texts") == ("a",)
    assert found.words("words") == {"a": "b"}
    for get, empty in (
        (found.text, None),
        (found.integer, None),
        (found.array, None),
        (found.texts, ()),
        (found.words, {}),
    ):
        assert get("absent") == empty
        assert get("other") == empty
    assert found.required(found.text, "text") == "t"


def test_words_are_a_copy() -> None:
    original = {"a": "b"}
    fields(words=original).words("words")["c"] = "d"
    assert original == {"a": "b"}


@pytest.mark.parametrize(
    ("getter", "value", "reason"),
    [
        ("text", 1, "is not a string"),
        ("text", False, "is not a string"),
        ("integer", "1", "is not an integer from 0 to 2^63-1"),
        ("integer", 1.0, "is not an integer"),
        ("integer", True, "is not an integer"),
        ("integer", -1, "is not an integer"),
        ("integer", 2**63, "is not an integer"),
        ("array", {}, "is not an array"),
        ("array", "", "is not an array"),
        ("texts", [1], "is not an array of strings"),
        ("texts", [None], "is not an array of strings"),
        ("texts", {}, "is not an array"),
        ("words", [], "is not an object of strings"),
        ("words", {"a": None}, "is not an object of strings"),
        ("words", "x", "is not an object of strings"),
    ],
)
def test_fields_refuse_values_of_other_types(getter: str, value: Any, reason: str) -> None:
    found = fields(**{"a/b": value})
    with pytest.raises(DocumentError) as caught:
        getattr(found, getter)("a/b")
    assert caught.value.pointer == "/at/a~1b"
    assert caught.value.message.startswith("x: /at/a~1b ")
    assert reason in caught.value.message


@pytest.mark.parametrize("value", [{}, {"text": None}])
def test_what_is_required_must_be_there(value: dict[str, Any]) -> None:
    found = fields(**value)
    with pytest.raises(DocumentError, match=r"^x: /at/text is missing$") as caught:
        found.required(found.text, "text")
    assert caught.value.pointer == "/at/text"


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_fields_are_of_an_object(value: object) -> None:
    with pytest.raises(DocumentError, match=r"^x: the document is not a JSON object$"):
        Fields.of(value, "x", "", frozenset())
    with pytest.raises(DocumentError, match=r"^x: /at is not a JSON object$"):
        Fields.of(value, "x", "/at", frozenset())


@pytest.mark.parametrize("key", ["Known", "KNOWN", "\u212anown", "OS.Version", "o\u017f.version"])
def test_a_known_key_in_the_wrong_case_is_refused(key: str) -> None:
    with pytest.raises(DocumentError) as caught:
        fields(**{key: 1})
    assert caught.value.rule == "json-key-case"
    assert caught.value.pointer == f"/at/{key}"
    assert "must be written '" in caught.value.message
    assert "Go" in caught.value.hint


@pytest.mark.parametrize("key", ["known", "unknown", "KNOW", "os_version", "knowns"])
def test_other_keys_pass(key: str) -> None:
    assert fields(**{key: 1}).value == {key: 1}


ENTRY = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "sha256:" + "0" * 64,
    "size": 1234,
    "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    "annotations": {
        "org.opencontainers.image.ref.name": "1.4",
        "io.containerd.image.name": "docker.io/library/web:1.4",
    },
}
STEP = {
    "created": "2025-01-02T03:04:05Z",
    "created_by": "RUN apt-get install -y a, b, c",
    "comment": "buildkit",
    "empty_layer": True,
}
HONEST = {
    "a list of ten thousand": {"schemaVersion": 2, "manifests": [ENTRY] * 10_000},
    "an index.json of twenty thousand": {"schemaVersion": 2, "manifests": [ENTRY] * 20_000},
    "a config of two thousand steps and a mebibyte of env": {
        "config": {"Env": [f"A{n}=" + "x, y, " * 170 for n in range(1024)]},
        "history": [STEP] * 2_000,
    },
    "a label with half a mebibyte of JSON": {"config": {"Labels": {"metadata": json.dumps([ENTRY] * 1_500)}}},
}


@pytest.mark.parametrize("document", HONEST.values(), ids=HONEST.keys())
def test_large_documents_that_people_have_pass(document: Any) -> None:
    raw = json.dumps(document).encode()
    assert load(raw, "x", 64 * 1024 * 1024) == document
    # There is room for one that is twice as large.
    assert raw.count(b",") + raw.count(b"[") + raw.count(b"{") < MAX_VALUES / 2


@pytest.mark.parametrize(
    "raw",
    [
        b"[" + b"{}," * 5_500_000 + b"{}]",
        b"[" + b"0," * MAX_VALUES + b"0]",
        b'{"a":[' + b'["\\u0061"],' * (MAX_VALUES // 2) + b"0]}",
        b"{" + b",".join(b'"%d":0' % number for number in range(MAX_VALUES + 1)) + b"}",
        b"[[[" * (MAX_VALUES // 2),
    ],
    ids=["objects", "numbers", "texts", "keys", "not JSON"],
)
def test_documents_of_too_many_values_are_not_decoded(raw: bytes) -> None:
    with pytest.raises(DocumentError, match="x: has more than 1000000 commas and brackets") as caught:
        load(raw, "x", CONFIG_LIMIT)
    assert caught.value.rule == "json-too-many-values"


@pytest.mark.parametrize(("padding", "meet"), [(10, True), (128 * 1024, False)], ids=["small", "large"])
def test_large_documents_are_decoded_one_after_another(padding: int, meet: bool) -> None:
    """What is decoded is many times as large as the document, and images are read by many threads."""
    both = threading.Barrier(2)
    met: list[bool] = []

    class Watched(bytes):
        def decode(self, *arguments: Any) -> str:
            try:
                both.wait(10 if meet else 0.1)
                met.append(True)
            except threading.BrokenBarrierError:
                met.append(False)
            return super().decode(*arguments)

    raw = Watched(b'{"a":1' + b" " * padding + b"}")
    threads = [threading.Thread(target=load, args=(raw, "x")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [meet, meet]
