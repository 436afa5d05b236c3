"""`push`: a layer that is too large for the registry is refused before the smallest blob is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from manifestctl.model.location import parse_location
from manifestctl.verbs.push import push
from manifestctl.verbs.push_request import PushRequest
from tests.support import images
from tests.support.ecr_scene import ONE, PUBLIC, EcrScene, at, ecr_scene, scene_certificates
from tests.verbs.pushing_scene import failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates

GIB = 1024**3


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return scene_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def scene(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrScene]:
    with ecr_scene(tmp_path, certificates, monkeypatch) as made:
        yield made


@pytest.mark.parametrize("host", [PUBLIC, ONE])
@pytest.mark.parametrize("is_image", [True, False], ids=["image", "artifact"])
def test_a_layer_that_is_too_large(scene: EcrScene, tmp_path: Path, host: str, is_image: bool) -> None:
    made = images.image("linux/amd64", layers=2)
    document = json.loads(made.manifest)
    document["layers"][1]["size"] = 60_000 * GIB
    if not is_image:
        document["config"]["mediaType"] = "application/vnd.example.config+json"
    images.write_layout(tmp_path / "layout", {"1": replace(made, manifest=images.dump(document))})
    target = at(host)
    request = PushRequest(parse_location(f"oci:{tmp_path}/layout:1"), target)
    scene.log_in(host)
    with scene.stores() as stores:
        failed(push(request, stores, stores.runtime), 2, document["layers"][1]["digest"], "quota of layer size")
    assert scene.ecr.public.count("POST", "/v2/") == scene.ecr.private.count("POST", "/v2/") == 0
