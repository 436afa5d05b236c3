"""An engine's images: listed, found and exported, with all three kinds of stores and every version of the API."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import (
    DocumentError,
    InputError,
    InterruptedRun,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted
from manifestctl.model.digest import Digest
from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST
from manifestctl.model.platforms import Platform
from manifestctl.stores.engine import Engine, Selected
from manifestctl.stores.engine_images import EngineImage, find_images, near_names, read_summaries
from manifestctl.stores.tar_index import TarIndex
from tests.support import actions, images
from tests.support.fake_engine import CREATED, FakeEngine, docker_archive, oci_archive, replaced
from tests.support.faults import FOREVER
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.spool import Spool
    from manifestctl.stores.engine_images import StoreKind
    from tests.support.fake_engine import Flavour
    from tests.support.faults import Action
    from tests.support.images import Image

AMD64 = images.image("linux/amd64")
ARM64 = images.image("linux/arm64/v8")
ARM = images.image("linux/arm/v7", docker=True)
BOTH = images.index([AMD64, ARM64])
ATTESTED = images.buildx_index([AMD64])
ZSTD = images.repacked(images.image("linux/amd64"), "zstd")
WINDOWS = [images.image(f"windows/amd64:10.0.{build}.1") for build in (17763, 20348)]

VERSIONS = [("graph-driver", "1.40"), ("graph-driver", "1.46"), ("graph-driver", "1.51"), ("podman", "1.41")]
"""Engines in which an image has one platform."""


@contextlib.contextmanager
def connected(engine: FakeEngine, world: World | None = None) -> Iterator[Engine]:
    """Give an engine's images."""
    world = world or World()
    world.environ["DOCKER_HOST"] = engine.address
    with Engine.connect(world.runtime) as found:
        yield found


def platforms(image: EngineImage) -> list[str]:
    return [str(platform) for platform in image.platforms]


@dataclass(frozen=True, slots=True)
class Exported:
    """An archive from an engine, and what it was asked for."""

    selected: Selected
    spool: Spool

    @property
    def selector(self) -> str:
        return str(self.selected.digest)


def export(found: Engine, image: EngineImage, platform: Platform | None = None, *, every: bool = False) -> Exported:
    selected = found.select(image, platform, every=every)
    return Exported(selected, found.export(selected))


def content(exported: Exported) -> bytes:
    """Return the bytes of an export and close it."""
    with exported.spool as spool:
        return spool.read(0, spool.size)


def summary(digit: str = "a", **members: object) -> dict[str, object]:
    """Return what an engine's list says of an image."""
    return {"Id": f"sha256:{digit * 64}", "RepoTags": [], "RepoDigests": [], **members}


