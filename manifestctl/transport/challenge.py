"""Challenges: what ``WWW-Authenticate`` asks for (RFC 9110 §11.6.1), and the scopes of a registry's token service.

Registries are sloppy here: several challenges in one header, or several headers; values that should be quoted and are
not; names in any case. The parser takes what can be made out, never raises, and its work grows linearly with a capped
input.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Self

from manifestctl.errors import DeniedError
from manifestctl.text import outside
from manifestctl.transport.addresses import forbidden_address
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_HEADERS = 16
MAX_LENGTH = 16 * 1024
MAX_CHALLENGES = 16
MAX_PARAMS = 32

BASIC, BEARER = "basic", "bearer"

_GAP = re.compile(r"[ \t,]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Negotiate and the like carry one word of base64 in place of parameters.
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|\\?$)', re.DOTALL)
_BARE = re.compile(r'[^ \t,"]*')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Nothing that two URL parsers could read differently: no user, no escapes or controls in the host, no backslash.
_REALM = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!-\[\]-~]*)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: scheme and names of parameters in lower case; the values as they came, which is outside text."""

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """Where to get a token (Bearer), or what is protected (Basic); empty if absent."""
        return self.params.get("realm", "")

    @property
    def service(self) -> str:
        """The name that the token service knows the registry by; empty if absent."""
        return self.params.get("service", "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that were asked for."""
        return tuple(self.params.get("scope", "").split())

    @property
    def error(self) -> str:
        """Why the token sent was refused: ``invalid_token``, ``insufficient_scope``; empty if it does not say."""
        return self.params.get("error", "")


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Return all challenges of all ``WWW-Authenticate`` headers, in order. Never raises; garbage is passed over."""
    challenges: list[Challenge] = []
    for header in list(headers)[:MAX_HEADERS]:
        if len(header) <= MAX_LENGTH:
            challenges += _parse_header(header)
    return challenges[:MAX_CHALLENGES]


def _parse_header(header: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    params: dict[str, str] = {}
    position = 0
    while position < len(header):
        position = _end(_GAP, header, position)
        word = _TOKEN.match(header, position)
        if word is None:
            position += 1
            continue
        position = word.end()
        equals = _EQUALS.match(header, position)
        if equals is None:
            params = {}
            challenges.append(Challenge(word.group().lower(), params))
            position = _end(_TOKEN68, header, position)
            continue
        value, position = _value(header, equals.end())
        if challenges and len(params) < MAX_PARAMS:
            params.setdefault(word.group().lower(), value)
    return challenges


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _value(header: str, position: int) -> tuple[str, int]:
    quoted = _QUOTED.match(header, position)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted.group(1)), quoted.end()
    end = _end(_BARE, header, position)
    return header[position:end], end


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer with a realm before Basic; None if neither was offered."""
    known = list(challenges)
    for challenge in known:
        if challenge.scheme == BEARER and challenge.realm:
            return challenge
    return next((challenge for challenge in known if challenge.scheme == BASIC), None)


def check_realm(realm: str, registry: str, *, plain_http: bool) -> str:
    """Return a Bearer realm if credentials may be sent there; raises `DeniedError`.

    ``registry`` is ``host[:port]``; ``plain_http`` tells that it is itself spoken to without TLS. A realm must be an
    absolute URL, on https unless the registry is on plain HTTP, and no address inside a private network unless it is
    the registry's own host.
    """
    match = _REALM.fullmatch(realm)
    if match is None:
        raise _refused(registry, realm, "which is not a URL that can be asked")
    if match["scheme"].lower() == "http" and not plain_http:
        raise _refused(registry, realm, "which is not https")
    if forbidden_address(match["host"], registry):
        raise _refused(registry, realm, "an address inside a private network")
    return realm


def _refused(registry: str, realm: str, why: str) -> DeniedError:
    return DeniedError(
        f"{outside(registry, 100)} sends for tokens to '{outside(realm, 200)}', {why}; no credentials were sent there",
        hint="Check the registry's auth settings (its token realm), or whether something answers in its place.",
    )


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on one repository, as a token grants them: ``repository:team/app:pull,push``."""

    repository: str
    actions: frozenset[str]

    @classmethod
    def pull(cls, repository: str) -> Self:
        """Return the scope to read a repository."""
        return cls(repository, frozenset({"pull"}))

    @classmethod
    def push(cls, repository: str) -> Self:
        """Return the scope to read and write a repository."""
        return cls(repository, frozenset({"pull", "push"}))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what a challenge asked for; None if it is no scope of a repository (``aws``, ``registry:catalog:*``)."""
        kind, _, rest = text.partition(":")
        repository, _, actions = rest.rpartition(":")
        if kind != "repository" or not repository or not actions:
            return None
        return cls(repository, frozenset(action for action in actions.split(",") if action))

    def includes(self, other: Scope) -> bool:
        """Tell if a token with this scope is enough for the other."""
        return self.repository == other.repository and self.actions >= other.actions

    def __str__(self) -> str:
        """Return it as token services read it; ``pull`` stands before ``push``."""
        return f"repository:{self.repository}:{','.join(sorted(self.actions))}"


def merge(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return one scope for each repository, with all its actions, in the order in which the repositories first came."""
    merged: dict[str, frozenset[str]] = {}
    for scope in scopes:
        merged[scope.repository] = merged.get(scope.repository, frozenset()) | scope.actions
    return tuple(Scope(repository, actions) for repository, actions in merged.items())
