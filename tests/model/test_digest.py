"""Digests: the grammar of the image-spec, and checking bytes against them."""

from __future__ import annotations

import hashlib

import pytest

from manifestctl.errors import InputError, IntegrityError
from manifestctl.model.digest import Digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "text",
    [
        EMPTY,
        "sha384:" + "a" * 96,
        "sha512:" + "0" * 128,
        "blake3:" + "f" * 64,
        "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
        "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
        "a.b_c-d+e:Z=",
        "x:0",
    ],
)
def test_what_the_grammar_allows_is_a_digest_and_round_trips(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == text
    assert Digest.parse(str(digest)) == digest
    assert f"{digest.algorithm}:{digest.encoded}" == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        ":" + "a" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 64 + "\n",
        " sha256:" + "a" * 64,
        "sha256:" + "a" * 64 + " ",
        "sha256:sha256:" + "a" * 64,
        "SHA256:" + "a" * 64,
        "sha512:" + "a" * 64,
        "sha256:" + "٣" * 64,
        "sha256:" + "a" * 63 + "é",
        "sha256:../../../etc/passwd",
        "sha256:" + "a" * 63 + "/",
        "../x:aaaa",
        "..:aaaa",
        "a..b:aaaa",
        "+a:aaaa",
        "a+:aaaa",
        "a b:aaaa",
        "a:b:c",
        "a:b\0",
        "x:" + "a" * 600,
        "x" * 600 + ":a",
    ],
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Digest.parse(text)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert "is not a" in caught.value.message
    assert caught.value.hint


def test_the_message_says_what_is_wrong_with_a_known_algorithm() -> None:
    with pytest.raises(InputError) as caught:
        Digest.parse("sha256:abc123")
    assert caught.value.message == "'sha256:abc123' is not a sha256 digest"
    assert caught.value.hint == "sha256: is followed by 64 lower-case hex digits; this has 6 characters."


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 100_000])
def test_bytes_are_checked(algorithm: str, data: bytes) -> None:
    digest = Digest.of(data, algorithm)
    assert digest == Digest.parse(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
    assert digest.verifiable
    assert digest.matches(data)
    assert not digest.matches(data + b"\0")
    hasher = digest.hasher()
    hasher.update(data)
    assert hasher.hexdigest() == digest.encoded


def test_a_hasher_is_fresh_each_time() -> None:
    digest = Digest.parse(EMPTY)
    digest.hasher().update(b"x")
    assert digest.hasher().hexdigest() == digest.encoded


@pytest.mark.parametrize("text", ["blake3:" + "f" * 64, "x:0", "md5:" + "0" * 32, "sha1:" + "0" * 40])
def test_content_of_an_algorithm_that_is_not_known_is_not_believed(text: str) -> None:
    digest = Digest.parse(text)
    assert not digest.verifiable
    with pytest.raises(IntegrityError, match=r"cannot be checked: the algorithm .* is not known here") as caught:
        digest.matches(b"")
    assert "sha256" in caught.value.hint


def test_digests_are_values() -> None:
    digest = Digest.parse(EMPTY)
    assert digest == Digest.of(b"")
    assert {digest, Digest.of(b"")} == {digest}
    assert digest.short == "sha256:e3b0c44298fc"
    assert min(Digest("b", "0"), Digest("a", "1"), Digest("a", "0")) == Digest("a", "0")
    with pytest.raises(AttributeError):
        digest.encoded = "x"  # type: ignore[misc]
