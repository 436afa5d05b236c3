"""Rules for platforms, in the entries of lists and in configs: names that nothing can have, or no client looks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.model.platforms import ARCHITECTURE_ALIASES, KNOWN_ARCHITECTURES, KNOWN_OS, OS_ALIASES
from manifestctl.validation.faults import Fault, Path, platform_in, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.platforms import Platform

# Only here are all variants of the same form: riscv64 has rva23u64, ppc64le power9.
_VERSIONED = frozenset({"arm", "arm64", "amd64"})
# What may be in a part of a platform as it is written: os/architecture/variant.
_PART = re.compile(r"[A-Za-z0-9_.-]*")
_PRINTABLE = re.compile(r"[ -~]*")
_VARIANT = re.compile(r"v[0-9]+(?:\.[0-9]+)?")


def platform_faults(path: Path, value: object) -> Iterator[Fault]:
    """Yield what is wrong or doubtful about a platform object, or about the platform keys of a config.

    What is not of the right type is the schema's business, and ``unknown/unknown`` is no platform.
    """
    platform = platform_in(value)
    if platform is None or not isinstance(value, dict):
        return
    strange = {fault.path: fault for fault in _characters(path, platform)}
    yield from strange.values()
    if not platform.unknown:
        # Of what cannot even be written, it is not said too that it is not known.
        yield from (fault for fault in _doubtful(path, platform, value) if fault.path not in strange)


def _characters(path: Path, platform: Platform) -> Iterator[Fault]:
    names = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    for key, text in names.items():
        if not _PART.fullmatch(text):
            yield _strange((*path, key), key, text, "is written in letters, digits, '_', '.' and '-' only")
    details: list[tuple[Path, str, str]] = [(("os.version",), "os.version", platform.os_version)]
    details += [(("os.features", n), f"os.features[{n}]", text) for n, text in enumerate(platform.os_features)]
    for place, what, text in details:
        if not _PRINTABLE.fullmatch(text):
            yield _strange((*path, *place), what, text, "is written in printable ASCII characters only")


def _strange(path: Path, what: str, text: str, rule: str) -> Fault:
    return Fault(path, "platform-characters", f"{what} {rule}, and this is {shown(text)}", found=text)


def _doubtful(path: Path, platform: Platform, value: dict[str, object]) -> Iterator[Fault]:
    if "os" in value and platform.os not in KNOWN_OS:
        yield _os(path, platform)
    if "architecture" in value and platform.architecture not in KNOWN_ARCHITECTURES:
        yield _architecture(path, platform)
    elif platform.architecture in _VERSIONED and platform.variant and not _VARIANT.fullmatch(platform.variant):
        yield _variant(path, platform)
    if platform.os == "windows" and not platform.os_version:
        yield Fault(
            (*path, "os.version"),
            "os-version-missing",
            "os is windows, but there is no os.version",
            hint="Windows hosts take the image whose build is theirs: say it, e.g. 10.0.20348.2340.",
        )


def _os(path: Path, platform: Platform) -> Fault:
    better = OS_ALIASES.get(platform.os.lower(), platform.os.lower())
    known = better in KNOWN_OS
    hint = f"Write {better}." if known else "Write it as Go's GOOS names it, e.g. linux or windows."
    return _unknown((*path, "os"), "os-unknown", platform.os, hint, better if known else "")


def _architecture(path: Path, platform: Platform) -> Fault:
    lower = platform.architecture.lower()
    better, variant = ARCHITECTURE_ALIASES.get(lower, (lower, ""))
    known = better in KNOWN_ARCHITECTURES
    hint = "Write it as Go's GOARCH names it, e.g. amd64 or arm64."
    if known:
        hint = (
            f"Write {better}." if platform.variant or not variant else f"Write {better}, and {variant} as its variant."
        )
    expected = better if known else ""
    return _unknown((*path, "architecture"), "architecture-unknown", platform.architecture, hint, expected)


def _variant(path: Path, platform: Platform) -> Fault:
    better = f"v{platform.variant.lower().removeprefix('v')}"
    known = _VARIANT.fullmatch(better) is not None
    hint = f"Write {better}." if known else "Write arm's as v6, v7 or v8, arm64's as v8 or later, amd64's as v1 to v4."
    return _unknown((*path, "variant"), "variant-unknown", platform.variant, hint, better if known else "")


def _unknown(path: Path, rule: str, found: str, hint: str, expected: str) -> Fault:
    what = "is empty" if not found else f"is {shown(found)}, a name that clients do not look for"
    return Fault(path, rule, f"{path[-1]} {what}", hint, found, expected)
