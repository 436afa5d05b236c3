"""What people read: the reason and the next step of each rule, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.validation import RULES, validate

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
ONE, TWO = (f"sha256:{number:064x}" for number in (1, 2))
GRAMMAR = (
    "A digest is written algorithm:encoded. sha256 and blake3 take 64 lower-case hexadecimal digits, sha384 takes 96, "
    "sha512 takes 128; other algorithms take letters, digits and =_-"
)
SIZE = "A size is an integer from 0 to 9223372036854775807, written without quotes, fraction or exponent."
ENTRIES = (
    "The entries, in order: of several that fit a client's platform, the first is taken. It may be empty, but not null."
)
KINDS = "docker-manifest-list, docker-manifest, oci-index, oci-manifest, oci-descriptor, oci-config, oci-layout"


def entry(digest: str = ONE, architecture: str = "amd64", **more: object) -> dict[str, Any]:
    platform = {"architecture": architecture, "os": "linux"}
    return {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": platform, **more}


def index(*entries: object, **more: object) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **more}


def manifest(**more: object) -> dict[str, Any]:
    config = {"mediaType": CONFIG, "digest": TWO, "size": 2}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [entry()], **more}


def config(**more: object) -> dict[str, Any]:
    return {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [ONE]}, **more}


MESSAGES: list[tuple[object, str, str, str, str]] = [
    (b"", "json-syntax", "", "the document is not JSON: Expecting value (line 1, column 1)", ""),
    (b"\xff{}", "json-not-utf-8", "", "the document is not UTF-8 (byte 0)", ""),
    (b"[" * 200, "json-too-deep", "", "the document is nested deeper than 100 levels", ""),
    (
        b"[" + b"0," * 1_000_000 + b"0]",
        "json-too-many-values",
        "",
        "the document has more than 1000000 commas and brackets",
        "",
    ),
    (b'{"x":-Infinity}', "json-number", "", "the document has the value -Infinity, which is not JSON", ""),
    (b'{"x":"\\udc00"}', "json-surrogate", "/x", "the document has a lone surrogate at /x", ""),
    (b'{"x":1,"x":2}', "json-duplicate-key", "", "the key 'x' stands twice in one object", ""),
    (
        b" " * (MANIFEST_LIMIT + 1 - 16) + b'{"manifests":[]}',
        "json-too-large",
        "",
        "the document is larger than 4194304 bytes",
        "",
    ),
    ([], "kind-unknown", "", "the document is not a JSON object", f"Say what it is with --as; kinds are {KINDS}."),
    (
        {"name": "x"},
        "kind-unknown",
        "",
        "the document is of no known kind: it has none of the keys that would tell",
        f"Say what it is with --as; kinds are {KINDS}.",
    ),
    (
        {"schemaVersion": 1, "fsLayers": []},
        "kind-unsupported",
        "",
        "the document is a Docker schema 1 manifest, which registries and clients no longer take",
        "Pull the image and push it again with a current tool: it becomes schema 2 or OCI.",
    ),
    (
        {"manifests": [], "layers": []},
        "document-ambiguous",
        "",
        "the document has keys of several kinds (oci-index, oci-manifest) and no mediaType that decides",
        "Readers would disagree on what it is (CVE-2021-41190): keep the keys of one kind only.",
    ),
    (
        manifest(manifests=[]),
        "document-ambiguous",
        "/manifests",
        "manifests has no place in an image manifest: some readers would take the document for a list",
        "Registries and clients refuse such documents (CVE-2021-41190): remove manifests.",
    ),
    (
        index(entry(), layers=[]),
        "document-ambiguous",
        "/layers",
        "layers has no place in a list: some readers would take the document for an image manifest",
        "Registries and clients refuse such documents (CVE-2021-41190): remove layers.",
    ),
    (
        index({"Size": 1, "digest": ONE, "mediaType": MANIFEST}),
        "json-key-case",
        "/manifests/0/Size",
        "the key 'Size' must be written 'size'",
        "Programs written in Go read it as that key, others do not.",
    ),
    (
        index({"mediaType": MANIFEST, "size": 1}),
        "schema-required",
        "/manifests/0/digest",
        "digest is missing in manifests[0]",
        "Digest of the content's bytes; it is the content's name.",
    ),
    (
        {"schemaVersion": 2, "mediaType": INDEX},
        "schema-required",
        "/manifests",
        "manifests is missing",
        ENTRIES,
    ),
    (
        index(entry(size="1")),
        "schema-type",
        "/manifests/0/size",
        'size is the string "1", but must be an integer',
        "Write 1 without quotes.",
    ),
    (
        index(entry(size="big")),
        "schema-type",
        "/manifests/0/size",
        'size is the string "big", but must be an integer',
        "Size of the content in bytes; content of another size is not to be trusted.",
    ),
    (
        config(config=[]),
        "schema-type",
        "/config",
        "config is an array, but must be an object or null",
        "What a container of this image is started with, unless it is told otherwise. It may be null.",
    ),
    (
        config(config={"Env": None}),
        "schema-null",
        "/config/Env",
        "Env is null, but must be an array",
        "Write a value, or leave the key out where it is optional.",
    ),
    (
        index(entry(digest="sha256:x")),
        "schema-pattern",
        "/manifests/0/digest",
        'digest "sha256:x" is not a digest',
        GRAMMAR,
    ),
    (
        config(config={"Env": ["PATH"]}),
        "schema-pattern",
        "/config/Env/0",
        'Env[0] "PATH" is not a NAME=value pair',
        "One environment variable, written NAME=value; the value may be empty.",
    ),
    (index(entry(size=-1)), "schema-minimum", "/manifests/0/size", "size is -1, but must be at least 0", SIZE),
    (
        index(entry(size=2**63)),
        "schema-maximum",
        "/manifests/0/size",
        "size is 9223372036854775808, but must be at most 9223372036854775807",
        SIZE,
    ),
    (
        manifest(layers=[]),
        "schema-min-items",
        "/layers",
        "layers is empty, but must have at least 1 entry",
        "The layers, the base first. At least one: an artifact without content uses the empty descriptor.",
    ),
    (index(schemaVersion=1), "schema-const", "/schemaVersion", "schemaVersion is 1, but must be 2", "Always 2."),
    (
        index(entry(size=1.0)),
        "integer-token",
        "/manifests/0/size",
        "size is written with a fraction or an exponent (1.0)",
        "Write it as an integer, digits only.",
    ),
    (
        index(entry(), entry(architecture="arm64", size=2)),
        "digest-size-conflict",
        "/manifests/1/size",
        "size is 2, but the same digest has size 1 at /manifests/0",
        "One of the two is wrong: ask the registry for the size of this digest.",
    ),
    (
        manifest(layers=[entry(data="?")]),
        "data-base64",
        "/layers/0/data",
        "data is not base64",
        "Encode the content with the standard alphabet, padded with =, without line breaks.",
    ),
    (
        {"mediaType": "a/b", "digest": "md5:x", "size": 1, "data": "e30="},
        "data-size",
        "/data",
        "data holds 2 bytes, but size is 1",
        "Embed the whole content or none of it.",
    ),
    (
        {"mediaType": "a/b", "digest": ONE, "size": 2, "data": "e30="},
        "data-digest",
        "/data",
        "data has the digest sha256:44136fa355b3…, but digest is sha256:000000000000…",
        "Do not trust either: fetch the content again.",
    ),
    (
        config(created="yesterday"),
        "date-invalid",
        "/created",
        'created "yesterday" is not a date and time of RFC 3339',
        "Write it like 2026-01-31T22:22:56Z or 2026-01-31T22:22:56+01:00.",
    ),
    (
        manifest(layers=[entry(urls=["blob"])]),
        "uri-invalid",
        "/layers/0/urls/0",
        'urls[0] "blob" is not a URI',
        "Write it with its scheme and host, e.g. https://example.com/blob, other characters percent-encoded.",
    ),
    (
        manifest(layers=[entry(urls=["ftp://example.com"])]),
        "uri-scheme",
        "/layers/0/urls/0",
        "urls[0] has the scheme ftp, which few clients can fetch",
        "Use https.",
    ),
    (
        index(
            entry(
                annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": TWO},
            )
        ),
        "attestation-dangling",
        "/manifests/0/annotations/vnd.docker.reference.digest",
        f"an attestation is for {TWO}, which is not in the list",
        "Remove the attestation, or put its image into the list.",
    ),
    (
        index(entry(annotations={"vnd.docker.reference.type": "attestation-manifest"})),
        "attestation-dangling",
        "/manifests/0/annotations/vnd.docker.reference.digest",
        "an attestation does not say which image it is for",
        "Remove the attestation, or put its image into the list.",
    ),
    (
        index(entry(architecture="aarch64")),
        "architecture-unknown",
        "/manifests/0/platform/architecture",
        'architecture is "aarch64", a name that clients do not look for',
        "Write arm64.",
    ),
    (
        config(architecture=""),
        "architecture-unknown",
        "/architecture",
        "architecture is empty",
        "Write it as Go's GOARCH names it, e.g. amd64 or arm64.",
    ),
    (config(os="macos"), "os-unknown", "/os", 'os is "macos", a name that clients do not look for', "Write darwin."),
    (
        config(architecture="arm", variant="7"),
        "variant-unknown",
        "/variant",
        'variant is "7", a name that clients do not look for',
        "Write v7.",
    ),
    (
        config(os="windows"),
        "os-version-missing",
        "/os.version",
        "os is windows, but there is no os.version",
        "Windows hosts take the image whose build is theirs: say it, e.g. 10.0.20348.2340.",
    ),
    (
        index(entry(architecture="arm64"), entry(TWO, "arm64")),
        "platform-duplicate",
        "/manifests/1/platform",
        "platform linux/arm64 is that of the entry at /manifests/0 too, and clients take the first",
        "Remove one of the two, or tell them apart by variant or os.version.",
    ),
    (
        index(entry(), entry()),
        "entry-repeated",
        "/manifests/1",
        "manifests[1] is the same as the entry at /manifests/0",
        "Remove one of the two.",
    ),
    (
        index(entry(architecture="amd64\u202e\n::x")),
        "platform-characters",
        "/manifests/0/platform/architecture",
        "architecture is written in letters, digits, '_', '.' and '-' only, and this is \"amd64\\u202e\\n::x\"",
        "",
    ),
    (
        config(**{"os.features": ["win32k", "a\x1b[2J"]}),
        "platform-characters",
        "/os.features/1",
        'os.features[1] is written in printable ASCII characters only, and this is "a\\x1b[2J"',
        "",
    ),
    (
        config(history=[{}, {}]),
        "history-layers",
        "/history",
        "history has 2 steps with a layer, rootfs.diff_ids has 1 layer",
        "Mark the steps that made no layer with empty_layer, or tools that map steps to layers go wrong.",
    ),
    (
        {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [], "annotations": {}},
        "docker-oci-only",
        "/annotations",
        "annotations is known to OCI only: readers of Docker's format ignore it",
        "Use the OCI format, or leave it out.",
    ),
    (
        {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry()]},
        "docker-oci-only",
        "/manifests/0/mediaType",
        f'mediaType "{MANIFEST}" in a Docker manifest list is refused by some registries',
        "Use an OCI index for entries that are not Docker's.",
    ),
    (
        index(*[0] * 1001),
        "findings-truncated",
        "",
        "there are more faults than the 1000 that are listed",
        "Mend these first and validate again.",
    ),
]


@pytest.mark.parametrize(
    ("document", "rule", "where", "message", "hint"),
    MESSAGES,
    ids=[f"{case[1]}-{n}" for n, case in enumerate(MESSAGES)],
)
def test_a_finding_reads(document: object, rule: str, where: str, message: str, hint: str) -> None:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    finding = validate(raw, "list.json").findings[-1]
    # Where nothing better is known than what the rule says, the hint is empty in the table.
    hint = hint or RULES[rule].step
    assert (finding.rule, finding.where, finding.message, finding.hint) == (rule, where, message, hint)
    assert finding.severity == RULES[rule].severity


def test_every_rule_is_read_here() -> None:
    # These two are for schemas and errors that no document of today can meet.
    assert {case[1] for case in MESSAGES} == set(RULES) - {"document-invalid", "schema-other"}
