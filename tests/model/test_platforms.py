"""Platforms: what users write, how they are normalised, and when two are the same, fit, or contradict each other."""

from __future__ import annotations

import pytest

from manifestctl.errors import InputError
from manifestctl.model.platforms import ARCHITECTURE_ALIASES, KNOWN_ARCHITECTURES, KNOWN_OS, OS_ALIASES, Platform

WINDOWS = "10.0.20348.2340"


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("Linux/AMD64/V3", Platform("linux", "amd64", "v3")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("linux/x86-64", Platform("linux", "amd64")),
        ("linux/x86_64/v2", Platform("linux", "amd64", "v2")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/AArch64/v9", Platform("linux", "arm64", "v9")),
        ("linux/armhf", Platform("linux", "arm", "v7")),
        ("linux/armel", Platform("linux", "arm", "v6")),
        ("linux/armv7l", Platform("linux", "arm", "v7")),
        ("linux/i386", Platform("linux", "386")),
        ("linux/i686", Platform("linux", "386")),
        ("macos/arm64", Platform("darwin", "arm64")),
        ("linux/riscv64/rva20u64", Platform("linux", "riscv64", "rva20u64")),
        ("some-os/some.arch_2", Platform("some-os", "some.arch_2")),
        (f"windows/amd64:{WINDOWS}", Platform("windows", "amd64", "", WINDOWS)),
        (f"windows({WINDOWS})/amd64", Platform("windows", "amd64", "", WINDOWS)),
        (f"windows({WINDOWS}+win32k)/amd64", Platform("windows", "amd64", "", WINDOWS, ("win32k",))),
        ("windows(+win32k)/amd64/v1", Platform("windows", "amd64", "v1", "", ("win32k",))),
        ("linux(+b+a+b)/arm64", Platform("linux", "arm64", "", "", ("a", "b"))),
        ("windows()/amd64", Platform("windows", "amd64")),
        ("windows()/amd64:10.0", Platform("windows", "amd64", "", "10.0")),
        ("unknown/unknown", Platform("unknown", "unknown")),
    ],
)
def test_what_users_write(text: str, platform: Platform) -> None:
    assert Platform.parse(text) == platform
    assert Platform.parse(str(platform)) == platform
    assert str(Platform.parse(str(platform))) == str(platform)


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        (Platform("linux", "amd64"), "linux/amd64"),
        (Platform("linux", "arm", "v7"), "linux/arm/v7"),
        (Platform("windows", "amd64", "", WINDOWS), f"windows/amd64:{WINDOWS}"),
        (Platform("windows", "arm64", "v8", WINDOWS), f"windows/arm64/v8:{WINDOWS}"),
        (Platform("windows", "amd64", "", WINDOWS, ("a", "b")), f"windows({WINDOWS}+a+b)/amd64"),
        (Platform("linux", "amd64", "v2", "", ("x",)), "linux(+x)/amd64/v2"),
    ],
)
def test_how_they_are_written(platform: Platform, text: str) -> None:
    assert str(platform) == text
    assert platform.shown == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "linux",
        "linux/",
        "/amd64",
        "linux//v7",
        "linux/arm/",
        "linux/arm/v7/x",
        "linux /amd64",
        "linux/amd64 ",
        "linux/amd64\n",
        "linux/amd64,linux/arm64",
        "linux/amd64:",
        "linux/amd64:10 0",
        "linux/amd64:10:1",
        "linux/amd64:10/v7",
        f"windows({WINDOWS})/amd64:{WINDOWS}",
        f"windows({WINDOWS}/amd64",
        "windows)/amd64",
        "windows(1)(2)/amd64",
        "windows(1++x)/amd64x+",
        "linux/amd64(1)",
        "linüx/amd64",
        "linux/amd64\0",
        "linux\\amd64",
        "linux/" + "a" * 300,
        "*/*",
        "linux/٣86",
    ],
)
def test_what_is_not_a_platform_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="is not a platform") as caught:
        Platform.parse(text)
    assert "\n" not in caught.value.message
    assert "linux/amd64" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("arm64", "Name the operating system too: linux/arm64."),
        ("AMD64", "Name the operating system too: linux/amd64."),
        ("x86_64", "Name the operating system too: linux/amd64."),
        ("armhf", "Name the operating system too: linux/arm/v7."),
        ("linux", "Write os/architecture[/variant], e.g. linux/amd64, linux/arm/v7, windows/amd64:10.0.20348.2340."),
    ],
)
def test_the_hint_for_half_a_platform(text: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        Platform.parse(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        (("linux", "amd64", "v1"), ("linux", "amd64", "")),
        (("linux", "amd64", "v3"), ("linux", "amd64", "v3")),
        (("LINUX", "x86_64", "V1"), ("linux", "amd64", "")),
        (("linux", "arm64", "v8"), ("linux", "arm64", "")),
        (("linux", "arm64", "8"), ("linux", "arm64", "")),
        (("linux", "arm64", "v8.0"), ("linux", "arm64", "")),
        (("linux", "arm64", "v8.1"), ("linux", "arm64", "v8.1")),
        (("linux", "arm64", "9"), ("linux", "arm64", "v9")),
        (("linux", "arm64", "v9.0"), ("linux", "arm64", "v9")),
        (("linux", "aarch64", ""), ("linux", "arm64", "")),
        (("linux", "arm", ""), ("linux", "arm", "v7")),
        (("linux", "arm", "7"), ("linux", "arm", "v7")),
        (("linux", "arm", "5"), ("linux", "arm", "v5")),
        (("linux", "arm", "6"), ("linux", "arm", "v6")),
        (("linux", "arm", "8"), ("linux", "arm", "v8")),
        (("linux", "armhf", ""), ("linux", "arm", "v7")),
        (("linux", "armel", ""), ("linux", "arm", "v6")),
        (("linux", "i386", "x"), ("linux", "386", "")),
        (("linux", "386", "softfloat"), ("linux", "386", "")),
        (("macOS", "arm64", ""), ("darwin", "arm64", "")),
        (("linux", "s390x", "z13"), ("linux", "s390x", "z13")),
        (("", "", ""), ("", "", "")),
    ],
)
def test_normalising(said: tuple[str, str, str], normal: tuple[str, str, str]) -> None:
    found = Platform(*said).normalized()
    assert (found.os, found.architecture, found.variant) == normal
    assert found.normalized() == found


