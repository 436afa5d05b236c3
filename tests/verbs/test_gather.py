"""Reading the images of a list: in parallel, once, whole, and in the order of the command line."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import InterruptedRun, NotFoundError
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import DOCKER_SCHEMA_1_SIGNED, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from manifestctl.parallel import Pool
from manifestctl.stores.locate import Stores
from manifestctl.verbs.check import image_requests
from manifestctl.verbs.gather import gather, start
from manifestctl.verbs.reader import Reader
from tests.support import images
from tests.support.actions import content_type, error, hold, reset, status, unauthorized, wrong_bytes
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY, Scene, rules_of, the_finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.verbs.gather import Gathered
    from tests.support.fake_registry import FakeRegistry

ALL = ["linux/amd64", "linux/arm64", "linux/s390x"]


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    return Scene.of(registry)


def shown(scene: Scene, *given: str, **options: Any) -> list[str]:
    """Return the platforms of the images, which must all be read."""
    checked = scene.check(*given, **options)
    assert rules_of(checked, "error") == []
    return [member.platform.shown for member in checked.members]


# Names.


@pytest.mark.parametrize(
    "form", [":{tag}", "@{digest}", "{digest}", "{base}:{tag}", "{base}@{digest}", ":{tag}@{digest}"]
)
def test_an_image_may_be_named_in_every_form(registry: FakeRegistry, scene: Scene, form: str) -> None:
    digest = registry.put_image(REPOSITORY, "a")
    given = form.format(tag="a", digest=digest, base=scene.base)
    checked = scene.check(given)
    assert (rules_of(checked), checked.exit_code) == ([], 0)
    [member] = checked.members
    assert (str(member.manifest.digest), member.request.given, member.name) == (digest, given, given)


def test_images_stand_in_the_order_of_the_command_line_and_lists_are_opened_where_they_stand(
    registry: FakeRegistry, scene: Scene
) -> None:
    registry.put_image(REPOSITORY, "riscv", "linux/riscv64")
    registry.put_buildx(REPOSITORY, "list", ["linux/s390x", "linux/arm64"])
    registry.put_image(REPOSITORY, "amd64", "linux/amd64")
    assert shown(scene, ":riscv", ":list", ":amd64") == ["linux/riscv64", "linux/s390x", "linux/arm64", "linux/amd64"]


def test_the_slowest_image_does_not_change_the_order(registry: FakeRegistry, scene: Scene) -> None:
    for name in ("a", "b"):
        registry.put_image(REPOSITORY, name, f"linux/{'amd64' if name == 'a' else 'arm64'}")
    done = threading.Event()
    registry.faults.add(hold(lambda: done.wait(10)), path="/manifests/a$")

    def release(exchange: Any) -> Any:
        response = exchange.serve()
        done.set()
        return response

    registry.faults.add(release, path="/manifests/b$")
    assert shown(scene, ":a", ":b") == ["linux/amd64", "linux/arm64"]


# What cannot be read.


def served(name: str, **parts: Any) -> Callable[[FakeRegistry], object]:
    """Store a bad image under the tag ``bad``."""

    def arrange(registry: FakeRegistry) -> object:
        if name == "image":
            return registry.put_image(REPOSITORY, "bad", **parts)
        return registry.put_raw_manifest(REPOSITORY, "bad", parts["data"], parts["media_type"])

    return arrange


def fault(action: Any) -> Callable[[FakeRegistry], object]:
    """Store a good image under the tag ``bad``, and let reading it fail."""

    def arrange(registry: FakeRegistry) -> object:
        registry.put_image(REPOSITORY, "bad", "linux/s390x")
        return registry.faults.add(action, path="/manifests/bad", times=FOREVER)

    return arrange


def config_fault(action: Any) -> Callable[[FakeRegistry], object]:
    """Store a good image under the tag ``bad``, and let reading its config fail."""

    def arrange(registry: FakeRegistry) -> object:
        made = images.image("linux/s390x")
        registry.put(REPOSITORY, "bad", made)
        return registry.faults.add(action, path=f"/blobs/{made.config_digest}", times=FOREVER)

    return arrange


def config_is(config: bytes) -> Callable[[FakeRegistry], object]:
    return served("image", platform=None, config=config)


def without_config(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, "bad", images.image("linux/s390x"), blobs=False)


def false_config_size(registry: FakeRegistry) -> None:
    made = images.image("linux/s390x")
    config = images.descriptor(made.config, made.config_media_type, size=len(made.config) + 1)
    registry.put(REPOSITORY, "bad", images.image("linux/s390x", manifest={"config": config}))


def attestation_alone(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, "bad", images.attestation(images.image()))


def artifact(registry: FakeRegistry) -> None:
    registry.put_image(REPOSITORY, "bad", manifest={"artifactType": "application/vnd.example.chart"})


def not_a_config(registry: FakeRegistry) -> None:
    config = images.descriptor(b"{}", "application/vnd.example.config+json")
    registry.put_image(REPOSITORY, "bad", manifest={"config": config})


def unknown_algorithm(registry: FakeRegistry) -> None:
    digest = registry.put_blob(REPOSITORY, b"{}", "blake3:" + "0" * 64)
    config = images.descriptor(b"{}", OCI_CONFIG, digest=digest)
    registry.put_image(REPOSITORY, "bad", manifest={"config": config})


HTML = b"<!DOCTYPE html><title>Blocked</title>"
BOTH = b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"layers":[]}' % OCI_INDEX.encode()
SCHEMA_1 = b'{"schemaVersion":1,"name":"team/web","tag":"bad","fsLayers":[]}'
UNREADABLE: list[tuple[str, Callable[[FakeRegistry], object], str, int, str]] = [
    ("absent", lambda _: None, "image-missing", 1, "404"),
    (
        "denied",
        fault(error(403, "DENIED", "requested access is denied")),
        "image-denied",
        4,
        "requested access is denied",
    ),
    ("not logged in", fault(unauthorized('Basic realm="x"')), "image-denied", 4, "401"),
    ("failing", fault(status(503)), "image-unreachable", 5, "503"),
    ("reset", fault(reset()), "image-unreachable", 5, "connection"),
    ("served as html", fault(content_type("text/html")), "media-type-mismatch", 1, "text/html"),
    ("html", served("raw", data=HTML, media_type="text/html"), "document-invalid", 1, "not JSON"),
    ("not json", served("raw", data=b"{", media_type=OCI_MANIFEST), "document-invalid", 1, "not JSON"),
    ("not an object", served("raw", data=b"[]", media_type=OCI_MANIFEST), "document-invalid", 1, "object"),
    ("list and manifest", served("raw", data=BOTH, media_type=OCI_INDEX), "document-ambiguous", 1, "both"),
    ("schema 1", served("raw", data=SCHEMA_1, media_type=DOCKER_SCHEMA_1_SIGNED), "not-an-image", 1, "schema 1"),
    ("unknown kind", served("raw", data=b"{}", media_type="application/vnd.x+json"), "not-an-image", 1, "vnd.x"),
    ("artifact", artifact, "not-an-image", 1, "application/vnd.example.chart"),
    ("no image config", not_a_config, "not-an-image", 1, "application/vnd.example.config+json"),
    ("attestation alone", attestation_alone, "not-an-image", 1, "unknown/unknown"),
    ("config absent", without_config, "config-missing", 1, "404"),
    ("config denied", config_fault(error(403, "DENIED", "no")), "image-denied", 4, "no"),
    ("config failing", config_fault(status(500)), "image-unreachable", 5, "500"),
    ("config of other bytes", config_fault(wrong_bytes()), "image-integrity", 6, "hash to"),
    ("config of another size", false_config_size, "image-integrity", 6, "bytes"),
    ("config that cannot be hashed", unknown_algorithm, "image-integrity", 6, "blake3"),
    ("config not json", config_is(b"\xff"), "config-unreadable", 1, "not UTF-8"),
    ("config not an object", config_is(b"[]"), "config-unreadable", 1, "object"),
    ("config with a number for an os", config_is(b'{"os": 1, "architecture": "amd64"}'), "config-unreadable", 1, "/os"),
    ("config with a key twice", config_is(b'{"os":"linux","os":"windows"}'), "config-unreadable", 1, "twice"),
    ("config with keys in two cases", config_is(b'{"os":"linux","OS":"windows"}'), "config-unreadable", 1, "OS"),
]


@pytest.mark.parametrize(
    ("arrange", "rule", "code", "said"), [case[1:] for case in UNREADABLE], ids=[c[0] for c in UNREADABLE]
)
def test_what_cannot_be_read_is_a_finding_that_says_all_and_hides_nothing_else(
    registry: FakeRegistry, arrange: Callable[[FakeRegistry], object], rule: str, code: int, said: str
) -> None:
    scene = Scene.of(registry)
    arrange(registry)
    registry.put_image(REPOSITORY, "good", "linux/amd64")
    # A name that is found nowhere, to see that all is found at once.
    checked = scene.check(":bad", ":good", ":nowhere", declared={":bad": "linux/s390x"})
    finding = next(finding for finding in checked.findings if finding.where == ":bad")
    assert (finding.rule, finding.severity, finding.image) == (rule, "error", ":bad")
    assert finding.repository == scene.base
    assert said in finding.message
    assert finding.platform == "linux/s390x"
    assert finding.found
    assert finding.expected
    assert finding.hint
    assert "bad" in finding.message
    assert [member.name for member in checked.members] == [":good"]
    assert any(other.where == ":nowhere" and other.rule == "image-missing" for other in checked.findings)
    assert checked.exit_code == code
    assert checked.error is None


def test_a_manifest_that_does_not_hash_to_its_digest_is_an_integrity_fault(
    registry: FakeRegistry, scene: Scene
) -> None:
    right = registry.put_image(REPOSITORY, None, "linux/amd64")
    other = images.image("linux/arm64")
    registry.put_raw_manifest(REPOSITORY, right, other.manifest, other.media_type)
    checked = scene.check(right)
    finding = the_finding(checked, "image-integrity")
    assert other.digest in finding.message
    assert right in finding.message
    assert checked.exit_code == 6


def test_bytes_under_a_tag_that_are_not_of_the_digest_that_the_registry_says(
    registry: FakeRegistry, scene: Scene
) -> None:
    registry.put_image(REPOSITORY, "a")
    registry.faults.add(wrong_bytes(), path="/manifests/a", times=FOREVER)
    assert the_finding(scene.check(":a"), "image-integrity").category == "integrity"


@pytest.mark.parametrize("delta", [-1, 1])
def test_a_false_size_in_a_list_is_an_integrity_fault(registry: FakeRegistry, scene: Scene, delta: int) -> None:
    made = images.image("linux/amd64")
    registry.put(REPOSITORY, None, made)
    registry.put_index(REPOSITORY, "list", [made.descriptor(size=len(made.manifest) + delta)])
    finding = the_finding(scene.check(":list"), "image-integrity")
    assert (finding.platform, finding.image) == ("linux/amd64", f":list ({made.digest})")
    assert str(len(made.manifest)) in finding.message


def test_what_a_registry_says_is_shown_harmless(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(error(404, "MANIFEST_UNKNOWN", "a\n::error::b\x1b[2J"), path="/manifests/bad")
    registry.put_image(REPOSITORY, "other")
    finding = the_finding(scene.check(":bad"), "image-missing")
    assert "\n" not in finding.message
    assert "\x1b" not in finding.message
    assert "::error::b" in finding.message  # never at the start of a line, for there is one line


@pytest.mark.parametrize("code", ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])
def test_a_repository_that_does_not_exist_ends_the_run_with_3_if_the_registry_says_so(
    registry: FakeRegistry, code: str
) -> None:
    registry.unknown_repository = code
    checked = Scene.of(registry).check(":a", ":b")
    if code == "MANIFEST_UNKNOWN":
        assert rules_of(checked) == ["image-missing", "image-missing"]
        assert (checked.error, checked.exit_code) == (None, 1)
    else:
        # That no image can be there goes without saying.
        assert rules_of(checked) == []
        assert isinstance(checked.error, NotFoundError)
        assert checked.error.repository_unknown
        assert "Create the repository" in checked.error.hint
        assert checked.exit_code == 3


def test_another_repository_that_does_not_exist_is_a_finding_beside_the_others(registry: FakeRegistry) -> None:
    registry.unknown_repository = "NAME_UNKNOWN"
    registry.put_image(REPOSITORY, "a")
    checked = Scene.of(registry).check(":a", registry.reference("team/other", "b"))
    assert rules_of(checked) == ["image-missing", "other-repository"]
    assert (checked.error, checked.exit_code) == (None, 1)


def test_the_targets_repository_is_looked_at_also_when_other_images_are_elsewhere(registry: FakeRegistry) -> None:
    registry.unknown_repository = "NAME_UNKNOWN"
    registry.put_image("team/other", "b")
    checked = Scene.of(registry).check(":a", registry.reference("team/other", "b"), registry.reference("gone", "c"))
    assert rules_of(checked) == ["image-missing", "other-repository", "other-repository"]
    assert the_finding(checked, "image-missing").repository == registry.reference("gone")
    assert checked.exit_code == 3


# Lists given as images.


def test_a_buildx_list_is_flattened_and_its_attestations_come_along(registry: FakeRegistry, scene: Scene) -> None:
    index = registry.put_buildx(REPOSITORY, "list", ["linux/amd64", "linux/arm64"])
    checked = scene.check(":list")
    assert [member.listed for member in checked.members] == [True, True]
    digests = [str(member.manifest.digest) for member in checked.members]
    assert digests == [index.children[0].digest, index.children[1].digest]
    assert [attestation.subject for attestation in checked.gathered.attestations] == digests
    assert checked.members[0].name == f":list ({checked.members[0].manifest.digest.short})"


@pytest.mark.parametrize(
    ("data", "media_type", "rules"),
    [
        (b"{}", "application/vnd.example.proof+json", []),
        (images.index([]).manifest, OCI_INDEX, []),
        (b"{", OCI_MANIFEST, ["document-invalid"]),
    ],
)
def test_an_attestation_of_another_kind_is_carried_along_and_a_broken_one_is_not(
    registry: FakeRegistry, data: bytes, media_type: str, rules: list[str]
) -> None:
    amd64 = images.image()
    annotations = {images.REFERENCE_TYPE: "attestation-manifest", images.REFERENCE_DIGEST: amd64.digest}
    registry.put_raw_manifest(REPOSITORY, None, data, media_type)
    proof = images.descriptor(data, media_type, platform=images.UNKNOWN, annotations=annotations)
    registry.put_index(REPOSITORY, "list", [amd64, proof])
    checked = Scene.of(registry).check(":list", depth="blobs")
    assert rules_of(checked) == rules
    assert [attestation.manifest for attestation in checked.gathered.attestations] == ([] if rules else [None])


def nested(depth: int) -> images.Index:
    """Make a list in a list, so many deep; the innermost holds one image."""
    made = images.index([images.image("linux/amd64")])
    for _ in range(depth):
        made = images.index([made])
    return made


@pytest.mark.parametrize(("depth", "rules"), [(1, []), (2, []), (3, ["list-too-deep"]), (6, ["list-too-deep"])])
def test_lists_in_lists_are_opened_to_a_depth(
    registry: FakeRegistry, scene: Scene, depth: int, rules: list[str]
) -> None:
    registry.put(REPOSITORY, "list", nested(depth))
    checked = scene.check(":list")
    assert rules_of(checked) == rules
    assert [member.platform.shown for member in checked.members] == ([] if rules else ["linux/amd64"])
    for finding in checked.findings:
        assert finding.hint
        assert (finding.image, finding.repository) == (":list", scene.base)


def test_lists_that_name_one_list_many_times_are_opened_once(registry: FakeRegistry, scene: Scene) -> None:
    inner = images.index([images.image("linux/amd64")])
    middle = images.index([inner] * 40)
    registry.put(REPOSITORY, "list", images.index([middle] * 40))
    checked = scene.check(":list")
    assert [member.platform.shown for member in checked.members] == ["linux/amd64"]
    assert registry.count("GET", "/manifests/") == 4


@pytest.mark.parametrize(("most", "fit"), [(4, ["v5", "v6", "v7", "v8"]), (3, ["v5", "v6"]), (1, [])])
def test_entries_of_lists_are_bounded(registry: FakeRegistry, most: int, fit: list[str]) -> None:
    gathered = of_two_lists(registry, Reader(max_entries=most))
    assert [member.platform.variant for member in gathered.members] == fit
    assert [finding.rule for finding in gathered.findings] == ["document-invalid"] * ((4 - len(fit)) // 2)
    assert all("all lists together" in finding.message and finding.hint for finding in gathered.findings)


@pytest.mark.parametrize("count", [4, 3, 1])
def test_bytes_of_images_are_bounded(registry: FakeRegistry, count: int) -> None:
    """What does not fit is a finding of its own, and the rest is read."""
    whole = of_two_lists(registry, Reader()).members
    lists = sum(len(held.data) for name in ("one", "two") if (held := registry.manifest(REPOSITORY, name)))
    room = lists + sum(len(member.manifest.raw) + len(member.config_raw) for member in whole[:count])
    gathered = of_two_lists(registry, Reader(max_bytes=room))
    assert gathered.members == whole[:count]
    assert [finding.rule for finding in gathered.findings] == ["document-invalid"] * (4 - count)
    assert all("it is not read" in finding.message and finding.hint for finding in gathered.findings)


def of_two_lists(registry: FakeRegistry, reader: Reader) -> Gathered:
    """Read two lists of two images each, one after another."""
    for name, variants in (("one", ("v5", "v6")), ("two", ("v7", "v8"))):
        registry.put_index(REPOSITORY, name, [images.image(f"linux/arm/{variant}") for variant in variants])
    requests = image_requests(parse_location(registry.reference(REPOSITORY, "1")), [":one", ":two"])
    world = World()
    with Stores.of_system(world.runtime) as stores, Pool(1, world.cancel) as pool:
        opened = [stores(request.location) for request in requests]
        return gather(start(requests, opened, pool, reader), pool)


def test_an_image_that_a_list_names_and_that_is_gone(registry: FakeRegistry, scene: Scene) -> None:
    gone = images.image("linux/arm64/v8")
    registry.put_index(REPOSITORY, "list", [images.image("linux/amd64"), gone.descriptor()])
    finding = the_finding(scene.check(":list"), "image-missing")
    assert finding.image == f":list ({gone.digest})"
    assert (finding.platform, finding.found, finding.expected) == ("linux/arm64/v8", "nothing", gone.digest)
    assert "list" in finding.hint


def test_an_empty_list_given_as_an_image_is_an_error_even_beside_others(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_index(REPOSITORY, "empty", [])
    registry.put_image(REPOSITORY, "a")
    finding = the_finding(scene.check(":a", ":empty"), "list-empty")
    assert (finding.image, finding.found) == (":empty", "none")


# --platform


@pytest.mark.parametrize(
    ("only", "kept"),
    [
        ("linux/amd64", ["linux/amd64"]),
        ("linux/arm64/v8,linux/amd64", ["linux/amd64", "linux/arm64"]),
        ("linux/s390x,linux/riscv64", ["linux/s390x"]),
    ],
)
def test_only_the_platforms_asked_for_are_read_and_their_attestations(
    registry: FakeRegistry, scene: Scene, only: str, kept: list[str]
) -> None:
    registry.put_buildx(REPOSITORY, "list", ALL)
    checked = scene.check(":list", only=only)
    assert rules_of(checked) == []
    assert [member.platform.shown for member in checked.members] == kept
    assert len(checked.gathered.attestations) == len(kept)
    # The list, and for each image its manifest and its attestation; the config is a blob.
    assert registry.count("GET", "/manifests/") == 1 + 2 * len(kept)
    assert registry.count("GET", "/blobs/") == len(kept)


def test_a_platform_that_a_list_does_not_have(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_buildx(REPOSITORY, "list", ["linux/amd64", "linux/arm64"])
    finding = the_finding(scene.check(":list", only="linux/s390x"), "platform-not-listed")
    assert (finding.found, finding.expected) == ("linux/amd64, linux/arm64", "linux/s390x")
    assert (finding.category, finding.image, finding.platform) == ("missing", ":list", "linux/s390x")


def test_single_images_are_not_narrowed(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a", "linux/riscv64")
    registry.put_buildx(REPOSITORY, "list", ALL)
    assert shown(scene, ":a", ":list", only="linux/amd64") == ["linux/riscv64", "linux/amd64"]


def test_entries_without_a_platform_are_narrowed_by_their_configs(registry: FakeRegistry, scene: Scene) -> None:
    amd64, arm64 = images.image("linux/amd64"), images.image("linux/arm64")
    children = [made.descriptor(platform=None) for made in (amd64, arm64)]
    for made in (amd64, arm64):
        proof = images.attestation(made)
        registry.put(REPOSITORY, None, made)
        registry.put(REPOSITORY, None, proof)
        children.append(images.attestation_entry(proof, made.digest))
    registry.put_index(REPOSITORY, "list", children)
    checked = scene.check(":list", only="linux/amd64")
    assert rules_of(checked) == []
    assert [str(member.manifest.digest) for member in checked.members] == [amd64.digest]
    assert [attestation.subject for attestation in checked.gathered.attestations] == [amd64.digest]


def test_platforms_may_be_spread_over_lists_in_a_list(registry: FakeRegistry, scene: Scene) -> None:
    linux = images.index([images.image("linux/amd64"), images.image("linux/arm64")])
    windows = images.index([images.image("windows/amd64:10.0.20348.2340")])
    registry.put_index(REPOSITORY, "list", [windows, linux])
    assert shown(scene, ":list", only="linux/arm64") == ["linux/arm64"]
    assert rules_of(scene.check(":list", only="linux/s390x")) == ["platform-not-listed"]


def test_an_entry_that_stands_for_two_platforms_keeps_its_attestation(registry: FakeRegistry, scene: Scene) -> None:
    made = images.image("linux/amd64")
    proof = images.attestation(made)
    other = made.descriptor(platform={"os": "linux", "architecture": "386"})
    registry.put(REPOSITORY, None, proof)
    registry.put_index(REPOSITORY, "list", [made, other, images.attestation_entry(proof, made.digest)])
    checked = scene.check(":list", only="linux/amd64")
    assert rules_of(checked) == []
    assert len(checked.gathered.attestations) == 1


# Reading once, and stopping.


def test_what_is_named_twice_is_read_once(registry: FakeRegistry, scene: Scene) -> None:
    index = registry.put_buildx(REPOSITORY, "list", ["linux/amd64"])
    registry.put(REPOSITORY, "again", index)
    checked = scene.check(":list", ":list", ":again")
    assert rules_of(checked) == ["image-duplicate", "image-duplicate"]
    paths = [request.path for request in registry.requests]
    # Two tags are two names, but what they name is one image, one config, one attestation.
    assert len(paths) == len(set(paths)) == 5


def test_an_interrupted_run_reads_no_more(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a")

    def interrupt(exchange: Any) -> Any:
        scene.world.cancel.set(15)
        return exchange.serve()

    registry.faults.add(interrupt, path="/manifests/a")
    checked = scene.check(":a")
    assert isinstance(checked.error, InterruptedRun)
    assert checked.exit_code == 143
    assert registry.count("GET", "/blobs/") == 0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_under_way_than_asked_for(registry: FakeRegistry, scene: Scene, concurrency: int) -> None:
    for number in range(8):
        registry.put_image(REPOSITORY, f"v{number}", f"linux/amd64/v{number + 1}")
    busy, most, lock = 0, 0, threading.Lock()

    def count(exchange: Any) -> Any:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        response = exchange.serve()
        with lock:
            busy -= 1
        return response

    registry.faults.add(count, times=FOREVER)
    checked = scene.check(*(f":v{number}" for number in range(8)), concurrency=concurrency)
    assert checked.ok
    assert most <= concurrency
