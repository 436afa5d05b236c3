"""Names of Amazon's repositories, as users write them and as AWS takes them: `RepositoryName`.

Grammar (CreateRepository of ``ecr-public`` and of ``ecr``)::

    public  := [host "/" alias "/"] name    2 to 205 characters; one ".", "_" or "-" between letters and digits
    private := host "/" name                2 to 256 characters; also "__" and any number of "-"

A name without a host is one of ECR Public, in the caller's own registry.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar

from manifestctl.aws.hosts import HOSTS, PUBLIC_HOST, PUBLIC_REGION, EcrHost, ecr_host, looks_like_ecr
from manifestctl.errors import InputError
from manifestctl.text import escape, plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.model.reference import Reference

Name = TypeVar("Name", bound="RepositoryName")

_PUBLIC = EcrHost(PUBLIC_HOST, "ecr-public", PUBLIC_REGION)
_PUBLIC_PART = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_PRIVATE_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_ALIAS = re.compile(_PUBLIC_PART)
_PUBLIC_NAME = re.compile(rf"{_PUBLIC_PART}(?:/{_PUBLIC_PART})*")
_PRIVATE_NAME = re.compile(rf"{_PRIVATE_PART}(?:/{_PRIVATE_PART})*")
_SHORTEST, _LONGEST_PUBLIC, _LONGEST_PRIVATE = 2, 205, 256
_FORMS = f"Write {PUBLIC_HOST}/ALIAS/NAME or ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME."


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """A repository of ECR Public or of ECR.

    ``alias`` is that of the public registry; empty for a private one, and for a public name that was given without.
    ``name`` is the repository's own, as the APIs take it.
    """

    host: EcrHost
    alias: str
    name: str

    @classmethod
    def parse(cls, text: str, *, bare: bool = True) -> Self:
        """Parse what a user typed; raises `InputError` for what AWS would refuse, before it is asked.

        ``bare``: that a name alone is understood too is told to who leaves out the alias.
        """
        _refuse_more(text)
        host, path = _split_host(text)
        if host is None or not host.is_public:
            return _checked(cls(host or _PUBLIC, "", path), text)
        alias, slash, name = path.partition("/")
        if alias and not slash:
            alone = f", or {escape(alias, 205)} alone for your own alias" if bare else ""
            hint = f"Write {host.host}/ALIAS/{escape(alias, 205)}{alone}."
            raise _invalid(text, "there is no alias between the host and the repository's name", hint)
        return _checked(cls(host, alias, name if alias else ""), text)

    @classmethod
    def of(cls, reference: Reference) -> Self:
        """Return the repository of an image; raises `InputError` if it cannot be one of Amazon's."""
        return cls.parse(reference.store, bare=False)

    def under(self, alias: str) -> Self:
        """Return the same repository, named by this alias."""
        return replace(self, alias=alias)

    def __str__(self) -> str:
        """Return the name in full, with neither tag nor digest; without host if there is no alias to put after it."""
        if not self.host.is_public:
            return f"{self.host.host}/{self.name}"
        return f"{self.host.host}/{self.alias}/{self.name}" if self.alias else self.name


def _checked(given: Name, text: str) -> Name:
    if not given.name:
        raise _invalid(text, "it names no repository")
    _refuse_host(given, text)
    if (given.alias + given.name).lower() != given.alias + given.name:
        raise _invalid(text, "alias and name must be lower-case", f"Write {escape(text.lower(), 300)}")
    public = given.host.is_public
    longest, service = (_LONGEST_PUBLIC, "ECR Public") if public else (_LONGEST_PRIVATE, "ECR")
    if not _SHORTEST <= len(given.name) <= longest:
        has = plural(len(given.name), "character")
        reason = f"its name has {has}, and on {service} it has {_SHORTEST} to {longest}"
        raise _invalid(text, reason, "Choose a name of that length.")
    if given.alias and not _ALIAS.fullmatch(given.alias):
        raise _invalid(text, f"'{escape(given.alias, 50)}' is not an alias of a public registry")
    if not (_PUBLIC_NAME if public else _PRIVATE_NAME).fullmatch(given.name):
        raise _invalid(text, *_wrong_characters(given.name, public=public))
    return given


def _split_host(text: str) -> tuple[EcrHost | None, str]:
    """Part the registry from what is below it; there is none before the name of a public repository alone."""
    first, slash, path = text.partition("/")
    host = ecr_host(first)
    if host is None and (not slash or not ("." in first or ":" in first or first == "localhost")):
        return None, text
    if host is None:
        hint = f"The repositories of other registries are made by their own means. {_FORMS}"
        hint = HOSTS if looks_like_ecr(first) else hint
        raise _invalid(text, f"{escape(first, 100)} is not a registry of Amazon ECR", hint)
    return host, path


def _refuse_more(text: str) -> None:
    """Refuse what says more, or something else, than which repository is meant."""
    if "://" in text:
        raise _invalid(text, "it is a URL", f"Write it without the scheme: {escape(text.partition('://')[2], 200)}")
    name, at, _ = text.partition("@")
    head, slash, last = name.rpartition("/")
    last, colon, _ = last.partition(":")
    if at or colon:
        hint = f"Write {escape(head + slash + last, 300)}"
        raise _invalid(text, f"a repository has no {'digest' if at else 'tag'}", hint)


def _refuse_host(name: RepositoryName, text: str) -> None:
    """Refuse a registry's host inside the name: somebody put a URI where a name belongs."""
    for part in (name.alias, *name.name.split("/")):
        host = ecr_host(part)
        # Mirrors of public images in a private registry are often named after where they came from.
        if host is not None and (name.host.is_public or not host.is_public):
            start = text.find(part, text.find("/") + 1)
            hint = f"Write the host once: {escape(text[start:], 300)}"
            raise _invalid(text, f"the registry's host {part} stands inside the repository's name", hint)


def _wrong_characters(name: str, *, public: bool) -> tuple[str, str]:
    if public and _PRIVATE_NAME.fullmatch(name):
        single = re.sub(r"([_-])\1+", r"\1", name)
        return "ECR Public takes one separator at a time, not '__' or '--'", f"Write {single} in the name's place."
    separators = "'.', '_' or '-'" if public else "'.', '_', '__' or any number of '-'"
    reason = f"'{escape(name, 205)}' is not a repository name"
    return reason, f"Between slashes it has lower-case letters and digits, with {separators} between them."


def _invalid(text: str, reason: str, hint: str = _FORMS) -> InputError:
    return InputError(f"'{escape(text, 300)}' does not name a repository of Amazon ECR: {reason}", hint=hint)
