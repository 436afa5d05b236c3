"""Catalog data: its limits, its names for platforms, what a merge keeps; and logos."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.aws import catalog, logo
from manifestctl.aws.catalog import Catalog
from manifestctl.errors import InputError
from tests.support.aws_models import operation_model
from tests.support.png import png

if TYPE_CHECKING:
    from pathlib import Path

HELD = Catalog("The web", "# About", None, ("Linux",), ("x86-64", "ARM 64"), logo_url="https://images.example/logo.png")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# Values.


def test_an_answer_becomes_a_request_without_what_aws_says_alone() -> None:
    answer = {
        "description": "The web",
        "aboutText": "# About",
        "usageText": "",
        "operatingSystems": ["Linux"],
        "architectures": ["x86-64", "ARM 64"],
        "logoUrl": "https://images.example/logo.png",
        "marketplaceCertified": False,
    }
    assert Catalog.of(answer) == HELD
    assert HELD.parameters() == {
        "description": "The web",
        "aboutText": "# About",
        "operatingSystems": ["Linux"],
        "architectures": ["x86-64", "ARM 64"],
    }
    assert Catalog.of({}) == Catalog()
    assert Catalog().parameters() == {}


def test_every_field_of_the_api_is_merged() -> None:
    fields = operation_model("ecr-public", "PutRepositoryCatalogData").input_shape.members["catalogData"].members
    full = Catalog("a", "b", "c", ("Linux",), ("ARM",), b"logo")
    assert set(full.parameters()) == set(fields)
    assert full.given == ("description", "about", "usage", "operating_systems", "architectures", "logo")


@pytest.mark.parametrize(
    ("asked", "changed", "merged"),
    [
        (Catalog(), (), HELD),
        (Catalog("The web", architectures=("ARM 64", "x86-64")), (), None),
        (
            Catalog("New"),
            ("description",),
            Catalog("New", "# About", None, ("Linux",), ("x86-64", "ARM 64"), logo_url=HELD.logo_url),
        ),
        (
            Catalog(usage="docker run", architectures=("ARM",)),
            ("usage", "architectures"),
            Catalog("The web", "# About", "docker run", ("Linux",), ("ARM",), logo_url=HELD.logo_url),
        ),
        (
            Catalog(about=""),
            ("about",),
            Catalog("The web", "", None, ("Linux",), ("x86-64", "ARM 64"), logo_url=HELD.logo_url),
        ),
        (Catalog(usage=""), (), None),
        # A logo cannot be compared.
        (Catalog(logo=b"logo"), ("logo",), None),
    ],
)
def test_a_merge_changes_what_is_asked_for_and_keeps_the_rest(
    asked: Catalog, changed: tuple[str, ...], merged: Catalog | None
) -> None:
    assert HELD.changes(asked) == changed
    assert merged is None or HELD.merged(asked) == merged


def test_a_text_that_is_emptied_is_sent_empty() -> None:
    assert HELD.merged(Catalog(about="")).parameters()["aboutText"] == ""


# Limits, which are those of botocore's model.


def model(name: str) -> Any:
    shape = operation_model("ecr-public", "PutRepositoryCatalogData").input_shape.members["catalogData"].members[name]
    return shape.metadata["max"]


def test_the_limits_are_those_of_the_model() -> None:
    assert model("description") == catalog.LONGEST_DESCRIPTION
    assert catalog.LONGEST_MARKDOWN == model("aboutText") == model("usageText")
    assert catalog.MOST_VALUES == model("operatingSystems") == model("architectures")
    assert model("logoImageBlob") == logo.LARGEST


def test_a_description() -> None:
    assert catalog.description_text("é" * 1024) == "é" * 1024
    with pytest.raises(InputError, match="it has 1,025 characters, more than the 1,024"):
        catalog.description_text("é" * 1025)
    with pytest.raises(InputError, match="not UTF-8"):
        catalog.description_text("\udcff")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("# Wéb\r\n".encode(), "# Wéb\r\n"),
        (b"\xef\xbb\xbf# Web", "# Web"),
        ("😀".encode() * 25_600, "😀" * 25_600),
    ],
)
def test_markdown(tmp_path: Path, data: bytes, text: str) -> None:
    assert catalog.read_markdown(written(tmp_path / "a.md", data)) == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a" * 25_601, "has 25,601 characters, more than the 25,600 that there may be"),
        ("😀".encode() * 25_601, "larger than 102400 bytes"),
        (b"ab\xff", "is not UTF-8: byte 2 is wrong"),
        (b"\xed\xa0\x80", "is not UTF-8"),
    ],
)
def test_markdown_that_cannot_be_used(tmp_path: Path, data: bytes, said: str) -> None:
    path = written(tmp_path / "a.md", data)
    with pytest.raises(InputError) as caught:
        catalog.read_markdown(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (catalog.read_markdown, logo.read_logo):
        for name, said in (("absent", "No such file"), ("pipe", "not a regular file"), (".", "not a regular file")):
            with pytest.raises(InputError, match=said) as caught:
                read(tmp_path / name)
            assert "at most" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([], None),
        (["linux"], ("Linux",)),
        (["windows", "LINUX", "linux"], ("Windows", "Linux")),
        (["Plan 9"], ("Plan 9",)),
        (["x" * 50], ("x" * 50,)),
    ],
)
def test_operating_systems(given: list[str], names: tuple[str, ...] | None) -> None:
    assert catalog.system_names(given) == names


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["amd64", "arm64", "arm", "386"], ("x86-64", "ARM 64", "ARM", "x86")),
        (["x86-64", "amd64"], ("x86-64",)),
        (["riscv64"], ("riscv64",)),
    ],
)
def test_architectures(given: list[str], names: tuple[str, ...]) -> None:
    assert catalog.architecture_names(given) == names


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([""], "it is empty"),
        (["x" * 51], "has 51 characters, more than the 50"),
        ([f"os{number}" for number in range(51)], "51 are more than the 50"),
        (["\udcff"], "not UTF-8"),
    ],
)
def test_names_that_cannot_be_used(given: list[str], said: str) -> None:
    for names in (catalog.system_names, catalog.architecture_names):
        with pytest.raises(InputError, match=said):
            names(given)


def test_what_the_gallery_has_no_badge_for() -> None:
    asked = Catalog(operating_systems=("Linux", "Plan 9"), architectures=("ARM 64", "amd64,arm64"))
    assert catalog.without_badge(asked) == ("Plan 9", "amd64,arm64")
    assert catalog.without_badge(Catalog("text")) == ()


# Logos.


@pytest.mark.parametrize("sides", [(60, 60), (2048, 60), (60, 2048)])
def test_a_logo(tmp_path: Path, sides: tuple[int, int]) -> None:
    data = png(*sides)
    assert logo.read_logo(written(tmp_path / "logo.png", data)) == data


def test_the_largest_logo(tmp_path: Path) -> None:
    data = png(60, 60)
    full = png(60, 60, padding=512_000 - len(data))
    assert logo.read_logo(written(tmp_path / "logo.png", full)) == full


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a PNG file"),
        (b"GIF89a" + b"\x00" * 100, "is not a PNG file"),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 100, "is not a PNG file"),
        (png(60, 60)[:8], "no header that says how large it is"),
        (png(60, 60)[:23], "no header that says how large it is"),
        (png(60, 60).replace(b"IHDR", b"IHDX"), "no header that says how large it is"),
        (png(59, 60), "has 59 x 60 pixels, and each side has 60 to 2048"),
        (png(60, 59), "has 60 x 59 pixels"),
        (png(2049, 60), "has 2049 x 60 pixels"),
        (png(60, 60)[:-1], "is not a whole PNG file: it was cut off"),
        (png(60, 60)[:-12], "is not a whole PNG file"),
        (png(60, 60)[:40], "is not a whole PNG file"),
        (png(60, 60)[:33], "is not a whole PNG file"),
        (png(60, 60).replace(b"IDAT", b"tEXt"), "is not a whole PNG file"),
        (png(60, 60)[:33] + b"\xff" * 40, "is not a whole PNG file"),
        (png(60, 60, padding=512_000), "larger than 512000 bytes"),
    ],
)
def test_what_is_no_logo(tmp_path: Path, data: bytes, said: str) -> None:
    path = written(tmp_path / "logo\n.png", data)
    with pytest.raises(InputError) as caught:
        logo.read_logo(path)
    assert said in caught.value.message
    assert r"logo\n.png" in caught.value.message
    assert caught.value.hint == "A logo is a PNG of 60 to 2048 pixels each side and at most 512,000 bytes."
