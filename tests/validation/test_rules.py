"""The rules that a schema cannot hold, one by one: formats, platforms, clashes, what is left to the schema."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from manifestctl.validation import validate_value
from manifestctl.validation.checker import in_words
from manifestctl.validation.formats import base64_content, is_date_time, uri_scheme
from manifestctl.validation.platform_rules import platform_faults
from manifestctl.validation.shapes import shape_faults

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REFERENCE = "vnd.docker.reference.digest"
REFERENCE_TYPE = "vnd.docker.reference.type"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def entry(number: int, platform: object = None, **more: object) -> dict[str, Any]:
    found = {"mediaType": MANIFEST, "digest": digest(number), "size": 1, **more}
    return found if platform is None else {**found, "platform": platform}


def linux(architecture: str = "amd64", **more: Any) -> dict[str, Any]:
    return {"architecture": architecture, "os": "linux", **more}


def attestation(number: int, subject: object) -> dict[str, Any]:
    notes = {REFERENCE_TYPE: "attestation-manifest", REFERENCE: subject}
    return entry(number, {"architecture": "unknown", "os": "unknown"}, annotations=notes)


def found(*entries: object, **more: object) -> list[tuple[str, str]]:
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **more}
    return [(finding.rule, finding.where) for finding in validate_value(document, "oci-index").findings]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T22:22:56Z",
        "2026-01-31T22:22:56.123456789Z",
        "2026-01-31t22:22:56z",
        "2026-01-31T22:22:56+01:00",
        "2026-01-31T22:22:56-23:59",
        "2024-02-29T00:00:00Z",
        "0000-02-29T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
    ],
)
def test_dates(text: str) -> None:
    assert is_date_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T22:22:56",
        "2026-01-31 22:22:56Z",
        "2026-01-31T22:22Z",
        "2026-01-31T22:22:56.Z",
        "2026-01-31T22:22:56,5Z",
        "2026-01-31T22:22:56+0100",
        "2026-01-31T22:22:56+24:00",
        "2026-01-31T22:22:56+01:60",
        "2026-00-31T22:22:56Z",
        "2026-02-29T22:22:56Z",
        "2026-01-32T22:22:56Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T22:60:56Z",
        "2026-01-31T22:22:61Z",
        "2026-01-31T22:22:56Z\n",
        " 2026-01-31T22:22:56Z",
        "26-01-31T22:22:56Z",
        "\u0662\u0660\u0662\u0666-01-31T22:22:56Z",
    ],
)
def test_what_is_not_a_date(text: str) -> None:
    assert not is_date_time(text)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("https://example.com", "https"),
        ("HTTP://example.com:8080/a/b;c=d?x=1&y=%20#top", "http"),
        ("https://user:p%40ss@example.com/", "https"),
        ("https://[2001:db8::1]:443/", "https"),
        ("https://[v1.fe]/", "https"),
        ("https://xn--bcher-kva.example/", "https"),
        ("ftp://example.com/x", "ftp"),
        ("s3://bucket/key", "s3"),
        ("file:///x", "file"),
        ("urn:oci:blob", "urn"),
        ("mailto:images@example.com", "mailto"),
        ("a+b-c.d:", "a+b-c.d"),
        ("value", None),
        ("", None),
        ("/x", None),
        ("//example.com/x", None),
        (":x", None),
        ("1http://example.com", None),
        ("https:", None),
        ("https:/example.com", None),
        ("https://", None),
        ("https:///x", None),
        ("https://:80/x", None),
        ("https://u@/x", None),
        ("https://example.com:port/", None),
        ("https://exa mple.com/", None),
        ("https://example.com/a b", None),
        ("https://example.com/%", None),
        ("https://example.com/%4", None),
        ("https://example.com/[x]", None),
        ("https://example.com/?[x]", None),
        ("https://example.com/#a#b", None),
        ("https://example.com/\n", None),
        ("https://example.com/\u00e9", None),
        ("https://[::1/", None),
        ("https://a@b@c/", None),
    ],
)
def test_uris(text: str, scheme: str | None) -> None:
    assert uri_scheme(text) == scheme


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", b""),
        ("e30=", b"{}"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("e30", None),
        ("e30==", None),
        ("e3 0=", None),
        ("e30=\n", None),
        ("-_-_", None),
        ("=", None),
        ("caf\u00e9", None),
    ],
)
def test_base64(text: str, content: bytes | None) -> None:
    assert base64_content(text) == content


PLATFORMS: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    (linux(), []),
    (linux("arm", variant="v7"), []),
    (linux("arm64", variant="v9.2"), []),
    (linux("riscv64", variant="rva23u64"), []),
    (linux("ppc64le", variant="power9"), []),
    (linux("386", variant="sse2"), []),
    ({"architecture": "unknown", "os": "unknown"}, []),
    ({"architecture": "amd64", "os": "windows", "os.version": "10.0.20348"}, []),
    ({}, []),
    (linux("aarch64"), [("architecture-unknown", "arm64", "Write arm64.")]),
    (linux("X86_64"), [("architecture-unknown", "amd64", "Write amd64.")]),
    (linux("AMD64"), [("architecture-unknown", "amd64", "Write amd64.")]),
    (linux("armhf"), [("architecture-unknown", "arm", "Write arm, and v7 as its variant.")]),
    (linux("armhf", variant="v6"), [("architecture-unknown", "arm", "Write arm.")]),
    (linux("z80"), [("architecture-unknown", "", "Write it as Go's GOARCH names it, e.g. amd64 or arm64.")]),
    (linux(""), [("architecture-unknown", "", "Write it as Go's GOARCH names it, e.g. amd64 or arm64.")]),
    (linux("unknown"), [("architecture-unknown", "", "Write it as Go's GOARCH names it, e.g. amd64 or arm64.")]),
    (linux("arm", variant="7"), [("variant-unknown", "v7", "Write v7.")]),
    (linux("arm64", variant="V8"), [("variant-unknown", "v8", "Write v8.")]),
    (linux("amd64", variant="haswell"), [("variant-unknown", "", "v1 to v4")]),
    ({"architecture": "amd64", "os": "Linux"}, [("os-unknown", "linux", "Write linux.")]),
    ({"architecture": "amd64", "os": "macOS"}, [("os-unknown", "darwin", "Write darwin.")]),
    ({"architecture": "amd64", "os": "beos"}, [("os-unknown", "", "GOOS")]),
    ({"architecture": "amd64", "os": "windows"}, [("os-version-missing", "", "10.0.20348.2340")]),
    ({"architecture": "amd64", "os": "windows", "os.version": ""}, [("os-version-missing", "", "10.0.20348.2340")]),
    ({"os": "beos"}, [("os-unknown", "", "GOOS")]),
    ({"architecture": "amd64"}, []),
    ({"architecture": 5, "os": "beos"}, []),
    ({"architecture": "z80", "os": "linux", "os.features": "x"}, []),
    ({"architecture": "z80", "os": "linux", "os.features": [1]}, []),
]


@pytest.mark.parametrize(("platform", "expected"), PLATFORMS)
def test_platforms(platform: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    faults = list(platform_faults((), platform))
    assert [(fault.rule, fault.expected) for fault in faults] == [(rule, better) for rule, better, _ in expected]
    assert all(hint in fault.hint for fault, (_, _, hint) in zip(faults, expected, strict=True))


CHARACTERS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    (linux("amd64\u202e\n::x"), [("platform-characters", "architecture")]),
    (linux("x86/64"), [("platform-characters", "architecture")]),
    (linux("amd64", os="lin ux"), [("platform-characters", "os")]),
    (linux("arm", variant="v7\x00"), [("platform-characters", "variant")]),
    (
        linux("amd64 ", os="Windows", variant="é"),
        [("platform-characters", "architecture"), ("platform-characters", "variant"), ("os-unknown", "os")],
    ),
    (linux("amd64", os="windows", **{"os.version": "10.0\n"}), [("platform-characters", "os.version")]),
    (linux("amd64", os="windows", **{"os.version": "10.0 (beta) + ~!"}), []),
    (linux("amd64", **{"os.features": ["ok", "b\u200bad", "\x7f"]}), [("platform-characters", "os.features")] * 2),
    ({"os": "unknown", "architecture": "unknown", "variant": "\x1b[2J"}, [("platform-characters", "variant")]),
    ({"os": "", "architecture": "amd64", "variant": ""}, [("os-unknown", "os")]),
    (linux("A-z_0.9"), [("architecture-unknown", "architecture")]),
]


@pytest.mark.parametrize(("platform", "expected"), CHARACTERS, ids=range(len(CHARACTERS)))
def test_characters_of_platforms(platform: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert [(fault.rule, fault.path[0]) for fault in platform_faults((), platform)] == expected


@pytest.mark.parametrize("value", [None, "linux/amd64", 5, ["linux"]])
def test_what_is_not_a_platform_is_left_to_the_schema(value: object) -> None:
    assert list(platform_faults(("platform",), value)) == []


CLASHES: list[tuple[list[dict[str, Any]], list[tuple[str, str]]]] = [
    ([entry(1, linux()), entry(2, linux("arm64"))], []),
    ([entry(1, linux()), entry(2, linux())], [("platform-duplicate", "/manifests/1/platform")]),
    (
        [entry(1, linux("arm64")), entry(2, linux("arm64", variant="v8"))],
        [("platform-duplicate", "/manifests/1/platform")],
    ),
    ([entry(1, linux("amd64")), entry(2, linux("amd64", variant="v3"))], []),
    ([entry(1, linux()), entry(1, linux())], [("entry-repeated", "/manifests/1")]),
    ([entry(1, linux()), entry(1, linux("arm64"))], []),
    (
        [entry(1, linux()), entry(1, linux(), size=2)],
        [("entry-repeated", "/manifests/1"), ("digest-size-conflict", "/manifests/1/size")],
    ),
    ([entry(1), entry(2)], []),
    ([entry(1), entry(1)], []),
    (
        [
            entry(1, {"architecture": "unknown", "os": "unknown"}),
            entry(2, {"architecture": "unknown", "os": "unknown"}),
        ],
        [],
    ),
    ([entry(1, linux(), artifactType="a/b"), entry(2, linux(), artifactType="a/c")], []),
    (
        [entry(1, linux(), artifactType="a/b"), entry(2, linux(), artifactType="a/b")],
        [("platform-duplicate", "/manifests/1/platform")],
    ),
    (
        [
            entry(1, linux(), annotations={"org.opencontainers.image.ref.name": "1"}),
            entry(2, linux(), annotations={"org.opencontainers.image.ref.name": "2"}),
        ],
        [],
    ),
    (
        [
            {**entry(n, {"architecture": "amd64", "os": "windows", "os.version": version})}
            for n, version in enumerate(("10.0.17763.1", "10.0.20348.1", "10.0.17763.1"))
        ],
        [("platform-duplicate", "/manifests/2/platform")],
    ),
    (
        [entry(n, {**linux(), "os.features": features}) for n, features in enumerate((["a", "b"], ["b", "a"], ["a"]))],
        [("platform-duplicate", "/manifests/1/platform")],
    ),
]


@pytest.mark.parametrize(("entries", "expected"), CLASHES)
def test_entries_that_a_client_could_not_tell_apart(
    entries: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    assert found(*entries) == expected


def test_a_subject_is_no_entry_of_the_list() -> None:
    assert found(entry(1, linux()), subject=entry(2, linux())) == []


PLACE = f"/manifests/{{}}/annotations/{REFERENCE}"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(1, linux()), attestation(2, digest(1))], []),
        ([attestation(2, digest(1)), entry(1, linux())], []),
        ([entry(1, linux()), attestation(2, digest(3))], [("attestation-dangling", PLACE.format(1))]),
        ([attestation(2, digest(2))], [("attestation-dangling", PLACE.format(0))]),
        (
            [attestation(2, digest(3)), attestation(3, digest(2))],
            [("attestation-dangling", PLACE.format(n)) for n in (0, 1)],
        ),
        ([attestation(2, 5)], [("schema-type", PLACE.format(0))]),
        ([entry(2, annotations={REFERENCE_TYPE: "attestation-manifest"})], [("attestation-dangling", PLACE.format(0))]),
        ([entry(2, annotations={REFERENCE_TYPE: "of-the-future", REFERENCE: digest(9)})], []),
        ([entry(2, annotations={REFERENCE: digest(9)})], []),
    ],
)
def test_attestations_name_an_image_of_the_list(entries: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    assert found(*entries) == expected


@pytest.mark.parametrize("size", ["5", None, True, 1.5, -1])
def test_a_broken_size_is_only_the_schemas_business(size: object) -> None:
    descriptor = {"mediaType": "text/plain", "digest": digest(1), "size": size, "data": "e30="}
    rules = {finding.rule for finding in validate_value(descriptor, "oci-descriptor").findings}
    assert "data-size" not in rules
    assert "data-digest" in rules
    assert rules & {"schema-type", "schema-null", "schema-minimum"}


@pytest.mark.parametrize("value", ["md5:00", "sha256:short", 5, None])
def test_data_cannot_be_held_against_a_digest_that_cannot_be_computed(value: object) -> None:
    descriptor = {"mediaType": "text/plain", "digest": value, "size": 2, "data": "e30="}
    rules = {finding.rule for finding in validate_value(descriptor, "oci-descriptor").findings}
    assert not rules & {"data-digest", "data-size", "data-base64"}


def test_the_true_digest_of_data_is_told() -> None:
    descriptor = {"mediaType": "text/plain", "digest": digest(1), "size": 2, "data": "e30="}
    [finding] = validate_value(descriptor, "oci-descriptor").findings
    assert finding.found == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert finding.expected == digest(1)


def test_a_docker_manifest_does_not_know_embedded_data_or_annotations() -> None:
    layer = {
        "mediaType": "a/b",
        "digest": digest(1),
        "size": 2,
        "data": "?",
        "annotations": {"org.opencontainers.image.created": "x"},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "a/b", "digest": digest(2), "size": 2},
        "layers": [layer],
    }
    findings = validate_value(document, "docker-manifest").findings
    assert [(finding.rule, finding.where) for finding in findings] == [
        ("docker-oci-only", "/layers/0/data"),
        ("docker-oci-only", "/layers/0/annotations"),
    ]


def test_signed_urls_are_not_repeated() -> None:
    url = "https://user:secret@example.com/a b?X-Amz-Signature=secret"
    layer = {"mediaType": "a/b", "digest": digest(1), "size": 2, "urls": [url]}
    [finding] = validate_value(layer, "oci-descriptor").findings
    assert finding.rule == "uri-invalid"
    assert "secret" not in str(finding.to_json())


@pytest.mark.parametrize(
    ("history", "diff_ids", "faults"),
    [
        ([], 2, 0),
        ([{}, {}], 2, 0),
        ([{}, {"empty_layer": True}, {"empty_layer": False}], 2, 0),
        ([{"empty_layer": True}], 0, 0),
        ([{}], 2, 1),
        ([{}, {}, {}], 2, 1),
        ([{"empty_layer": True}], 1, 1),
    ],
)
def test_history_and_layers(history: list[dict[str, Any]], diff_ids: int, faults: int) -> None:
    rootfs = {"type": "layers", "diff_ids": [digest(n) for n in range(diff_ids)]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs, "history": history}
    findings = validate_value(config, "oci-config").findings
    assert [(finding.rule, finding.severity) for finding in findings] == [("history-layers", "warning")] * faults


@pytest.mark.parametrize("part", ["text", None, 5, [5, None], {"a": 1}])
def test_parts_of_a_config_that_are_of_another_type_are_left_to_the_schema(part: object) -> None:
    for key in ("history", "rootfs", "created", "config"):
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, key: part}
        rules = {finding.rule for finding in validate_value(config, "oci-config").findings}
        assert rules <= {"schema-type", "schema-null", "schema-required", "date-invalid", "history-layers"}


@pytest.mark.parametrize("value", [2.0, -0.0, 1e3, 1e30])
def test_integers_are_written_as_integers(value: float) -> None:
    assert [(fault.rule, fault.path) for fault in shape_faults("oci-descriptor", {"size": value})] == [
        ("integer-token", ("size",))
    ]


@pytest.mark.parametrize("value", [2, 0, -1, 1.5, True, "2", None, [], {}])
def test_other_values_of_an_integer_are_the_schemas_business(value: object) -> None:
    assert list(shape_faults("oci-descriptor", {"size": value})) == []


@pytest.mark.parametrize(
    ("kind", "document", "paths"),
    [
        ("oci-index", {"Manifests": []}, [("Manifests",)]),
        ("oci-index", {"manifests": [{"platform": {"OS.Version": ""}}]}, [("manifests", 0, "platform", "OS.Version")]),
        ("oci-index", {"annotation\u017f": {}}, [("annotation\u017f",)]),
        ("oci-index", {"annotations": {"Digest": "x", "SIZE": "y"}}, []),
        ("oci-index", {"unknown": {"Digest": "x"}}, []),
        ("oci-config", {"config": {"Labels": {"user": "x"}, "user": "x"}}, [("config", "user")]),
        (
            "oci-config",
            {"rootfs": {"diff_IDs": []}, "history": [{"EMPTY_LAYER": 1}]},
            [("rootfs", "diff_IDs"), ("history", 0, "EMPTY_LAYER")],
        ),
        ("docker-manifest", {"layers": [{"Urls": []}], "Config": {}}, [("layers", 0, "Urls"), ("Config",)]),
        ("oci-layout", {"imagelayoutversion": "1.0.0"}, [("imagelayoutversion",)]),
    ],
)
def test_known_keys_are_written_in_their_case(kind: str, document: object, paths: list[tuple[str | int, ...]]) -> None:
    faults = list(shape_faults(kind, document))
    assert [fault.path for fault in faults] == paths
    assert {fault.rule for fault in faults} <= {"json-key-case"}


def test_the_right_key_is_not_missed_where_it_is_misspelt() -> None:
    findings = validate_value({"imagelayoutversion": "1.0.0"}, "oci-layout").findings
    assert [(finding.rule, finding.expected) for finding in findings] == [("json-key-case", "imageLayoutVersion")]


def test_keywords_without_words_of_their_own_are_reported_all_the_same() -> None:
    rules = {"properties": {"a": {"enum": [1, 2]}, "b": {"minItems": 2}, "c": {"pattern": "^x$"}}}
    faults = list(in_words(Draft202012Validator(rules).iter_errors({"a": 3, "b": [1], "c": "y"})))
    assert [(fault.rule, fault.path, fault.message) for fault in faults] == [
        ("schema-other", ("a",), "a breaks the schema's rule 'enum'"),
        ("schema-min-items", ("b",), "b has 1, but must have at least 2 entries"),
        ("schema-pattern", ("c",), 'c "y" is not a text of the form that the schema says'),
    ]
