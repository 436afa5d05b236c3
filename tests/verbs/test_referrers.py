"""`copy --referrers`: signatures and SBOMs, by the API and by the tag scheme, on either side, and what refers to them."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import ConflictError, InterruptedRun, PartialError
from manifestctl.model.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from manifestctl.model.published import Published
from tests.support import images
from tests.support.actions import error, respond, status
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Response
from tests.support.world import World
from tests.verbs.copying import SOURCE, TARGET, copied, done, holds, layout_tags, writes
from tests.verbs.pushing_scene import PushScene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from manifestctl.verbs.copy import Copied
    from manifestctl.verbs.push_request import Pushed

SBOM = "application/spdx+json"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
LIST = images.buildx_index([images.image(name) for name in ("linux/amd64", "linux/arm64")], attestations=False)
AMD64 = LIST.children[0]


def artifact(subject: images.Content, kind: str, text: str = "") -> images.Image:
    """Make an artifact that refers to another."""
    blob = f"{kind} of {subject.digest} {text}".encode()
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": images.descriptor(b"{}", OCI_EMPTY),
        "layers": [images.descriptor(blob, kind)],
        "subject": images.descriptor(subject.manifest, subject.media_type),
        "annotations": {"text": text},
    }
    return images.Image(images.dump(body), OCI_MANIFEST, b"{}", OCI_EMPTY, (blob,), (kind,), {})


def entry(made: images.Image) -> images.JSON:
    document = json.loads(made.manifest)
    return made.descriptor(artifactType=document["artifactType"], annotations=document["annotations"])


SBOM_OF_IMAGE = artifact(AMD64, SBOM)
SIGNATURE_OF_LIST = artifact(LIST, SIGNATURE)
SIGNATURE_OF_SBOM = artifact(SBOM_OF_IMAGE, SIGNATURE)
ALL = {AMD64.digest: [SBOM_OF_IMAGE], LIST.digest: [SIGNATURE_OF_LIST], SBOM_OF_IMAGE.digest: [SIGNATURE_OF_SBOM]}


def fallback(digest: str) -> str:
    return digest.replace(":", "-")


def by_api(registry: FakeRegistry, repository: str) -> None:
    """Give a registry the referrers API for what is in a repository at the time of asking."""

    def answer(subject: str) -> Response:
        held = registry.repository(repository)
        found = [
            images.descriptor(
                stored.data,
                stored.media_type,
                artifactType=document["artifactType"],
                annotations=document.get("annotations", {}),
            )
            for stored in held.manifests.values()
            if (document := json.loads(stored.data)).get("subject", {}).get("digest") == subject
        ]
        body = images.dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})
        return Response(200, body, {"Content-Type": OCI_INDEX})

    subjects = [LIST.digest, *(child.digest for child in LIST.children)]
    subjects += [made.digest for listed in ALL.values() for made in listed]
    for subject in dict.fromkeys(subjects):
        registry.faults.add(
            respond(functools.partial(answer, subject)),
            method="GET",
            path=f"{repository}/referrers/{subject}$",
            times=FOREVER,
        )


def by_tags(registry: FakeRegistry, repository: str) -> None:
    """Give a repository the tags of the tag scheme."""
    for subject, made in ALL.items():
        registry.put_index(repository, fallback(subject), [entry(one) for one in made])


def fill(registry: FakeRegistry, scheme: str) -> None:
    registry.put(SOURCE, "1", LIST)
    for made in ALL.values():
        for one in made:
            registry.put(SOURCE, None, one)
    (by_api if scheme == "api" else by_tags)(registry, SOURCE)


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    with FakeRegistry(strict_children=True) as server:
        yield server


def run(registry: FakeRegistry, target: FakeRegistry, **options: Any) -> Copied:
    options.setdefault("referrers", True)
    return copied(registry.reference(SOURCE, "1"), target.reference(TARGET), **options)


def all_there(registry: FakeRegistry, made: Sequence[images.Image]) -> bool:
    return all(holds(registry, TARGET, one) for one in made)


@pytest.mark.parametrize("source_scheme", ["api", "tags"])
@pytest.mark.parametrize("target_scheme", ["api", "tags"])
def test_all_that_refers_to_a_list_and_its_images(
    registry: FakeRegistry, elsewhere: FakeRegistry, source_scheme: str, target_scheme: str
) -> None:
    fill(registry, source_scheme)
    if target_scheme == "api":
        by_api(elsewhere, TARGET)
    result = run(registry, elsewhere)
    assert (done(result), result.referrers) == (LIST.digest, 3)
    assert all_there(elsewhere, [SBOM_OF_IMAGE, SIGNATURE_OF_LIST, SIGNATURE_OF_SBOM])
    tags = {fallback(subject) for subject in ALL} if target_scheme == "tags" else set()
    assert set(elsewhere.tags(TARGET)) == {"1", *tags}
    for subject in ALL if tags else ():
        entries = elsewhere.document(TARGET, fallback(subject))["manifests"]
        assert entries == [entry(one) for one in ALL[subject]]
    # Once more, and nothing is sent.
    before = len(writes(elsewhere))
    again = run(registry, elsewhere)
    assert (done(again), again.status, again.referrers) == (LIST.digest, "unchanged", 3)
    assert len(writes(elsewhere)) == before


@pytest.mark.parametrize("scheme", ["api", "tags"])
def test_without_the_option_none_is_brought(registry: FakeRegistry, elsewhere: FakeRegistry, scheme: str) -> None:
    fill(registry, scheme)
    result = run(registry, elsewhere, referrers=False)
    assert (done(result), result.referrers, elsewhere.tags(TARGET)) == (LIST.digest, 0, {"1": LIST.digest})
    assert registry.count("GET", "/referrers/|/tags/list") == 0


def test_what_else_refers_to_the_image_in_the_target_stays(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    fill(registry, "api")
    own = artifact(LIST, SIGNATURE, "somebody else's")
    elsewhere.put(TARGET, None, LIST)
    elsewhere.put(TARGET, None, own)
    elsewhere.put_index(TARGET, fallback(LIST.digest), [entry(own)])
    done(run(registry, elsewhere))
    entries = elsewhere.document(TARGET, fallback(LIST.digest))["manifests"]
    assert [one["digest"] for one in entries] == [own.digest, SIGNATURE_OF_LIST.digest]


def test_through_a_layout(registry: FakeRegistry, elsewhere: FakeRegistry, tmp_path: Path) -> None:
    fill(registry, "api")
    layout = f"oci:{tmp_path / 'copy'}"
    assert copied(registry.reference(SOURCE, "1"), layout, referrers=True).referrers == 3
    assert set(layout_tags(tmp_path / "copy")) == {"1", *map(fallback, ALL)}
    result = copied(f"{layout}:1", elsewhere.reference(TARGET), referrers=True)
    assert (done(result), result.referrers) == (LIST.digest, 3)
    assert all_there(elsewhere, [SBOM_OF_IMAGE, SIGNATURE_OF_LIST, SIGNATURE_OF_SBOM])


def test_of_one_image(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    fill(registry, "tags")
    result = copied(registry.reference(SOURCE, AMD64.digest), elsewhere.reference(TARGET, "amd64"), referrers=True)
    assert (done(result), result.referrers) == (AMD64.digest, 2)
    assert SIGNATURE_OF_LIST.digest not in elsewhere.repository(TARGET).manifests


def test_of_a_narrowed_list_those_of_its_images(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    fill(registry, "api")
    result = run(registry, elsewhere, only="linux/arm64")
    assert (result.error, result.referrers) == (None, 0)
    assert run(registry, elsewhere, only="linux/amd64").referrers == 2


def test_an_image_without_any(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    registry.put(SOURCE, "1", LIST)
    result = run(registry, elsewhere)
    assert (done(result), result.referrers, elsewhere.tags(TARGET)) == (LIST.digest, 0, {"1": LIST.digest})


# Cosign's tags.

SIGNED = images.image(None, seed="a signature")


@pytest.mark.parametrize("kind", ["sig", "att", "sbom"])
def test_cosigns_tags(registry: FakeRegistry, elsewhere: FakeRegistry, kind: str) -> None:
    registry.put(SOURCE, "1", LIST)
    tag = f"{fallback(AMD64.digest)}.{kind}"
    registry.put(SOURCE, tag, SIGNED)
    registry.put(SOURCE, f"{fallback(SIGNED.digest)}.{kind}", images.image("linux/amd64", seed="of something else"))
    result = run(registry, elsewhere)
    assert (done(result), result.referrers) == (LIST.digest, 1)
    assert elsewhere.tags(TARGET) == {"1": LIST.digest, tag: SIGNED.digest}
    assert holds(elsewhere, TARGET, SIGNED)
    before = len(writes(elsewhere))
    assert run(registry, elsewhere).referrers == 1
    assert len(writes(elsewhere)) == before


@pytest.mark.parametrize("no_overwrite", [True, False])
def test_cosigns_tags_are_guarded(registry: FakeRegistry, elsewhere: FakeRegistry, no_overwrite: bool) -> None:
    tag = f"{fallback(LIST.digest)}.sig"
    registry.put(SOURCE, "1", LIST)
    registry.put(SOURCE, tag, SIGNED)
    own = elsewhere.put_image(TARGET, tag, None, seed="another signature")
    result = run(registry, elsewhere, no_overwrite=no_overwrite)
    assert result.exit_code == (10 if no_overwrite else 0)
    assert elsewhere.tag(TARGET, tag) == (own if no_overwrite else SIGNED.digest)
    if no_overwrite:
        assert result.error is not None
        assert isinstance(result.error.__cause__, ConflictError)


def test_a_repository_without_tags_has_none_of_cosigns(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    fill(registry, "tags")
    registry.faults.add(error(404, "NAME_UNKNOWN", "no"), path="/tags/list", times=FOREVER)
    assert run(registry, elsewhere).referrers == 3


# What is copied or pushed refers to something itself.


def copy_artifact(registry: FakeRegistry, elsewhere: FakeRegistry, directory: Path, **options: Any) -> Copied:
    del directory
    registry.put(SOURCE, "sbom", SBOM_OF_IMAGE)
    return copied(registry.reference(SOURCE, "sbom"), elsewhere.reference(TARGET, "sbom"), **options)


def copy_artifact_by_digest(registry: FakeRegistry, elsewhere: FakeRegistry, directory: Path, **options: Any) -> Copied:
    del directory
    registry.put(SOURCE, "sbom", SBOM_OF_IMAGE)
    return copied(registry.reference(SOURCE, SBOM_OF_IMAGE.digest), elsewhere.reference(TARGET), **options)


def push_artifact(registry: FakeRegistry, elsewhere: FakeRegistry, directory: Path, **options: Any) -> Pushed:
    del registry
    scene = PushScene(elsewhere, directory)
    return scene.push(scene.layout(SBOM_OF_IMAGE), target=elsewhere.reference(TARGET, "sbom"), **options)


def push_artifact_by_digest(registry: FakeRegistry, elsewhere: FakeRegistry, directory: Path, **options: Any) -> Pushed:
    del registry
    scene = PushScene(elsewhere, directory)
    target = elsewhere.reference(TARGET)
    return scene.push(scene.layout(SBOM_OF_IMAGE), target=target, by_digest=True, **options)


bringing = pytest.mark.parametrize(
    "bring", [copy_artifact, copy_artifact_by_digest, push_artifact, push_artifact_by_digest]
)


@bringing
@pytest.mark.parametrize("scheme", ["api", "tags"])
def test_what_refers_to_something_is_found_there(
    registry: FakeRegistry, elsewhere: FakeRegistry, tmp_path: Path, bring: Any, scheme: str
) -> None:
    if scheme == "api":
        by_api(elsewhere, TARGET)
    result = bring(registry, elsewhere, tmp_path)
    assert (result.error, result.status, result.published) == (None, "created", Published.YES)
    tag = fallback(AMD64.digest)
    assert (elsewhere.tag(TARGET, tag) is not None) == (scheme == "tags")
    if scheme == "tags":
        assert elsewhere.document(TARGET, tag)["manifests"] == [entry(SBOM_OF_IMAGE)]
    # Once more, and nothing is written.
    before = len(writes(elsewhere))
    again = bring(registry, elsewhere, tmp_path)
    assert (again.error, again.status) == (None, "unchanged")
    assert len(writes(elsewhere)) == before


@bringing
def test_what_else_refers_to_it_stays(
    registry: FakeRegistry, elsewhere: FakeRegistry, tmp_path: Path, bring: Any
) -> None:
    own = artifact(AMD64, SIGNATURE, "somebody else's")
    elsewhere.put(TARGET, None, own)
    elsewhere.put_index(TARGET, fallback(AMD64.digest), [entry(own)])
    assert bring(registry, elsewhere, tmp_path).error is None
    assert elsewhere.document(TARGET, fallback(AMD64.digest))["manifests"] == [entry(own), entry(SBOM_OF_IMAGE)]


@bringing
def test_what_was_published_but_not_found_is_found_after_another_run(
    registry: FakeRegistry, elsewhere: FakeRegistry, tmp_path: Path, bring: Any
) -> None:
    tag = fallback(AMD64.digest)
    fault = elsewhere.faults.add(error(403, "DENIED", "no"), method="PUT", path=f"/manifests/{tag}$", times=FOREVER)
    result = bring(registry, elsewhere, tmp_path)
    assert isinstance(result.error, PartialError)
    assert (result.exit_code, result.published) == (10, Published.YES)
    published = f"{elsewhere.reference(TARGET)}@{SBOM_OF_IMAGE.digest} is published"
    assert str(result.error).startswith(f"{published}, but not among the referrers of {AMD64.digest}, where tools look")
    assert "403 DENIED" in str(result.error)
    elsewhere.faults.remove(fault)
    assert bring(registry, elsewhere, tmp_path).error is None
    assert elsewhere.document(TARGET, tag)["manifests"] == [entry(SBOM_OF_IMAGE)]


@bringing
def test_whether_a_registry_has_the_api_must_be_known(
    registry: FakeRegistry, elsewhere: FakeRegistry, tmp_path: Path, bring: Any
) -> None:
    elsewhere.faults.add(error(403, "DENIED", "no"), path="/referrers/", times=FOREVER)
    result = bring(registry, elsewhere, tmp_path)
    assert isinstance(result.error, PartialError)
    assert f"listing the referrers of {elsewhere.reference(TARGET)}@{AMD64.digest} failed" in str(result.error)
    assert elsewhere.tag(TARGET, fallback(AMD64.digest)) is None


def test_an_interruption_after_publishing_is_one(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    world = World()

    def interrupted() -> Response:
        world.cancel.set(15)
        return Response(503)

    registry.put(SOURCE, "sbom", SBOM_OF_IMAGE)
    elsewhere.faults.add(respond(interrupted), path="/referrers/", times=FOREVER)
    result = copied(registry.reference(SOURCE, "sbom"), elsewhere.reference(TARGET), world=world)
    assert isinstance(result.error, InterruptedRun)
    assert result.published is Published.YES


def test_a_list_with_a_subject(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    fields = {"artifactType": SBOM, "subject": images.descriptor(AMD64.manifest, AMD64.media_type)}
    made = images.index([SBOM_OF_IMAGE], annotations={"a": "b"}, fields=fields)
    registry.put(SOURCE, "list", made)
    assert done(copied(registry.reference(SOURCE, "list"), elsewhere.reference(TARGET))) == made.digest
    # What it names itself is found through it.
    assert elsewhere.document(TARGET, fallback(AMD64.digest))["manifests"] == [
        images.descriptor(made.manifest, OCI_INDEX, artifactType=SBOM, annotations={"a": "b"})
    ]


def test_an_image_without_an_artifact_type_is_listed_by_its_config(
    registry: FakeRegistry, elsewhere: FakeRegistry
) -> None:
    made = images.image("linux/arm64", manifest={"subject": images.descriptor(AMD64.manifest, AMD64.media_type)})
    registry.put(SOURCE, "1", made)
    done(copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET)))
    assert elsewhere.document(TARGET, fallback(AMD64.digest))["manifests"] == [
        images.descriptor(made.manifest, OCI_MANIFEST, artifactType=made.config_media_type)
    ]


def test_in_a_layout_a_copy_stays_the_only_image(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.put(SOURCE, "sbom", SBOM_OF_IMAGE)
    done(copied(registry.reference(SOURCE, "sbom"), f"oci:{tmp_path / 'copy'}"))
    assert layout_tags(tmp_path / "copy") == ["sbom"]


def test_a_registry_that_does_not_see_its_own_referrers_yet_is_waited_for(
    registry: FakeRegistry, elsewhere: FakeRegistry
) -> None:
    fill(registry, "api")
    unseen = error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
    elsewhere.faults.add(unseen, method="PUT", path=f"/manifests/{fallback(LIST.digest)}$")
    world = World()
    assert run(registry, elsewhere, world=world).referrers == 3
    assert elsewhere.document(TARGET, fallback(LIST.digest))["manifests"] == [entry(SIGNATURE_OF_LIST)]
    assert len(world.slept) == 1


# Failures.


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("subject", [LIST, AMD64, SBOM_OF_IMAGE], ids=["list", "image", "referrer"])
def test_a_denial_is_no_empty_list(
    registry: FakeRegistry, elsewhere: FakeRegistry, subject: images.Content, code: int
) -> None:
    said = "User: x is not authorized to perform: ecr:BatchGetImage on resource: y"
    registry.faults.add(error(code, "DENIED", said), path=f"/referrers/{subject.digest}$", times=FOREVER)
    fill(registry, "api")
    result = run(registry, elsewhere)
    assert isinstance(result.error, PartialError)
    assert (result.exit_code, result.published) == (10, Published.YES)
    assert f"{code} DENIED" in str(result.error)
    assert "ecr:BatchGetImage" in str(result.error)


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", f"{SOURCE}/manifests/{SBOM_OF_IMAGE.digest}", status(404)),
        ("GET", "/tags/list", error(403, "DENIED", "no")),
        ("GET", f"/referrers/{LIST.digest}", status(503)),
    ],
)
def test_what_cannot_be_brought_is_10(
    registry: FakeRegistry, elsewhere: FakeRegistry, method: str, path: str, action: Any
) -> None:
    registry.faults.add(action, method=method, path=path, times=FOREVER)
    fill(registry, "tags" if "referrers" not in path else "api")
    result = run(registry, elsewhere)
    assert isinstance(result.error, PartialError)
    assert "the image is copied, but not all that refers to it" in result.error.message
    assert (result.exit_code, result.published) == (10, Published.YES)
    assert elsewhere.tag(TARGET, "1") == LIST.digest


def test_an_interrupted_run_is_interrupted(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    fill(registry, "tags")
    world = World()

    def interrupt(request: Any) -> bool:
        del request
        world.cancel.set(15)
        return False

    registry.faults.add(status(500), method="GET", path="/referrers/", when=interrupt, times=FOREVER)
    result = run(registry, elsewhere, world=world)
    assert isinstance(result.error, InterruptedRun)
    assert (result.exit_code, result.published) == (143, Published.YES)


def test_it_ends(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    made = LIST
    chain: list[images.Content] = [made]
    registry.put(SOURCE, "1", LIST)
    for number in range(8):
        following = artifact(chain[-1], SIGNATURE, str(number))
        registry.put(SOURCE, None, following)
        registry.put_index(SOURCE, fallback(chain[-1].digest), [entry(following)])
        chain.append(following)
    assert run(registry, elsewhere).referrers == 5
