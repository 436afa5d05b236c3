"""Writing tags and proving it: lag, lies, lost answers, conflicts, and other people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    InputError,
    IntegrityError,
    InterruptedRun,
    PartialError,
    UnreachableError,
)
from manifestctl.events import Noted
from manifestctl.model.digest import Digest
from manifestctl.model.media_types import OCI_INDEX, OCI_MANIFEST
from manifestctl.model.published import Published
from manifestctl.stores.base import Content
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.publish import Guard, TagState, order_tags
from tests.support import images
from tests.support.actions import (
    after_serving,
    close,
    content_type,
    digest_header,
    error,
    false_created,
    lag,
    reset,
    status,
    store_instead,
    wrong_bytes,
)
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY, Scene, published, rules_of, the_finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from manifestctl.verbs.create import Created

GIVEN = (":amd64", ":arm64")
PUT: dict[str, Any] = {"method": "PUT", "path": "/manifests/1.4$"}
READ: dict[str, Any] = {"method": "GET", "path": "/manifests/1.4$"}
OTHER = images.index([images.image("linux/s390x")])
ECR_SCHEMA = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"


def filled(registry: FakeRegistry) -> FakeRegistry:
    """Put two images into a registry."""
    registry.put_image(REPOSITORY, "amd64", "linux/amd64")
    registry.put_image(REPOSITORY, "arm64", "linux/arm64")
    return registry


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    return Scene.of(filled(registry))


def hold_other(registry: FakeRegistry, tag: str = "1.4") -> str:
    """Let a tag hold another list."""
    return registry.put(REPOSITORY, tag, OTHER)


def state(created: Created, tag: str = "1.4") -> tuple[str | None, str | None, Published]:
    """Return what a tag held, what it holds, and whether it moved."""
    [found] = [state for state in created.tags if state.tag == tag]
    return str(found.old) if found.old else None, str(found.now) if found.now else None, found.moved


def digest(created: Created) -> str:
    assert created.composed is not None
    return str(created.composed.content.digest)


# What goes well.


@pytest.mark.parametrize("held", [False, True])
def test_a_tag_is_written_and_read_back(registry: FakeRegistry, scene: Scene, held: bool) -> None:
    old = hold_other(registry) if held else None
    created = scene.create(*GIVEN)
    assert registry.tag(REPOSITORY, "1.4") == published(created)
    assert created.status == ("updated" if held else "created")
    assert state(created) == (old, digest(created), Published.YES)
    stored = registry.manifest(REPOSITORY, "1.4")
    assert stored is not None
    assert created.composed is not None
    assert (stored.data, stored.media_type) == (created.composed.content.raw, OCI_INDEX)
    assert scene.world.slept == []


def test_doing_it_again_is_unchanged_and_writes_nothing(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(*GIVEN, tags=["latest"]))
    registry.reset()
    created = scene.create(*GIVEN, tags=["latest"])
    assert (created.status, created.published, created.exit_code) == ("unchanged", Published.YES, 0)
    assert registry.count("PUT") == 0
    assert state(created) == (digest(created), digest(created), Published.NO)


def test_doing_it_again_on_immutable_tags_is_unchanged() -> None:
    with FakeRegistry(immutable_tags=True) as registry:
        scene = Scene.of(filled(registry))
        published(scene.create(*GIVEN))
        assert (scene.create(*GIVEN).status, scene.create(*GIVEN, no_overwrite=True).status) == ("unchanged",) * 2


# Lag: a registry that is behind itself is given 15 seconds.


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("reads", [1, 4, 8])
def test_a_registry_that_lags_is_waited_for(
    registry: FakeRegistry, scene: Scene, held: bool, missing: bool, reads: int
) -> None:
    if held:
        hold_other(registry)
    registry.faults.add(lag(reads, missing=missing), **PUT)
    created = scene.create(*GIVEN)
    assert registry.tag(REPOSITORY, "1.4") == published(created)
    assert len(scene.world.slept) == reads
    assert scene.world.slept == sorted(scene.world.slept) or reads == 8
    assert len([event for event in scene.world.heard(Noted) if "asking again" in event.message]) == reads


def test_lag_is_borne_for_15_seconds_and_no_longer(registry: FakeRegistry, scene: Scene) -> None:
    appears_after = 14.9

    def behind(exchange: Any) -> Any:
        response = exchange.serve()
        late = scene.world.runtime.monotonic() < appears_after
        return status(404)(exchange) if late and registry.manifest_puts else response

    registry.faults.add(behind, times=FOREVER, **READ)
    published(scene.create(*GIVEN))
    assert sum(scene.world.slept) == pytest.approx(15.0)
    appears_after = 15.1
    registry.repository(REPOSITORY).tags.pop("1.4")
    created = scene.create(*GIVEN)
    assert isinstance(created.error, UnreachableError)
    assert sum(scene.world.slept) == pytest.approx(15.0)


# Lies and other content.

LIES: list[tuple[str, Callable[[FakeRegistry], object], type[Exception], int, Published, str]] = [
    (
        "nothing was stored",
        lambda registry: registry.faults.add(false_created(), **PUT),
        UnreachableError,
        5,
        Published.NO,
        "after 15 s the tag still does not exist",
    ),
    (
        "nothing was stored and the old list is still there",
        lambda registry: (hold_other(registry), registry.faults.add(false_created(), **PUT)),
        ConflictError,
        7,
        Published.NO,
        f"after 15 s the tag still holds {OTHER.digest}",
    ),
    (
        "something else was stored",
        lambda registry: registry.faults.add(store_instead(OTHER.manifest, OTHER.media_type), **PUT),
        ConflictError,
        7,
        Published.NO,
        f"but the tag holds {OTHER.digest}",
    ),
    (
        "what is there does not hash to the digest that the registry says",
        lambda registry: registry.faults.add(wrong_bytes(), after=1, times=FOREVER, **READ),
        IntegrityError,
        6,
        Published.UNKNOWN,
        "hash to",
    ),
    (
        "what is there is served as something else",
        lambda registry: registry.faults.add(content_type(OCI_MANIFEST), after=1, times=FOREVER, **READ),
        ConflictError,
        7,
        Published.YES,
        f"served as {OCI_MANIFEST} instead of {OCI_INDEX}",
    ),
    (
        "it cannot be read any more",
        lambda registry: registry.faults.add(error(403, "DENIED", "no"), after=1, times=FOREVER, **READ),
        DeniedError,
        4,
        Published.UNKNOWN,
        "reading it back failed",
    ),
    (
        "the registry went away",
        lambda registry: registry.faults.add(status(503), after=1, times=FOREVER, **READ),
        UnreachableError,
        5,
        Published.UNKNOWN,
        "reading it back failed",
    ),
]


@pytest.mark.parametrize("case", LIES, ids=[case[0] for case in LIES])
def test_a_201_is_not_believed(registry: FakeRegistry, scene: Scene, case: tuple[Any, ...]) -> None:
    _, arrange, kind, code, published_now, said = case
    arrange(registry)
    old = registry.tag(REPOSITORY, "1.4")
    created = scene.create(*GIVEN)
    assert isinstance(created.error, kind)
    assert (created.exit_code, created.status) == (code, "failed")
    assert created.published == published_now == created.tags[0].moved
    assert said in created.error.message
    assert "the registry accepted" in created.error.message
    assert created.error.hint
    assert state(created)[0] == old


def test_a_wrong_digest_header_on_the_answer_to_a_put_harms_nobody(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(digest_header("sha256:" + "0" * 64), **PUT)
    published(scene.create(*GIVEN))


@pytest.mark.parametrize("served", [None, "application/json", f"{OCI_INDEX}; charset=utf-8"])
def test_a_generic_content_type_at_the_read_back_is_fine(
    registry: FakeRegistry, scene: Scene, served: str | None
) -> None:
    registry.faults.add(content_type(served), times=FOREVER, **READ)
    published(scene.create(*GIVEN))


def test_a_registry_without_digest_headers_is_checked_by_bytes() -> None:
    with FakeRegistry(digest_headers=False) as registry:
        published(Scene.of(filled(registry)).create(*GIVEN))


# Answers that never came.

LOST = [("500", status(500)), ("reset", reset()), ("closed", close()), ("504", status(504))]


@pytest.mark.parametrize("answer", [case[1] for case in LOST], ids=[case[0] for case in LOST])
@pytest.mark.parametrize("times", [1, FOREVER])
def test_what_was_stored_although_the_answer_was_lost_is_found_by_reading(
    registry: FakeRegistry, scene: Scene, answer: Any, times: int | None
) -> None:
    registry.faults.add(after_serving(answer), times=times, **PUT)
    created = scene.create(*GIVEN)
    assert registry.tag(REPOSITORY, "1.4") == published(created)
    # The bytes are sent once: before a retry the tag is read.
    assert registry.count("PUT") == 1
    assert created.tags[0].moved == Published.YES


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("answer", [case[1] for case in LOST], ids=[case[0] for case in LOST])
def test_what_was_not_stored_is_said_to_be_as_it_was(
    registry: FakeRegistry, scene: Scene, answer: Any, held: bool
) -> None:
    old = hold_other(registry) if held else None
    registry.faults.add(answer, times=FOREVER, **PUT)
    created = scene.create(*GIVEN)
    assert isinstance(created.error, UnreachableError)
    assert (created.exit_code, created.published) == (5, Published.NO)
    assert f"it holds {old or 'nothing'}, so this was not published" in created.error.message
    assert state(created) == (old, old, Published.NO)


def test_a_lost_answer_of_a_registry_that_lags_too_is_waited_for(registry: FakeRegistry, scene: Scene) -> None:
    """The tag shows nothing for a while after the write whose answer was lost; that is not yet a "no"."""
    hidden = True

    def behind(exchange: Any) -> Any:
        return status(404)(exchange) if hidden and scene.world.runtime.monotonic() < 60 else exchange.serve()

    def stored(exchange: Any) -> Any:
        exchange.serve()
        scene.world.advance(50 - scene.world.runtime.monotonic())
        return status(500)(exchange)

    scene.settings = TransportSettings(retries=1)
    registry.faults.add(behind, times=FOREVER, **READ)
    registry.faults.add(stored, times=FOREVER, **PUT)
    published(scene.create(*GIVEN))


def test_an_outcome_that_cannot_be_found_out_is_unknown(registry: FakeRegistry, scene: Scene) -> None:
    def last_word(exchange: Any) -> Any:
        exchange.serve()
        registry.faults.add(status(503), times=FOREVER)
        return status(500)(exchange)

    registry.faults.add(last_word, **PUT)
    created = scene.create(*GIVEN)
    assert isinstance(created.error, UnreachableError)
    assert (created.exit_code, created.published, created.status) == (5, Published.UNKNOWN, "failed")
    assert "whether it was written is not known" in created.error.message
    assert registry.tag(REPOSITORY, "1.4") == digest(created)


def test_a_conflict_after_which_the_tag_cannot_be_read_is_told_in_the_registrys_words(
    registry: FakeRegistry, scene: Scene
) -> None:
    def last_word(exchange: Any) -> Any:
        registry.faults.add(status(503), times=FOREVER)
        return error(400, "TAG_INVALID", "the tag is immutable")(exchange)

    registry.faults.add(last_word, **PUT)
    created = scene.create(*GIVEN)
    assert isinstance(created.error, ConflictError)
    assert "the tag is immutable" in created.error.message
    assert (created.exit_code, created.published) == (7, Published.NO)


def test_a_denial_after_a_lost_answer_claims_nothing_that_nobody_knows(registry: FakeRegistry, scene: Scene) -> None:
    def lost(exchange: Any) -> Any:
        exchange.serve()
        registry.faults.add(status(404), **READ)
        registry.faults.add(error(403, "DENIED", "not any more"), path="/manifests/1.4$", times=FOREVER)
        return status(503)(exchange)

    registry.faults.add(lost, **PUT)
    created = scene.create(*GIVEN)
    assert isinstance(created.error, DeniedError)
    assert 'not any more"; whether it was written is not known' in created.error.message
    assert (created.exit_code, created.published, created.status) == (4, Published.UNKNOWN, "failed")
    assert registry.tag(REPOSITORY, "1.4") == digest(created)


def test_a_denial_after_a_lost_answer_that_wrote_nothing(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(status(503), **PUT)
    registry.faults.add(error(403, "DENIED", "not any more"), times=FOREVER, **PUT)
    created = scene.create(*GIVEN)
    assert isinstance(created.error, DeniedError)
    assert "the tag was read again: it holds nothing, so this was not published" in created.error.message
    assert (created.exit_code, created.published) == (4, Published.NO)


def test_another_list_after_a_lost_answer_is_not_ours(registry: FakeRegistry, scene: Scene) -> None:
    def overtaken(exchange: Any) -> Any:
        hold_other(registry)
        return reset()(exchange)

    registry.faults.add(overtaken, times=FOREVER, **PUT)
    created = scene.create(*GIVEN)
    assert (created.exit_code, created.published) == (5, Published.NO)
    assert state(created) == (None, OTHER.digest, Published.NO)
    assert scene.world.slept[5:] == []  # only the retries slept: there is nothing to wait for


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (error(403, "DENIED", "requested access is denied"), DeniedError, 4),
        (error(400, "MANIFEST_INVALID", "manifest invalid"), DocumentError, 1),
        (error(413, "MANIFEST_INVALID", "too large"), DeniedError, 4),
        (error(405, "UNSUPPORTED", ECR_SCHEMA), DocumentError, 1),
        (error(405, "UNSUPPORTED", "The operation is unsupported."), DeniedError, 4),
        (error(429, "TOOMANYREQUESTS", "Rate exceeded"), UnreachableError, 5),
        (error(400, "TAG_INVALID", "the tag is immutable"), ConflictError, 7),
        (error(412, "PRECONDITION_FAILED", "no"), DeniedError, 4),
    ],
)
def test_a_refused_write_left_everything_as_it_was(
    registry: FakeRegistry, scene: Scene, answer: Any, kind: type[Exception], code: int
) -> None:
    registry.faults.add(answer, times=FOREVER, **PUT)
    created = scene.create(*GIVEN)
    assert isinstance(created.error, kind)
    assert (created.exit_code, created.published, created.status) == (code, Published.NO, "failed")
    assert state(created) == (None, None, Published.NO)


def test_a_passing_failure_is_passed_and_changes_nothing_of_what_is_sent(registry: FakeRegistry, scene: Scene) -> None:
    for answer in (status(503), error(429, "TOOMANYREQUESTS", "Rate exceeded", retry_after=7), reset()):
        registry.faults.add(answer, **PUT)
    created = scene.create(*GIVEN)
    assert registry.tag(REPOSITORY, "1.4") == published(created)
    puts = registry.find("PUT")
    # A body of which nothing was read before the answer is recorded as empty.
    assert {request.body for request in puts} - {b""} == {puts[-1].body}
    assert {request.headers["content-type"] for request in puts} == {OCI_INDEX}
    assert registry.count("PUT") == 4
    assert any(slept >= 7 for slept in scene.world.slept)


# Images that the registry does not know yet, or any more.


@pytest.mark.parametrize("times", [1, 3])
def test_a_registry_that_does_not_see_its_own_images_yet_is_waited_for(
    registry: FakeRegistry, scene: Scene, times: int
) -> None:
    registry.faults.add(error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"), times=times, **PUT)
    published(scene.create(*GIVEN))
    assert registry.count("PUT") == times + 1
    assert len(scene.world.slept) == times


ECR = "Images with digests '[{}]' required for pushing image into repository with name 'web' do not exist"


@pytest.mark.parametrize("form", ["detail", "message"])
@pytest.mark.parametrize("which", ["image", "attestation", "all"])
def test_images_that_the_registry_misses_are_named_after_10_seconds(
    registry: FakeRegistry, scene: Scene, form: str, which: str
) -> None:
    index = registry.put_buildx(REPOSITORY, "list", ["linux/s390x"])
    image, proof = (child.digest for child in index.children)
    missing = {"image": [image], "attestation": [proof], "all": [image, proof]}[which]
    refusal = (
        error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown", detail=" ".join(missing))
        if form == "detail"
        else error(400, "MANIFEST_BLOB_UNKNOWN", ECR.format(", ".join(missing)))
    )
    registry.faults.add(refusal, times=FOREVER, **PUT)
    created = scene.create(*GIVEN, ":list")
    assert sum(scene.world.slept) == pytest.approx(10.0)
    found = [finding for finding in created.findings if finding.rule == "image-missing"]
    assert [finding.expected for finding in found] == missing
    for finding in found:
        assert (finding.where, finding.repository) == (":list", scene.base)
        assert finding.image == f":list ({finding.expected})"
        assert finding.platform == ("linux/s390x" if finding.expected == image else "")
        assert finding.hint
    assert (created.exit_code, created.published, created.status) == (1, Published.NO, "failed")


def test_an_image_that_was_deleted_meanwhile_is_missed_by_a_strict_registry() -> None:
    with FakeRegistry(strict_children=True) as registry:
        scene = Scene.of(filled(registry))
        gone = registry.tag(REPOSITORY, "arm64")
        assert gone is not None

        def delete(exchange: Any) -> Any:
            registry.repository(REPOSITORY).manifests.pop(gone, None)
            return exchange.serve()

        registry.faults.add(delete, **PUT)
        created = scene.create(*GIVEN)
        assert the_finding(created, "image-missing").image == f":arm64 ({gone})"
        assert created.exit_code == 1


def test_a_registry_that_names_no_digest_leaves_its_own_words(registry: FakeRegistry, scene: Scene) -> None:
    registry.faults.add(error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"), times=FOREVER, **PUT)
    created = scene.create(*GIVEN)
    assert (created.findings, created.exit_code) == ([], 1)
    assert "blob unknown to registry" in str(created.error)


# --no-overwrite and --expect.


@pytest.mark.parametrize(
    ("options", "rule", "expected"),
    [
        ({"no_overwrite": True}, "tag-exists", "nothing"),
        ({"expect": "sha256:" + "1" * 64}, "tag-unexpected", "sha256:" + "1" * 64),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_tag_that_holds_something_else_is_a_conflict_that_hides_nothing(
    registry: FakeRegistry, scene: Scene, options: dict[str, Any], rule: str, expected: str, *, dry_run: bool
) -> None:
    old = hold_other(registry)
    created = scene.create(*GIVEN, ":nowhere", dry_run=dry_run, **options)
    assert rules_of(created) == sorted(["image-missing", rule])
    finding = the_finding(created, rule)
    assert (finding.where, finding.category, finding.severity) == (f"{scene.base}:1.4", "conflict", "error")
    assert (finding.found, finding.expected, finding.repository) == (old, expected, scene.base)
    assert finding.hint
    assert old in finding.message
    assert (created.exit_code, created.published, created.error) == (7, Published.NO, None)
    assert registry.count("PUT") == 0


def test_expecting_something_where_there_is_nothing_is_a_conflict(scene: Scene) -> None:
    created = scene.create(*GIVEN, expect=OTHER.digest)
    assert the_finding(created, "tag-unexpected").found == "nothing"
    assert created.exit_code == 7


@pytest.mark.parametrize("options", [{"no_overwrite": True}, {"expect": OTHER.digest}], ids=["absent", "as expected"])
def test_a_tag_that_is_as_it_should_be_is_written_under_a_condition(
    registry: FakeRegistry, scene: Scene, options: dict[str, Any]
) -> None:
    if "expect" in options:
        hold_other(registry)
    published(scene.create(*GIVEN, **options))
    [put] = registry.find("PUT")
    sent = {name: put.headers.get(name) for name in ("if-match", "if-none-match")}
    expected = {"if-match": f'"{OTHER.digest}"', "if-none-match": None}
    assert sent == (expected if "expect" in options else {"if-match": None, "if-none-match": "*"})


def test_without_a_guard_no_condition_is_sent(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(*GIVEN))
    assert not {"if-match", "if-none-match"} & set(registry.find("PUT")[0].headers)


def test_doing_it_again_with_the_old_digest_expected_is_unchanged(registry: FakeRegistry, scene: Scene) -> None:
    old = hold_other(registry)
    assert scene.create(*GIVEN, expect=old).status == "updated"
    again = scene.create(*GIVEN, expect=old)
    assert (again.status, again.exit_code, again.findings) == ("unchanged", 0, [])
    assert registry.count("PUT") == 1


@pytest.mark.parametrize("options", [{"no_overwrite": True}, {"expect": OTHER.digest}], ids=["absent", "as expected"])
@pytest.mark.parametrize("when", ["before the last look", "after the last look"])
def test_another_writer_is_noticed(options: dict[str, Any], when: str) -> None:
    """Before the last look anybody is noticed; after it only by registries that heed conditions."""
    with FakeRegistry(heeds_conditions=True) as registry:
        scene = Scene.of(filled(registry))
        if "expect" in options:
            hold_other(registry)
        theirs = images.index([images.image("linux/ppc64le")])

        def overtake(exchange: Any) -> Any:
            registry.put(REPOSITORY, "1.4", theirs)
            return exchange.serve()

        if when == "before the last look":
            registry.faults.add(overtake, after=1, **READ)
        else:
            registry.faults.add(overtake, **PUT)
        created = scene.create(*GIVEN, **options)
        assert isinstance(created.error, ConflictError)
        assert (created.exit_code, created.published) == (7, Published.NO)
        assert theirs.digest in created.error.message
        assert state(created)[1:] == (theirs.digest, Published.NO)
        assert registry.tag(REPOSITORY, "1.4") == theirs.digest
        assert registry.count("PUT") == (0 if when == "before the last look" else 1)


@pytest.mark.parametrize("options", [{"no_overwrite": True}, {"expect": OTHER.digest}], ids=["absent", "as expected"])
@pytest.mark.parametrize("when", ["before the last look", "after the last look"])
def test_another_writer_of_the_same_list_is_no_conflict(options: dict[str, Any], when: str) -> None:
    with FakeRegistry(immutable_tags=True) as registry:
        scene = Scene.of(filled(registry))
        ours = scene.create(*GIVEN, dry_run=True).composed
        assert ours is not None
        if "expect" in options:
            hold_other(registry)

        def overtake(exchange: Any) -> Any:
            registry.put_raw_manifest(REPOSITORY, "1.4", ours.content.raw, ours.content.media_type)
            return exchange.serve()

        registry.faults.add(overtake, **(PUT if when == "after the last look" else READ | {"after": 1}))
        created = scene.create(*GIVEN, **options)
        assert (created.status, created.published, created.exit_code) == ("unchanged", Published.YES, 0)


def test_both_guards_at_once_make_no_sense(scene: Scene) -> None:
    with pytest.raises(InputError, match="--no-overwrite and --expect"):
        scene.create(*GIVEN, no_overwrite=True, expect=OTHER.digest)


def test_a_layout_enforces_the_guards_under_its_lock(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"amd64": images.image(), "arm64": images.image("linux/arm64"), "1.4": OTHER})
    scene = Scene.in_layout(tmp_path)
    assert rules_of(scene.create(*GIVEN, no_overwrite=True)) == ["tag-exists"]
    assert scene.create(*GIVEN, expect=OTHER.digest).status == "updated"
    assert scene.create(*GIVEN, expect=OTHER.digest).status == "unchanged"
    assert rules_of(scene.create(":amd64", expect=OTHER.digest)) == ["tag-unexpected"]


# More tags.


def test_tags_are_written_in_order_and_latest_last(registry: FakeRegistry, scene: Scene) -> None:
    published(scene.create(*GIVEN, tags=["latest", "1", "1.4", "1"]))
    assert [tag for _, tag in registry.manifest_puts] == ["1.4", "1", "latest"]


@pytest.mark.parametrize(
    ("tag", "more", "order"),
    [
        ("1.4", (), ["1.4"]),
        ("1.4", ("latest", "1"), ["1.4", "1", "latest"]),
        ("latest", ("1.4", "1"), ["1.4", "1", "latest"]),
        ("latest", (), ["latest"]),
        ("1.4", ("1.4", "2", "2"), ["1.4", "2"]),
        ("1.4", ("Latest",), ["1.4", "Latest"]),
    ],
)
def test_the_order_of_tags(tag: str, more: tuple[str, ...], order: list[str]) -> None:
    assert order_tags(tag, more) == order


def test_a_later_tag_that_fails_is_10_and_says_what_is_where(registry: FakeRegistry, scene: Scene) -> None:
    old = hold_other(registry, "1")
    same = registry.tag(REPOSITORY, "amd64")
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/2$", times=FOREVER)
    created = scene.create(*GIVEN, tags=["1", "2", "3", "latest"])
    ours = digest(created)
    assert isinstance(created.error, PartialError)
    assert (created.exit_code, created.published, created.status) == (10, Published.YES, "failed")
    assert [state(created, tag) for tag in ("1.4", "1", "2", "3", "latest")] == [
        (None, ours, Published.YES),
        (old, ours, Published.YES),
        (None, None, Published.NO),
        (None, None, Published.NO),
        (None, None, Published.NO),
    ]
    for words in (
        f"1.4 moved from nothing to {ours}",
        f"1 moved from {old} to {ours}",
        "2 did not move: it holds nothing",
        "3 was not tried and holds nothing",
        "latest was not tried and holds nothing",
    ):
        assert words in created.error.message
    assert registry.tags(REPOSITORY) == {
        "1.4": ours,
        "1": ours,
        "amd64": same,
        "arm64": registry.tag(REPOSITORY, "arm64"),
    }
    # Running it again, once it may, finishes it.
    registry.faults.clear()
    again = scene.create(*GIVEN, tags=["1", "2", "3", "latest"])
    assert published(again) == ours
    assert [found.moved for found in again.tags] == [
        Published.NO,
        Published.NO,
        Published.YES,
        Published.YES,
        Published.YES,
    ]
    assert again.status == "updated"


def test_a_later_tag_of_which_nobody_knows(registry: FakeRegistry, scene: Scene) -> None:
    def last_word(exchange: Any) -> Any:
        registry.faults.add(status(503), times=FOREVER)
        return reset()(exchange)

    registry.faults.add(last_word, method="PUT", path="/manifests/2$")
    created = scene.create(*GIVEN, tags=["2", "3"])
    assert created.exit_code == 10
    assert "2 held nothing, and what it holds now is not known; 3 was not tried" in str(created.error)
    assert state(created, "2")[2] == Published.UNKNOWN


def test_an_unchanged_tag_before_one_that_fails(registry: FakeRegistry, scene: Scene) -> None:
    ours = published(scene.create(*GIVEN))
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", times=FOREVER)
    created = scene.create(*GIVEN, tags=["2"])
    assert created.exit_code == 10
    assert f"2 did not move: it holds nothing; 1.4 holds {ours} as before" in str(created.error)


def test_images_that_are_missed_at_a_later_tag_are_still_10(registry: FakeRegistry, scene: Scene) -> None:
    gone = registry.tag(REPOSITORY, "arm64")
    refusal = error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown", detail=gone)
    registry.faults.add(refusal, method="PUT", path="/manifests/2$", times=FOREVER)
    created = scene.create(*GIVEN, tags=["2"])
    assert created.exit_code == 10
    assert the_finding(created, "image-missing").expected == gone


def test_no_tag_moves_if_any_of_them_may_not(registry: FakeRegistry, scene: Scene) -> None:
    hold_other(registry, "latest")
    created = scene.create(*GIVEN, tags=["latest"], no_overwrite=True)
    assert the_finding(created, "tag-exists").where == f"{scene.base}:latest"
    assert registry.count("PUT") == 0


def test_what_is_expected_is_about_the_targets_own_tag(registry: FakeRegistry, scene: Scene) -> None:
    old = hold_other(registry)
    registry.put_image(REPOSITORY, "latest", "linux/riscv64")
    published(scene.create(*GIVEN, tags=["latest", "2"], expect=old))
    assert len({registry.tags(REPOSITORY)[tag] for tag in ("1.4", "2", "latest")}) == 1


def test_what_is_expected_of_latest_is_about_latest_although_it_is_written_last(
    registry: FakeRegistry, scene: Scene
) -> None:
    old = hold_other(registry, "latest")
    published(scene.create(*GIVEN, tag="latest", tags=["1.4"], expect=old))
    refused = scene.create(":amd64", tag="latest", tags=["1.4"], expect=old)
    assert the_finding(refused, "tag-unexpected").where == f"{scene.base}:latest"


# Signals.


def interrupting(world: World, then: Any = None) -> Any:
    """Return an action that cancels the run, and then answers as usual or otherwise."""

    def action(exchange: Any) -> Any:
        world.cancel.set(2)
        return then(exchange) if then is not None else exchange.serve()

    return action


@pytest.mark.parametrize(
    ("where", "published_now", "puts"),
    [
        ({"path": "/manifests/amd64$"}, Published.NO, 0),
        ({"path": "/blobs/"}, Published.NO, 0),
        (PUT, Published.UNKNOWN, 1),
        (READ | {"after": 1}, Published.YES, 1),
    ],
)
def test_a_signal_ends_the_run_and_what_is_said_is_true(
    registry: FakeRegistry, scene: Scene, where: dict[str, Any], published_now: Published, puts: int
) -> None:
    world = World()
    registry.faults.add(interrupting(world), **where)
    created = scene.create(*GIVEN, world=world)
    assert registry.count("PUT") == puts
    if published_now:
        # It came when the work was done.
        assert created.exit_code in (0, 130)
    else:
        assert isinstance(created.error, InterruptedRun)
        assert created.exit_code == 130
    assert created.published == published_now


def test_a_signal_just_before_the_write_leaves_nothing_open(registry: FakeRegistry, scene: Scene) -> None:
    world = World()
    registry.faults.add(interrupting(world), after=1, **READ)
    created = scene.create(*GIVEN, no_overwrite=True, world=world)
    assert isinstance(created.error, InterruptedRun)
    assert (created.exit_code, created.published, registry.count("PUT")) == (130, Published.NO, 0)


@pytest.mark.parametrize("tags", [["2"], []])
def test_a_signal_is_not_taken_for_a_failure_of_a_later_tag(
    registry: FakeRegistry, scene: Scene, tags: list[str]
) -> None:
    world = World()
    registry.faults.add(
        interrupting(world, status(503)), method="PUT", path=f"/manifests/{tags[0] if tags else '1.4'}$"
    )
    created = scene.create(*GIVEN, tags=tags, world=world)
    assert isinstance(created.error, InterruptedRun)
    assert created.exit_code == 130
    assert created.tags[-1].moved == Published.UNKNOWN
    assert created.published == (Published.YES if tags else Published.UNKNOWN)


def test_a_signal_while_waiting_for_a_lagging_registry(registry: FakeRegistry, scene: Scene) -> None:
    world = World()
    registry.faults.add(false_created(), **PUT)
    registry.faults.add(interrupting(world), after=1, **READ)
    created = scene.create(*GIVEN, world=world)
    assert (created.exit_code, created.published) == (130, Published.UNKNOWN)


def test_a_signal_while_finding_out_what_became_of_a_write(registry: FakeRegistry, scene: Scene) -> None:
    world = World()
    scene.settings = TransportSettings(retries=1)
    registry.faults.add(status(503), **PUT)
    registry.faults.add(interrupting(world), after=1, **READ)
    created = scene.create(*GIVEN, world=world)
    assert isinstance(created.error, InterruptedRun)
    assert (created.exit_code, created.published) == (130, Published.UNKNOWN)


def test_a_signal_while_waiting_for_images_that_are_not_seen_yet(registry: FakeRegistry, scene: Scene) -> None:
    world = World()
    refusal = error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown")
    registry.faults.add(interrupting(world, refusal), times=FOREVER, **PUT)
    created = scene.create(*GIVEN, world=world)
    assert (created.exit_code, created.published, registry.count("PUT")) == (130, Published.NO, 1)


# Values.


@pytest.mark.parametrize(
    ("guard", "old", "conflict"),
    [
        (Guard(), None, False),
        (Guard(), "2", False),
        (Guard(no_overwrite=True), None, False),
        (Guard(no_overwrite=True), "1", False),
        (Guard(no_overwrite=True), "2", True),
        (Guard(expect=Digest("sha256", "2" * 64)), "2", False),
        (Guard(expect=Digest("sha256", "2" * 64)), "1", False),
        (Guard(expect=Digest("sha256", "2" * 64)), None, True),
        (Guard(expect=Digest("sha256", "2" * 64)), "3", True),
    ],
)
def test_guards(guard: Guard, old: str | None, conflict: bool) -> None:
    content = Content(b"", OCI_INDEX, Digest("sha256", "1" * 64))
    held = TagState("1.4", old=Digest("sha256", old * 64) if old else None)
    if conflict:
        with pytest.raises(ConflictError, match=r"registry\.example/web:1\.4 holds"):
            guard.check(held, content, "registry.example/web:1.4")
    else:
        guard.check(held, content, "registry.example/web:1.4")
    assert guard.any is (guard != Guard())
