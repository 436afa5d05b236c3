"""How other tools fail at this job, each as a test that it cannot happen here.

``docker manifest``, ``buildx imagetools``, crane, podman, buildah, skopeo and others were seen to do every one of these.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.events import Retried
from manifestctl.model.media_types import OCI_INDEX
from manifestctl.model.published import Published
from tests.support import images
from tests.support.actions import digest_header, error, false_created, lag, status
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.verbs.scene import REPOSITORY, Scene, published, rules_of, the_finding

if TYPE_CHECKING:
    from pathlib import Path

PUT: dict[str, Any] = {"method": "PUT", "path": "/manifests/"}
AMD64, ARM64 = images.image("linux/amd64"), images.image("linux/arm64")


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    registry.put(REPOSITORY, "amd64", AMD64)
    registry.put(REPOSITORY, "arm64", ARM64)
    return Scene.of(registry)


# A list that is not whole.


def test_a_failed_run_leaves_nothing_that_a_later_one_could_publish(registry: FakeRegistry, scene: Scene) -> None:
    """One wrong name left a list of one image, or of none, on the machine, and the next command published that."""
    assert scene.create(":amd64", ":missing").exit_code == 1
    assert registry.tags(REPOSITORY).keys() == {"amd64", "arm64"}
    published(scene.create(":arm64"))
    assert [entry["digest"] for entry in registry.document(REPOSITORY, "1.4")["manifests"]] == [ARM64.digest]


def test_a_list_of_nothing_is_never_published(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_index(REPOSITORY, "empty", [])
    for given in ((), (":missing",), (":empty",)):
        assert scene.create(*given).exit_code == 1
    assert registry.manifest_puts == []


def test_an_image_pushed_again_is_taken_as_it_is_now(registry: FakeRegistry, scene: Scene) -> None:
    """A local copy of the first list kept the old image's digest for ever."""
    published(scene.create(":amd64", ":arm64"))
    newer = registry.put_image(REPOSITORY, "amd64", "linux/amd64", seed="newer")
    assert scene.create(":amd64", ":arm64").status == "updated"
    assert registry.document(REPOSITORY, "1.4")["manifests"][0]["digest"] == newer


# Success that is none.


@pytest.mark.parametrize(
    "answer", [status(500), error(403, "DENIED", "no"), error(400, "MANIFEST_INVALID", "no"), false_created()]
)
def test_a_failed_write_is_never_a_success(registry: FakeRegistry, scene: Scene, answer: Any) -> None:
    """A digest file that could be written made the exit status 0 although the push had failed."""
    registry.faults.add(answer, times=FOREVER, **PUT)
    created = scene.create(":amd64", ":arm64")
    assert created.exit_code not in (0, None)
    assert (created.ok, created.published, created.status) == (False, Published.NO, "failed")


def test_a_lying_201_is_not_believed(registry: FakeRegistry, scene: Scene) -> None:
    """Four of five tools believed a 201 with a wrong digest, and one printed that."""
    bogus = "sha256:" + "f" * 64

    def lie(exchange: Any) -> Any:
        response = false_created()(exchange)
        response.header("Docker-Content-Digest", bogus)
        return response

    registry.faults.add(lie, times=FOREVER, **PUT)
    created = scene.create(":amd64", ":arm64")
    assert (created.exit_code, created.published) == (5, Published.NO)
    assert created.composed is not None
    assert bogus not in {str(created.composed.content.digest), str(created.tags[0].now)}


