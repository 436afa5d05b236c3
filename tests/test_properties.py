"""Properties of the vocabulary: what was parsed is written and parsed again as the same; no input ends in a traceback."""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import LayoutLocation, parse_child, parse_location
from manifestctl.model.manifest import parse_config, parse_manifest
from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST
from manifestctl.model.platforms import ARCHITECTURE_ALIASES, KNOWN_ARCHITECTURES, KNOWN_OS, Platform
from manifestctl.model.reference import Reference
from manifestctl.model.strict_json import load
from manifestctl.text import escape, html, markdown, outside, redact

quick = settings(max_examples=100, deadline=None)

HEX = "0123456789abcdef"
WORD = string.ascii_lowercase + string.digits


def words(alphabet: str, most: int = 12) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=most)


digests = st.one_of(
    *(
        st.text(HEX, min_size=length, max_size=length).map(f"{algorithm}:".__add__)
        for algorithm, length in (("sha256", 64), ("sha384", 96), ("sha512", 128), ("blake3", 64))
    )
)
any_digests = digests | st.from_regex(r"\A[a-z0-9]{1,6}([+._-][a-z0-9]{1,6}){0,2}:[a-zA-Z0-9=_-]{1,80}\Z").filter(
    lambda text: not text.startswith(("sha256:", "sha384:", "sha512:"))
)
tags = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,40}\Z")
components = st.from_regex(r"\A[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}\Z")
repositories = st.lists(components, min_size=1, max_size=4).map("/".join)
labels = st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?\Z")
names = st.lists(labels, min_size=2, max_size=4).map(".".join) | st.just("localhost") | labels.filter(str.isupper)
addresses = st.ip_addresses().map(lambda address: f"[{address}]" if address.version == 6 else str(address))
hosts = st.builds(
    lambda host, port: host if port is None else f"{host}:{port}",
    names | addresses,
    st.none() | st.integers(1, 65535),
)
# What tends to break parsers: their own separators, spaces of all kinds, what folds to ASCII, and controls.
nasty = st.text(
    st.sampled_from("a0.:/@_-+[]()~\\%?#= \n\0\u00a0\u017f\u212aA\ud800\u202e") | st.characters(), max_size=60
)