class TestListing:
    @pytest.mark.parametrize(("flavour", "version"), VERSIONS)
    def test_images_of_one_platform(self, flavour: Flavour, version: str) -> None:
        with FakeEngine(flavour, version) as engine:
            engine.add(AMD64, "app/web:1", "app/web:latest")
            engine.add(WINDOWS[0], "registry.example.com/win:1")
            engine.add(ARM64)
            with connected(engine) as found:
                listed = found.list_images()
        assert [image.names for image in listed] == [
            ("app/web:1", "app/web:latest"),
            ("registry.example.com/win:1",),
            (),
        ]
        assert [str(image.id) for image in listed] == [part.config_digest for part in (AMD64, WINDOWS[0], ARM64)]
        assert {image.kind for image in listed} == {flavour}
        assert {image.created for image in listed} == {CREATED}
        assert all(image.size for image in listed)
        # Podman tells neither the variant nor the version of Windows.
        expected = ["linux/amd64", "windows/amd64:10.0.17763.1", "linux/arm64/v8"]
        assert [platforms(image) for image in listed] == [
            [platform if flavour != "podman" else platform.partition(":")[0].removesuffix("/v8")]
            for platform in expected
        ]

    @pytest.mark.parametrize("version", ["1.47", "1.48", "1.51", "1.55"])
    def test_the_containerd_image_store(self, version: str) -> None:
        with FakeEngine("containerd", version) as engine:
            engine.add(BOTH, "web:1", missing=[ARM64])
            engine.add(ATTESTED, "attested:1")
            engine.add(ARM, "arm:1")
            with connected(engine) as found:
                both, attested, single = found.list_images()
            spoken = min(version, "1.51")
            assert engine.asked() == ["/_ping", f"/v{spoken}/images/json?manifests=1"]
        assert platforms(both) == ["linux/amd64", "linux/arm64/v8"]
        assert [part.available for part in both.parts] == [True, False]
        assert [str(part.digest) for part in both.parts] == [AMD64.digest, ARM64.digest]
        assert str(both.id) == BOTH.digest
        assert (platforms(attested), platforms(single)) == (["linux/amd64"], ["linux/arm/v7"])
        assert {image.kind for image in (both, attested, single)} == {"containerd"}
        assert [image.is_list for image in (both, attested, single)] == [True, True, False]
        assert both.media_type == (OCI_INDEX if version != "1.47" else "")

    @pytest.mark.parametrize("version", ["1.42", "1.43", "1.46"])
    def test_an_older_containerd_image_store_says_no_platforms(self, version: str) -> None:
        with FakeEngine("containerd", version) as engine:
            engine.add(BOTH, "web:1")
            with connected(engine) as found:
                (image,) = found.list_images()
            assert engine.asked() == ["/_ping", f"/v{version}/info", f"/v{version}/images/json"]
        assert (image.kind, image.parts, image.platforms) == ("containerd", (), ())

    @pytest.mark.parametrize(
        "information", [{}, [], {"DriverStatus": None}, {"DriverStatus": ["x"]}, {"DriverStatus": [["a", "b"]]}]
    )
    def test_an_engine_that_says_little_of_itself(self, information: object) -> None:
        with FakeEngine(version="1.44") as engine:
            engine.add(AMD64, "web:1")
            engine.faults.add(replaced(lambda: json.dumps(information).encode()), path="/info$")
            with connected(engine) as found:
                assert found.list_images()[0].kind == "graph-driver"

    def test_a_list_in_podman(self) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(AMD64, "localhost/web:1")
            engine.add(BOTH, "localhost/list:1")
            engine.add(images.index([ARM64], docker=True), "localhost/other:1")
            with connected(engine) as found:
                single, both, other = found.list_images()
        assert (single.is_list, both.is_list, other.is_list) == (False, True, True)
        assert single.media_type == OCI_MANIFEST
        assert (both.media_type, other.media_type) == (OCI_INDEX, DOCKER_LIST)
        assert platforms(both) == ["linux/amd64", "linux/arm64/v8"]
        assert [part.available for part in both.parts] == [True, False]
        assert [str(part.digest) for part in both.parts] == [AMD64.config_digest, ARM64.digest]
        assert [part.available for part in other.parts] == [False]

    def test_a_list_that_podman_marks_as_one(self) -> None:
        with FakeEngine("podman", "1.41", libpod="5.4.0") as engine:
            engine.add(ATTESTED, "localhost/list:1", IsManifestList=True)
            with connected(engine) as found:
                (image,) = found.list_images()
            assert not engine.count(path_regex="/images/.*/json$")
        assert platforms(image) == ["linux/amd64"]

    def test_an_image_that_is_removed_meanwhile(self) -> None:
        for flavour in ("graph-driver", "podman"):
            with FakeEngine(flavour, "1.41") as engine:
                gone = engine.add(AMD64, "gone:1").removeprefix("sha256:")
                engine.add(ARM64, "stays:1")
                missing = actions.status(404, b'{"message":"no such image"}')
                engine.faults.add(missing, path=f"{gone}/(json|exists)$", times=FOREVER)
                with connected(engine) as found:
                    assert [image.names for image in found.list_images()] == [("stays:1",)]
                    with pytest.raises(NotFoundError, match="there is no image 'gone:1' in the"):
                        found.list_images("gone:1")

    def test_an_engine_that_cannot_say_whether_an_image_is_a_list(self) -> None:
        with FakeEngine("podman", "1.41") as engine:
            made = engine.add(AMD64, "web:1").removeprefix("sha256:")
            engine.add(ARM64, "stays:1")
            engine.faults.add(actions.status(404), path=f"images/{made}/json$")
            engine.faults.add(actions.status(500, b'{"message":"database is locked"}'), path="/exists$")
            with connected(engine) as found, pytest.raises(UnreachableError, match='said 500 "database is locked"'):
                found.list_images()

    def test_only_what_is_asked_for_is_inspected(self) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1", "web:2")
            made = engine.add(ARM64, "web:3")
            engine.add(WINDOWS[0], "app:1")
            with connected(engine) as found:
                assert [image.names for image in found.list_images("web:3")] == [("web:3",)]
                assert engine.asked()[2:] == [f"/v1.51/images/{made}/json"]
                assert [image.names for image in found.list_images("web")] == [("web:1", "web:2"), ("web:3",)]

    def test_names_that_are_none(self) -> None:
        value = [summary(RepoTags=["<none>:<none>"], RepoDigests=["<none>@<none>"]), summary("b", RepoTags=None)]
        assert [(image.names, image.digests) for image in read_summaries(value, "graph-driver", "x")] == [((), ())] * 2

    @pytest.mark.parametrize("unknown", [None, -1, 0, -62135596800, "1", True, 1.5, 2**64])
    def test_a_date_that_is_not_known(self, unknown: object) -> None:
        (image,) = read_summaries([summary(Created=unknown)], "graph-driver", "x")
        assert image.created is None

    @pytest.mark.parametrize(("size", "known"), [(0, 0), (7, 7), (-1, None), (None, None), (False, None)])
    def test_a_size(self, size: object, known: int | None) -> None:
        (image,) = read_summaries([summary(Size=size)], "graph-driver", "x")
        assert image.size == known

    def test_entries_with_one_id_are_one_image(self) -> None:
        value = [summary(RepoTags=["a:1"]), summary(RepoTags=["b:1", "a:1"], RepoDigests=["b@sha256:" + "1" * 64])]
        (image,) = read_summaries(value, "containerd", "x")
        assert image.names == ("a:1", "b:1")
        assert image.digests == ("b@sha256:" + "1" * 64,)

    def test_labels(self) -> None:
        named, bare = read_summaries([summary(RepoTags=["a\x1b:1"]), summary("b")], "graph-driver", "x")
        assert (named.label, bare.label) == (r"a\x1b:1", "sha256:bbbbbbbbbbbb")

    @pytest.mark.parametrize(
        "value",
        [
            None,
            {},
            [7],
            [{}],
            [{"Id": 7}],
            [{"Id": "sha256:abc"}],
            [{"Id": "a" * 63}],
            [{"id": "a" * 64}],
            [summary(RepoTags="web")],
            [summary(RepoTags=[7])],
            [summary(Descriptor=7)],
            [summary(Descriptor={"mediaType": OCI_INDEX})],
            [summary(Manifests={})],
            [summary(Manifests=[7])],
            [summary(Manifests=[{"Kind": "image"}])],
            [summary(Manifests=[{"Kind": 7}])],
            [summary(Manifests=[{"Kind": "image", "Descriptor": AMD64.descriptor(), "Size": 7}])],
            [summary(Manifests=[{"Kind": "image", "Descriptor": AMD64.descriptor(), "ImageData": {"Platform": 7}}])],
        ],
    )
    def test_an_answer_that_is_not_a_list_of_images(self, value: object) -> None:
        with pytest.raises(DocumentError):
            read_summaries(value, "graph-driver", "x")
        with FakeEngine() as engine:
            engine.faults.add(replaced(lambda: json.dumps(value).encode()), path="images/json")
            with connected(engine) as found, pytest.raises(UnreachableError) as caught:
                found.list_images()
            assert caught.value.message.startswith(f"listing the images of {found.name} failed: its answer: ")

    @pytest.mark.parametrize("data", [None, {}, 7, {"Platform": None}])
    def test_a_manifest_of_which_only_the_descriptor_tells_the_platform(self, data: object) -> None:
        entries = [
            {"Kind": "image", "Descriptor": AMD64.descriptor(), "Available": True, "ImageData": data},
            {"Kind": "image", "Descriptor": AMD64.descriptor(platform=None), "ImageData": data},
            {"Kind": "unknown", "Descriptor": AMD64.descriptor()},
        ]
        (image,) = read_summaries([summary(Manifests=entries)], "graph-driver", "x")
        assert image.kind == "containerd"
        assert [platform.shown for platform in image.platforms] == ["linux/amd64", "no platform"]
        assert [(part.size, part.available) for part in image.parts] == [(None, True), (None, False)]

    @pytest.mark.parametrize("flavour", ["graph-driver", "podman"])
    @pytest.mark.parametrize("value", [[], {}, {"Id": "x"}, {"Id": "a" * 64, "Os": 7}])
    def test_an_inspection_that_is_not_one(self, flavour: Flavour, value: object) -> None:
        with FakeEngine(flavour, "1.41") as engine:
            made = engine.add(AMD64, "web:1").removeprefix("sha256:")
            body = json.dumps(value).replace("a" * 64, made).encode()
            engine.faults.add(replaced(lambda: body), path=f"{made}/json")
            with connected(engine) as found, pytest.raises(UnreachableError, match="inspecting web:1 of the"):
                found.list_images()

    def test_an_inspection_of_another_image(self) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            engine.faults.add(replaced(lambda: json.dumps({"Id": "a" * 64}).encode()), path=r"sha256.*/json")
            with connected(engine) as found, pytest.raises(UnreachableError, match="about another image"):
                found.list_images()

    @pytest.mark.parametrize("value", [[], {"manifests": 7}, {"manifests": [7]}, {"Manifests": []}])
    def test_a_list_in_podman_that_is_not_one(self, value: object) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(BOTH, "localhost/list:1")
            engine.faults.add(replaced(lambda: json.dumps(value).encode()), path="manifests/.*/json")
            with connected(engine) as found, pytest.raises(UnreachableError, match="its answer: "):
                found.list_images()

    def test_a_list_in_podman_with_attestations_and_an_entry_without_a_platform(self) -> None:
        entries = [*json.loads(ATTESTED.manifest)["manifests"], ARM64.descriptor(platform=None)]
        with FakeEngine("podman", "1.41") as engine:
            engine.add(images.index(entries, fields={"mediaType": None}), "localhost/list:1", IsManifestList=True)
            with connected(engine) as found:
                (image,) = found.list_images()
        assert [platform.shown for platform in image.platforms] == ["linux/amd64", "no platform"]
        assert (image.is_list, image.media_type) == (True, "")

    def test_many_images_are_inspected_over_few_connections(self) -> None:
        with FakeEngine() as engine:
            for number in range(60):
                engine.add(images.image(seed=str(number)), f"web:{number}")
            with connected(engine) as found:
                assert [image.names for image in found.list_images()] == [(f"web:{number}",) for number in range(60)]
            assert engine.count() == 62
            assert engine.used_connections <= 16


