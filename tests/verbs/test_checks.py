"""What `check` and `create` find in images that can be read: all of it, at once, and with all that is to be said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_MANIFEST
from manifestctl.verbs import rules
from manifestctl.verbs.check import image_requests
from manifestctl.verbs.checks import Requirements, judge, same_repository
from manifestctl.verbs.gather import Gathered
from manifestctl.verbs.label_checks import REVISION
from tests.support import images
from tests.support.actions import error, status, wrong_bytes
from tests.support.faults import FOREVER
from tests.verbs.scene import REPOSITORY, Scene, rules_of, the_finding

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.model.finding import Finding
    from tests.support.fake_registry import FakeRegistry


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    return Scene.of(registry)


@dataclass(frozen=True)
class Case:
    """Images under tags, what is given, and the one finding that is expected."""

    name: str
    tagged: dict[str, Any]
    given: tuple[str, ...]
    rule: str
    image: str
    platform: str
    found: str
    expected: str
    hint: str
    severity: str = "error"
    code: int = 1
    options: dict[str, Any] = field(default_factory=dict)


AMD64, ARM64, ARM_V8 = images.image("linux/amd64"), images.image("linux/arm64"), images.image("linux/arm64/v8")
PLAIN = images.image(None)
NO_OS = images.image("linux/amd64", config={"os": None})
NO_ARCHITECTURE = images.image("linux/amd64", config={"architecture": ""})
PROOF = images.attestation(AMD64)
SERVER = images.image("windows/amd64:10.0.20348.2340")
DOCKER = images.image("linux/amd64", docker=True)


def listed(made: images.Image, platform: str) -> images.Index:
    """Return a list whose entry for an image says this platform."""
    return images.index([made.descriptor(platform=images.platform_fields(platform))])


CASES = [
    Case(
        "the config says another platform than the user",
        {"a": AMD64},
        (":a",),
        "platform-mismatch",
        ":a",
        "linux/amd64",
        "linux/amd64",
        "linux/arm64",
        "build",
        options={"declared": {":a": "linux/arm64"}},
    ),
    Case(
        "the config says another variant than the user",
        {"a": images.image("linux/arm/v7")},
        (":a",),
        "platform-mismatch",
        ":a",
        "linux/arm/v7",
        "linux/arm/v7",
        "linux/arm/v6",
        "build",
        options={"declared": {":a": "linux/arm/v6"}},
    ),
    Case(
        "the config says another windows than the user",
        {"a": SERVER},
        (":a",),
        "platform-mismatch",
        ":a",
        "windows/amd64:10.0.20348.2340",
        "windows/amd64:10.0.20348.2340",
        "windows/amd64:10.0.17763.5576",
        "build",
        options={"declared": {":a": "windows/amd64:10.0.17763.5576"}},
    ),
    Case(
        "the config says another platform than the list",
        {"image": AMD64, "list": listed(AMD64, "linux/arm64")},
        (":list",),
        "platform-mismatch",
        f":list ({AMD64.digest})",
        "linux/amd64",
        "linux/amd64",
        "linux/arm64",
        "build",
    ),
    Case(
        "the list says another platform than the user, and the config says nothing",
        {"image": PLAIN, "list": listed(PLAIN, "linux/arm64")},
        (":list",),
        "platform-mismatch",
        f":list ({PLAIN.digest})",
        "linux/arm64",
        "linux/arm64",
        "linux/amd64",
        "build",
        options={"declared": {":list": "linux/amd64"}},
    ),
    Case(
        "the second name of an image is declared wrongly",
        {"amd64": AMD64, "arm64": AMD64},
        (":amd64", ":arm64"),
        "platform-mismatch",
        ":arm64",
        "linux/amd64",
        "linux/amd64",
        "linux/arm64",
        "build",
        options={"declared": {":arm64": "linux/arm64"}},
    ),
    Case(
        "no os and no architecture",
        {"a": PLAIN},
        (":a",),
        "platform-missing",
        ":a",
        "no platform",
        "no platform",
        "os and architecture",
        "--set-platform ':a=linux/amd64'",
    ),
    Case(
        "no os",
        {"a": NO_OS},
        (":a",),
        "platform-missing",
        ":a",
        "(no os)/amd64",
        "(no os)/amd64",
        "os and architecture",
        "--set-platform",
    ),
    Case(
        "an empty architecture",
        {"a": NO_ARCHITECTURE},
        (":a",),
        "platform-missing",
        ":a",
        "linux/(no architecture)",
        "linux/(no architecture)",
        "os and architecture",
        "--set-platform",
    ),
    Case(
        "two images for one platform",
        {"a": AMD64, "b": images.image("linux/amd64", seed="b")},
        (":a", ":b"),
        "platform-duplicate",
        ":b",
        "linux/amd64",
        "linux/amd64",
        "one image for linux/amd64",
        "Leave one",
    ),
    Case(
        "two images for one platform that is written in two ways",
        {"a": ARM64, "b": ARM_V8},
        (":a", ":b"),
        "platform-duplicate",
        ":b",
        "linux/arm64/v8",
        "linux/arm64/v8",
        "one image for linux/arm64/v8",
        "variant",
    ),
    Case(
        "the same image twice",
        {"a": AMD64, "b": AMD64},
        (":a", ":b"),
        "image-duplicate",
        ":b",
        "linux/amd64",
        AMD64.digest,
        "an image that was not named before",
        "Leave one",
        severity="warning",
        code=0,
    ),
    Case(
        "a required platform is absent",
        {"a": AMD64},
        (":a",),
        "platform-required",
        "{target}",
        "linux/arm64",
        "linux/amd64",
        "linux/arm64",
        "Push the image for linux/arm64",
        options={"require": "linux/amd64,linux/arm64"},
    ),
    Case(
        "a variant is not the architecture without one",
        {"a": images.image("linux/amd64/v3")},
        (":a",),
        "platform-required",
        "{target}",
        "linux/amd64",
        "linux/amd64/v3",
        "linux/amd64",
        "Push",
        options={"require": "linux/amd64"},
    ),
    Case(
        "a required windows is absent",
        {"a": SERVER},
        (":a",),
        "platform-required",
        "{target}",
        "windows/amd64:10.0.17763.5576",
        "windows/amd64:10.0.20348.2340",
        "windows/amd64:10.0.17763.5576",
        "Push",
        options={"require": "windows/amd64:10.0.17763.5576"},
    ),
    Case(
        "a platform that was not required",
        {"a": AMD64, "b": ARM64},
        (":a", ":b"),
        "platform-unexpected",
        ":b",
        "linux/arm64",
        "linux/arm64",
        "linux/amd64",
        "Leave the image out",
        options={"require": "linux/amd64", "exact": True},
    ),
    Case(
        "an attestation of an absent image",
        {
            "arm64": ARM64,
            "proof": PROOF,
            "list": images.index([ARM64.descriptor(), images.attestation_entry(PROOF, AMD64.digest)]),
        },
        (":list",),
        "attestation-orphan",
        f":list ({PROOF.digest})",
        "unknown/unknown",
        AMD64.digest,
        "the digest of an image in the list",
        "--attestations drop",
    ),
    Case(
        "an attestation of nothing",
        {
            "arm64": ARM64,
            "proof": PROOF,
            "list": images.index(
                [ARM64.descriptor(), PROOF.descriptor(annotations={images.REFERENCE_TYPE: "attestation-manifest"})]
            ),
        },
        (":list",),
        "attestation-orphan",
        f":list ({PROOF.digest})",
        "unknown/unknown",
        "nothing",
        "the digest of an image in the list",
        "--attestations drop",
    ),
    Case(
        "no attestation where one is required",
        {"a": AMD64, "list": images.buildx_index([ARM64])},
        (":a", ":list"),
        "attestation-required",
        ":a",
        "linux/amd64",
        "none",
        "an attestation of this image",
        "--provenance=true",
        options={"attestations": "require"},
    ),
    Case(
        "a list that says another media type",
        {
            "docker": DOCKER,
            "list": images.index([DOCKER.descriptor(mediaType=OCI_MANIFEST)]),
        },
        (":list",),
        "media-type-mismatch",
        f":list ({DOCKER.digest})",
        "linux/amd64",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "make it again",
    ),
    Case(
        "labels differ",
        {
            "a": images.image("linux/amd64", labels={REVISION: "0a1"}),
            "b": images.image("linux/arm64", annotations={REVISION: "0b2"}),
        },
        (":a", ":b"),
        "label-differs",
        ":a, :b",
        "linux/amd64, linux/arm64",
        "0a1, 0b2",
        "the same in all images",
        "one commit",
        options={"same": [REVISION]},
    ),
    Case(
        "an image has no label",
        {"a": images.image("linux/amd64", labels={"build": "7"}), "b": ARM64},
        (":a", ":b"),
        "label-differs",
        ":a, :b",
        "linux/amd64, linux/arm64",
        "7, none",
        "the same in all images",
        "one commit",
        options={"same": ["build"]},
    ),
    Case(
        "no image has the label",
        {"a": AMD64, "b": ARM64},
        (":a", ":b"),
        "label-differs",
        ":a, :b",
        "linux/amd64, linux/arm64",
        "none",
        "build",
        "Set the label",
        options={"same": ["build"]},
    ),
    Case(
        "revisions differ",
        {
            "a": images.image("linux/amd64", labels={REVISION: "0a1"}),
            "b": images.image("linux/arm64", labels={REVISION: "0b2"}),
            "c": images.image("linux/s390x"),
        },
        (":a", ":b", ":c"),
        "revision-differs",
        ":a, :b, :c",
        "linux/amd64, linux/arm64, linux/s390x",
        "0a1, 0b2",
        "the same in all images",
        f"--same {REVISION}",
        severity="warning",
        code=0,
    ),
    Case("no image at all", {}, (), "list-empty", "{target}", "", "none", "at least one image", "at least one"),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_fault_is_found_and_told_whole(registry: FakeRegistry, scene: Scene, case: Case) -> None:
    for tag, content in case.tagged.items():
        registry.put(REPOSITORY, tag, content)
    checked = scene.check(*case.given, **case.options)
    finding = the_finding(checked, case.rule)
    assert finding.severity == case.severity
    assert finding.image == case.image.format(target=f"{scene.base}:1.4")
    assert finding.platform == case.platform
    assert (finding.found, finding.expected) == (case.found, case.expected)
    assert finding.repository == scene.base
    assert case.hint in finding.hint
    assert "\n" not in finding.message
    assert checked.exit_code == case.code
    # Nothing else is wrong but what follows from it.
    follows = {
        "image-duplicate",
        "schema-type",
        "schema-required",
        "architecture-unknown",
        "schema-min-items",
        "os-unknown",
    }
    others = [other for other in checked.findings if other is not finding and other.rule not in follows]
    assert [other.rule for other in others] == []


GOOD = [
    ("variants of one architecture", ["linux/arm/v6", "linux/arm/v7", "linux/arm64"], {}),
    ("micro-architectures", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"], {}),
    ("versions of windows", ["windows/amd64:10.0.17763.5576", "windows/amd64:10.0.20348.2340"], {}),
    ("aliases satisfy", ["linux/arm64/v8", "linux/arm"], {"require": "linux/aarch64,linux/arm/v7", "exact": True}),
    ("any windows satisfies", ["windows/amd64:10.0.20348.2340"], {"require": "windows/amd64", "exact": True}),
    ("a declaration that agrees", ["linux/arm64"], {"declared": {":0": "linux/arm64/v8"}, "require": "linux/arm64"}),
]


@pytest.mark.parametrize(("given", "options"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_what_can_be_told_apart_and_what_satisfies(
    registry: FakeRegistry, scene: Scene, given: list[str], options: dict[str, Any]
) -> None:
    for number, platform in enumerate(given):
        registry.put_image(REPOSITORY, str(number), platform)
    checked = scene.check(*(f":{number}" for number in range(len(given))), **options)
    assert (rules_of(checked), checked.exit_code) == ([], 0)
    # Entries are written as configs say, completed but never normalised.
    shown = [member.platform.shown for member in checked.members]
    assert shown == [options["declared"][":0"]] if "declared" in options else shown == given


def test_a_declaration_fills_what_the_config_leaves_open(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a", None)
    registry.put_image(REPOSITORY, "b", "windows/amd64")
    said = {":a": "linux/arm64", ":b": "windows/amd64:10.0.20348.2340"}
    checked = scene.check(":a", ":b", declared=said, require="linux/arm64,windows/amd64:10.0.20348.2340")
    assert rules_of(checked, "error") == []
    assert [member.platform.shown for member in checked.members] == list(said.values())


def test_one_image_declared_for_two_platforms_is_not_silently_one(registry: FakeRegistry, scene: Scene) -> None:
    for tag in ("a", "b"):
        registry.put(REPOSITORY, tag, PLAIN)
    checked = scene.check(":a", ":b", declared={":a": "linux/amd64", ":b": "linux/arm64"})
    finding = the_finding(checked, "platform-mismatch")
    assert (finding.image, finding.found, finding.expected) == (":b", "linux/arm64", "linux/amd64")
    assert checked.exit_code == 1


def test_the_arm_tag_that_holds_the_amd_image_is_caught_by_what_is_required(
    registry: FakeRegistry, scene: Scene
) -> None:
    for tag in ("amd64", "arm64"):
        registry.put(REPOSITORY, tag, AMD64)
    checked = scene.check(":amd64", ":arm64", require="linux/amd64,linux/arm64")
    assert rules_of(checked) == ["image-duplicate", "platform-required"]
    assert checked.exit_code == 1


# A forgotten colon.


TEAM = parse_location("registry.example/team/web:j1")


def judged(rule: str, given: str, image: str = "") -> list[Finding]:
    """Return what is found if reading what is given ends so; ``image`` is one in a list."""
    unread = rules.found(rule, "something is wrong", where=given, hint="Look again.", image=image or given)
    return judge(TEAM, image_requests(TEAM, [given]), Gathered(findings=[unread]), Requirements())


@pytest.mark.parametrize("rule", ["image-missing", "image-denied", "image-unreachable"])
def test_a_name_that_may_be_a_tag_without_its_colon_is_asked_about(rule: str) -> None:
    # That it would be in another repository is not said: it is nowhere.
    [finding] = judged(rule, "1.4-amd64")
    assert finding.hint == "Did you mean ':1.4-amd64', the tag in registry.example/team/web? Look again."


@pytest.mark.parametrize("given", [":1.4-amd64", "other/web", "registry.example:5000/web", "web:1.4-amd64"])
def test_a_name_that_cannot_be_a_tag_is_not_asked_about(given: str) -> None:
    unread, *others = judged("image-missing", given)
    assert (unread.rule, unread.hint) == ("image-missing", "Look again.")
    assert [other.rule for other in others] == ([] if given[0] == ":" else ["other-repository"])
    assert "Did you mean" not in "".join(other.hint for other in others)


@pytest.mark.parametrize(("rule", "image"), [("image-missing", "web (sha256:0)"), ("image-integrity", "web")])
def test_what_was_found_is_not_asked_about(rule: str, image: str) -> None:
    unread, other = judged(rule, "web", image)
    assert unread.hint == "Look again."
    # It is elsewhere, though, and that may be because of the colon.
    assert other.rule == "other-repository"
    assert other.hint.startswith("Did you mean ':web', the tag in registry.example/team/web? Push the image to ")


@pytest.mark.parametrize("verb", ["check", "create"])
def test_a_forgotten_colon_is_one_error(registry: FakeRegistry, verb: str) -> None:
    registry.put_image(REPOSITORY, "amd64")
    scene = Scene.of(registry, {"HTTPS_PROXY": "http://127.0.0.1:1"})
    [finding] = getattr(scene, verb)("amd64").findings
    assert finding.rule == "image-unreachable"
    assert finding.hint.startswith(f"Did you mean ':amd64', the tag in {scene.base}? Check HTTPS_PROXY")


# What a list says of itself.


def test_annotations_of_a_list_are_not_dropped_silently(registry: FakeRegistry, scene: Scene) -> None:
    said = {"org.example.version": "1.4", "org.example.license": "MIT"}
    made = images.index([AMD64, ARM64], annotations=said)
    registry.put(REPOSITORY, "list", made)
    registry.put(REPOSITORY, "plain", images.index([AMD64]))
    checked = scene.check(":list", ":list", ":plain", allow=["image-duplicate"])
    finding = the_finding(checked, "list-annotations-dropped")
    assert checked.ok
    assert (finding.severity, finding.where, finding.image) == ("warning", ":list", f":list ({made.digest})")
    assert finding.message.endswith("does not carry: org.example.version, org.example.license")
    assert finding.hint.endswith("--annotation 'org.example.version=1.4'.")
    assert finding.repository == scene.base
    denied = scene.create(":list", deny=["list-annotations-dropped"])
    assert (denied.exit_code, registry.tag(REPOSITORY, "1.4")) == (1, None)


def test_annotations_of_a_list_that_the_new_one_has_are_not_dropped(registry: FakeRegistry, scene: Scene) -> None:
    registry.put(REPOSITORY, "list", images.index([AMD64], annotations={"a": "1", "b": "2"}))
    assert rules_of(scene.check(":list", annotations={"a": "1", "b": "other"})) == []
    checked = scene.check(":list", annotations={"a": "1"})
    assert the_finding(checked, "list-annotations-dropped").found == "b"


def test_annotations_of_lists_in_lists_are_told_too_and_harmlessly(registry: FakeRegistry, scene: Scene) -> None:
    inner = images.index([ARM64], annotations={"a\n::error::b": "c\x1b[2J"})
    registry.put(REPOSITORY, "list", images.index([AMD64, inner]))
    finding = the_finding(scene.check(":list"), "list-annotations-dropped")
    assert finding.image == f":list ({inner.digest})"
    assert not set("\n\x1b") & set("".join(finding.to_json().values()))


# Everything at once.


def test_all_faults_are_found_in_one_run(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "mislabelled", "linux/amd64")
    registry.put_image(REPOSITORY, "again", "linux/amd64", seed="again")
    registry.put_image(REPOSITORY, "plain", None)
    registry.put_index(REPOSITORY, "list", [ARM64, images.attestation_entry(PROOF, SERVER.digest)])
    registry.put(REPOSITORY, None, PROOF)
    registry.put(REPOSITORY, "whole", images.image("linux/s390x"))
    registry.put("team/elsewhere", "x", images.image("linux/ppc64le"))
    checked = scene.check(
        ":mislabelled",
        ":again",
        ":plain",
        ":list",
        ":whole",
        registry.reference("team/elsewhere", "x"),
        declared={":mislabelled": "linux/arm64"},
        require="linux/riscv64,linux/s390x",
        exact=True,
        attestations="require",
        same=["build"],
        format="docker",
        depth="blobs",
        annotations={"a": "b"},
        entry_annotations=[("linux/mips64le", "key", "value")],
    )
    assert set(rules_of(checked, "error")) == {
        "platform-mismatch",
        "platform-duplicate",
        "platform-missing",
        "attestation-orphan",
        "attestation-required",
        "other-repository",
        "platform-required",
        "platform-unexpected",
        "label-differs",
        "media-type-format",
        "format-unsupported",
        "annotation-unmatched",
    } | {rule for rule in rules_of(checked, "error") if rule.startswith("schema-")}
    for finding in checked.findings:
        if not finding.rule.startswith(("schema-", "os-", "architecture-", "docker-")):
            assert finding.hint, finding
            assert finding.found, finding
            assert finding.expected, finding
            assert finding.repository, finding
    assert checked.exit_code == 1


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (["missing"], 1),
        (["missing", "denied"], 4),
        (["missing", "unreachable"], 5),
        (["missing", "integrity"], 6),
        (["integrity", "unreachable"], 5),
        (["integrity", "unreachable", "denied"], 4),
    ],
)
def test_what_could_not_be_checked_outranks_what_was_found(
    registry: FakeRegistry, scene: Scene, rules: list[str], code: int
) -> None:
    for name in ("denied", "unreachable", "integrity"):
        registry.put_image(REPOSITORY, name, seed=name)
    registry.faults.add(error(403, "DENIED", "no"), path="/manifests/denied", times=FOREVER)
    registry.faults.add(status(502), path="/manifests/unreachable", times=FOREVER)
    registry.faults.add(wrong_bytes(), path="/manifests/integrity", times=FOREVER)
    checked = scene.check(*(f":{name}" for name in rules))
    assert rules_of(checked) == sorted(f"image-{name}" for name in rules)
    assert checked.exit_code == code


def test_a_required_platform_says_how_many_images_could_not_be_read(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a")
    checked = scene.check(":a", ":gone", ":too", require="linux/amd64,linux/arm64")
    assert (
        "found: linux/amd64 (and 2 images that could not be read)" in the_finding(checked, "platform-required").message
    )


# What is not known is not judged.


def unread(kind: str, registry: FakeRegistry) -> tuple[str, ...]:
    """Arrange that something is unread, and return what to give."""
    amd64 = AMD64.descriptor()
    proof = images.attestation_entry(PROOF, AMD64.digest)
    registry.put(REPOSITORY, None, PROOF)
    registry.put(REPOSITORY, "arm64", images.buildx_index([ARM64]))
    if kind == "the image itself":
        registry.put_index(REPOSITORY, "list", [amd64, proof])
        return (":list", ":arm64")
    if kind == "an image by its tag":
        registry.put_index(REPOSITORY, "list", [ARM64, proof])
        return (":list", ":arm64", ":gone")
    inner = images.index([AMD64])
    registry.put_index(REPOSITORY, "list", [inner.descriptor(), proof])
    return (":list", ":arm64")


@pytest.mark.parametrize("kind", ["the image itself", "an image by its tag", "a list in the list"])
def test_an_attestation_is_no_orphan_while_its_image_may_be_among_what_could_not_be_read(
    registry: FakeRegistry, scene: Scene, kind: str
) -> None:
    given = unread(kind, registry)
    assert "attestation-orphan" not in rules_of(scene.check(*given))
    assert rules_of(scene.check(*given), "error") == ["image-missing"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Its own attestation could not be read: that is what is said.
        ((":list",), ["image-missing"]),
        # What could not be read cannot be the attestation of an image given by itself …
        ((":list", ":plain"), ["attestation-required", "image-missing"]),
        # … but a list that could not be read might be.
        ((":list", ":plain", ":gone"), ["image-missing", "image-missing"]),
    ],
)
def test_an_attestation_is_not_called_absent_while_it_may_be_among_what_could_not_be_read(
    registry: FakeRegistry, scene: Scene, given: tuple[str, ...], expected: list[str]
) -> None:
    registry.put(REPOSITORY, "plain", ARM64)
    registry.put_index(REPOSITORY, "list", [AMD64, images.attestation_entry(PROOF, AMD64.digest)])
    assert rules_of(scene.check(*given, attestations="require")) == expected


# Attestations.


@pytest.mark.parametrize(("policy", "count"), [("keep", 2), ("require", 2), ("drop", 0)])
def test_attestations_are_kept_required_or_not_even_read(
    registry: FakeRegistry, scene: Scene, policy: str, count: int
) -> None:
    registry.put_buildx(REPOSITORY, "list", ["linux/amd64", "linux/arm64"])
    checked = scene.check(":list", attestations=policy)
    assert rules_of(checked) == []
    assert checked.composed is not None
    assert sum(entry.is_attestation for entry in checked.composed.entries) == count
    assert registry.count("GET", "/manifests/") == 1 + 2 + count


def test_orphans_are_of_no_interest_when_attestations_are_dropped(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_index(REPOSITORY, "list", [ARM64, images.attestation_entry(PROOF, AMD64.digest)])
    assert rules_of(scene.check(":list", attestations="drop")) == []


def test_what_else_builders_put_beside_images_is_carried_along_with_its_image(
    registry: FakeRegistry, scene: Scene
) -> None:
    other = PROOF.descriptor(
        annotations={images.REFERENCE_TYPE: "something-new", images.REFERENCE_DIGEST: AMD64.digest}
    )
    registry.put(REPOSITORY, None, PROOF)
    registry.put_index(REPOSITORY, "list", [AMD64, ARM64, other])
    checked = scene.check(":list")
    assert rules_of(checked) == []
    assert [attestation.subject for attestation in checked.gathered.attestations] == [AMD64.digest]
    narrowed = scene.check(":list", only="linux/arm64")
    assert (rules_of(narrowed), narrowed.gathered.attestations) == ([], [])
    # It does not count as the attestation that is required.
    assert rules_of(scene.check(":list", attestations="require")) == ["attestation-required"] * 2


@pytest.mark.parametrize("artifact", [False, True])
def test_both_forms_of_attestations_are_known(registry: FakeRegistry, scene: Scene, artifact: bool) -> None:
    registry.put(REPOSITORY, "list", images.buildx_index([AMD64, ARM64], artifact=artifact))
    checked = scene.check(":list", attestations="require", depth="blobs")
    assert rules_of(checked) == []


# Where images may be.


def test_an_image_elsewhere_is_named_with_its_platform_and_both_places(registry: FakeRegistry, scene: Scene) -> None:
    there = registry.reference("team/other", "x")
    registry.put("team/other", "x", ARM64)
    finding = the_finding(scene.check(there), "other-repository")
    place = registry.reference("team/other")
    assert (finding.image, finding.platform, finding.repository) == (there, "linux/arm64", place)
    assert (finding.found, finding.expected) == (place, scene.base)
    assert scene.base in finding.hint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Registry.example:5000/web:1", "registry.example:5000/web:2", True),
        ("registry.example/web", "registry.example/web2", False),
        ("registry.example/web", "registry.example:5000/web", False),
        ("oci:dir:1", "oci:dir:2", True),
        ("oci:Dir:1", "oci:dir:2", False),
        ("oci:web:1", "registry.example/web:1", False),
    ],
)
def test_hosts_are_compared_without_regard_to_case_and_directories_with(one: str, other: str, same: bool) -> None:
    assert same_repository(parse_location(one), parse_location(other)) is same


def test_a_directory_with_a_hostile_name_is_shown_harmless(tmp_path: Path) -> None:
    directory = tmp_path / "a\n::error::b"
    images.write_layout(directory, {"x": AMD64})
    scene = Scene.in_layout(directory)
    checked = scene.check(f"oci:{tmp_path}/other:x", f"oci:{directory}:x", require="linux/arm64")
    assert checked.findings
    for finding in checked.findings:
        assert "\n" not in "".join(finding.to_json().values())


def test_labels_that_try_to_forge_lines_are_shown_harmless(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a", labels={"build": "1\n::error::x"})
    registry.put_image(REPOSITORY, "b", "linux/arm64", labels={"build": "\x1b[2J"})
    finding = the_finding(scene.check(":a", ":b", same=["build"]), "label-differs")
    text = "".join(finding.to_json().values())
    assert "\n" not in text
    assert "\x1b" not in text


def test_a_label_that_is_equal_everywhere_is_fine(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a", labels={"build": "7", REVISION: "0a1"})
    registry.put_image(REPOSITORY, "b", "linux/arm64", annotations={"build": "7", REVISION: "0a1"})
    assert rules_of(scene.check(":a", ":b", same=["build", REVISION])) == []
