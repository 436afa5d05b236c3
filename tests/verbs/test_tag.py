"""`tag`: many tags, in parallel, `latest` last, guarded, counted; and the templates that name the children of a list."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    PartialError,
    UnreachableError,
)
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_INDEX
from manifestctl.model.platforms import Platform
from manifestctl.model.published import Published
from manifestctl.stores.locate import Stores
from manifestctl.transport.profiles import Profile
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.publish import Guard
from manifestctl.verbs.tag import MOST_TAGS, TagRequest, tag
from manifestctl.verbs.tagging import check_quota
from manifestctl.verbs.template import filled
from tests.support import images
from tests.support.actions import content_type, error, hold, status
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import basic_authorization
from tests.support.world import World
from tests.verbs.copying import done, layout_tags, tagged, writes
from tests.verbs.scene import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.model.location import Location
    from manifestctl.stores.base import OpenStore, Store

LIST = images.buildx_index([images.image(name) for name in ("linux/amd64", "linux/arm/v7")])
OTHER = images.image("linux/riscv64", seed="other")
SHA = "sha256:" + "0" * 64
PUT: dict[str, Any] = {"method": "PUT", "path": "/manifests/"}


@pytest.fixture
def held(registry: FakeRegistry) -> FakeRegistry:
    registry.put(REPOSITORY, "1.4", LIST)
    return registry


def name(registry: FakeRegistry, text: str = "1.4") -> str:
    return registry.reference(REPOSITORY, text)


def puts(registry: FakeRegistry) -> list[str]:
    return [reference for _, reference in registry.manifest_puts]


# Tags.


def test_tags_and_nothing_else_moves(held: FakeRegistry) -> None:
    result = tagged(name(held), "1", "latest", "stable", "1")
    assert done(result) == LIST.digest
    assert held.tags(REPOSITORY) == dict.fromkeys(("1.4", "1", "latest", "stable"), LIST.digest)
    assert puts(held)[-1] == "latest"
    assert len(writes(held)) == 3
    assert [(state.tag, state.moved) for state in result.tags] == [
        (tag, Published.YES) for tag in ("1", "latest", "stable")
    ]
    manifest = held.manifest(REPOSITORY, "stable")
    assert manifest is not None
    assert manifest.data == LIST.manifest
    # The list once, and each tag before and after.
    assert held.count("GET") == 1 + 2 * 3
    assert held.count("GET|HEAD", "/blobs/") == 0


def test_hundreds_of_tags(held: FakeRegistry) -> None:
    names = [f"t{number}" for number in range(299)]
    assert done(tagged(name(held), *names, "latest")) == LIST.digest
    assert held.tags(REPOSITORY) == dict.fromkeys(("1.4", "latest", *names), LIST.digest)
    assert puts(held)[-1] == "latest"


def test_they_are_written_in_parallel_and_latest_alone(held: FakeRegistry) -> None:
    together = threading.Barrier(4, timeout=20)
    held.faults.add(hold(together.wait), method="PUT", path="/manifests/[abcd]$", times=FOREVER)
    assert done(tagged(name(held), "latest", "a", "b", "c", "d", concurrency=4)) == LIST.digest
    assert (sorted(puts(held)[:4]), puts(held)[4:]) == (["a", "b", "c", "d"], ["latest"])


def test_tags_that_are_right_are_left_alone(held: FakeRegistry) -> None:
    held.put(REPOSITORY, "1", LIST)
    held.immutable_tags = True
    result = tagged(name(held), "1", "2", no_overwrite=True)
    assert done(result) == LIST.digest
    assert puts(held) == ["2"]
    again = tagged(name(held), "1", "2")
    assert (done(again), puts(held)) == (LIST.digest, ["2"])
    assert [state.moved for state in again.tags] == [Published.NO, Published.NO]


@pytest.mark.parametrize("selector", ["1.4", LIST.digest])
def test_what_is_tagged_may_be_named_by_digest(held: FakeRegistry, selector: str) -> None:
    assert done(tagged(name(held, selector), "2")) == LIST.digest


def test_in_a_layout(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"1.4": LIST})
    assert done(tagged(f"oci:{tmp_path}:1.4", "2", each="{tag}-{arch}{variant}")) == LIST.digest
    assert sorted(layout_tags(tmp_path)) == ["1.4", "1.4-amd64", "1.4-armv7", "2"]


def test_a_store_that_knows_no_media_types(held: FakeRegistry) -> None:
    held.faults.add(content_type("application/json"), method="GET", path="/manifests/", times=FOREVER)
    assert done(tagged(name(held), "2")) == LIST.digest
    stored = held.manifest(REPOSITORY, "2")
    assert stored is not None
    assert stored.media_type == OCI_INDEX


def test_what_is_not_there_cannot_be_tagged(held: FakeRegistry) -> None:
    result = tagged(name(held, "absent"), "2")
    assert (result.exit_code, result.content, result.tags, writes(held)) == (3, None, [], [])


def test_the_scope_is_asked_for_once() -> None:
    auth = BearerAuth(users={"ci": "secret"})
    with FakeRegistry(auth=auth) as registry:
        registry.put(REPOSITORY, "1.4", LIST)
        authorization = basic_authorization("ci", "secret").removeprefix("Basic ")
        world = World({"DOCKER_AUTH_CONFIG": f'{{"auths":{{"{registry.host}":{{"auth":"{authorization}"}}}}}}'})
        done(tagged(name(registry), "2", world=world))
        assert [list(asked.scopes) for asked in auth.requests] == [[f"repository:{REPOSITORY}:pull,push"]]


# Guards.


@pytest.mark.parametrize(
    ("options", "existing"),
    [({"no_overwrite": True}, OTHER), ({"expect": LIST.digest}, OTHER), ({"expect": OTHER.digest}, None)],
)
def test_all_are_looked_at_before_any_moves(
    held: FakeRegistry, options: dict[str, Any], existing: images.Content | None
) -> None:
    if existing is not None:
        held.put(REPOSITORY, "c", existing)
    result = tagged(name(held), "a", "b", "c", **options)
    assert isinstance(result.error, ConflictError)
    assert (result.exit_code, writes(held)) == (7, [])
    assert [state.moved for state in result.tags] == [Published.NO] * 3


def test_what_is_expected_of_the_new_tags(held: FakeRegistry) -> None:
    held.put(REPOSITORY, "stable", OTHER)
    assert done(tagged(name(held), "stable", expect=OTHER.digest, each="{tag}-{arch}")) == LIST.digest
    assert held.tag(REPOSITORY, "stable") == LIST.digest


def test_the_guard_reaches_the_children(held: FakeRegistry) -> None:
    held.put(REPOSITORY, "1.4-amd64", OTHER)
    result = tagged(name(held), each="{tag}-{arch}", no_overwrite=True)
    assert isinstance(result.error, ConflictError)
    assert writes(held) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": ("no tag",)}, "'no tag' is not a tag"),
        ({}, "there is no new tag"),
        ({"tags": tuple(f"t{n}" for n in range(MOST_TAGS + 1))}, f"{MOST_TAGS + 1} tags are more than"),
        ({"each": "{nothing}"}, "is not a template: it has {nothing} in it"),
        ({"each": "{tag} {arch}"}, "'tag amd64' is not a tag"),
        ({"each": ""}, "'' is not a tag"),
        ({"tags": ("1",), "guard": Guard(no_overwrite=True, expect=Digest.parse(SHA))}, "both given"),
    ],
)
def test_requests_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TagRequest(parse_location("r.example/a:1"), **options)


# Failures.


def test_some_that_fail_are_10_and_running_it_again_moves_what_is_left(held: FakeRegistry) -> None:
    held.faults.add(error(400, "TAG_INVALID", "tag is immutable and cannot be overwritten"), method="PUT", path="/b$")
    result = tagged(name(held), "a", "b", "c", "latest")
    assert isinstance(result.error, PartialError)
    assert result.exit_code == 10
    moved = [f"{tag} moved from nothing to {LIST.digest}" for tag in ("a", "c")]
    words = ["b did not move: it holds nothing", "latest was not tried and holds nothing", *moved]
    assert result.error.message.endswith(f"the tags now: {'; '.join(words)}")
    assert sorted(held.tags(REPOSITORY)) == ["1.4", "a", "c"]
    assert done(tagged(name(held), "a", "b", "c", "latest")) == LIST.digest
    assert sorted(puts(held)) == ["a", "b", "c", "latest"]


def test_tags_are_read_back_once_all_are_written(held: FakeRegistry) -> None:
    # Debian's registry answers 500 to who reads a manifest while it is given another tag.
    done(tagged(name(held), "a", "b", "latest", "c", concurrency=1))
    asked = [(recorded.method, recorded.path.rpartition("/")[2]) for recorded in held.requests]
    tags = ["a", "b", "c"]
    first = asked.index(("PUT", "a"))
    assert asked[first:] == [
        *(("PUT", tag) for tag in tags),
        *(("GET", tag) for tag in tags),
        ("PUT", "latest"),
        ("GET", "latest"),
    ]


def test_latest_that_fails(held: FakeRegistry) -> None:
    held.faults.add(status(403), method="PUT", path="/latest$")
    result = tagged(name(held), "latest", "a")
    assert (result.exit_code, sorted(held.tags(REPOSITORY))) == (10, ["1.4", "a"])


@pytest.mark.parametrize(
    ("action", "kind"),
    [(error(403, "DENIED", "no"), DeniedError), (status(503), UnreachableError), (status(501), UnreachableError)],
)
def test_if_none_can_be_written_it_is_that_error_and_soon(
    held: FakeRegistry, action: Any, kind: type[ManifestctlError]
) -> None:
    held.faults.add(action, **PUT, times=FOREVER)
    result = tagged(name(held), *(f"t{number}" for number in range(200)), "latest", concurrency=2)
    assert isinstance(result.error, kind)
    assert result.exit_code == kind.exit_code
    assert held.tags(REPOSITORY) == {"1.4": LIST.digest}
    # The others would fare the same, and are not tried.
    assert held.count("PUT") <= 2 * 5


def test_many_that_fail_are_not_all_named(held: FakeRegistry) -> None:
    held.faults.add(
        error(400, "TAG_INVALID", "tag is immutable and cannot be overwritten"),
        times=FOREVER,
        method="PUT",
        path="/manifests/t",
    )
    result = tagged(name(held), "a", *(f"t{number}" for number in range(25)))
    assert result.error is not None
    assert result.error.message.endswith("; and 6 more")
    assert result.error.message.count("did not move") == 20


def test_the_error_that_counts_most_is_told(held: FakeRegistry) -> None:
    held.faults.add(error(400, "TAG_INVALID", "tag is immutable and cannot be overwritten"), method="PUT", path="/a$")
    held.faults.add(error(403, "DENIED", "no"), method="PUT", path="/b$")
    assert tagged(name(held), "a", "b").exit_code == 4


@pytest.mark.parametrize("tags", [("a", "b", "c"), ("latest",)])
def test_an_interrupted_run_is_no_failure_of_a_tag(held: FakeRegistry, tags: tuple[str, ...]) -> None:
    world = World()

    def interrupt(request: Any) -> bool:
        del request
        world.cancel.set(2)
        return False

    held.faults.add(status(500), **PUT, when=interrupt, times=FOREVER)
    result = tagged(name(held), *tags, world=world, concurrency=1)
    assert isinstance(result.error, InterruptedRun)
    assert result.exit_code == 130


# The quota.


class Counted:
    """A store that has a quota, around one that has none."""

    def __init__(self, store: Store, most: int | None) -> None:
        self._store = store
        self.tags_per_image = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def counted(stores: Stores, most: int | None) -> OpenStore:
    def opened(location: Location, *, write: bool = False) -> Store:
        store: Any = Counted(stores(location, write=write), most)
        return cast("Store", store)

    return opened


@pytest.mark.parametrize(
    ("most", "tags", "each", "refused"),
    [
        (3, ("a", "b"), None, False),
        (3, ("a", "b", "b", "1.4"), None, False),
        (3, ("a", "b", "c"), None, True),
        (None, ("a", "b", "c"), None, False),
        # Each child is an image of its own.
        (2, ("a",), "{tag}-{arch}", False),
    ],
)
def test_a_quota_is_kept_before_anything_moves(
    held: FakeRegistry, most: int | None, tags: tuple[str, ...], each: str | None, refused: bool
) -> None:
    world = World()
    with Stores.of_system(world.runtime) as stores:
        request = TagRequest(parse_location(name(held)), tags, each)
        result = tag(request, counted(stores, most), world.runtime)
    assert isinstance(result.error, InputError) == refused
    assert (writes(held) == []) == refused
    if refused and result.error is not None:
        assert f"4 tags for one image are more than the {most} that it may have" in result.error.message
        assert (result.exit_code, held.find()) == (2, [])


def test_stores_tell_their_quota(registry: FakeRegistry, tmp_path: Path) -> None:
    with Stores.of_system(World().runtime) as stores:
        ecr = stores(parse_location("public.ecr.aws/alias/web"))
        private = stores(parse_location("123456789012.dkr.ecr.eu-west-1.amazonaws.com/web"))
        for store in (ecr, private):
            check_quota(store, [f"t{number}" for number in range(1000)])
            with pytest.raises(InputError, match="1001 tags for one image are more than the 1000"):
                check_quota(store, [f"t{number}" for number in range(1001)])
        for text in (registry.reference("web"), f"oci:{tmp_path}"):
            check_quota(stores(parse_location(text)), [f"t{number}" for number in range(1001)])
        check_quota(ecr, [])
    assert Profile().tags_per_image is None


# Templates.

PLATFORM_TEMPLATES = [
    ("{tag}-{arch}{variant}", "linux/arm/v7", "1.4-armv7"),
    ("{tag}-{arch}{variant}", "linux/amd64", "1.4-amd64"),
    ("{os}_{arch}", "linux/amd64", "linux_amd64"),
    ("{platform}", "linux/arm/v7", "linux-arm-v7"),
    ("{tag}.{platform}", "windows/amd64:10.0.20348.2340", "1.4.windows-amd64-10.0.20348.2340"),
    ("plain", "linux/amd64", "plain"),
]


@pytest.mark.parametrize(("template", "platform", "expected"), PLATFORM_TEMPLATES)
def test_templates(template: str, platform: str, expected: str) -> None:
    assert filled(template, "1.4", Platform.parse(platform)) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{}",
        "{0}",
        "{arch!r}",
        "{arch.__class__}",
        "{arch:>9999999999}",
        "{Arch}",
        "{",
        "{tag",
        "}",
        "a b",
        "{{tag}}",
        "é",
    ],
)
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(InputError):
        filled(template, "1.4", Platform.parse("linux/amd64"))


def test_a_template_that_needs_a_tag() -> None:
    assert filled("{arch}", "", Platform.parse("linux/amd64")) == "amd64"
    with pytest.raises(InputError, match="named by its digest alone"):
        filled("{tag}-{arch}", "", Platform.parse("linux/amd64"))


# Children.


def test_each_child_gets_a_tag(held: FakeRegistry) -> None:
    result = tagged(name(held), "2", each="{tag}-{arch}{variant}")
    assert done(result) == LIST.digest
    amd64, arm, *_ = LIST.children
    assert held.tags(REPOSITORY) == {
        "1.4": LIST.digest,
        "2": LIST.digest,
        "1.4-amd64": amd64.digest,
        "1.4-armv7": arm.digest,
    }
    assert {state.tag for state in result.tags} == {"2", "1.4-amd64", "1.4-armv7"}


def test_a_list_without_a_tag_is_latest(held: FakeRegistry) -> None:
    held.put(REPOSITORY, "latest", LIST)
    done(tagged(held.reference(REPOSITORY), each="{tag}-{arch}"))
    assert "latest-amd64" in held.tags(REPOSITORY)


def test_a_child_whose_platform_only_its_config_knows(registry: FakeRegistry) -> None:
    children = [images.image("linux/amd64"), images.image("linux/arm64")]
    artifact = images.attestation(children[0], artifact=True)
    entries = [images.descriptor(child.manifest, child.media_type) for child in (*children, artifact)]
    nested = images.index([images.image("linux/386")])
    registry.put(REPOSITORY, "1.4", images.index([*entries, nested]))
    for child in (*children, artifact):
        registry.put(REPOSITORY, None, child)
    done(tagged(name(registry), each="{tag}-{arch}"))
    assert sorted(registry.tags(REPOSITORY)) == ["1.4", "1.4-amd64", "1.4-arm64"]


WINDOWS = images.index([images.image(f"windows/amd64:10.0.{build}.1") for build in (17763, 20348)])


@pytest.mark.parametrize(
    ("content", "tags", "each", "message"),
    [
        (LIST, (), "{tag}-{os}", "gives two images the tag 1.4-linux"),
        (LIST, (), "{tag}", "gives the image for linux/amd64 the tag 1.4, which is the list's"),
        (LIST, ("armv7",), "{arch}{variant}", "gives the image for linux/arm/v7 the tag armv7, which is the list's"),
        (WINDOWS, (), "{tag}-{arch}{variant}", "gives two images the tag 1.4-amd64"),
        (OTHER, (), "{tag}-{arch}", "is not a list, so it has no children to tag"),
        (images.index([]), (), "{tag}-{arch}", "has no image in it that could be tagged"),
    ],
)
def test_what_cannot_be_named_is_found_before_anything_moves(
    registry: FakeRegistry, content: images.Content, tags: tuple[str, ...], each: str, message: str
) -> None:
    registry.put(REPOSITORY, "1.4", content)
    result = tagged(name(registry), *tags, each=each)
    assert isinstance(result.error, InputError)
    assert message in result.error.message
    assert (result.exit_code, writes(registry)) == (2, [])


def test_a_list_that_has_one_image_twice(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put(REPOSITORY, "1.4", images.index([image, image.descriptor(annotations={"again": "yes"})]))
    done(tagged(name(registry), each="{tag}-{arch}"))
    assert registry.tags(REPOSITORY)["1.4-amd64"] == image.digest


def test_windows_images_are_told_apart_by_their_platform(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, "1.4", WINDOWS)
    done(tagged(name(registry), each="{platform}"))
    assert sorted(registry.tags(REPOSITORY)) == ["1.4", "windows-amd64-10.0.17763.1", "windows-amd64-10.0.20348.1"]


def test_a_registry_that_slows_down(held: FakeRegistry) -> None:
    held.faults.add(status(429, retry_after=1), **PUT, times=5)
    settings = TransportSettings()
    assert done(tagged(name(held), *(f"t{number}" for number in range(30)), settings=settings)) == LIST.digest
    assert len(held.tags(REPOSITORY)) == 31
