"""What is too large for a registry is refused before anything is sent, with the name of its quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.stores.base import Blob, Content
from manifestctl.stores.locate import Stores
from manifestctl.stores.quotas import check_layers, check_manifest, readable_for
from tests.support.ecr_scene import ONE, PUBLIC, EcrScene, at, ecr_scene, scene_certificates
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates

MIB = 1024 * 1024
LAYERS = {PUBLIC: 10_000 * MIB, ONE: 52_000 * MIB}
MANIFEST = 4 * MIB
hosts = pytest.mark.parametrize("host", [PUBLIC, ONE])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return scene_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def scene(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrScene]:
    with ecr_scene(tmp_path, certificates, monkeypatch) as made:
        yield made


def layer(size: int, letter: str = "a") -> Descriptor:
    return Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.parse(f"sha256:{letter * 64}"), size)


@hosts
def test_layers_that_are_too_large_are_all_named(scene: EcrScene, host: str) -> None:
    with scene.stores() as stores:
        store = stores(at(host), write=True)
        check_layers(store, [layer(LAYERS[host]), layer(5)])
        with pytest.raises(InputError) as caught:
            check_layers(store, [layer(LAYERS[host] + 1), layer(5, "b"), layer(2 * LAYERS[host], "c")])
    one, other = (f"{store.name}@sha256:{letter * 64}: it has " for letter in "ac")
    assert caught.value.message.startswith(f"{one}{LAYERS[host] + 1:,} bytes; {other}")
    assert f"quota of layer size ({LAYERS[host] // MIB:,} MiB)" in caught.value.hint
    assert scene.ecr.public.requests == scene.ecr.private.requests == []


def test_many_layers_are_not_all_named(scene: EcrScene) -> None:
    with (
        scene.stores() as stores,
        pytest.raises(InputError, match=r"; and 2 more; this registry takes 9\.8 GiB$") as caught,
    ):
        check_layers(stores(at(PUBLIC), write=True), [layer(20_000 * MIB)] * 12)
    assert caught.value.message.count("it has 19.5 GiB") == 10


@hosts
def test_a_layer_is_looked_at_before_it_is_sent(scene: EcrScene, host: str) -> None:
    with (
        scene.stores() as stores,
        pytest.raises(InputError, match=r"it has [0-9,]+ bytes; this registry takes [0-9,]+ bytes$"),
    ):
        stores(at(host), write=True).write_blob(Blob(layer(LAYERS[host] + 1), lambda: iter(())))
    assert scene.ecr.public.count("POST") == scene.ecr.private.count("POST") == 0


@hosts
@pytest.mark.parametrize(
    ("count", "words"),
    [
        (MANIFEST + 1, "4,194,305 bytes; this registry takes 4,194,304 bytes"),
        (2 * MANIFEST, r"it has 8\.0 MiB; this registry takes 4\.0 MiB"),
    ],
)
def test_a_manifest_that_is_too_large(scene: EcrScene, host: str, count: int, words: str) -> None:
    with scene.stores() as stores:
        store = stores(at(host), write=True)
        check_manifest(store, MANIFEST, "it")
        with pytest.raises(InputError, match=words) as caught:
            store.write_manifest(Content.of(b" " * count, "application/vnd.oci.image.index.v1+json"), "1")
    assert "quota of manifest size (4 MiB)" in caught.value.hint
    assert scene.ecr.public.requests == scene.ecr.private.requests == []


def test_a_manifest_that_cannot_even_be_read(scene: EcrScene) -> None:
    large = DocumentError("it is larger than 4194304 bytes", rule="json-too-large")
    with scene.stores() as stores:
        store = stores(at(PUBLIC), write=True)
        with (
            pytest.raises(InputError, match=r"larger than the 4\.0 MiB of this registry") as caught,
            readable_for(store, "oci:layout:1"),
        ):
            raise large
    assert "quota of manifest size (4 MiB)" in caught.value.hint


def test_a_manifest_that_cannot_be_read_for_another_reason(scene: EcrScene) -> None:
    with scene.stores() as stores, pytest.raises(DocumentError), readable_for(stores(at(PUBLIC)), "x"):
        raise DocumentError("it is not JSON")


def test_other_stores_have_no_such_quotas(tmp_path: Path) -> None:
    huge = 2**40
    with Stores.of_system(World().runtime) as stores:
        for text in ("registry.invalid/web:1", f"oci:{tmp_path}:1"):
            store = stores(parse_location(text), write=True)
            check_layers(store, [layer(huge)])
            check_manifest(store, huge, "it")
            with pytest.raises(DocumentError), readable_for(store, "it"):
                raise DocumentError("it is larger than 4194304 bytes", rule="json-too-large")