IDS = {"a": "abcd" + "1" * 60, "b": "abce" + "2" * 60, "c": "f00d" + "3" * 60}


def held(kind: StoreKind = "graph-driver") -> list[EngineImage]:
    """Return a few images of an engine."""
    local = "localhost/" if kind == "podman" else ""
    return [
        EngineImage(
            Digest("sha256", IDS["a"]), kind, (f"{local}web:1", f"{local}web:latest"), (f"web@sha256:{'7' * 64}",)
        ),
        EngineImage(Digest("sha256", IDS["b"]), kind, ("registry.example.com:5000/team/web:2", "not a name")),
        EngineImage(Digest("sha256", IDS["c"]), kind, ("docker.io/library/abcd:latest", "team/app:1"), ("no digest",)),
    ]


class TestFinding:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("web:1", "a"),
            ("web", "a"),
            ("docker.io/library/web:1", "a"),
            ("docker.io/web", "a"),
            ("library/web", "a"),
            ("registry.example.com:5000/team/web:2", "b"),
            ("registry.example.com:5000/team/web", ""),
            ("team/web:2", ""),
            ("not a name", "b"),
            ("team/app:1", "c"),
            ("app:1", ""),
            ("localhost/web:1", ""),
            # A name goes before the beginning of an id.
            ("abcd", "c"),
            ("abcd1", "a"),
            ("abc", ""),
            ("abce", "b"),
            ("sha256:abcd", "a"),
            ("sha256:abc", ""),
            ("f00d3", "c"),
            (IDS["a"], "a"),
            (f"sha256:{IDS['a']}", "a"),
            (IDS["a"][:-1] + "0", ""),
            (f"web@sha256:{'7' * 64}", "a"),
            (f"web:9@sha256:{'7' * 64}", "a"),
            (f"web@sha256:{'8' * 64}", ""),
            (f"team/app@sha256:{'7' * 64}", ""),
            (f"sha256:{'7' * 64}", "a"),
            ("7" * 64, "a"),
            ("sha256:" + "7" * 63, ""),
            ("missing:1", ""),
        ],
    )
    def test_a_name_or_an_id(self, text: str, expected: str) -> None:
        found = [image.id.encoded for image in find_images(held(), text)]
        assert found == ([IDS[expected]] if expected else [])

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("web", "a"),
            ("web:1", "a"),
            ("web:3", ""),
            ("team/app", "c"),
            ("team/app:1", "c"),
            ("registry.example.com:5000/team/web", "b"),
            ("abcd", "c"),
            ("abce", "b"),
            ("abc", ""),
            (f"web@sha256:{'7' * 64}", "a"),
            (f"web:9@sha256:{'8' * 64}", ""),
            ("1", ""),
        ],
    )
    def test_a_repository_may_mean_all_tags(self, text: str, expected: str) -> None:
        found = [image.id.encoded for image in find_images(held(), text, every_tag=True)]
        assert found == ([IDS[expected]] if expected else [])

    def test_all_tags_of_a_repository_come_first(self) -> None:
        image = replace(held()[0], names=("app:1", "web:1", "web:2"))
        (found,) = find_images([image], "web", every_tag=True)
        assert found.names == ("web:1", "web:2", "app:1")

    def test_what_was_pulled_by_its_digest_is_of_its_repository(self) -> None:
        image = replace(held()[0], names=())
        assert find_images([image], "web", every_tag=True) == [image]
        assert find_images([image], "web") == []

    @pytest.mark.parametrize("text", ["web:1", "web", "localhost/web:1", "localhost/web"])
    def test_podmans_names_of_this_machine(self, text: str) -> None:
        assert [image.id.encoded for image in find_images(held("podman"), text)] == [IDS["a"]]

    @pytest.mark.parametrize("text", ["docker.io/web:1", "docker.io/library/web", "library/web:2", "example.com/web:1"])
    def test_other_names_are_not_of_this_machine(self, text: str) -> None:
        assert find_images(held("podman"), text) == []

    @pytest.mark.parametrize(
        ("text", "label"),
        [("web", "web:latest"), ("web:1", "web:1"), ("docker.io/library/web:latest", "web:latest"), ("abcd1", "web:1")],
    )
    def test_the_name_that_was_meant_comes_first(self, text: str, label: str) -> None:
        (image,) = find_images(held(), text)
        assert image.label == label
        assert set(image.names) == {"web:1", "web:latest"}

    def test_a_digest_is_not_made_a_name(self) -> None:
        (image,) = find_images(held(), f"web@sha256:{'7' * 64}")
        assert image.names == ("web:1", "web:latest")

    @pytest.mark.parametrize("text", ["", "Web:1", "a b", "https://example.com/web", "web:", "web@sha256:abc"])
    def test_what_is_neither(self, text: str) -> None:
        with pytest.raises(InputError):
            find_images(held(), text)

    def test_nothing_is_found_where_nothing_is(self) -> None:
        assert find_images([], "web") == []
        assert near_names([], "web") == []

    @pytest.mark.parametrize(
        ("text", "near"),
        [
            ("web:2", ["web:1", "web:latest", "registry.example.com:5000/team/web:2"]),
            ("localhost/web:2", ["web:1", "web:latest", "registry.example.com:5000/team/web:2"]),
            ("team/ap:1", ["team/app:1"]),
            ("app", ["team/app:1"]),
            ("NOT A NAME", []),
            ("zzzzz", []),
        ],
    )
    def test_names_like_it(self, text: str, near: list[str]) -> None:
        assert near_names(held(), text) == near

    def test_not_more_than_a_few(self) -> None:
        (image,) = held()[:1]
        many = EngineImage(image.id, image.kind, tuple(f"web:{number}" for number in range(30)))
        assert len(near_names([many], "web:99")) == 5

    @pytest.mark.parametrize(
        ("text", "names", "hint"),
        [
            ("web:2", ["web:1", "web:latest"], "Names like it are web:1, web:latest."),
            ("zzz", ["web:1"], "'manifestctl images' lists what is there."),
            ("web", [], "It has no images; build or pull one first."),
        ],
    )
    def test_an_image_that_is_not_there(self, text: str, names: list[str], hint: str) -> None:
        with FakeEngine() as engine:
            if names:
                engine.add(AMD64, *names)
            with connected(engine) as found, pytest.raises(NotFoundError) as caught:
                found.find(text)
            assert caught.value.message == f"there is no image '{text}' in the Docker engine at {engine.address}"
            assert caught.value.hint == hint

    def test_the_beginning_of_two_ids(self) -> None:
        with FakeEngine() as engine, connected(engine) as found:
            body = json.dumps(
                [summary("a", RepoTags=["web:1"]), summary("a") | {"Id": "sha256:aaaa" + "b" * 60}]
            ).encode()
            engine.faults.add(replaced(lambda: body), path="images/json")
            with pytest.raises(InputError) as caught:
                found.find("aaaa")
        assert caught.value.message == (
            f"'aaaa' may mean 2 images of {found.name}: web:1 (sha256:aaaaaaaaaaaa), sha256:aaaabbbbbbbb (sha256:aaaabbbbbbbb)"
        )

    def test_the_same_short_name_twice_in_podman(self) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(AMD64, "localhost/web:1")
            engine.add(ARM64, "docker.io/library/web:1")
            with connected(engine) as found:
                with pytest.raises(InputError, match="'web:1' may mean 2 images") as caught:
                    found.find("web:1")
                assert "localhost/web:1" in caught.value.message
                assert "docker.io/library/web:1" in caught.value.message
                assert str(found.find("docker.io/web:1").id) == ARM64.config_digest

    def test_only_what_was_found_is_inspected(self) -> None:
        with FakeEngine() as engine:
            made = engine.add(AMD64, "web:1")
            engine.add(ARM64, "other:1")
            with connected(engine) as found:
                assert platforms(found.find("web:1")) == ["linux/amd64"]
            assert engine.asked() == ["/_ping", "/v1.51/images/json?manifests=1", f"/v1.51/images/{made}/json"]

    def test_one_that_is_removed_meanwhile(self) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            engine.faults.add(actions.status(404, b'{"message":"no such image"}'), path="sha256.*/json")
            with connected(engine) as found, pytest.raises(NotFoundError, match="inspecting web:1"):
                found.find("web:1")