def test_normalising_keeps_versions_and_orders_features() -> None:
    found = Platform("Windows", "AMD64", "", "10.0.1", ("b", "a", "b")).normalized()
    assert found == Platform("windows", "amd64", "", "10.0.1", ("a", "b"))


def test_every_alias_leads_to_a_known_name() -> None:
    assert {architecture for architecture, _ in ARCHITECTURE_ALIASES.values()} <= KNOWN_ARCHITECTURES
    assert set(OS_ALIASES.values()) <= KNOWN_OS
    assert not KNOWN_ARCHITECTURES & ARCHITECTURE_ALIASES.keys()
    assert not KNOWN_OS & OS_ALIASES.keys()


def parse(text: str) -> Platform:
    return Platform.parse(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/amd64", "linux/amd64/v1", True),
        ("linux/amd64", "linux/amd64/v2", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v8", "linux/arm64/v8", False),
        ("linux/amd64", "windows/amd64", False),
        ("windows/amd64", f"windows/amd64:{WINDOWS}", False),
        ("windows/amd64:10.0.17763.1", f"windows/amd64:{WINDOWS}", False),
        ("windows(1+a)/amd64", "windows(1)/amd64", False),
        ("windows(1+a+b)/amd64", "windows(1+b+a)/amd64", True),
    ],
)
def test_the_key_tells_entries_of_a_list_apart(one: str, other: str, same: bool) -> None:
    assert (parse(one).key == parse(other).key) is same


