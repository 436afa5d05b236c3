"""What a run has shown to servers, and must not show to people if one of them says it again: `Secrets`."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from manifestctl.text import LIMIT, outside

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.transport.message import Authorization

# What is shorter is no secret that is worth the name, and stands in any text by chance.
_SHORTEST = 4
_MASK = "…".encode()


class Secrets:
    """The passwords and tokens that a run has sent. May be shared by threads.

    A server that refuses a credential may repeat it in its words, with no name before it by which `text.redact` would
    know it. So what a server says besides content passes through here before it is made a message.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._values: set[str] = set()
        self._forms: dict[str, frozenset[bytes]] = {}

    def learn(self, authorization: Authorization | None) -> None:
        """Keep what is about to be sent, if anything is."""
        if authorization is None:
            return
        known = authorization.credential
        values = [authorization.value.partition(" ")[2]]
        if known is not None:
            values += [known.password, known.identity_token, known.registry_token]
            values += [known.basic] if known.password else []
        self._values.update(value for value in values if len(value) >= _SHORTEST)

    def hide(self, data: bytes) -> bytes:
        """Return what a server sent without the secrets, in whichever of the usual ways it spells them."""
        for value in tuple(self._values):
            if value not in self._forms:
                self._forms[value] = _spellings(value)
        # The longest first: one secret may hold another, as that of Basic does its password.
        found = {form for forms in tuple(self._forms.values()) for form in forms if form in data}
        for form in sorted(found, key=len, reverse=True):
            data = data.replace(form, _MASK)
        return data

    def hidden(self, text: str) -> str:
        """Return a text without the secrets, as `hide` does."""
        return self.hide(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def outside(self, text: str, limit: int = LIMIT) -> str:
        """Return what a server said, fit for a message: as `text.outside`, and without these secrets."""
        return outside(self.hidden(text), limit)

    def hush(self, error: BaseException) -> None:
        """Take the secrets out of the words of an error and its causes, which may quote what a server sent."""
        seen: list[BaseException] = []
        cause: BaseException | None = error
        while cause is not None and cause not in seen:
            seen.append(cause)
            cause.args = tuple(self.hidden(part) if isinstance(part, str) else part for part in cause.args)
            cause = cause.__cause__ or cause.__context__


def _spellings(value: str) -> frozenset[bytes]:
    """Return the ways in which a text is written: as it is, in a URL, in JSON, in base64, in Python's bytes."""
    raw = value.encode("utf-8", "surrogatepass")
    in_url = [spell(raw) for spell in _IN_URLS]
    in_json = [json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    # Go writes these three as escapes, PHP the slash.
    in_json += [text.replace("/", "\\/") for text in in_json]
    in_json += [text.translate(_ESCAPED_BY_GO) for text in in_json]
    texts = [value, *in_url, *(_lower_hex(text) for text in in_url), *in_json, repr(raw)[2:-1]]
    # The padding is left out by some.
    texts.append(b64encode(raw).decode().rstrip("="))
    return frozenset(text.encode("utf-8", "surrogatepass") for text in texts)


def _lower_hex(text: str) -> str:
    first, *others = text.split("%")
    return "%".join([first, *(other[:2].lower() + other[2:] for other in others)])


_ESCAPED_BY_GO = str.maketrans({"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"})
_IN_URLS: tuple[Callable[[bytes], str], ...] = (lambda raw: quote(raw, safe=""), quote, quote_plus)
