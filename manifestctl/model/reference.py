"""References to images in registries.

Grammar (OCI distribution-spec "Pulling manifests"; host recognition and short names as Docker has them)::

    reference  := [host "/"] repository [":" tag] ["@" digest]
    host       := name or address with a "." or ":" in it, or "localhost"
    repository := component ("/" component)*          at most 255 characters with the host
    component  := [a-z0-9]+ (("." | "_" | "__" | "-"+) [a-z0-9]+)*
    tag        := [A-Za-z0-9_][A-Za-z0-9._-]{0,127}

``ubuntu`` is ``docker.io/library/ubuntu``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.text import escape, outside
from manifestctl.values import dataclass

DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
DEFAULT_TAG = "latest"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?P<address>[0-9a-fA-F:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?")
_MAX_NAME = 255
_MAX_PORT = 65535


def check_tag(tag: str) -> str:
    """Return the tag if it is one; raises `InputError`."""
    if not _TAG.fullmatch(tag):
        raise InputError(
            f"'{escape(tag, 140)}' is not a tag",
            hint="A tag has 1 to 128 letters, digits, '_', '.' and '-', and does not begin with '.' or '-'.",
        )
    return tag


class Tagged:
    """What places of images have in common: behind the name of a store, a tag and a digest."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def store(self) -> str:
            """What a store is bound to, as text."""

        @property
        def tag(self) -> str | None:
            """The tag, if there is one."""

        @property
        def digest(self) -> Digest | None:
            """The digest, if there is one."""

    def with_tag(self, tag: str | None) -> Self:
        """Return the same store with this tag and no digest."""
        return replace(self, tag=tag, digest=None)  # type: ignore[type-var]

    def with_digest(self, digest: Digest) -> Self:
        """Return the same store with this digest and no tag."""
        return replace(self, tag=None, digest=digest)  # type: ignore[type-var]

    def __str__(self) -> str:
        """Return the canonical, full form."""
        tag = f":{self.tag}" if self.tag is not None else ""
        return f"{self.store}{tag}" + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class Reference(Tagged):
    """An image in a registry: ``registry/repository[:tag][@digest]``.

    ``registry`` is a host with an optional port, ``repository`` the path below it. With neither tag nor digest it names
    the repository.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what a user typed, Docker's short forms included; raises `InputError`."""
        named = without_user(text)
        if named != text:
            raise _invalid(
                named,
                "a user or a password stands before its host",
                hint="Write registry/repository:tag, and log in with 'manifestctl login'.",
            )
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        name, tag = _split_tag(rest)
        if not name:
            raise _invalid(text, "it names no repository")
        if "://" in text:
            raise _invalid(
                text, "it is a URL", hint=f"Write it without the scheme: {outside(text.partition('://')[2], 200)}"
            )
        registry, repository = _split_host(name)
        if not _is_host(registry):
            raise _invalid(text, f"'{escape(registry, 100)}' is not a host")
        if repository != repository.lower():
            raise _invalid(
                text,
                "a repository name must be lower-case",
                hint=f"Write {escape(text.replace(repository, repository.lower()), 300)}",
            )
        if not _REPOSITORY.fullmatch(repository):
            raise _invalid(text, f"'{escape(repository, 100)}' is not a repository name")
        if len(registry) + 1 + len(repository) > _MAX_NAME:
            raise _invalid(text, f"host and repository are longer than {_MAX_NAME} characters")
        if tag is not None:
            check_tag(tag)
        return cls(registry, repository, tag, digest)

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag, else ``latest``."""
        return str(self.digest) if self.digest else self.tag or DEFAULT_TAG

    @property
    def store(self) -> str:
        """The repository as text: what a store is bound to."""
        return f"{self.registry}/{self.repository}"


def without_user(text: str) -> str:
    """Return a reference as it was typed, but without what stands before its host if that is a user and a password."""
    end = text.rfind("@", 0, text.rfind("/") + 1)
    return text if end < 0 else f"…{text[end:]}"


def _split_tag(text: str) -> tuple[str, str | None]:
    slash, colon = text.rfind("/"), text.rfind(":")
    return (text[:colon], text[colon + 1 :]) if colon > slash else (text, None)


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = first, rest
    else:
        registry, repository = DOCKER_HUB, name
    if registry.lower() in _HUB_NAMES:
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 1) <= _MAX_PORT:
        return False
    if match["address"]:
        import ipaddress

        try:
            ipaddress.IPv6Address(match["address"])
        except ValueError:
            return False
    return True


def _invalid(text: str, reason: str, hint: str = "") -> InputError:
    return InputError(
        f"'{outside(text, 300)}' is not an image reference: {reason}",
        hint=hint or "Write registry/repository:tag or registry/repository@sha256:…",
    )
