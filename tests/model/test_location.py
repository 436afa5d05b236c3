"""Locations: references, layout directories with all that a path may hold, and children relative to a target."""

from __future__ import annotations

import pytest

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.location import LayoutLocation, Location, parse_child, parse_location, presentable
from manifestctl.model.reference import Reference

DIGEST = "sha256:" + "a" * 64
LONG = "sha512:" + "b" * 128


@pytest.mark.parametrize(
    ("text", "path", "tag", "digest"),
    [
        ("oci:out", "out", None, None),
        ("oci:out:1.4", "out", "1.4", None),
        ("oci:/srv/images/web:1.4", "/srv/images/web", "1.4", None),
        (f"oci:out@{DIGEST}", "out", None, DIGEST),
        (f"oci:out:1.4@{DIGEST}", "out", "1.4", DIGEST),
        (f"oci:out@{LONG}", "out", None, LONG),
        ("oci:.", ".", None, None),
        ("oci:./", ".", None, None),
        ("oci:.:1", ".", "1", None),
        ("oci:/", "/", None, None),
        ("oci:/:1", "/", "1", None),
        ("oci:..", "..", None, None),
        ("oci:./out", "out", None, None),
        ("oci:out/", "out", None, None),
        ("oci:./a//b/./c/:1", "a/b/c", "1", None),
        ("oci:a/../b", "a/../b", None, None),
        ("oci:/a//b", "/a/b", None, None),
        ("oci:my dir/web:1", "my dir/web", "1", None),
        ("oci:host:5000/web", "host:5000/web", None, None),
        ("oci:host:5000/web:1", "host:5000/web", "1", None),
        ("oci:a:b:c", "a:b/", "c", None),
        ("oci:a:b/", "a:b/", None, None),
        ("oci:a:b/:c", "a:b/", "c", None),
        ("oci:oci:x", "oci", "x", None),
        ("oci:C:\\images\\web", "C:\\images\\web", None, None),
        ("oci:C:\\images\\web:1.4", "C:\\images\\web", "1.4", None),
        ("oci:C:/images/web:1.4", "C:/images/web", "1.4", None),
        (f"oci:C:\\web@{DIGEST}", "C:\\web", None, DIGEST),
        ("oci:a\\b:c:d", "a\\b:c/", "d", None),
        ("oci:web@2", "web@2", None, None),
        ("oci:web@2:latest", "web@2", "latest", None),
        ("oci:web@home/x:1", "web@home/x", "1", None),
        ("oci:/home/me@corp/out:1", "/home/me@corp/out", "1", None),
        (f"oci:a@b/out@{DIGEST}", "a@b/out", None, DIGEST),
        (f"oci:web@2:{'c' * 40}", "web@2", "c" * 40, None),
        ("oci:web@", "web@", None, None),
        (f"oci:web@{DIGEST}/", f"web@{DIGEST}/", None, None),
        ("oci:wéb:1", "wéb", "1", None),
        ("oci:new\nline:1", "new\nline", "1", None),
    ],
)
def test_layouts(text: str, path: str, tag: str | None, digest: str | None) -> None:
    location = parse_location(text)
    assert isinstance(location, LayoutLocation)
    assert (location.path, location.tag) == (path, tag)
    assert (str(location.digest) if location.digest else None) == digest
    assert parse_location(str(location)) == location
    assert str(parse_location(str(location))) == str(location)
    assert location.store == f"oci:{path}"
    assert location.selector == (digest or tag or "")


