"""`validate`: documents from files, layouts and references, with everything that they name."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import InputError, InterruptedRun, NotFoundError
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_INDEX
from manifestctl.stores.locate import Stores
from manifestctl.verbs.validate import Judged, judge_bytes, judge_layout, judge_location
from tests.support import images
from tests.support.actions import content_type, error, status, wrong_bytes
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

AMD64, ARM64 = images.image("linux/amd64"), images.image("linux/arm64", docker=True)


def of_reference(reference: str, world: World | None = None) -> list[Judged]:
    """Judge what a reference holds."""
    runtime = (world or World()).runtime
    with Stores.of_system(runtime) as stores:
        return judge_location(parse_location(reference), stores, runtime)


def of_layout(directory: Path) -> list[Judged]:
    """Judge a whole layout."""
    files = [
        (name, (directory / name).read_bytes(), kind)
        for name, kind in (("oci-layout", "oci-layout"), ("index.json", "oci-index"))
    ]
    runtime = World().runtime
    with Stores.of_system(runtime) as stores:
        return judge_layout(parse_location(f"oci:{directory}"), stores, files, runtime)


def kinds(judged: list[Judged]) -> list[str]:
    return [item.kind for item in judged]


def faults(judged: list[Judged]) -> list[tuple[str, str]]:
    """Return the faults as kind of document and rule."""
    return [(item.kind, finding.rule) for item in judged for finding in item.findings]


# Bytes.


@pytest.mark.parametrize("kind", [None, "oci-manifest"])
def test_a_good_document(kind: str | None) -> None:
    judged = judge_bytes(AMD64.manifest, "a.json", kind)
    assert (judged.name, judged.kind, judged.findings, judged.ok) == ("a.json", "oci-manifest", (), True)


def test_a_bad_document_says_where() -> None:
    document = json.loads(AMD64.manifest)
    document["layers"][0]["size"] = -1
    judged = judge_bytes(images.dump(document), "a.json", None)
    assert not judged.ok
    assert [finding.where for finding in judged.findings] == ["/layers/0/size"]


def test_any_bytes_are_judged_and_an_unknown_kind_is_bad_usage() -> None:
    assert judge_bytes(b"\xff\x00", "x", None).kind == "unknown"
    with pytest.raises(InputError, match="is not a kind"):
        judge_bytes(b"{}", "x", "nonsense")


def test_warnings_alone_are_ok() -> None:
    judged = judge_bytes(images.image("linux/x86_64").config, "x", "oci-config")
    assert (judged.ok, [finding.rule for finding in judged.findings]) == (True, ["architecture-unknown"])


# References.


def test_a_list_is_judged_with_all_that_it_names(registry: FakeRegistry) -> None:
    index = images.buildx_index([AMD64, ARM64])
    registry.put(REPOSITORY, "list", index)
    judged = of_reference(registry.reference(REPOSITORY, "list"))
    assert kinds(judged) == [
        "oci-index",
        "oci-manifest",
        "oci-config",
        "docker-manifest",
        "oci-config",
        "oci-manifest",
        "oci-config",
        "oci-manifest",
        "oci-config",
    ]
    assert judged[0].name == f"{registry.reference(REPOSITORY)}@{index.digest}"
    assert judged[2].name == f"{registry.reference(REPOSITORY)}@{AMD64.config_digest}"
    assert [finding for item in judged for finding in item.findings if finding.is_error] == []


def test_nothing_is_judged_or_read_twice(registry: FakeRegistry) -> None:
    twin = images.image("linux/amd64", annotations={"another": "manifest"})
    inner = images.index([AMD64])
    registry.put_index(REPOSITORY, "list", [AMD64, inner, AMD64.descriptor(), inner.descriptor(), twin])
    judged = of_reference(registry.reference(REPOSITORY, "list"))
    assert len({item.name for item in judged}) == len(judged) == 5
    assert registry.count("GET") == 5


@pytest.mark.parametrize("path", ["/manifests/sha256:", "/blobs/sha256:"])
def test_what_a_list_names_is_read_at_once(registry: FakeRegistry, path: str) -> None:
    platforms = [f"linux/{name}" for name in ("amd64", "arm64", "s390x", "ppc64le", "riscv64")]
    registry.put_index(REPOSITORY, "list", [images.image(platform) for platform in platforms])
    meeting = threading.Barrier(len(platforms))

    def meet(exchange: Any) -> Any:
        meeting.wait(10)
        return exchange.serve()

    registry.faults.add(meet, path=path, times=FOREVER)
    judged = of_reference(registry.reference(REPOSITORY, "list"))
    assert kinds(judged) == ["oci-index", *["oci-manifest", "oci-config"] * len(platforms)]
    assert registry.count("GET") == 1 + 2 * len(platforms)


def test_what_is_named_twice_and_is_absent_is_told_once(registry: FakeRegistry) -> None:
    inner = images.index([AMD64.descriptor()])
    registry.put_index(REPOSITORY, "list", [AMD64.descriptor(), inner])
    assert faults(of_reference(registry.reference(REPOSITORY, "list"))) == [("unknown", "image-missing")]


def test_faults_of_images_and_configs_are_errors_here(registry: FakeRegistry) -> None:
    registry.put_image(REPOSITORY, "a", config={"config": {"Env": "no list"}}, manifest={"layers": []})
    judged = of_reference(registry.reference(REPOSITORY, "a"))
    assert faults(judged) == [("oci-manifest", "schema-min-items"), ("oci-config", "schema-type")]
    assert {finding.severity for item in judged for finding in item.findings} == {"error"}


UNREADABLE = [
    (None, "image-missing", "missing"),
    (error(403, "DENIED", "no"), "image-denied", "denied"),
    (status(500), "image-unreachable", "unreachable"),
    (wrong_bytes(b"{}"), "image-integrity", "integrity"),
]


@pytest.mark.parametrize(("action", "rule", "category"), UNREADABLE)
@pytest.mark.parametrize("what", ["manifest", "config"])
def test_what_cannot_be_read_is_a_finding_and_the_rest_is_judged(
    registry: FakeRegistry, action: Any, rule: str, category: str, *, what: str
) -> None:
    registry.put_index(REPOSITORY, "list", [AMD64, ARM64])
    digest = AMD64.digest if what == "manifest" else AMD64.config_digest
    held = registry.repository(REPOSITORY)
    if action is None:
        del (held.manifests if what == "manifest" else held.blobs)[digest]
    else:
        registry.faults.add(action, path=digest, times=FOREVER)
    judged = of_reference(registry.reference(REPOSITORY, "list"))
    [bad] = [item for item in judged if item.findings]
    [finding] = bad.findings
    if action is None and what == "config":
        rule = "config-missing"
    assert (finding.rule, finding.category, finding.severity) == (rule, category, "error")
    assert (finding.where, finding.image, bad.name) == ("", bad.name, f"{registry.reference(REPOSITORY)}@{digest}")
    assert finding.hint
    assert bad.kind == ("unknown" if what == "manifest" else "oci-config")
    assert "docker-manifest" in kinds(judged)


def test_what_a_document_is_served_as_must_be_what_it_says(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, "a", AMD64)
    registry.faults.add(content_type("text/html"), path="/manifests/a", times=FOREVER)
    [judged] = of_reference(registry.reference(REPOSITORY, "a"))
    [finding] = judged.findings
    assert (judged.kind, finding.rule, finding.where) == ("oci-manifest", "media-type-mismatch", "/mediaType")
    assert "text/html" in finding.message


def test_a_document_of_another_kind_than_it_is_served_as_is_told_once(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, "a", AMD64)
    registry.faults.add(content_type(OCI_INDEX), path="/manifests/a", times=FOREVER)
    [judged] = of_reference(registry.reference(REPOSITORY, "a"))
    assert judged.kind == "oci-index"
    assert {finding.rule for finding in judged.findings} >= {"schema-required"}
    assert "media-type-mismatch" not in {finding.rule for finding in judged.findings}


@pytest.mark.parametrize("served", [None, "application/json"])
def test_a_generic_content_type_lets_the_document_decide(registry: FakeRegistry, served: str | None) -> None:
    registry.put(REPOSITORY, "a", AMD64)
    registry.faults.add(content_type(served), path="/manifests/a", times=FOREVER)
    judged = of_reference(registry.reference(REPOSITORY, "a"))
    assert (kinds(judged), faults(judged)) == (["oci-manifest", "oci-config"], [])


def test_what_is_no_json_is_judged_and_goes_no_further(registry: FakeRegistry) -> None:
    registry.put_raw_manifest(REPOSITORY, "a", b"<html>", OCI_INDEX)
    [judged] = of_reference(registry.reference(REPOSITORY, "a"))
    assert [finding.rule for finding in judged.findings] == ["json-syntax"]


def test_other_things_that_a_list_names_are_not_ours_to_judge(registry: FakeRegistry) -> None:
    registry.put_index(REPOSITORY, "list", [images.descriptor(b"x", "application/vnd.example"), AMD64])
    judged = of_reference(registry.reference(REPOSITORY, "list"))
    assert (kinds(judged), faults(judged)) == (["oci-index", "oci-manifest", "oci-config"], [])


def test_the_config_of_an_artifact_is_not_ours_to_judge(registry: FakeRegistry) -> None:
    config = images.descriptor(b"not JSON", "application/vnd.example")
    registry.put_image(REPOSITORY, "a", manifest={"config": config})
    assert kinds(of_reference(registry.reference(REPOSITORY, "a"))) == ["oci-manifest"]


@pytest.mark.parametrize(("depth", "rules"), [(8, []), (9, ["list-too-deep"]), (60, ["list-too-deep"])])
def test_lists_in_lists_are_judged_to_a_depth(registry: FakeRegistry, depth: int, rules: list[str]) -> None:
    made: images.Content = AMD64
    for _ in range(depth):
        made = images.index([made])
    registry.put(REPOSITORY, "list", made)
    judged = of_reference(registry.reference(REPOSITORY, "list"))
    assert [rule for _, rule in faults(judged)] == rules
    assert ("oci-config" in kinds(judged)) is (not rules)
    for item in judged:
        assert all(finding.hint for finding in item.findings)


def test_a_reference_that_is_not_there_is_3(registry: FakeRegistry) -> None:
    with pytest.raises(NotFoundError):
        of_reference(registry.reference(REPOSITORY, "nowhere"))


@pytest.mark.parametrize("digest", [AMD64.digest, AMD64.config_digest])
def test_an_interrupted_run_is_no_finding(registry: FakeRegistry, digest: str) -> None:
    world = World()
    registry.put_index(REPOSITORY, "list", [AMD64])

    def interrupt(exchange: Any) -> Any:
        world.cancel.set(15)
        return status(503)(exchange)

    registry.faults.add(interrupt, path=digest)
    with pytest.raises(InterruptedRun):
        of_reference(registry.reference(REPOSITORY, "list"), world)


# Layouts.


def test_a_layout_is_judged_whole(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"list": images.index([AMD64]), "image": ARM64, "again": ARM64})
    judged = of_layout(tmp_path)
    assert kinds(judged) == [
        "oci-layout",
        "oci-index",
        "oci-index",
        "oci-manifest",
        "oci-config",
        "docker-manifest",
        "oci-config",
    ]
    assert [finding for item in judged for finding in item.findings if finding.is_error] == []
    assert [item.name for item in judged[:2]] == ["oci-layout", "index.json"]


@pytest.mark.parametrize("version", [b'{"imageLayoutVersion":"2.0.0"}', b"{}"])
def test_a_layout_of_another_version_names_nothing(tmp_path: Path, version: bytes) -> None:
    images.write_layout(tmp_path, {"image": AMD64})
    (tmp_path / "oci-layout").write_bytes(version)
    judged = of_layout(tmp_path)
    assert kinds(judged) == ["oci-layout", "oci-index"]
    assert [item.ok for item in judged] == [False, True]


def test_an_index_that_cannot_be_read_names_nothing(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"image": AMD64})
    (tmp_path / "index.json").write_bytes(b"{")
    assert faults(of_layout(tmp_path)) == [("oci-index", "json-syntax")]


def test_blobs_that_a_layout_does_not_hold(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"a": AMD64, "b": ARM64})
    for digest in (AMD64.digest, ARM64.config_digest):
        (tmp_path / "blobs" / "sha256" / digest.removeprefix("sha256:")).unlink()
    assert faults(of_layout(tmp_path)) == [("unknown", "image-missing"), ("oci-config", "config-missing")]


def test_a_directory_with_a_hostile_name_is_shown_harmless(tmp_path: Path) -> None:
    directory = tmp_path / "a\n::error::b"
    images.write_layout(directory, {"a": images.index([AMD64, images.image("linux/s390x").descriptor()])})
    judged = of_layout(directory)
    assert faults(judged) == [("unknown", "image-missing")]
    for item in judged:
        assert "\n" not in item.name
        assert all("\n" not in "".join(finding.to_json().values()) for finding in item.findings)
