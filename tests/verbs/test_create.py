"""`create` as a whole: the gate before the tag, dry runs, what is allowed, layouts, and a thousand images."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import InputError, NotFoundError
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX
from manifestctl.model.published import Published
from manifestctl.stores.locate import Stores
from manifestctl.verbs.check import Checked, CheckRequest, image_requests
from manifestctl.verbs.create import Created, CreateRequest, create
from tests.support import images
from tests.support.actions import error, proxy_page, status, wrong_bytes
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY, Scene, published, rules_of, the_finding

if TYPE_CHECKING:
    from pathlib import Path

READ: dict[str, Any] = {"method": "GET", "path": "/manifests/1.4$"}
AMD64, ARM64 = images.image("linux/amd64"), images.image("linux/arm64")


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    registry.put(REPOSITORY, "amd64", AMD64)
    registry.put(REPOSITORY, "arm64", ARM64)
    return Scene.of(registry)


def test_the_main_job(registry: FakeRegistry, scene: Scene) -> None:
    created = scene.create(":amd64", ":arm64", require="linux/amd64,linux/arm64")
    digest = published(created)
    assert (created.status, created.findings) == ("created", [])
    document = registry.document(REPOSITORY, "1.4")
    assert [entry["digest"] for entry in document["manifests"]] == [AMD64.digest, ARM64.digest]
    assert [entry["platform"]["architecture"] for entry in document["manifests"]] == ["amd64", "arm64"]
    assert registry.tags(REPOSITORY) == {"amd64": AMD64.digest, "arm64": ARM64.digest, "1.4": digest}


def test_a_target_without_a_tag_is_latest(registry: FakeRegistry, scene: Scene) -> None:
    target = parse_location(scene.base)
    request = CreateRequest(CheckRequest(target, image_requests(target, [":amd64"])))
    with Stores.of_system(scene.world.runtime) as stores:
        published(create(request, stores, scene.world.runtime))
    assert "latest" in registry.tags(REPOSITORY)


# The gate.

FAULTS: list[tuple[str, dict[str, Any], tuple[str, ...], int]] = [
    ("an image is missing", {}, (":amd64", ":nowhere"), 1),
    ("a platform is missing", {"require": "linux/s390x"}, (":amd64",), 1),
    ("a platform too many", {"require": "linux/amd64", "exact": True}, (":amd64", ":arm64"), 1),
    ("two for one platform", {}, (":amd64", ":again"), 1),
    ("the wrong platform", {"declared": {":amd64": "linux/arm64"}}, (":amd64",), 1),
    ("no platform", {}, (":plain",), 1),
    ("nothing", {}, (), 1),
    ("a layer is missing", {"depth": "blobs"}, (":hollow",), 1),
    ("a format that cannot say it", {"format": "docker"}, (":amd64",), 1),
    ("an annotation for nobody", {"entry_annotations": [("linux/s390x", "a", "b")]}, (":amd64",), 1),
    ("an orphan", {}, (":orphan",), 1),
    ("a schema fault of the list", {}, (":unsound",), 1),
    ("a warning that is denied", {"deny": ["image-duplicate"]}, (":amd64", ":amd64"), 1),
    ("a late warning that is denied", {"deny": ["date-invalid"]}, (":undated",), 1),
]


@pytest.mark.parametrize(("options", "given", "code"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_no_tag_moves_if_anything_is_wrong(
    registry: FakeRegistry, scene: Scene, options: dict[str, Any], given: tuple[str, ...], code: int
) -> None:
    proof = images.attestation(AMD64)
    registry.put(REPOSITORY, None, proof)
    registry.put_image(REPOSITORY, "again", seed="again")
    registry.put_image(REPOSITORY, "plain", None)
    registry.put_image(REPOSITORY, "undated", "linux/riscv64", created="yesterday")
    hollow = images.image("linux/ppc64le")
    registry.put(REPOSITORY, "hollow", hollow, blobs=False)
    registry.put_blob(REPOSITORY, hollow.config)
    registry.put_index(REPOSITORY, "orphan", [ARM64, images.attestation_entry(proof, AMD64.digest)])
    registry.put_index(REPOSITORY, "unsound", [AMD64.descriptor(urls=["no scheme"])])
    before = registry.tags(REPOSITORY)
    created = scene.create(*given, tags=["1", "latest"], **options)
    assert (created.exit_code, created.status, created.published) == (code, "failed", Published.NO)
    assert [(state.tag, state.moved) for state in created.tags] == [
        ("1.4", Published.NO),
        ("1", Published.NO),
        ("latest", Published.NO),
    ]
    assert any(finding.is_error for finding in created.findings)
    assert not created.ok
    assert registry.count("PUT|POST|PATCH|DELETE") == 0
    assert registry.tags(REPOSITORY) == before


def test_a_repository_that_does_not_exist_is_3_and_said_once() -> None:
    with FakeRegistry(unknown_repository="NAME_UNKNOWN") as registry:
        created = Scene.of(registry).create(":amd64", ":arm64", require="linux/amd64")
        assert isinstance(created.error, NotFoundError)
        assert f"Create the repository {registry.reference(REPOSITORY)}" in created.error.hint
        assert (created.exit_code, created.published, created.status) == (3, Published.NO, "failed")
        assert rules_of(created) == ["platform-required"]
        assert registry.count("PUT") == 0


@pytest.mark.parametrize(
    ("action", "rule", "code"),
    [
        (error(403, "DENIED", "no"), "target-denied", 4),
        (status(503), "target-unreachable", 5),
        (wrong_bytes(), "target-integrity", 6),
        (proxy_page(502), "target-unreachable", 5),
    ],
)
def test_a_tag_that_cannot_be_looked_at_stops_the_run_and_the_images_are_judged_all_the_same(
    registry: FakeRegistry, scene: Scene, action: Any, rule: str, code: int
) -> None:
    registry.put_index(REPOSITORY, "1.4", [])
    registry.faults.add(action, times=FOREVER, **READ)
    created = scene.create(":amd64", ":nowhere")
    assert rules_of(created) == sorted(["image-missing", rule])
    finding = the_finding(created, rule)
    assert (finding.where, finding.repository) == (f"{scene.base}:1.4", scene.base)
    assert (created.exit_code, created.published) == (code, Published.NO)
    assert registry.count("PUT") == 0


def test_a_tag_that_holds_more_than_can_be_read_ends_the_run() -> None:
    with FakeRegistry() as registry:
        registry.put(REPOSITORY, "amd64", AMD64)
        registry.put_raw_manifest(REPOSITORY, "1.4", b" " * (4 * 1024 * 1024 + 1), OCI_INDEX)
        created = Scene.of(registry).create(":amd64", ":nowhere")
        assert "larger than 4194304 bytes" in str(created.error)
        assert "image-missing" in rules_of(created)
        assert (created.exit_code, created.published) == (1, Published.NO)


def test_what_the_tag_holds_need_not_make_sense(registry: FakeRegistry, scene: Scene) -> None:
    old = registry.put_raw_manifest(REPOSITORY, "1.4", b"no JSON at all", "text/html")
    created = scene.create(":amd64")
    assert published(created)
    assert (created.status, str(created.tags[0].old)) == ("updated", old)


# Allowing.


def test_what_is_allowed_is_published_and_still_said(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "again", seed="again")
    created = scene.create(":amd64", ":again", allow=["platform-duplicate"])
    assert the_finding(created, "platform-duplicate").severity == "warning"
    assert published(created)
    assert len(registry.document(REPOSITORY, "1.4")["manifests"]) == 2


def test_late_warnings_are_told_although_the_list_is_out_already(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "undated", "linux/riscv64", created="yesterday")
    created = scene.create(":amd64", ":undated")
    assert published(created)
    assert the_finding(created, "date-invalid").severity == "warning"
    assert the_finding(created, "date-invalid").image == ":undated"
    allowed = scene.create(":amd64", ":undated", allow=["date-invalid"], deny=["image-duplicate"])
    assert (allowed.status, rules_of(allowed)) == ("unchanged", ["date-invalid"])


# Dry runs and requests.


@pytest.mark.parametrize("held", [False, True])
def test_a_dry_run_does_everything_but_write(registry: FakeRegistry, scene: Scene, held: bool) -> None:
    if held:
        published(scene.create(":amd64", ":arm64"))
        registry.reset()
    dry = scene.create(":amd64", ":arm64", dry_run=True, tags=["latest"])
    assert (dry.status, dry.exit_code, dry.ok) == ("dry-run", 0, True)
    assert dry.published == (Published.YES if held else Published.NO)
    assert registry.count("PUT") == 0
    assert dry.composed is not None
    assert json.loads(dry.composed.content.raw)["mediaType"] == OCI_INDEX
    assert published(scene.create(":amd64", ":arm64")) == str(dry.composed.content.digest)


def test_a_dry_run_that_finds_faults_has_failed(scene: Scene) -> None:
    dry = scene.create(":nowhere", dry_run=True)
    assert (dry.status, dry.exit_code) == ("failed", 1)


@pytest.mark.parametrize("tag", ["", "-x", "a b", "x" * 129, "é"])
def test_a_tag_must_be_one(scene: Scene, tag: str) -> None:
    with pytest.raises(InputError, match="is not a tag"):
        CreateRequest(scene.check_request([":amd64"]), (tag,))


def test_before_anything_was_done_nothing_is_claimed(scene: Scene) -> None:
    request = CreateRequest(scene.check_request([":amd64"]))
    created = Created(request, Checked(request.check))
    assert (created.published, created.status, created.findings, created.composed) == (Published.NO, "failed", [], None)


# Lists of several origins.


def test_the_tag_of_an_image_may_become_that_of_the_list(registry: FakeRegistry, scene: Scene) -> None:
    registry.put(REPOSITORY, "1.4", AMD64)
    first = published(scene.create(":1.4", ":arm64"))
    assert registry.tag(REPOSITORY, "1.4") == first
    # The tag is a list now, which is flattened: the same images, the same bytes, nothing to do.
    again = scene.create(":1.4", ":arm64")
    assert (again.status, rules_of(again)) == ("unchanged", ["image-duplicate"])


def test_docker_images_make_a_docker_list(registry: FakeRegistry, scene: Scene) -> None:
    for tag in ("amd64", "arm64"):
        registry.put_image("team/docker", tag, f"linux/{tag}", docker=True)
    docker = Scene.of(registry, repository="team/docker")
    published(docker.create(":amd64", ":arm64"))
    stored = registry.manifest("team/docker", "1.4")
    assert stored is not None
    assert stored.media_type == DOCKER_LIST == json.loads(stored.data)["mediaType"]
    assert published(docker.create(":amd64", ":arm64", format="oci")) != stored.digest


def test_buildx_lists_of_two_runners_become_one(registry: FakeRegistry, scene: Scene) -> None:
    for arch in ("amd64", "arm64"):
        registry.put_buildx(REPOSITORY, f"x-{arch}", [f"linux/{arch}"], seed="x")
    published(
        scene.create(":x-amd64", ":x-arm64", attestations="require", require="linux/amd64,linux/arm64", exact=True)
    )
    entries = registry.document(REPOSITORY, "1.4")["manifests"]
    assert [entry["platform"]["architecture"] for entry in entries] == ["amd64", "arm64", "unknown", "unknown"]
    subjects = [entry["annotations"][images.REFERENCE_DIGEST] for entry in entries[2:]]
    assert subjects == [entry["digest"] for entry in entries[:2]]


# Layouts.


def test_the_main_job_in_a_layout(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"amd64": AMD64, "arm64": images.buildx_index([ARM64])})
    scene = Scene.in_layout(tmp_path)
    created = scene.create(":amd64", ":arm64", tags=["latest"], require="linux/amd64,linux/arm64")
    digest = published(created)
    assert created.status == "created"
    index = json.loads((tmp_path / "index.json").read_bytes())
    tags = {entry["annotations"][images.REF_NAME]: entry["digest"] for entry in index["manifests"]}
    assert (tags["1.4"], tags["latest"]) == (digest, digest)
    assert images.digest_of((tmp_path / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()) == digest
    assert scene.create(":amd64", ":arm64", tags=["latest"]).status == "unchanged"


def test_a_layout_and_a_registry_get_the_same_bytes(tmp_path: Path, scene: Scene) -> None:
    images.write_layout(tmp_path, {"amd64": AMD64, "arm64": ARM64})
    assert published(scene.create(":amd64", ":arm64")) == published(
        Scene.in_layout(tmp_path).create(":amd64", ":arm64")
    )


def test_a_layout_that_cannot_be_written_keeps_its_tags(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"amd64": AMD64})
    (tmp_path / "index.json.bak").write_bytes((tmp_path / "index.json").read_bytes())
    world = World()
    scene = Scene.in_layout(tmp_path)
    request = CreateRequest(scene.check_request([":amd64"]))

    class Broken:
        """A layout whose index.json is ruined by another program just before the write."""

        def __init__(self, store: Any) -> None:
            self.store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

        def write_manifest(self, *arguments: Any) -> None:
            (tmp_path / "index.json").write_bytes(b"{")
            self.store.write_manifest(*arguments)

    with Stores.of_system(world.runtime) as stores:
        created = create(request, lambda location, write=False: Broken(stores(location, write=write)), world.runtime)
    assert (created.exit_code, created.published) == (1, Published.NO)
    assert "not JSON" in str(created.error)


# A thousand images.

THOUSAND = """
import json, pathlib, sys
from manifestctl import CheckRequest, CreateRequest, Runtime, Stores, create, image_requests, parse_location
target = parse_location(f"oci:{sys.argv[1]}:list")
runtime = Runtime.of_system({})
request = CreateRequest(CheckRequest(target, image_requests(target, [f":v{number}" for number in range(1000)])))
with Stores.of_system(runtime) as stores:
    created = create(request, stores, runtime)
status = pathlib.Path("/proc/self/status").read_text()
peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
print(json.dumps([created.status, len(created.composed.entries), peak]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own peak")
def test_a_list_of_a_thousand_images_takes_little_memory(tmp_path: Path) -> None:
    """Only manifests and configs are read: the layers of these images do not even exist."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "1" * 64, "size": 1 << 40}
    many = [
        images.image(f"windows/amd64:10.0.{build}.1", layers=0, manifest={"layers": [layer]}) for build in range(1000)
    ]
    images.write_layout(tmp_path, {f"v{number}": made for number, made in enumerate(many)})
    command = [sys.executable, "-c", THOUSAND, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    status, entries, peak = json.loads(run.stdout)
    assert (status, entries) == ("created", 1000)
    assert peak < 100 * 1024