@pytest.mark.parametrize(
    ("one", "other"),
    [("oci:out:1", "oci:./out/:2"), ("oci:a/b", "oci:a//b/."), ("oci:a:b:1", "oci:./a:b/:2"), ("oci:.", "oci:./.")],
)
def test_two_spellings_of_a_directory_are_one_store(one: str, other: str) -> None:
    assert parse_location(one).store == parse_location(other).store


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("oci:", "'oci:' names no directory"),
        ("oci::1", "'oci:' names no directory"),
        (f"oci:@{DIGEST}", "'oci:' names no directory"),
        ("oci:a\0b", "'oci:a\\x00b' names no directory"),
        ("oci:out:", "'' is not a tag"),
        ("oci:out:a b", "'a b' is not a tag"),
        ("oci:out:\n", "'\\n' is not a tag"),
        ("oci:out@sha256:abc", "'sha256:abc' is not a sha256 digest"),
        (f"oci:out@{DIGEST.upper().replace('SHA', 'sha')}", "is not a sha256 digest"),
        ("oci:out@sha256:", "'sha256:' is not a digest"),
        ("oci:out:1@", "'1@' is not a tag"),
        ("WEB", "must be lower-case"),
    ],
)
def test_what_is_no_location_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_location(text)
    assert reason in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_anything_else_is_a_reference() -> None:
    assert parse_location("r.example/web:1") == Reference("r.example", "web", "1")
    assert parse_location("oci/web:1") == Reference("docker.io", "oci/web", "1")


TARGETS = ["r.example:5000/team/web:1.4", "oci:/srv/out:1.4", f"oci:out@{DIGEST}"]


@pytest.mark.parametrize("target", TARGETS)
def test_children_relative_to_the_target(target: str) -> None:
    at = parse_location(target)
    assert str(parse_child(":1.4-amd64", at)) == f"{at.store}:1.4-amd64"
    for text in (f"@{DIGEST}", DIGEST):
        assert str(parse_child(text, at)) == f"{at.store}@{DIGEST}"
    assert str(parse_child(LONG, at)) == f"{at.store}@{LONG}"
    assert str(parse_child(f":1@{DIGEST}", at)) == f"{at.store}:1@{DIGEST}"
    child = parse_child(f":1@{DIGEST}", at)
    assert (child.tag, child.digest, child.selector) == ("1", Digest.parse(DIGEST), DIGEST)
    assert type(child) is type(at)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("r.example/other:1", Reference("r.example", "other", "1")),
        ("oci:other:1", LayoutLocation("other", "1")),
        ("web:1", Reference("docker.io", "library/web", "1")),
        # A tag made of a commit is no digest of an algorithm called web.
        (f"web:{'0' * 40}", Reference("docker.io", "library/web", "0" * 40)),
    ],
)
def test_children_given_in_full(text: str, location: Location) -> None:
    assert parse_child(text, parse_location("r.example/web:1")) == location


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":", "'' is not a tag"),
        (":a b", "'a b' is not a tag"),
        ("@", "'' is not a digest"),
        ("@1.4", "'1.4' is not a digest"),
        (":1@x", "'x' is not a digest"),
        ("sha256:abc", "'sha256:abc' is not a sha256 digest"),
        ("sha256:", "'sha256:' is not a digest"),
        (f"sha256:{'A' * 64}", "is not a sha256 digest"),
        (f"sha512:{'a' * 64}", "is not a sha512 digest"),
        ("", "it names no repository"),
    ],
)
def test_children_that_cannot_be_meant(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_child(text, parse_location("r.example/web:1"))
    assert reason in caught.value.message


def test_with_tag_and_with_digest_leave_the_directory() -> None:
    location = LayoutLocation("out", "1", Digest.parse(DIGEST))
    assert str(location.with_tag("2")) == "oci:out:2"
    assert str(location.with_tag(None)) == "oci:out"
    assert str(location.with_digest(Digest.parse(LONG))) == f"oci:out@{LONG}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("r.example/web:1", "r.example/web:1"),
        ("oci:a@b/out?x=y:1", "oci:a@b/out?x=y:1"),
        ("", ""),
        ("we b", "we b"),
        ("https://alice:hunter2@r.example/web:1", "…@r.example/web:1"),
        ("alice:hunter/2@r.example/web:1", "…@r.example/web:1"),
        ("alice:hunter2@r.example", "…@r.example"),
        ("https://r.example/web?token=hunter2", "https://r.example/web?…"),
    ],
)
def test_what_is_no_location_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert presentable(text) == shown
