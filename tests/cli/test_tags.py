"""`manifestctl tags`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.actions import error, header, status, wrong_bytes
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


def test_names_that_are_no_tags_are_said_to_be_none(registry: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    body = json.dumps({"tags": ["::error::x", "1", "a:b"]}).encode()
    registry.faults.add(status(200, body, content_type="application/json"), path="/tags/list", times=FOREVER)
    ran = run("tags", registry.reference("web"))
    assert ran.status == 0
    # What begins a line is no command to a CI runner.
    first, second, third = ran.text.splitlines()
    assert (second, third) == (f"1{' ' * 12}  {digest}", f"a:b{' ' * 10}  not a tag")
    assert first == "\\x3a:error::x  not a tag"
    warning = f"warning: {registry.reference('web')} lists 2 names that are not tags, as '\\x3a:error::x'\n"
    assert ran.err == warning
    assert run("tags", registry.reference("web"), "--output", "digest").text == f"{digest}\n"
    document = run("tags", registry.reference("web"), "--output", "json").document
    assert [tag["digest"] for tag in document["tags"]] == [None, digest, None]


def test_one_long_name_does_not_widen_the_table(registry: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    tags = ["1", "x" * 60_000, "y" * 128]
    body = json.dumps({"tags": tags}).encode()
    registry.faults.add(status(200, body, content_type="application/json"), path="/tags/list")
    first, second, third = run("tags", registry.reference("web")).text.splitlines()
    assert first == f"1{' ' * 63}  {digest}"
    assert second == f"{'x' * 128}…  not a tag"
    assert third == f"{'y' * 128}  gone"


def test_a_tag_that_cannot_be_used_is_a_finding(registry: FakeRegistry) -> None:
    registry.put_image("web", "1")
    digest = registry.put_image("web", "2", seed="2")
    registry.faults.add(wrong_bytes(b"{}"), method="GET", path="/manifests/1", times=FOREVER)
    registry.faults.add(header("Docker-Content-Digest", None), method="HEAD", times=FOREVER)
    ran = run("tags", registry.reference("web"))
    assert ran.status == 6
    assert ran.text == f"1  unreadable [image-integrity]\n2  {digest}\n"
    assert f"error: {registry.reference('web', '1')}: " in ran.err
    document = run("tags", registry.reference("web"), "--output", "json").document
    assert (document["exit_code"], [finding["rule"] for finding in document["findings"]]) == (6, ["image-integrity"])
    assert [tag["digest"] for tag in document["tags"]] == [None, digest]


def test_a_rule_that_does_not_exist(registry: FakeRegistry) -> None:
    ran = run("tags", registry.reference("web"), "--allow", "nonsense")
    assert (ran.status, registry.requests) == (2, [])
