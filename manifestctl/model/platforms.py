"""Platforms: parsing, normalising, comparing. OCI image-spec "Image Index", property ``platform``.

Written ``os/architecture[/variant]``, with a Windows version as ``windows/amd64:10.0.20348.2340``; the form
``windows(10.0.20348.2340+win32k)/amd64`` that containerd prints is understood too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Self

from manifestctl.errors import InputError
from manifestctl.text import escape
from manifestctl.values import dataclass

KNOWN_OS = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
        "zos",
    ]
)
KNOWN_ARCHITECTURES = frozenset(
    [
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "ppc64",
        "ppc64le",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ]
)

OS_ALIASES = {"macos": "darwin"}
# Names that other systems use, and the architecture and variant that OCI gives them.
ARCHITECTURE_ALIASES: dict[str, tuple[str, str]] = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "x64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "x86": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "arm32v5": ("arm", "v5"),
    "arm32v6": ("arm", "v6"),
    "arm32v7": ("arm", "v7"),
    "arm64v8": ("arm64", ""),
    "ppc64el": ("ppc64le", ""),
    "powerpc64le": ("ppc64le", ""),
    "loongarch64": ("loong64", ""),
}

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_OS = re.compile(r"(?P<os>[A-Za-z0-9_.-]+)(?:\((?P<version>[A-Za-z0-9_.-]*)(?P<features>(?:\+[A-Za-z0-9_.-]+)*)\))?")


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """What an image runs on: ``os`` and ``architecture`` as Go's GOOS and GOARCH name them, and their refinements.

    Held as it was said, never normalised; compare with `key` or `satisfies`.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what a user typed; aliases such as ``x86_64`` become OCI's names. Raises `InputError`."""
        head, _, version = text.partition(":")
        parts = head.split("/")
        os_match = _OS.fullmatch(parts[0])
        if not (
            2 <= len(parts) <= 3 and os_match and all(_PART.fullmatch(part) for part in parts[1:]) and len(text) <= 255
        ) or (":" in text and (not _PART.fullmatch(version) or os_match["version"])):
            raise InputError(f"'{escape(text, 120)}' is not a platform", hint=_hint(text))
        os = os_match["os"].lower()
        architecture = parts[1].lower()
        variant = parts[2].lower() if len(parts) == 3 else ""
        if architecture in ARCHITECTURE_ALIASES:
            architecture, implied = ARCHITECTURE_ALIASES[architecture]
            variant = variant or implied
        features = tuple(sorted({*os_match["features"].split("+")} - {""})) if os_match["features"] else ()
        return cls(OS_ALIASES.get(os, os), architecture, variant, version or os_match["version"] or "", features)

    def normalized(self) -> Platform:
        """Return the form in which platforms are compared: lower case, aliases resolved, default variants dropped.

        ``linux/arm64/v8`` is ``linux/arm64``, ``amd64/v1`` is ``amd64``, ``arm`` is ``arm/v7``; ``amd64/v3`` stays.
        """
        os = self.os.lower()
        architecture = self.architecture.lower()
        variant = self.variant.lower()
        if architecture in ARCHITECTURE_ALIASES:
            architecture, implied = ARCHITECTURE_ALIASES[architecture]
            variant = variant or implied
        return Platform(
            OS_ALIASES.get(os, os),
            architecture,
            _normal_variant(architecture, variant),
            self.os_version,
            tuple(sorted(set(self.os_features))),
        )

    @property
    def key(self) -> tuple[str, str, str, str, tuple[str, ...]]:
        """What makes two entries of a list the same to a client: the normalised parts, all of them."""
        normal = self.normalized()
        return (normal.os, normal.architecture, normal.variant, normal.os_version, normal.os_features)

    @property
    def unknown(self) -> bool:
        """Tell whether this is ``unknown/unknown``, the platform that buildx gives to attestations."""
        return self.os == "unknown" and self.architecture == "unknown"

    def satisfies(self, wanted: Platform) -> bool:
        """Tell whether an image of this platform is what ``wanted`` asks for.

        os, architecture and variant are compared normalised; os.version only when ``wanted`` gives one, as a whole or
        its first parts (``10.0.20348`` is a build of Windows, whatever its revision), and os.features when ``wanted``
        names some (each must be there).
        """
        mine, theirs = self.normalized(), wanted.normalized()
        return (
            (mine.os, mine.architecture, mine.variant) == (theirs.os, theirs.architecture, theirs.variant)
            and f"{mine.os_version}.".startswith(f"{theirs.os_version}." if theirs.os_version else "")
            and set(theirs.os_features) <= set(mine.os_features)
        )

    def filled_from(self, other: Platform) -> Platform:
        """Return this platform with the parts that it leaves empty taken from ``other``."""
        return replace(
            self,
            os=self.os or other.os,
            architecture=self.architecture or other.architecture,
            variant=self.variant or other.variant,
            os_version=self.os_version or other.os_version,
            os_features=self.os_features or other.os_features,
        )

    def contradicts(self, other: Platform) -> bool:
        """Tell whether both say something about the same part and say different things."""
        mine, theirs = self.normalized(), other.normalized()
        pairs = [(mine.os, theirs.os), (mine.architecture, theirs.architecture), (mine.os_version, theirs.os_version)]
        if any(left and right and left != right for left, right in pairs):
            return True
        # A variant that is the default is normalised to nothing, but it was said all the same.
        return bool(self.variant and other.variant) and mine.variant != theirs.variant

    @property
    def shown(self) -> str:
        """The platform for messages: escaped, for it may come from outside, and saying which parts are absent."""
        if not self.os and not self.architecture:
            return "no platform"
        return escape(
            str(replace(self, os=self.os or "(no os)", architecture=self.architecture or "(no architecture)")), 200
        )

    def __str__(self) -> str:
        """Return ``os/architecture[/variant][:os.version]``, or the parenthesised form when there are os.features."""
        rest = f"/{self.architecture}" + (f"/{self.variant}" if self.variant else "")
        if self.os_features:
            return f"{self.os}({self.os_version}{''.join('+' + feature for feature in self.os_features)}){rest}"
        return self.os + rest + (f":{self.os_version}" if self.os_version else "")


def _normal_variant(architecture: str, variant: str) -> str:
    if architecture == "arm":
        return {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
    if architecture == "arm64":
        if variant in ("8", "v8", "8.0", "v8.0"):
            return ""
        return {"9": "v9", "9.0": "v9", "v9.0": "v9"}.get(variant, variant)
    if architecture == "amd64" and variant == "v1":
        return ""
    if architecture == "386":
        return ""
    return variant


def _hint(text: str) -> str:
    bare = text.lower()
    if bare in ARCHITECTURE_ALIASES or bare in KNOWN_ARCHITECTURES:
        architecture, variant = ARCHITECTURE_ALIASES.get(bare, (bare, ""))
        return f"Name the operating system too: linux/{architecture}" + (f"/{variant}." if variant else ".")
    return "Write os/architecture[/variant], e.g. linux/amd64, linux/arm/v7, windows/amd64:10.0.20348.2340."