@quick
@given(any_digests)
def test_digests_round_trip(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == text
    assert Digest.parse(str(digest)) == digest


@quick
@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha384", "sha512"]))
def test_bytes_match_their_own_digest_and_no_other(data: bytes, algorithm: str) -> None:
    digest = Digest.parse(str(Digest.of(data, algorithm)))
    assert digest.matches(data)
    assert not digest.matches(data + b"x")


@quick
@given(hosts, repositories, st.none() | tags, st.none() | any_digests)
def test_references_are_read_as_they_were_put_together(
    host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    text = f"{host}/{repository}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = Reference.parse(text)
    assert str(reference) == text
    assert (reference.registry, reference.repository, reference.tag) == (host, repository, tag)
    assert reference.selector == (digest or tag or "latest")
    assert Reference.parse(str(reference)) == reference


@quick
@given(components | repositories.map("team/".__add__), st.none() | tags)
def test_short_references_are_written_in_full_once_and_for_all(repository: str, tag: str | None) -> None:
    reference = Reference.parse(repository + (f":{tag}" if tag else ""))
    assert (reference.registry, reference.tag) == (Reference.parse("x").registry, tag)
    assert reference.repository == (repository if "/" in repository else f"library/{repository}")
    assert Reference.parse(str(reference)) == reference


@quick
@given(nasty)
@example("a" * 10_000)
@example("[::1]:/x")
@example("A/\u0130")
def test_any_text_is_a_reference_that_round_trips_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InputError as error:
        check_safe(error)
    else:
        assert Reference.parse(str(reference)) == reference
        assert text.isascii()


paths = st.text(
    st.sampled_from("ab.:/@\\ é") | st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=30,
)


@quick
@given(paths, st.none() | tags, st.none() | digests)
@example("x:y", None, None)
@example("./a//b/./", "1", None)
@example(f"a@sha256:{'0' * 64}", None, None)
def test_layouts_round_trip(path: str, tag: str | None, digest: str | None) -> None:
    # A final separator keeps what is in the path out of the tag.
    text = f"oci:{path}/" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    location = parse_location(text)
    assert isinstance(location, LayoutLocation)
    assert (location.tag, location.digest and str(location.digest)) == (tag, digest)
    assert parse_location(str(location)) == location
    assert parse_location(location.store) == LayoutLocation(location.path)
    assert parse_location(f"oci:./{text[4:]}".replace("/", "//")).store == location.store or path.startswith("/")


@quick
@given(nasty, st.sampled_from(["r.example/web:1", "oci:out:1"]), st.sampled_from(["", ":", "@", "oci:", "sha256:"]))
def test_any_text_is_a_child_that_round_trips_or_is_refused(text: str, target: str, start: str) -> None:
    try:
        child = parse_child(start + text, parse_location(target))
    except InputError as error:
        check_safe(error)
    else:
        if child.digest is None or child.digest.verifiable:
            assert parse_location(str(child)) == child
        assert parse_location(child.store).store == child.store


parts = (
    st.sampled_from(sorted(KNOWN_ARCHITECTURES)) | st.sampled_from(sorted(ARCHITECTURE_ALIASES)) | words(WORD + "._-")
)
variants = st.sampled_from(["", "v1", "v6", "v7", "v8", "8", "v8.0", "v9.0", "v8.2"]) | words(WORD + "._-")
versions = st.sampled_from(["", "10.0.20348.2340"]) | words(string.digits + ".")
features = st.lists(words(WORD + "._-"), max_size=3)
systems = st.sampled_from([*sorted(KNOWN_OS), "macos"]) | words(WORD + "._-")
platforms = st.builds(
    lambda os, architecture, variant, version, having: Platform(os, architecture, variant, version, tuple(having)),
    systems,
    parts,
    variants,
    versions,
    features,
)


@quick
@given(platforms)
def test_platforms_round_trip_once_they_were_parsed(platform: Platform) -> None:
    parsed = Platform.parse(str(platform))
    assert Platform.parse(str(parsed)) == parsed
    assert parsed.key == platform.key
    normal = parsed.normalized()
    assert normal.normalized() == normal
    assert Platform.parse(str(normal)).key == normal.key


@quick
@given(platforms, platforms)
def test_comparing_platforms_makes_sense(one: Platform, other: Platform) -> None:
    assert one.satisfies(one)
    assert not one.contradicts(one)
    assert one.contradicts(other) == other.contradicts(one)
    if one.key == other.key:
        assert one.satisfies(other)
        assert other.satisfies(one)
    if one.satisfies(other) and one.variant and other.variant:
        assert not one.contradicts(other)
    if not one.contradicts(other):
        assert not one.filled_from(other).contradicts(other)
    assert Platform("", "").filled_from(one) == one


@quick
@given(nasty)
def test_any_text_is_a_platform_that_round_trips_or_is_refused(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except InputError as error:
        check_safe(error)
    else:
        assert Platform.parse(str(platform)) == platform


@quick
@given(st.builds(Platform, st.text(), st.text(), st.text(), st.text(), st.lists(st.text()).map(tuple)))
def test_whatever_a_config_says_can_be_compared_and_shown(platform: Platform) -> None:
    assert platform.normalized().normalized() == platform.normalized()
    check_line(platform.shown, 201)


json_keys = st.sampled_from(["digest", "DIGEST", "size", "annotations", "Labels", "config", "manifests", "k", "\u212a"])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_keys | st.text(max_size=4), inner, max_size=5),
    max_leaves=15,
)
# JSON with a hole in it, and bytes of all kinds.
almost_json = st.builds(
    lambda value, start, end, middle: (raw := json.dumps(value).encode())[:start] + middle + raw[end:],
    json_values,
    st.integers(0, 60),
    st.integers(0, 60),
    st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"[", b"\\u", b"1" * 500, b"NaN", b"\\ud800", b"e999"]),
)


@quick
@given(st.binary(max_size=200) | almost_json | json_values.map(lambda value: json.dumps(value).encode()))
@example(b'"' + b"\\" * 99)
@example(b"[" * 5000)
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_read_as_everybody_reads_them_or_refused(raw: bytes) -> None:
    try:
        value = load(raw, "the document")
    except DocumentError as error:
        check_safe(error)
        check_line(error.pointer, 1025)
    else:
        assert value == json.loads(raw)
        # What passed has one meaning, so that it passes again however it is written.
        assert load(json.dumps(value).encode(), "x") == value
        assert load(json.dumps(value, ensure_ascii=False, indent=3).encode(), "x") == value


