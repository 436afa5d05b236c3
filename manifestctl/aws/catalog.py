"""Catalog data: what a public repository's page on the Gallery says, its limits, and its form in the API (`Catalog`).

Lengths are in characters, as the model of the API has them.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Self

from manifestctl.errors import InputError
from manifestctl.files import read_regular
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LONGEST_DESCRIPTION = 1024
LONGEST_MARKDOWN = 25_600
MOST_VALUES, LONGEST_VALUE = 50, 50
"""How many operating systems or architectures there may be, and how long each."""

SYSTEMS = {"linux": "Linux", "windows": "Windows"}
"""What the Gallery calls OCI's operating systems; it has badges and filters for these alone."""
ARCHITECTURES = {"amd64": "x86-64", "arm64": "ARM 64", "arm": "ARM", "386": "x86"}
"""What the Gallery calls OCI's architectures; it has badges and filters for these alone."""

_BYTES_OF_A_CHARACTER = 4
# Our names, and those of the API.
_TEXTS = {"description": "description", "about": "aboutText", "usage": "usageText"}
_LISTS = {"operating_systems": "operatingSystems", "architectures": "architectures"}


@dataclass(frozen=True, slots=True)
class Catalog:
    """Catalog data, held or asked for; what is None is not there, or not asked for.

    ``logo`` is a PNG that is to be the logo. A logo that is there cannot be read back: ``logo_url`` is all that AWS
    tells of it, and empty if there is none.
    """

    description: str | None = None
    about: str | None = None
    usage: str | None = None
    operating_systems: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    logo: bytes | None = field(default=None, repr=False)
    logo_url: str = ""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Read ``catalogData`` of an answer."""
        held: dict[str, Any] = {name: answer.get(key) or None for name, key in _TEXTS.items()}
        held |= {name: tuple(answer.get(key) or ()) or None for name, key in _LISTS.items()}
        return cls(**held, logo_url=str(answer.get("logoUrl") or ""))

    def parameters(self) -> dict[str, Any]:
        """Return it as ``catalogData`` of a request; what is None is left out."""
        texts = {key: getattr(self, name) for name, key in _TEXTS.items()}
        lists = {key: list(getattr(self, name) or ()) or None for name, key in _LISTS.items()}
        given = {**texts, **lists, "logoImageBlob": self.logo}
        return {key: value for key, value in given.items() if value is not None}

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the fields that are there, or asked for."""
        return tuple(name for name in (*_TEXTS, *_LISTS, "logo") if getattr(self, name) is not None)

    def changes(self, asked: Catalog) -> tuple[str, ...]:
        """Return the fields that are otherwise here than asked for; a logo always is, for it cannot be compared."""
        return tuple(name for name in asked.given if not _same(self, asked, name))

    def merged(self, asked: Catalog) -> Catalog:
        """Return it with the fields that are asked for, and all others as they are."""
        return replace(self, **{name: getattr(asked, name) for name in asked.given})


def _same(held: Catalog, asked: Catalog, name: str) -> bool:
    here, wanted = getattr(held, name), getattr(asked, name)
    if name in _LISTS:
        return set(here or ()) == set(wanted)
    return name in _TEXTS and (here or "") == wanted


def description_text(text: str) -> str:
    """Return a description if it is one; raises `InputError`."""
    return _within(text, LONGEST_DESCRIPTION, "it")


def read_markdown(path: Path) -> str:
    """Read a Markdown file that can be about or usage text; raises `InputError`. A byte-order mark is left out."""
    rule = f"It is Markdown in UTF-8, of at most {LONGEST_MARKDOWN:,} characters."
    try:
        data = read_regular(path, LONGEST_MARKDOWN * _BYTES_OF_A_CHARACTER, "Markdown file")
    except InputError as error:
        raise InputError(error.message, hint=rule) from error
    name = escape(str(path), 300)
    try:
        return _within(data.decode("utf-8-sig"), LONGEST_MARKDOWN, name)
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: byte {error.start} is wrong", hint=rule) from None


def system_names(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Return operating systems as the Gallery calls them, each once; raises `InputError`. None if there are none."""
    return _names(texts, SYSTEMS)


def architecture_names(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Return architectures as the Gallery calls them, each once; raises `InputError`. None if there are none."""
    return _names(texts, ARCHITECTURES)


def without_badge(catalog: Catalog) -> tuple[str, ...]:
    """Return the operating systems and architectures for which the Gallery has neither badge nor filter."""
    known = {*SYSTEMS.values(), *ARCHITECTURES.values()}
    return tuple(
        name for name in (*(catalog.operating_systems or ()), *(catalog.architectures or ())) if name not in known
    )


def _names(texts: Iterable[str], known: Mapping[str, str]) -> tuple[str, ...] | None:
    names = tuple(dict.fromkeys(known.get(text.lower(), text) for text in texts))
    if len(names) > MOST_VALUES:
        raise InputError(f"{len(names)} are more than the {MOST_VALUES} that there may be")
    for name in names:
        if not name:
            raise InputError("it is empty", hint=f"Write one of {', '.join(known)}.")
        _within(name, LONGEST_VALUE, f"'{escape(name, LONGEST_VALUE)}'")
    return names or None


def _within(text: str, most: int, what: str) -> str:
    if len(text) > most:
        raise InputError(f"{what} has {len(text):,} characters, more than the {most:,} that there may be")
    try:
        text.encode()
    except UnicodeEncodeError:
        # What was no UTF-8 on the command line has become lone surrogates.
        raise InputError(f"{what} is not UTF-8") from None
    return text
