"""`manifestctl tags`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.actions import error
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.running import run

if TYPE_CHECKING:
    from pathlib import Path


def test_tags_with_their_digests(registry: FakeRegistry) -> None:
    first, second = registry.put_image("web", "1"), registry.put_image("web", "1.10-rc", "linux/arm64")
    ran = run("tags", registry.reference("web"))
    assert (ran.status, ran.err) == (0, "")
    assert ran.text == f"1        {first}\n1.10-rc  {second}\n"
    assert run("tags", registry.reference("web"), "--output", "digest").text == f"{first}\n{second}\n"


def test_output_json(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put("web", "1", image)
    document = run("tags", registry.reference("web"), "--output", "json").document
    assert document["repository"] == registry.reference("web")
    (tag,) = document["tags"]
    assert tag == {"tag": "1", "digest": image.digest, "media_type": image.media_type, "size": len(image.manifest)}


def test_a_tag_that_goes_away_meanwhile(registry: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    registry.put_image("web", "2", seed="other")
    registry.faults.add(error(404, "MANIFEST_UNKNOWN", "gone"), path="/manifests/2", times=FOREVER)
    assert run("tags", registry.reference("web")).text == f"1  {digest}\n2  gone\n"
    assert run("tags", registry.reference("web"), "--output", "digest").text == f"{digest}\n"
    assert run("tags", registry.reference("web"), "--output", "json").document["tags"][1]["digest"] is None


def test_all_pages(tmp_path: Path) -> None:
    with FakeRegistry(page_size=3) as registry:
        for number in range(8):
            registry.put_image("web", f"{number}", seed=str(number))
        lines = run("tags", registry.reference("web")).text.splitlines()
    assert [line[0] for line in lines] == list("01234567")


def test_a_layout(tmp_path: Path) -> None:
    image = images.image("linux/amd64")
    images.write_layout(tmp_path / "layout", {"1": image})
    assert run("tags", f"oci:{tmp_path / 'layout'}").text == f"1  {image.digest}\n"


def test_no_tags_at_all(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {})
    assert run("tags", f"oci:{tmp_path / 'layout'}").out == b""


@pytest.mark.parametrize("more", [":1", "@sha256:" + "0" * 64])
def test_more_than_a_repository(registry: FakeRegistry, more: str) -> None:
    ran = run("tags", registry.reference("web") + more)
    assert ran.status == 2
    assert f"Write {registry.reference('web')}." in ran.err


def test_a_repository_that_does_not_exist(registry: FakeRegistry) -> None:
    ran = run("tags", registry.reference("nothing"), "--output", "json")
    assert ran.status == ran.document["exit_code"] == 3