def test_a_registry_that_lies_about_the_digest_alone_is_read_back(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(digest_header("sha256:" + "f" * 64), **PUT)
    digest = published(scene.create(":amd64", ":arm64"))
    stored = registry.manifest(REPOSITORY, "1.4")
    assert stored is not None
    assert images.digest_of(stored.data) == digest


# A retry that changes what is published.


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("times", [1, FOREVER])
def test_a_passing_error_never_changes_the_kind_of_list(
    registry: FakeRegistry, scene: Scene, code: int, times: int | None
) -> None:
    """One 503 for the index, and a Docker list with another digest was sent in its place, exit status 0."""
    registry.faults.add(status(code), times=times, **PUT)
    created = scene.create(":amd64", ":arm64")
    puts = registry.find("PUT")
    assert {put.headers["content-type"] for put in puts} == {OCI_INDEX}
    assert len({put.body for put in puts}) == 1
    assert created.exit_code == (0 if times else 5)
    if times:
        assert registry.tag(REPOSITORY, "1.4") == published(created)


# Hammering.


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_heeded_in_both_forms(registry: FakeRegistry, scene: Scene, form: str) -> None:
    """One tool sent five requests in 7 ms to a registry that had asked for 3 s; another gave up at the first."""
    when = datetime.fromtimestamp(scene.world.now + 30, UTC) if form == "date" else 30
    registry.faults.add(error(429, "TOOMANYREQUESTS", "Rate exceeded", retry_after=when), times=2, **PUT)
    published(scene.create(":amd64", ":arm64"))
    retried = [event for event in scene.world.heard(Retried) if "PUT" in event.operation]
    assert [event.attempt for event in retried] == [1, 2]
    # A date is a moment: what was waited for once need not be waited for again.
    assert retried[0].delay >= 29
    if form == "seconds":
        assert retried[1].delay >= 30


def test_retries_are_spread_and_end(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(status(503), times=FOREVER, **PUT)
    assert scene.create(":amd64", ":arm64").exit_code == 5
    assert registry.count("PUT") == 5
    delays = [event.delay for event in scene.world.heard(Retried)]
    assert len(set(delays)) == len(delays) == 4
    assert max(delays) < 30


@pytest.mark.parametrize(
    "answer",
    [
        error(403, "DENIED", "requested access to the resource is denied"),
        error(400, "TAG_INVALID", "the tag cannot be overwritten because the repository is immutable"),
        error(400, "LIMIT", "LimitExceededException: the repository has reached its quota"),
        error(501, "UNSUPPORTED", "no"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(registry: FakeRegistry, scene: Scene, answer: Any) -> None:
    registry.faults.add(answer, times=FOREVER, **PUT)
    assert scene.create(":amd64", ":arm64").exit_code in (4, 5, 7)
    assert registry.count("PUT") == 1


# Lists that no client can use.

BAD = [
    ("two images for one platform", [AMD64, images.image("linux/amd64", seed="2")], {}, "platform-duplicate"),
    ("one platform in two spellings", [ARM64, images.image("linux/arm64/v8")], {}, "platform-duplicate"),
    ("a config without os", [images.image("linux/amd64", config={"os": None})], {}, "platform-missing"),
    (
        "a config without architecture",
        [images.image("linux/amd64", config={"architecture": None})],
        {},
        "platform-missing",
    ),
    ("arm64 declared on amd64", [AMD64], {"declared": {":0": "linux/arm64"}}, "platform-mismatch"),
    ("nothing", [], {}, "list-empty"),
    ("a platform is missing", [AMD64], {"require": "linux/amd64,linux/arm64"}, "platform-required"),
    ("a size of 1", [images.index([AMD64.descriptor(size=1)])], {}, "image-integrity"),
    ("an artifact", [images.image(manifest={"artifactType": "application/vnd.x"})], {}, "not-an-image"),
]


@pytest.mark.parametrize(("contents", "options", "rule"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_list_that_registries_take_and_clients_cannot_use_is_refused(
    registry: FakeRegistry, contents: list[images.Content], options: dict[str, Any], rule: str
) -> None:
    """Registries answered 201 to all of these, and so did most tools."""
    registry.put(REPOSITORY, None, AMD64)
    for number, content in enumerate(contents):
        registry.put(REPOSITORY, str(number), content)
    created = Scene.of(registry).create(*(f":{number}" for number in range(len(contents))), **options)
    assert rule in rules_of(created, "error")
    assert created.exit_code in (1, 6)
    assert registry.manifest_puts == []


def test_the_variant_that_only_one_side_says_is_no_fault_and_is_told(registry: FakeRegistry, scene: Scene) -> None:
    """A checker failed with an empty message where the list said v8 and the config said nothing."""
    registry.put_index(REPOSITORY, "list", [ARM64.descriptor(platform=images.platform_fields("linux/arm64/v8"))])
    published(scene.create(":list"))
    assert registry.document(REPOSITORY, "1.4")["manifests"][0]["platform"]["variant"] == "v8"
    registry.put_image(REPOSITORY, "v7", "linux/arm/v7")
    wrong = scene.create(":v7", declared={":v7": "linux/arm/v6"})
    assert "linux/arm/v7" in the_finding(wrong, "platform-mismatch").message
    assert "linux/arm/v6" in the_finding(wrong, "platform-mismatch").message


def test_the_platform_is_the_configs_whole(registry: FakeRegistry, scene: Scene) -> None:
    """os.version and os.features were dropped, and Windows hosts found no image for them."""
    fields = {"os.features": ["win32k"]}
    registry.put_image(REPOSITORY, "windows", "windows/amd64:10.0.20348.2340", config=fields)
    published(scene.create(":windows"))
    platform = registry.document(REPOSITORY, "1.4")["manifests"][0]["platform"]
    assert platform == {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.2340", **fields}


@pytest.mark.parametrize("platform", ["linux/amd64/v3", "linux/loong64", "linux/riscv64", "plan9/386", "linux/new-one"])
def test_no_platform_is_refused_because_a_table_does_not_know_it(
    registry: FakeRegistry, scene: Scene, platform: str
) -> None:
    """Tables of known platforms refused amd64/v3 and loong64."""
    registry.put_image(REPOSITORY, "a", platform)
    published(scene.create(":a", require=platform))


# Doing it again.


def test_a_rerun_on_immutable_tags_is_a_success() -> None:
    """A rerun of a release failed because the same digest may not be written twice either."""
    with FakeRegistry(immutable_tags=True) as registry:
        for tag, made in (("amd64", AMD64), ("arm64", ARM64)):
            registry.put(REPOSITORY, tag, made)
        scene = Scene.of(registry)
        published(scene.create(":amd64", ":arm64", tags=["latest"]))
        again = scene.create(":amd64", ":arm64", tags=["latest"])
        assert (again.status, again.exit_code, registry.count("PUT")) == ("unchanged", 0, 2)


def test_a_registry_that_lags_behind_its_own_push_is_waited_for(registry: FakeRegistry, scene: Scene) -> None:
    """Releases slept for 30 s between steps because a tag just pushed could not be read yet."""
    registry.faults.add(lag(5, missing=True), **PUT)
    published(scene.create(":amd64", ":arm64"))


# What buildx makes.


def test_the_output_of_buildx_is_taken_as_it_comes(registry: FakeRegistry, scene: Scene) -> None:
    """``docker manifest create`` refused it, "is a manifest list", so that people turned provenance off."""
    for arch in ("amd64", "arm64"):
        registry.put_buildx(REPOSITORY, f"x-{arch}", [f"linux/{arch}"])
    published(scene.create(":x-amd64", ":x-arm64"))
    entries = registry.document(REPOSITORY, "1.4")["manifests"]
    # The link from an attestation to its image, which other tools lost.
    links = {entry["annotations"][images.REFERENCE_DIGEST] for entry in entries if "annotations" in entry}
    assert links == {entry["digest"] for entry in entries if "annotations" not in entry}


def test_the_host_has_no_say_in_which_images_are_taken(registry: FakeRegistry, scene: Scene) -> None:
    """Without a flag one tool took the image of the machine that it ran on."""
    platforms = ["linux/s390x", "linux/amd64", "windows/arm64", "linux/arm64"]
    registry.put_buildx(REPOSITORY, "list", platforms, attestations=False)
    published(scene.create(":list"))
    entries = registry.document(REPOSITORY, "1.4")["manifests"]
    assert [f"{entry['platform']['os']}/{entry['platform']['architecture']}" for entry in entries] == platforms


def test_annotations_are_never_dropped_silently(registry: FakeRegistry) -> None:
    """On a Docker list they were, without a word."""
    registry.put_image(REPOSITORY, "docker", docker=True)
    scene = Scene.of(registry)
    refused = scene.create(":docker", format="docker", annotations={"a": "b"})
    assert rules_of(refused, "error") == ["format-unsupported"]
    made = scene.create(":docker", annotations={"a": "b"})
    assert registry.document(REPOSITORY, "1.4")["annotations"] == {"a": "b"}
    assert rules_of(made, "warning") == ["format-widened"]


def test_a_value_may_hold_an_equals_sign(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(":amd64", annotations={"url": "https://example.com/?a=b"}))
    assert registry.document(REPOSITORY, "1.4")["annotations"] == {"url": "https://example.com/?a=b"}


# Bytes.


def test_images_are_never_written_again(registry: FakeRegistry, scene: Scene) -> None:
    """Images were serialised anew with other white space, and their digests changed."""
    odd = images.index([AMD64], indent=7)
    registry.put(REPOSITORY, "odd", odd)
    published(scene.create(":odd", ":arm64"))
    assert [reference for _, reference in registry.manifest_puts] == ["1.4"]
    assert registry.count("POST|PATCH") == 0
    assert [entry["digest"] for entry in registry.document(REPOSITORY, "1.4")["manifests"]] == [
        AMD64.digest,
        ARM64.digest,
    ]


def test_the_list_says_what_it_is(registry: FakeRegistry, scene: Scene) -> None:
    """A registry refused lists without ``mediaType``."""
    published(scene.create(":amd64"))
    stored = registry.manifest(REPOSITORY, "1.4")
    assert stored is not None
    assert json.loads(stored.data)["mediaType"] == stored.media_type


# Errors that help.


def test_an_image_that_the_registry_refuses_is_named() -> None:
    """ "manifest blob unknown" came once for each image, and no image was named."""
    with FakeRegistry(strict_children=True) as registry:
        registry.put(REPOSITORY, "amd64", AMD64)
        registry.put("team/other", "arm64", ARM64)
        scene = Scene.of(registry)
        created = scene.create(":amd64", registry.reference("team/other", "arm64"))
        finding = the_finding(created, "other-repository")
        assert (finding.platform, finding.expected) == ("linux/arm64", scene.base)
        assert registry.count("PUT") == 0
        # Who insists is told by the registry, and by us which image it means.
        forced = scene.create(":amd64", registry.reference("team/other", "arm64"), allow=["other-repository"])
        assert the_finding(forced, "image-missing").expected == ARM64.digest
        assert (forced.exit_code, forced.published) == (1, Published.NO)


def test_a_missing_image_is_told_from_a_missing_permission() -> None:
    """ "no such manifest" could mean either."""
    auth = BearerAuth(users={"ci": "secret"}, anonymous={"pull"}, permissions={"team/secret": set()})
    with FakeRegistry(auth=auth) as registry:
        registry.put_image(REPOSITORY, "a")
        registry.put_image("team/secret", "a")
        missing = Scene.of(registry).check(":nowhere")
        assert (rules_of(missing), missing.exit_code) == (["image-missing"], 1)
        assert "404" in missing.findings[0].message
        denied = Scene.of(registry, repository="team/secret").check(":a")
        assert (rules_of(denied), denied.exit_code) == (["image-denied"], 4)
        assert "credentials" in denied.findings[0].message + denied.findings[0].hint


def test_a_tag_refused_in_the_middle_tells_what_is_where(registry: FakeRegistry, scene: Scene) -> None:
    """Half a release was out, and nobody knew which half."""
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/1$", times=FOREVER)
    created = scene.create(":amd64", ":arm64", tags=["1", "latest"])
    assert created.exit_code == 10
    assert [(state.tag, state.moved) for state in created.tags] == [
        ("1.4", Published.YES),
        ("1", Published.NO),
        ("latest", Published.NO),
    ]


def test_nothing_is_left_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: FakeRegistry
) -> None:
    """Lists were kept in the home directory, where two names could be one file."""
    monkeypatch.chdir(tmp_path)
    registry.put(REPOSITORY, "amd64", AMD64)
    scene = Scene.of(
        registry, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    )
    published(scene.create(":amd64"))
    assert list(tmp_path.iterdir()) == []
