"""Locations in archives: where a file's name ends, and what is no part of a list."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.location import ArchiveLocation, check_target, parse_child, parse_location
from manifestctl.model.reference import Reference
from manifestctl.text import escape

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize("scheme", ["oci-archive", "docker-archive"])
@pytest.mark.parametrize(
    ("text", "path", "tag", "digest"),
    [
        ("x.tar", "x.tar", None, None),
        ("x.tar:1.4", "x.tar", "1.4", None),
        ("./x.tar.gz:web", "./x.tar.gz", "web", None),
        ("/srv/x.tar.zst:example.com:5000/web:1.4", "/srv/x.tar.zst", "example.com:5000/web:1.4", None),
        ("X.TGZ:web:1", "X.TGZ", "web:1", None),
        ("x.tar.tar:1", "x.tar.tar", "1", None),
        ("x.tar.old", "x.tar.old", None, None),
        (f"x.tar@{DIGEST}", "x.tar", None, DIGEST),
        (f"x.tar:web:1@{DIGEST}", "x.tar", "web:1", DIGEST),
        (f"x.tar:{DIGEST}", "x.tar", DIGEST, None),
        ("x.tar:0123456789ab", "x.tar", "0123456789ab", None),
        ("image", "image", None, None),
        ("image:web:1", "image", "web:1", None),
        ("/dev/stdin:example.com/web:1", "/dev/stdin", "example.com/web:1", None),
        (f"image@{DIGEST}", "image", None, DIGEST),
        ("-", "-", None, None),
        ("a:b/x.tar:1", "a:b/x.tar", "1", None),
        ("a@b/x.tar", "a@b/x.tar", None, None),
        ("x.tar@home/y.tar:1", "x.tar@home/y.tar", "1", None),
        ("x.tarball:1", "x.tarball", "1", None),
        ("C:\\images\\x.tar:1", "C:\\images\\x.tar", "1", None),
        ("C:\\images\\x:1", "C:\\images\\x", "1", None),
        ("C:/images/x", "C:/images/x", None, None),
        ("my image.tar:1", "my image.tar", "1", None),
        ("new\nline.tar:1", "new\nline.tar", "1", None),
    ],
)
def test_archives(scheme: str, text: str, path: str, tag: str | None, digest: str | None) -> None:
    location = parse_location(f"{scheme}:{text}")
    assert isinstance(location, ArchiveLocation)
    assert (location.path, location.tag) == (path, tag)
    assert (str(location.digest) if location.digest else None) == digest
    assert str(location) == f"{scheme}:{text}"
    assert parse_location(str(location)) == location
    assert location.store == f"{scheme}:{path}"
    assert location.selector == (digest or tag or "")
    assert location.is_docker == (scheme == "docker-archive")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("oci-archive:", "'oci-archive:' names no file"),
        ("docker-archive::web", "'docker-archive::web' names no file"),
        (f"oci-archive:@{DIGEST}", "names no file"),
        ("oci-archive:a\0b.tar", "names no file"),
        ("docker-archive:x.tar:", "'' is not the name of an image"),
        ("docker-archive:x.tar:a b", "'a b' is not the name of an image"),
        ("docker-archive:x.tar:a\n", "'a\\n' is not the name of an image"),
        ("docker-archive:x.tar:-a", "'-a' is not the name of an image"),
        (f"docker-archive:x.tar:{'a' * 513}", "is not the name of an image"),
        ("oci-archive:x.tar@sha256:abc", "'sha256:abc' is not a sha256 digest"),
    ],
)
def test_what_is_no_location_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_location(text)
    assert reason in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_a_repository_may_be_called_like_a_scheme() -> None:
    assert parse_location("oci-archive") == Reference("docker.io", "library/oci-archive")
    assert parse_location("oci-archive/web:1") == Reference("docker.io", "oci-archive/web", "1")


def test_with_tag_and_with_digest_leave_the_file() -> None:
    location = ArchiveLocation("oci-archive", "x.tar", "1", Digest.parse(DIGEST))
    assert str(location.with_tag("2")) == "oci-archive:x.tar:2"
    assert str(location.with_tag(None)) == "oci-archive:x.tar"
    assert str(location.with_digest(Digest.parse(DIGEST))) == f"oci-archive:x.tar@{DIGEST}"


@pytest.mark.parametrize("child", ["oci-archive:x.tar:1", "docker-archive:x.tar"])
def test_an_archive_is_no_child(child: str) -> None:
    with pytest.raises(InputError, match="an image in an archive cannot be used here") as caught:
        parse_child(child, parse_location("r.example/web:1"))
    assert caught.value.hint == "Push it first."


@pytest.mark.parametrize("child", [":1", f"@{DIGEST}", DIGEST, "r.example/web:1", "oci:out:1"])
def test_an_archive_is_no_target_of_a_list(child: str) -> None:
    with pytest.raises(InputError, match=r"^'oci-archive:x\.tar': an archive cannot be used here") as caught:
        parse_child(child, parse_location("oci-archive:x.tar"))
    assert "oci:DIR:TAG" in caught.value.hint


def test_what_a_list_may_be_written_to() -> None:
    for text in ("r.example/web:1", "oci:out:1"):
        assert check_target(parse_location(text)) == parse_location(text)
    with pytest.raises(InputError, match="an archive cannot be used here"):
        check_target(parse_location("docker-archive:x.tar:1"))


paths = st.text(st.sampled_from("ab.:/@\\ é-") | st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:/+-]{0,40}", fullmatch=True)


@given(
    st.sampled_from(["oci-archive:", "docker-archive:"]),
    paths,
    st.sampled_from(["", ".tar", ".tgz"]),
    st.none() | names,
)
@example("oci-archive:", "a:b", ".tar", "x.tar:1")
@example("oci-archive:", "C:\\a", "", "web")
def test_any_text_round_trips_or_is_refused(scheme: str, path: str, suffix: str, name: str | None) -> None:
    text = f"{scheme}{path}{suffix}" + (f":{name}" if name is not None else "")
    try:
        location = parse_location(text)
    except InputError as error:
        refused = error
    else:
        assert isinstance(location, ArchiveLocation)
        assert str(location) == text
        assert parse_location(str(location)) == location
        assert parse_location(location.store) == ArchiveLocation(location.scheme, location.path)
        return
    for said in (refused.message, refused.hint):
        assert said == escape(said, 4096)
