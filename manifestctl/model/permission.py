"""What AWS says when a permission is missing, as a value: `Denial`.

The same words come from AWS's APIs and, inside an error body, from its registries: ``User: ARN is not authorized to
perform: SERVICE:ACTION on resource: RESOURCE because no identity-based policy allows the SERVICE:ACTION action``, or
``… with an explicit deny in a service control policy``.
"""

from __future__ import annotations

import json
import re
from typing import Self

from manifestctl.text import escape
from manifestctl.values import dataclass

_DENIED = re.compile(
    r"(?:\bUser: (?P<principal>\S{1,2048}) is )?not authorized to perform: (?P<action>[\w-]{1,64}:\w{1,128})"
    r"(?: on resource: (?P<resource>\S+))?",
    re.ASCII,
)
_DECIDED = re.compile(
    r"because no (?P<lacking>[\w -]{1,60}?(?:policy|boundary)) allows"
    r"|with an explicit deny(?: in an? (?P<denying>[\w -]{1,60}?(?:policy|boundary)))?",
    re.ASCII,
)
# What may stand in a statement that somebody pastes: the characters of ARNs, none that a terminal or a CI runner heeds.
_NAME = re.compile(r"[!$%&(-;=?-Z^_a-~]{1,2048}")
_SHOWN = 300

_IDENTITY = "identity-based policy"
_RESOURCE = "resource-based policy"
_TRUST = "role trust policy"
_ENDPOINT = "VPC endpoint policy"
_REGISTRIES = ("ecr:", "ecr-public:")
# By AWS's name for a kind of policy: whose it is.
_PLACES = {
    _IDENTITY: "its IAM policy",
    "permissions boundary": "its permissions boundary",
    "session policy": "the session policy that it took its role with",
    "service control policy": "a service control policy of its organization",
    "resource control policy": "a resource control policy of the organization",
    _RESOURCE: "the policy of that resource",
    _ENDPOINT: "the policy of the VPC endpoint in between",
    _TRUST: "the trust policy of that role",
}


@dataclass(frozen=True, slots=True)
class Denial:
    """A permission that somebody lacks.

    ``action`` is as in ``ecr-public:PutImage``; ``resource`` and ``principal`` are as AWS named them, empty if it named
    none. ``policy`` is the kind of policy that decided, as AWS calls it. ``explicit``: a policy forbids it, so that no
    other policy can allow it. ``whole`` is False if AWS named a resource in a way that cannot be used in a statement.
    """

    action: str
    resource: str = ""
    principal: str = ""
    policy: str = _IDENTITY
    explicit: bool = False
    whole: bool = True

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Find a denial in what AWS said, as it came; None if it names no permission. The result is safe to print."""
        match = _DENIED.search(text)
        if match is None:
            return None
        # What follows may be about another denial.
        decided = _DECIDED.search(text[match.end() :].partition("User: ")[0])
        policy, explicit = _IDENTITY, False
        if decided is not None:
            policy = decided["lacking"] or decided["denying"] or "policy"
            explicit = decided["lacking"] is None
        named = (match["resource"] or "").partition("<")[0].strip(".,;:\"')")
        resource = named if _NAME.fullmatch(named) else ""
        whole = bool(resource) or match["resource"] is None
        return cls(match["action"], resource, escape(match["principal"] or "", 2048), policy, explicit, whole)

    @property
    def service(self) -> str:
        """The service that the permission is of: ``ecr-public``, ``sts``."""
        return self.action.partition(":")[0]

    @property
    def statement(self) -> str:
        """The smallest policy statement that allows it, as JSON on one line; empty if none could."""
        if self.explicit or not self.whole:
            return ""
        members: dict[str, object] = {"Effect": "Allow"}
        if self.policy == _ENDPOINT:
            members["Principal"] = "*"
        elif self.policy in (_RESOURCE, _TRUST):
            if not _NAME.fullmatch(self.principal):
                return ""
            members["Principal"] = {"AWS": self.principal}
        members["Action"] = self.action
        # Policies that hang on a role or a repository are about it alone, and may not name it.
        if self.policy != _TRUST and not (self.policy == _RESOURCE and self.action.startswith(_REGISTRIES)):
            members["Resource"] = self.resource or "*"
        return json.dumps(members)

    @property
    def hint(self) -> str:
        """Who lacks what, and the next step, with the statement at its end if there is one."""
        on = f" on {escape(self.resource, _SHOWN)}" if self.resource else ""
        lacking = f"{escape(self.principal, _SHOWN) or 'the caller'} lacks {self.action}{on}"
        if self.explicit:
            return (
                f"{lacking}: {_article(self.policy)} forbids it explicitly, and no statement elsewhere can allow it; "
                "take that Deny away, or use another identity."
            )
        if self.service == "ecr-public" and self.policy == _IDENTITY:
            lacking += " (permissions that begin with 'ecr:' are for another service)"
        place = _PLACES.get(self.policy, f"its {self.policy}")
        if not self.statement:
            return f"{lacking}; {place} must allow it."
        if self.policy == _IDENTITY:
            return f"{lacking}; add this statement to {place}: {self.statement}"
        return f"{lacking}; {place} must allow it too, as this statement does: {self.statement}"


def _article(policy: str) -> str:
    return f"{'an' if policy.startswith(tuple('aeiou')) else 'a'} {policy}"