@pytest.mark.parametrize(
    ("has", "wanted", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v9", "linux/arm64", False),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/amd64", "linux/amd64/v3", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm", False),
        ("linux/arm/v8", "linux/arm64", False),
        (f"windows/amd64:{WINDOWS}", "windows/amd64", True),
        (f"windows/amd64:{WINDOWS}", f"windows/amd64:{WINDOWS}", True),
        (f"windows/amd64:{WINDOWS}", "windows/amd64:10.0.20348", True),
        (f"windows/amd64:{WINDOWS}", "windows/amd64:10.0.2034", False),
        ("windows/amd64:10.0", "windows/amd64:10.0.20348", False),
        ("windows/amd64", f"windows/amd64:{WINDOWS}", False),
        ("windows(1+a+b)/amd64", "windows(1+a)/amd64", True),
        ("windows(1+a)/amd64", "windows(1+a+b)/amd64", False),
        ("windows(1+a)/amd64", "windows/amd64", True),
        ("linux/amd64", "darwin/amd64", False),
    ],
)
def test_what_satisfies_a_requirement(has: str, wanted: str, fits: bool) -> None:
    assert parse(has).satisfies(parse(wanted)) is fits


@pytest.mark.parametrize(
    ("one", "other", "contradict"),
    [
        (Platform("linux", "amd64"), Platform("linux", "amd64"), False),
        (Platform("linux", "amd64"), Platform("linux", "x86_64"), False),
        (Platform("linux", "amd64"), Platform("linux", "arm64"), True),
        (Platform("linux", "amd64"), Platform("windows", "amd64"), True),
        (Platform("", "amd64"), Platform("linux", "amd64"), False),
        (Platform("linux", ""), Platform("linux", "arm64"), False),
        (Platform("", ""), Platform("linux", "arm64", "v8", "1"), False),
        # A variant that one of both leaves out may be anything.
        (Platform("linux", "arm"), Platform("linux", "arm", "v6"), False),
        (Platform("linux", "arm", "v6"), Platform("linux", "arm", "v7"), True),
        (Platform("linux", "arm", "7"), Platform("linux", "arm", "v7"), False),
        (Platform("linux", "amd64"), Platform("linux", "amd64", "v3"), False),
        (Platform("linux", "amd64", "v1"), Platform("linux", "amd64", "v3"), True),
        (Platform("linux", "arm64", "v8"), Platform("linux", "arm64", "v9"), True),
        (Platform("linux", "arm64", "v8"), Platform("linux", "arm64", "8.0"), False),
        (Platform("linux", "386", "a"), Platform("linux", "386", "b"), False),
        (Platform("windows", "amd64", "", "1"), Platform("windows", "amd64", "", "2"), True),
        (Platform("windows", "amd64", "", "1"), Platform("windows", "amd64"), False),
        (Platform("linux", "amd64", "", "", ("a",)), Platform("linux", "amd64", "", "", ("b",)), False),
    ],
)
def test_contradictions(one: Platform, other: Platform, contradict: bool) -> None:
    assert one.contradicts(other) is contradict
    assert other.contradicts(one) is contradict


def test_what_is_left_empty_is_filled_from_another() -> None:
    full = Platform("windows", "arm64", "v8", "1", ("a",))
    assert Platform("", "").filled_from(full) == full
    assert full.filled_from(Platform("linux", "amd64", "v3", "2", ("b",))) == full
    assert Platform("linux", "arm").filled_from(Platform("", "", "v6")) == Platform("linux", "arm", "v6")


@pytest.mark.parametrize(
    ("platform", "shown"),
    [
        (Platform("", ""), "no platform"),
        (Platform("", "amd64"), "(no os)/amd64"),
        (Platform("linux", ""), "linux/(no architecture)"),
        (Platform("li\nnux", "\x1bamd64"), "li\\nnux/\\x1bamd64"),
        (Platform("::error::", "x"), "\\x3a:error::/x"),
    ],
)
def test_what_comes_from_outside_is_shown_safely(platform: Platform, shown: str) -> None:
    assert platform.shown == shown


@pytest.mark.parametrize(
    ("platform", "unknown"),
    [
        (Platform("unknown", "unknown"), True),
        (Platform("unknown", "amd64"), False),
        (Platform("linux", "unknown"), False),
        (Platform("", ""), False),
    ],
)
def test_the_platform_of_attestations(platform: Platform, unknown: bool) -> None:
    assert platform.unknown is unknown


def test_platforms_are_values() -> None:
    assert len({Platform("a", "b"), Platform("a", "b"), Platform("a", "b", "c")}) == 2
    assert sorted([Platform("b", "a"), Platform("a", "b")]) == [Platform("a", "b"), Platform("b", "a")]
