"""`create --copy` and `create --tag-children`: what is done to the images of a list before the list itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import ConflictError, DeniedError, InputError, UnreachableError
from manifestctl.events import Warned
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.published import Published
from manifestctl.verbs.check import CheckRequest
from manifestctl.verbs.create import CreateRequest
from tests.support import images
from tests.support.actions import error, false_created, status, wrong_bytes
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import basic_authorization
from tests.support.world import World
from tests.verbs.copying import holds, hows, layout_tags, writes
from tests.verbs.scene import REPOSITORY, Scene, published, rules_of, the_finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = "team/builds"
AMD64, ARM64, S390X = (images.image(name, layers=2) for name in ("linux/amd64", "linux/arm64", "linux/s390x"))
BUILT = images.buildx_index([AMD64])


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    """Give a repository with one image; others are in another repository of the same registry."""
    registry.strict_children = True
    registry.put(REPOSITORY, "s390x", S390X)
    registry.put(OTHER, "amd64", BUILT)
    registry.put(OTHER, "arm64", ARM64)
    return Scene.of(registry)


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        server.put("x/y", "amd64", BUILT)
        server.put("x/y", "arm64", ARM64)
        yield server


def given(registry: FakeRegistry, repository: str = OTHER) -> list[str]:
    return [":s390x", registry.reference(repository, "amd64"), registry.reference(repository, "arm64")]


# Copying.


def test_within_a_registry_images_are_mounted_with_their_attestations(registry: FakeRegistry, scene: Scene) -> None:
    created = scene.create(*given(registry), copy=True)
    published(created)
    proof = BUILT.children[1]
    entries = registry.document(REPOSITORY, "1.4")["manifests"]
    assert [entry["digest"] for entry in entries] == [made.digest for made in (S390X, AMD64, ARM64, proof)]
    assert all(holds(registry, REPOSITORY, made) for made in (AMD64, ARM64, proof))
    assert set(hows(created.moved)) == {"mounted"}
    assert created.moved is not None
    assert {str(digest) for digest in created.moved.manifests} == {AMD64.digest, ARM64.digest, proof.digest}
    # By digest alone, and before the list.
    references = [reference for _, reference in registry.manifest_puts]
    assert (sorted(references[:-1]), references[-1]) == (sorted([AMD64.digest, ARM64.digest, proof.digest]), "1.4")
    assert registry.tags(REPOSITORY).keys() == {"s390x", "1.4"}
    assert registry.repository(REPOSITORY).manifests.keys().isdisjoint({BUILT.digest})


def test_from_another_registry_images_are_streamed(
    registry: FakeRegistry, elsewhere: FakeRegistry, scene: Scene
) -> None:
    created = scene.create(*given(elsewhere, "x/y"), copy=True)
    published(created)
    assert set(hows(created.moved)) == {"sent"}
    assert all(holds(registry, REPOSITORY, made) for made in (AMD64, ARM64, BUILT.children[1]))
    assert writes(elsewhere) == []
    # What the checks read is not read again.
    reads = [request.path for request in elsewhere.find("GET")]
    assert len(reads) == len(set(reads))


def test_from_a_layout_and_into_one(registry: FakeRegistry, scene: Scene, tmp_path: Path) -> None:
    images.write_layout(tmp_path / "from", {"arm64": ARM64})
    published(scene.create(":s390x", f"oci:{tmp_path / 'from'}:arm64", copy=True))
    assert holds(registry, REPOSITORY, ARM64)
    target = Scene.in_layout(tmp_path / "to")
    created = target.create(*given(registry)[1:], copy=True, tag_children="{tag}-{arch}")
    published(created)
    assert sorted(layout_tags(tmp_path / "to")) == ["1.4", "1.4-amd64", "1.4-arm64"]


def test_attestations_that_are_dropped_are_not_copied(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(*given(registry), copy=True, attestations="drop"))
    assert BUILT.children[1].digest not in registry.repository(REPOSITORY).manifests


def test_an_attestation_of_a_form_that_nobody_knows(registry: FakeRegistry, scene: Scene) -> None:
    strange = images.index([], annotations={"a": "b"})
    entry = strange.descriptor(
        platform=images.UNKNOWN,
        annotations={images.REFERENCE_DIGEST: ARM64.digest, images.REFERENCE_TYPE: "attestation-manifest"},
    )
    registry.put(OTHER, None, strange)
    registry.put_index(OTHER, "odd", [ARM64, entry])
    published(scene.create(registry.reference(OTHER, "odd"), copy=True))
    assert holds(registry, REPOSITORY, strange)


def test_only_the_platforms_that_are_wanted(registry: FakeRegistry, scene: Scene) -> None:
    registry.put(OTHER, "both", images.index([AMD64, ARM64]))
    published(scene.create(":s390x", registry.reference(OTHER, "both"), copy=True, only="linux/arm64"))
    held = registry.repository(REPOSITORY).manifests
    assert (ARM64.digest in held, AMD64.digest in held) == (True, False)


def test_a_rerun_sends_nothing(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(*given(registry), copy=True, tag_children="{tag}-{arch}"))
    before = len(writes(registry))
    registry.immutable_tags = True
    again = scene.create(*given(registry), copy=True, tag_children="{tag}-{arch}")
    published(again)
    assert (again.status, len(writes(registry))) == ("unchanged", before)
    assert set(hows(again.moved)) == {"exists"}
    assert gaps(scene) == []


@pytest.mark.parametrize("depth", ["manifests", "blobs"])
@pytest.mark.parametrize("tag", ["1.4", "another"])
def test_what_the_repository_has_lost_is_brought_again(
    registry: FakeRegistry, scene: Scene, depth: str, tag: str
) -> None:
    published(scene.create(*given(registry), copy=True))
    held, layer = registry.repository(REPOSITORY), images.digest_of(ARM64.layers[0])
    del held.manifests[AMD64.digest], held.blobs[layer]
    before = len(writes(registry))
    again = scene.create(*given(registry), tag=tag, copy=True, depth=depth)
    published(again)
    assert all(holds(registry, REPOSITORY, made) for made in BUILT.children)
    assert holds(registry, REPOSITORY, ARM64)
    # Of the manifests only the one that is missing is written, and the list if the tag does not hold it.
    put = [request for request in writes(registry)[before:] if "/manifests/" in request]
    assert put == [f"PUT {REPOSITORY}/manifests/{name}" for name in (AMD64.digest, tag)[: 1 + (tag != "1.4")]]
    assert hows(again.moved)["mounted"] == (1 if tag == "1.4" else 1 + len(AMD64.blobs))
    told = f"{scene.base}@{published(again)} was there, but not all that it names: 1 manifest, 1 blob had to be brought again"
    assert gaps(scene) == ([told] if tag == "1.4" else [])


def gaps(scene: Scene) -> list[str]:
    """Return what was said of a list that was there without all that it names."""
    return [event.message for event in scene.world.heard(Warned) if "not all that it names" in event.message]


def test_what_is_in_the_repository_under_another_name_is_not_copied(registry: FakeRegistry, scene: Scene) -> None:
    created = scene.create(
        registry.reference(REPOSITORY, "s390x"), ":s390x", registry.reference(OTHER, "arm64"), copy=True
    )
    published(created)
    registry.put(OTHER, "s390x", S390X)
    again = scene.create(registry.reference(OTHER, "s390x"), ":s390x", tag="1.5", copy=True)
    published(again)
    assert again.moved is not None
    assert (again.moved.blobs, again.moved.manifests) == ({}, [])


def test_without_copy_it_stays_a_finding(registry: FakeRegistry, scene: Scene) -> None:
    created = scene.create(*given(registry))
    assert rules_of(created, "error") == ["other-repository", "other-repository"]
    assert all("or pass --copy to 'create'" in finding.hint for finding in created.findings)
    assert (created.exit_code, writes(registry), created.moved) == (1, [], None)


@pytest.mark.parametrize(
    "options",
    [
        {"require": "linux/ppc64le"},
        {"tag": "s390x", "no_overwrite": True},
        {"expect": "sha256:" + "0" * 64},
        {"dry_run": True},
        {"images": [":absent"]},
        {"depth": "blobs", "hollow": True},
    ],
    ids=["a platform", "a tag", "an expectation", "dry run", "an image", "a layer"],
)
def test_nothing_is_copied_before_everything_is_right(
    registry: FakeRegistry, scene: Scene, options: dict[str, Any]
) -> None:
    if options.pop("hollow", False):
        del registry.repository(OTHER).blobs[images.digest_of(ARM64.layers[0])]
    more = options.pop("images", [])
    dry = options.get("dry_run", False)
    created = scene.create(*given(registry), *more, copy=True, tag_children="{tag}-{arch}", **options)
    assert (created.ok, writes(registry), created.moved, created.published) == (dry, [], None, Published.NO)
    assert "other-repository" not in rules_of(created)


def test_a_dry_run_reads_only() -> None:
    auth = BearerAuth(users={"ci": "secret"}, permissions={OTHER: ["pull"], REPOSITORY: ["pull"]})
    with FakeRegistry(auth=auth) as registry:
        registry.put(OTHER, "arm64", ARM64)
        scene = Scene.of(registry, environ_for(registry))
        created = scene.create(registry.reference(OTHER, "arm64"), copy=True, dry_run=True)
        assert (created.ok, created.status) == (True, "dry-run")
        [asked] = auth.requests
        assert sorted(asked.scopes) == [f"repository:{OTHER}:pull", f"repository:{REPOSITORY}:pull"]


def test_the_source_is_opened_to_pull_and_the_target_to_push() -> None:
    auth = BearerAuth(users={"ci": "secret"}, permissions={OTHER: ["pull"], REPOSITORY: ["pull", "push"]})
    with FakeRegistry(auth=auth) as registry:
        registry.put(OTHER, "arm64", ARM64)
        published(Scene.of(registry, environ_for(registry)).create(registry.reference(OTHER, "arm64"), copy=True))
        [asked] = auth.requests
        assert sorted(asked.scopes) == [f"repository:{OTHER}:pull", f"repository:{REPOSITORY}:pull,push"]


def environ_for(registry: FakeRegistry) -> dict[str, str]:
    authorization = basic_authorization("ci", "secret").removeprefix("Basic ")
    return {"DOCKER_AUTH_CONFIG": f'{{"auths":{{"{registry.host}":{{"auth":"{authorization}"}}}}}}'}


@pytest.mark.parametrize(
    ("path", "action", "code"),
    [
        ("/blobs/uploads/", error(403, "DENIED", "no"), 4),
        (f"/manifests/{ARM64.digest}", status(500), 5),
        (f"/manifests/{ARM64.digest}", error(403, "DENIED", "no"), 4),
    ],
)
def test_a_copy_that_fails_moves_no_tag(
    registry: FakeRegistry, scene: Scene, path: str, action: Any, code: int
) -> None:
    registry.faults.add(action, method="PUT|POST", path=path, times=FOREVER)
    before = registry.tags(REPOSITORY)
    created = scene.create(*given(registry), copy=True, tag_children="{tag}-{arch}")
    assert (created.exit_code, created.published, created.status) == (code, Published.NO, "failed")
    assert registry.tags(REPOSITORY) == before
    registry.faults.clear()
    published(scene.create(*given(registry), copy=True, tag_children="{tag}-{arch}"))


def test_a_layer_that_is_not_what_it_should_be(registry: FakeRegistry, elsewhere: FakeRegistry, scene: Scene) -> None:
    layer = images.digest_of(ARM64.layers[1])
    elsewhere.faults.add(wrong_bytes(), method="GET", path=f"/blobs/{layer}", times=FOREVER)
    created = scene.create(*given(elsewhere, "x/y"), copy=True)
    assert (created.exit_code, created.published) == (6, Published.NO)
    assert "1.4" not in registry.tags(REPOSITORY)


@pytest.mark.parametrize("made", [AMD64, BUILT.children[1]], ids=["image", "attestation"])
def test_a_registry_that_does_not_see_the_blobs_of_an_image_yet_is_waited_for(
    registry: FakeRegistry, scene: Scene, made: images.Image
) -> None:
    unseen = error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
    registry.faults.add(unseen, method="PUT", path=f"/manifests/{made.digest}")
    published(scene.create(*given(registry), copy=True))
    assert holds(registry, REPOSITORY, made)
    assert len(scene.world.slept) == 1


# Tagging the children.


def test_children_get_tags_before_the_list(registry: FakeRegistry, scene: Scene) -> None:
    created = scene.create(*given(registry), copy=True, tag_children="{tag}-{arch}", tags=["1", "latest"])
    digest = published(created)
    assert registry.tags(REPOSITORY) == {
        "s390x": S390X.digest,
        "1.4-s390x": S390X.digest,
        "1.4-amd64": AMD64.digest,
        "1.4-arm64": ARM64.digest,
        "1.4": digest,
        "1": digest,
        "latest": digest,
    }
    references = [reference for _, reference in registry.manifest_puts]
    assert references[-3:] == ["1.4", "1", "latest"]
    assert sorted(references[-6:-3]) == ["1.4-amd64", "1.4-arm64", "1.4-s390x"]
    assert [(state.tag, state.moved) for state in created.children] == [
        (f"1.4-{arch}", Published.YES) for arch in ("s390x", "amd64", "arm64")
    ]


def test_children_that_have_their_tags_are_left_alone(registry: FakeRegistry, scene: Scene) -> None:
    registry.put(REPOSITORY, "1.4-s390x", S390X)
    published(scene.create(":s390x", tag_children="{tag}-{arch}", no_overwrite=True))
    assert [reference for _, reference in registry.manifest_puts] == ["1.4"]


def test_a_list_that_is_there_whose_children_get_tags(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(":s390x"))
    created = scene.create(":s390x", tag_children="{tag}-{arch}")
    published(created)
    assert (created.status, registry.tag(REPOSITORY, "1.4-s390x")) == ("updated", S390X.digest)


@pytest.mark.parametrize(
    ("tag", "taken", "rule"),
    [("1.4-s390x", ARM64, "tag-exists"), ("1.4", ARM64, "tag-exists"), ("1.4-s390x", None, "")],
)
def test_no_overwrite_is_for_the_children_too(
    registry: FakeRegistry, scene: Scene, tag: str, taken: images.Content | None, rule: str
) -> None:
    if taken is not None:
        registry.put(REPOSITORY, tag, taken)
    created = scene.create(":s390x", tag_children="{tag}-{arch}", no_overwrite=True)
    assert rules_of(created, "error") == ([rule] if rule else [])
    assert (writes(registry) == []) == bool(rule)
    if rule:
        assert tag in the_finding(created, rule).where
        assert created.exit_code == ConflictError.exit_code


def test_what_is_expected_is_not_about_the_children(registry: FakeRegistry, scene: Scene) -> None:
    old = registry.put(REPOSITORY, "1.4", ARM64)
    registry.put(REPOSITORY, "1.4-s390x", ARM64)
    published(scene.create(":s390x", tag_children="{tag}-{arch}", expect=old))
    assert registry.tag(REPOSITORY, "1.4-s390x") == S390X.digest


@pytest.mark.parametrize(
    ("template", "tags", "message"),
    [
        ("{tag}-{os}", [], "gives two images the tag 1.4-linux"),
        ("{tag}", [], "the tag 1.4, which is the list's"),
        ("{arch}", ["s390x"], "the tag s390x, which is the list's"),
    ],
)
def test_tags_that_clash_are_found_before_anything_moves(
    registry: FakeRegistry, scene: Scene, template: str, tags: list[str], message: str
) -> None:
    created = scene.create(*given(registry), copy=True, tag_children=template, tags=tags)
    assert isinstance(created.error, InputError)
    assert message in created.error.message
    assert (created.exit_code, writes(registry), created.published) == (2, [], Published.NO)


def test_what_is_no_template_is_refused_at_once() -> None:
    request = CheckRequest(parse_location("r.example/a:1"), ())
    with pytest.raises(InputError, match=r"is not a template: it has \{sha\} in it"):
        CreateRequest(request, tag_children="{tag}-{sha}")


@pytest.mark.parametrize(
    ("action", "kind"), [(error(403, "DENIED", "no"), DeniedError), (false_created(), UnreachableError)]
)
def test_a_child_that_gets_no_tag_stops_the_list(
    registry: FakeRegistry, scene: Scene, action: Any, kind: type[Exception]
) -> None:
    registry.put(REPOSITORY, "arm64", ARM64)
    registry.faults.add(action, method="PUT", path="/manifests/1.4-arm64$", times=FOREVER)
    created = scene.create(":s390x", ":arm64", tag_children="{tag}-{arch}", concurrency=1)
    assert isinstance(created.error, kind)
    assert created.error is not None
    assert "; the tags now: 1.4-arm64 did not move: it holds nothing; 1.4-s390x moved from " in str(created.error)
    assert (created.published, "1.4" in registry.tags(REPOSITORY)) == (Published.NO, False)
    registry.faults.clear()
    published(scene.create(":s390x", ":arm64", tag_children="{tag}-{arch}"))


def test_tags_of_children_that_moved_before_the_list_was_refused_are_told(registry: FakeRegistry, scene: Scene) -> None:
    old = registry.put(REPOSITORY, "1.4-arm64", AMD64)
    registry.put(REPOSITORY, "arm64", ARM64)
    registry.put(REPOSITORY, "1.4-s390x", S390X)
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/1.4$")
    created = scene.create(":s390x", ":arm64", tag_children="{tag}-{arch}")
    assert isinstance(created.error, DeniedError)
    moved = f"1.4-arm64 from {old} to {ARM64.digest}"
    assert created.error.message.endswith(f"; tags of its images had moved by then: {moved}")
    assert (created.published, registry.tag(REPOSITORY, "1.4-arm64")) == (Published.NO, ARM64.digest)
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/1.4$")
    again = scene.create(":s390x", ":arm64", tag_children="{tag}-{arch}")
    assert "tags of its images" not in str(again.error)


def test_a_further_tag_that_fails_says_nothing_of_the_children(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/1$")
    created = scene.create(":s390x", tag_children="{tag}-{arch}", tags=["1"])
    assert (created.exit_code, created.published) == (10, Published.YES)
    assert "tags of its images" not in str(created.error)


def test_no_child_gets_a_tag(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/1.4-", times=FOREVER)
    created = scene.create(":s390x", tag_children="{tag}-{arch}")
    assert isinstance(created.error, DeniedError)
    assert "got a tag before" not in created.error.message


def test_a_tag_of_a_child_that_cannot_be_read(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(status(503), method="GET", path="/manifests/1.4-s390x", times=FOREVER)
    created = scene.create(":s390x", tag_children="{tag}-{arch}")
    assert (rules_of(created, "error"), created.exit_code, writes(registry)) == (["target-unreachable"], 5, [])


def test_the_same_world_gives_the_same_list(registry: FakeRegistry, scene: Scene) -> None:
    here = published(scene.create(*given(registry), copy=True, world=World()))
    there = published(scene.create(":s390x", f"@{AMD64.digest}", f"@{ARM64.digest}", tag="2", attestations="drop"))
    assert Digest.parse(here) != Digest.parse(there)
    assert published(scene.create(*given(registry), tag="3", copy=True)) == here