documents = st.dictionaries(
    st.sampled_from(
        ["schemaVersion", "mediaType", "manifests", "config", "layers", "subject", "annotations", "Config"]
    ),
    st.just(2) | st.sampled_from([OCI_INDEX, OCI_MANIFEST, DOCKER_LIST]) | json_values,
)
served = st.sampled_from(["", "application/json", "text/html", OCI_INDEX, OCI_MANIFEST, DOCKER_LIST]) | st.text()


@quick
@given(documents.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60), served)
def test_any_bytes_are_a_manifest_or_refused(raw: bytes, content_type: str) -> None:
    try:
        manifest = parse_manifest(raw, content_type, "r/x:1")
    except DocumentError as error:
        check_safe(error)
    else:
        assert manifest.raw is raw
        assert manifest.digest.matches(raw)


configs = st.dictionaries(
    st.sampled_from(
        ["os", "architecture", "variant", "os.version", "os.features", "config", "rootfs", "OS", "created"]
    ),
    st.text(max_size=5)
    | json_values
    | st.dictionaries(st.sampled_from(["Labels", "labels", "diff_ids", "type"]), json_values),
)


@quick
@given(configs.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_any_bytes_are_a_config_or_refused(raw: bytes) -> None:
    try:
        config = parse_config(raw, "the config")
    except DocumentError as error:
        check_safe(error)
    else:
        check_line(config.platform.shown, 201)


entries = st.fixed_dictionaries(
    {"mediaType": st.text(max_size=8), "digest": any_digests, "size": st.integers(0, 2**63 - 1)},
    optional={
        "annotations": st.dictionaries(st.text(max_size=8), st.text(max_size=8), min_size=1),
        "artifactType": st.text(min_size=1, max_size=8),
        "urls": st.lists(st.text(max_size=8)),
        "data": st.text(max_size=8),
        "x-future": json_values,
    },
)


@quick
@given(entries)
def test_descriptors_lose_nothing(entry: dict[str, Any]) -> None:
    descriptor = Descriptor.from_json(entry, "x", "")
    written = descriptor.to_json()
    assert json.dumps(written, sort_keys=True) == json.dumps(entry, sort_keys=True)
    assert json.dumps(Descriptor.from_json(written, "x", "").to_json()) == json.dumps(written)


anything = st.text(max_size=80) | st.text(st.sampled_from(" :#[\n\r\t\u2028\u00a0vso\x1b\u202e\ud800"), max_size=40)


@quick
@given(anything, st.integers(1, 60))
@example("::error::x", 1)
@example(" \u00a0::", 60)
@example("####[", 3)
def test_what_was_escaped_is_one_short_safe_line(text: str, limit: int) -> None:
    safe = escape(text, limit)
    check_line(safe, limit + 1)
    assert safe == text or len(text) > limit or any(not c.isprintable() or c in ":#" or c >= "\U000e0000" for c in text)
    # Cut to any length it stays safe.
    check_line(escape(safe), len(safe) * 2)


@quick
@given(anything)
def test_every_way_to_show_a_text_gives_one_line(text: str) -> None:
    for shown in (outside(text), markdown(text), html(text)):
        assert not set(shown) & set("\n\r\t\x1b\u2028\u202e\x00")
    assert not set(html(text)) & set("<>\"'")
    assert redact(redact(text)) == redact(text)


secrets = words(string.ascii_letters + string.digits + "._~+=-", 40).filter(lambda text: len(text) >= 8)


@quick
@given(secrets, st.text(max_size=20))
def test_no_secret_is_shown(secret: str, around: str) -> None:
    secret = f"Zq9{secret}Zq9"
    for text in (
        f"{around} https://user:{secret}@r.example/v2/",
        f"https://r.example/x?sig={secret} {around}",
        f"https://r.example/x?_state={secret}",
        f"{around} Bearer {secret}",
        f"basic {secret} {around}",
        f"Authorization: Basic {secret}",
        f"authorization: {secret}",
    ):
        assert secret not in outside(text)


def check_line(text: str, most: int) -> None:
    assert len(text) <= most
    assert "\n" not in text
    assert all(ord(character) >= 0x20 and not 0x7F <= ord(character) < 0xA0 for character in text)
    assert not any(0xD800 <= ord(character) < 0xE000 for character in text)
    assert not text.strip().startswith("::")
    assert "##[" not in text
    text.encode()


def check_safe(error: DocumentError | InputError) -> None:
    check_line(error.message, 3000)
    check_line(error.hint, 3000)