class TestExporting:
    @pytest.mark.parametrize(("flavour", "version"), VERSIONS)
    @pytest.mark.parametrize("platform", [None, "linux/arm/v7"])
    def test_an_image_of_one_platform(self, flavour: Flavour, version: str, platform: str | None) -> None:
        world = World()
        wanted = Platform.parse(platform) if platform else None
        with FakeEngine(flavour, version) as engine:
            made = engine.add(ARM, "app/web:1")
            with connected(engine, world) as found:
                exported = export(found, found.find("app/web:1"), wanted)
            (get,) = engine.find(path_regex="images/get")
            # A bare name would give all tags of the repository, and any name what it means by then.
            assert get.parameters == [("names", made)]
        assert exported.selector == ARM.config_digest
        assert exported.selected.platform is None
        assert (exported.selected.part is None) == (platform is None)
        assert content(exported) == docker_archive(ARM)
        [said] = (event.message for event in world.heard(Noted))
        assert said.startswith(f"exporting app/web:1 from {found.name} into a temporary file in /")
        assert ": about " in said
        # It may take minutes, so that it is told when it begins and ends, and what goes by.
        [size] = {part.size for part in exported.selected.image.parts}
        assert world.heard(BlobStarted) == [BlobStarted("app/web:1", size, "exporting")]
        assert world.heard(BlobMoved) == [BlobMoved("app/web:1", len(docker_archive(ARM)), "exported")]

    def test_what_goes_by_is_told(self) -> None:
        world = World()
        with FakeEngine() as engine, connected(engine, world) as found:
            engine.add(AMD64, "web:1", Size=-1)
            engine.faults.add(actions.status(200, bytes(5 << 20), content_type="application/x-tar"), path="images/get")
            assert len(content(export(found, found.find("web:1")))) == 5 << 20
        assert world.heard(BlobStarted) == [BlobStarted("web:1", None, "exporting")]
        counts = [event.count for event in world.heard(BytesMoved)]
        # Often enough to see it move, and not for every piece.
        assert 4 << 20 <= sum(counts) <= 5 << 20
        assert min(counts) >= 1 << 20

    def test_what_it_gives_is_an_archive(self) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"))
        with exported.spool as spool:
            index = TarIndex.read(spool, "it")
            assert index.complete
            assert index.find("manifest.json")

    @pytest.mark.parametrize(
        ("platform", "chosen"),
        [("linux/amd64", AMD64), ("linux/arm64", ARM64), ("linux/arm64/v8", ARM64), ("linux/aarch64", ARM64)],
    )
    @pytest.mark.parametrize("version", ["1.47", "1.48", "1.51"])
    def test_one_of_several_platforms(self, version: str, platform: str, chosen: Image) -> None:
        with FakeEngine("containerd", version) as engine:
            engine.add(BOTH, "web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"), Platform.parse(platform))
            (get,) = engine.find(path_regex="images/get")
            parameters: dict[str, Any] = dict(get.parameters)
        assert parameters.pop("names") == BOTH.digest
        if version == "1.47":
            assert parameters == {}
            assert content(exported) == oci_archive(BOTH)
        else:
            assert {key: json.loads(value) for key, value in parameters.items()} == {"platform": chosen.platform}
            assert content(exported) == oci_archive(chosen)
        assert exported.selector == chosen.digest
        assert exported.selected.part is not None
        assert str(exported.selected.part.digest) == chosen.digest
        assert exported.selected.platform is None

    @pytest.mark.parametrize("every", [False, True])
    @pytest.mark.parametrize("version", ["1.47", "1.51"])
    def test_a_list_of_one_image_keeps_its_attestations(self, version: str, every: bool) -> None:
        with FakeEngine("containerd", version) as engine:
            engine.add(ATTESTED, "web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"), every=every)
            assert engine.find(path_regex="images/get")[0].parameters == [("names", ATTESTED.digest)]
        assert (exported.selector, exported.selected.part) == (ATTESTED.digest, None)
        assert content(exported) == oci_archive(ATTESTED)

    def test_a_single_image_of_the_containerd_store(self) -> None:
        with FakeEngine("containerd") as engine:
            engine.add(ARM, "web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"), Platform.parse("linux/arm/v7"))
            assert engine.find(path_regex="images/get")[0].parameters == [("names", ARM.digest)]
        assert exported.selector == ARM.digest
        assert content(exported) == oci_archive(ARM)

    def test_all_platforms(self) -> None:
        with FakeEngine("containerd") as engine:
            engine.add(BOTH, "web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"), every=True)
        assert (exported.selector, exported.selected.part, exported.selected.platform) == (BOTH.digest, None, None)
        assert content(exported) == oci_archive(BOTH)

    @pytest.mark.parametrize("platform", [None, "linux/arm64"])
    def test_an_older_containerd_image_store_leaves_the_choice_to_the_archive(self, platform: str | None) -> None:
        wanted = Platform.parse(platform) if platform else None
        with FakeEngine("containerd", "1.44") as engine:
            engine.add(BOTH, "web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"), wanted)
            assert not engine.count(path_regex="images/sha256")
        assert (exported.selector, exported.selected.part, exported.selected.platform) == (BOTH.digest, None, wanted)
        assert content(exported) == oci_archive(BOTH)

    @pytest.mark.parametrize(
        ("missing", "listed"),
        [
            ([], "linux/amd64, linux/arm64/v8"),
            ([ARM64], "linux/amd64, linux/arm64/v8 (not on this machine)"),
            ([AMD64], "linux/amd64 (not on this machine), linux/arm64/v8"),
        ],
    )
    def test_the_hosts_platform_is_not_chosen_silently(self, missing: list[Image], listed: str) -> None:
        with FakeEngine("containerd") as engine:
            engine.add(BOTH, "web:1", missing=missing)
            with connected(engine) as found, pytest.raises(InputError) as caught:
                export(found, found.find("web:1"))
            assert caught.value.message == f"web:1 is an image of 2 platforms: {listed}"
            assert caught.value.hint == "Choose one with --platform."
            assert not engine.count(path_regex="images/get")

    def test_many_platforms_are_not_all_listed(self) -> None:
        many = images.index([images.image(f"linux/amd64:{number}") for number in range(13)])
        with FakeEngine("containerd") as engine:
            engine.add(many, "web:1")
            with connected(engine) as found, pytest.raises(InputError, match=r"13 platforms: .*:9 and 3 more$"):
                export(found, found.find("web:1"))

    @pytest.mark.parametrize(("flavour", "added"), [("containerd", BOTH), ("graph-driver", AMD64), ("podman", AMD64)])
    def test_a_platform_that_it_has_not(self, flavour: Flavour, added: images.Content) -> None:
        with FakeEngine(flavour, "1.51" if flavour == "containerd" else "1.41") as engine:
            engine.add(added, "web:1")
            with connected(engine) as found, pytest.raises(NotFoundError) as caught:
                export(found, found.find("web:1"), Platform.parse("linux/s390x"))
            assert caught.value.message == "web:1 has no image for linux/s390x"
            assert caught.value.hint.startswith("It has linux/amd64")

    @pytest.mark.parametrize(("platform", "every"), [("linux/arm64", False), (None, True)])
    def test_a_platform_whose_content_is_not_here(self, platform: str | None, every: bool) -> None:
        with FakeEngine("containerd") as engine:
            engine.add(BOTH, "web:1", missing=[ARM64])
            with connected(engine) as found, pytest.raises(NotFoundError) as caught:
                export(found, found.find("web:1"), Platform.parse(platform) if platform else None, every=every)
            assert caught.value.message == "web:1: the content for linux/arm64/v8 is not on this machine"
            assert caught.value.hint.startswith("Bring it here with 'docker pull --platform linux/arm64/v8 web:1'")

    def test_the_only_image_of_a_list_is_not_here(self) -> None:
        with FakeEngine("containerd") as engine:
            engine.add(ATTESTED, "web:1", missing=[AMD64])
            with connected(engine) as found, pytest.raises(NotFoundError, match="is not on this machine"):
                export(found, found.find("web:1"))

    def test_images_that_differ_only_in_the_version_of_windows(self) -> None:
        with FakeEngine("containerd") as engine:
            engine.add(images.index(WINDOWS), "win:1")
            with connected(engine) as found:
                image = found.find("win:1")
                with pytest.raises(InputError) as caught:
                    export(found, image, Platform.parse("windows/amd64"))
                exported = export(found, image, Platform.parse("windows/amd64:10.0.20348.1"))
            (get,) = engine.find(path_regex="images/get")
        assert caught.value.message == (
            "win:1 has 2 images for windows/amd64: windows/amd64:10.0.17763.1, windows/amd64:10.0.20348.1"
        )
        assert json.loads(dict(get.parameters)["platform"]) == WINDOWS[1].platform
        assert exported.selector == WINDOWS[1].digest
        exported.spool.close()

    def test_what_podman_does_not_tell_is_left_to_the_archive(self) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(ARM64, "localhost/web:1")
            with connected(engine) as found:
                exported = export(found, found.find("web:1"), Platform.parse("linux/arm64/v9"))
        assert content(exported) == docker_archive(ARM64)

    @pytest.mark.parametrize(("platform", "chosen"), [("linux/amd64", AMD64), ("linux/arm/v7", ARM)])
    def test_one_of_a_list_in_podman(self, platform: str, chosen: Image) -> None:
        with FakeEngine("podman", "1.41") as engine:
            for child in (AMD64, ARM):
                engine.add(child)
            engine.add(images.index([AMD64, ARM]), "localhost/list:1")
            with connected(engine) as found:
                image = found.find("list:1")
                with pytest.raises(InputError, match=r"is an image of 2 platforms: linux/amd64, linux/arm/v7$"):
                    export(found, image)
                with pytest.raises(InputError, match="Podman exports only single images") as caught:
                    export(found, image, every=True)
                exported = export(found, image, Platform.parse(platform))
            (get,) = engine.find(path_regex="images/get")
        assert caught.value.hint.startswith("Run 'podman manifest push --all localhost/list:1 oci:DIR:TAG'")
        assert get.parameters == [("names", chosen.config_digest)]
        assert exported.selector == chosen.config_digest
        assert content(exported) == docker_archive(chosen)

    def test_a_list_of_one_image_in_podman(self) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(ARM)
            engine.add(images.index([ARM]), "localhost/list:1")
            with connected(engine) as found:
                exported = export(found, found.find("list:1"))
            assert engine.find(path_regex="images/get")[0].parameters == [("names", ARM.config_digest)]
        assert exported.selected.part is not None
        assert content(exported) == docker_archive(ARM)

    def test_podman_gives_in_ocis_format_what_dockers_cannot_hold(self) -> None:
        world = World()
        with FakeEngine("podman", "1.41") as engine:
            engine.add(ZSTD, "localhost/web:1")
            with connected(engine, world) as found:
                exported = export(found, found.find("web:1"))
            assert [path for path in engine.asked() if path.partition("?")[0].endswith("/get")] == [
                f"/v1.41/images/get?names=sha256%3A{ZSTD.config_digest[7:]}",
                f"/v4.3.1/libpod/images/{ZSTD.config_digest[7:]}/get?format=oci-archive",
            ]
        assert exported.selector == ZSTD.config_digest
        with exported.spool as spool:
            assert TarIndex.read(spool, "it").find("index.json")
        assert any("zstd compression is not supported" in event.message for event in world.heard(Noted))

    @pytest.mark.parametrize("listed", [False, True])
    def test_what_podman_exports_in_neither_format(self, listed: bool) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(ZSTD, "localhost/web:1")
            if listed:
                engine.add(images.index([ZSTD]), "localhost/list:1")
            engine.faults.add(actions.status(500, b'{"message":"no"}'), path="/libpod/images/[0-9a-f]+/get")
            with connected(engine) as found, pytest.raises(UnreachableError, match="zstd compression is not") as caught:
                export(found, found.find("list:1" if listed else "web:1"))
        # The engine's log would say no more than this.
        name = ZSTD.config_digest[7:19] if listed else "localhost/web:1"
        assert caught.value.hint == (
            f"Run 'podman save --format oci-archive -o image.tar {name}', "
            "then 'manifestctl push image.tar registry/repository:tag'."
        )

    def test_a_list_without_images_in_podman(self) -> None:
        with FakeEngine("podman", "1.41") as engine:
            engine.add(images.index([]), "localhost/list:1", IsManifestList=True)
            with connected(engine) as found, pytest.raises(InputError, match="only single images"):
                export(found, found.find("list:1"))

    @pytest.mark.parametrize(
        ("flavour", "added", "platform", "said"),
        [
            ("graph-driver", AMD64, None, True),
            ("podman", AMD64, None, True),
            ("containerd", BOTH, "linux/amd64", True),
            ("containerd", ATTESTED, None, True),
            ("containerd", ATTESTED, "linux/amd64", True),
        ],
    )
    def test_its_size_is_said_beforehand(
        self, flavour: Flavour, added: images.Content, platform: str | None, said: bool
    ) -> None:
        world = World()
        with FakeEngine(flavour, "1.41" if flavour == "podman" else "1.51") as engine:
            engine.add(added, "web:1")
            with connected(engine, world) as found:
                wanted = Platform.parse(platform) if platform else None
                export(found, found.find("web:1"), wanted).spool.close()
        assert (": about " in world.heard(Noted)[0].message) is said

    @pytest.mark.parametrize(("flavour", "version"), [("containerd", "1.44"), ("graph-driver", "1.51")])
    def test_a_size_that_the_engine_does_not_know(self, flavour: Flavour, version: str) -> None:
        world = World()
        with FakeEngine(flavour, version) as engine:
            engine.add(AMD64, "web:1", Size=-1)
            with connected(engine, world) as found:
                export(found, found.find("web:1")).spool.close()
        assert " about " not in world.heard(Noted)[0].message

    def test_no_space(self) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1", Size=2**60)
            with connected(engine) as found, pytest.raises(UnreachableError) as caught:
                export(found, found.find("web:1"))
            assert "exporting web:1 from the Docker engine" in caught.value.message
            assert "1048576.0 TiB are needed" in caught.value.message
            assert "TMPDIR" in caught.value.hint
            assert not engine.count(path_regex="images/get")

    def test_the_directory_of_temporary_files(self, tmp_path: Path) -> None:
        world = World({"TMPDIR": str(tmp_path)})
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            with connected(engine, world) as found, export(found, found.find("web:1")).spool:
                assert list(tmp_path.iterdir()) == []
        assert f"in {tmp_path}" in world.heard(Noted)[0].message

    @pytest.mark.parametrize(
        ("action", "message"),
        [
            (actions.truncated(2000), "broke off"),
            (actions.status(200, b"", content_type="application/x-tar"), "the archive is empty"),
            (actions.status(500, b'{"message":"storage is broken"}'), 'said 500 "storage is broken"'),
            (
                actions.status(200, bytes(5000) + b'x{"errorDetail":{"message":"m"},"error":"no such layer"}\r\n'),
                "no such layer",
            ),
            (actions.status(200, b'{"errorDetail":{"message":"m"},"error":"a\\n::b"}'), r"failed on the way: a\n::b"),
            (actions.status(200, b'{"errorDetail":{}}'), "the engine does not say why"),
            (actions.status(200, b'x{"errorDetail":{"mess'), "the engine does not say why"),
        ],
    )
    def test_an_export_that_fails(self, action: Action, message: str, tmp_path: Path) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            engine.faults.add(action, path="images/get")
            with (
                connected(engine, World({"TMPDIR": str(tmp_path)})) as found,
                pytest.raises(UnreachableError) as caught,
            ):
                export(found, found.find("web:1"))
        assert message in caught.value.message
        assert caught.value.message.startswith("exporting web:1 from the Docker engine at unix://")
        assert caught.value.hint
        assert "\n" not in caught.value.message

    def test_words_of_an_error_within_an_image_are_none(self) -> None:
        archive = b'{"errorDetail"' + bytes(10_000)
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            engine.faults.add(actions.status(200, archive), path="images/get")
            engine.faults.add(actions.status(200, b'{"errorDetail"' + bytes(1024)), path="images/get")
            with connected(engine) as found:
                image = found.find("web:1")
                assert content(export(found, image)) == archive
                assert len(content(export(found, image))) == 1038

    def test_an_image_that_is_removed_meanwhile(self) -> None:
        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            with connected(engine) as found:
                image = found.find("web:1")
                engine.held.clear()
                with pytest.raises(NotFoundError, match="No such image"):
                    export(found, image)

    def test_interrupting_it(self) -> None:
        world = World()

        def interrupt(event: object) -> None:
            if isinstance(event, Noted):
                world.cancel.set(2)

        with FakeEngine() as engine:
            engine.add(AMD64, "web:1")
            world.environ["DOCKER_HOST"] = engine.address
            with Engine.connect(replace(world.runtime, observe=interrupt)) as found, pytest.raises(InterruptedRun):
                export(found, found.find("web:1"))
            assert not engine.count(path_regex="images/get")
