"""What is said in the body of an error, taken apart once: `ErrorBody`.

OCI distribution-spec "Error Codes": ``{"errors": [{"code", "message", "detail"}]}``; bodies that are something else
(HTML from a proxy, plain text) are normal.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Self

from manifestctl.text import outside
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.transport.message import Response

_DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}", re.IGNORECASE)
_SEARCHED = 4096


@dataclass(frozen=True, slots=True)
class RegistryError:
    """One error as it came: to look into, not to show.

    ``detail`` is all that it says beside its message, as text; ``telling`` the part of that which people can use: what
    is no structure, or the digests that stand in one.
    """

    code: str
    message: str
    detail: str = ""
    telling: str = ""

    @classmethod
    def of(cls, error: dict[str, Any]) -> Self:
        """Take one member of ``errors``."""
        detail = error.get("detail")
        flat = isinstance(detail, str | int | float) and not isinstance(detail, bool)
        text = str(detail) if flat else json.dumps(detail, ensure_ascii=False) if detail else ""
        message = str(error.get("message") or text)
        told = [text] if flat else dict.fromkeys(_DIGEST.findall(text))
        telling = ", ".join(part for part in told if part not in message)
        return cls(str(error.get("code") or ""), message, text, telling)

    @property
    def shown(self) -> str:
        """The error on one line, redacted and escaped."""
        code, message, telling = outside(self.code, 80), outside(self.message), outside(self.telling, 300)
        said = f'{code} "{message}"' if message else code
        return f"{said} ({telling})" if telling else said


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The body of an error.

    ``words`` is all that it says, as it came; in JSON an apostrophe or a slash may be written as an escape, here none
    is. ``low`` is the beginning of that in lower case. ``html``: it is a web server's page.
    """

    errors: tuple[RegistryError, ...]
    words: str
    low: str
    html: bool

    @classmethod
    def of(cls, response: Response) -> Self:
        """Read a response's body."""
        errors = read_errors(response.body)
        words = response.body.decode("utf-8", "replace")
        if errors:
            words = "\n".join(part for error in errors for part in (error.code, error.message, error.detail) if part)
        html = "html" in response.headers.get("content-type", "").lower() or response.body.lstrip()[:1] == b"<"
        return cls(errors, words, words[:_SEARCHED].lower(), html)

    @property
    def codes(self) -> frozenset[str]:
        """The codes, in capitals."""
        return frozenset(error.code.upper() for error in self.errors)

    @property
    def digests(self) -> frozenset[str]:
        """All digests that are named in it."""
        return frozenset(found.lower() for found in _DIGEST.findall(self.words))

    def shown(self, status: int) -> str:
        """Return it on one line, behind the response's status: ``403 DENIED "requested access is denied"``."""
        if self.errors:
            said = "; ".join(dict.fromkeys(error.shown for error in self.errors))
            return f"{status} {said[:1100]}"
        if self.html:
            return f"{status}, with an HTML page rather than a registry's answer"
        text = self.words.strip()
        return f'{status} "{outside(text, 300)}"' if text else str(status)


def read_errors(body: bytes) -> tuple[RegistryError, ...]:
    """Return the errors of a body; empty if it has none."""
    try:
        return tuple(RegistryError.of(error) for error in json.loads(body).get("errors") or ())
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ()
