"""Making outside text harmless: escaping for terminals, CI logs, Markdown and HTML, and redaction.

What a registry, an image or a file says is data. It is never printed as it came: control characters
could move the cursor or forge a line, bidirectional marks could reorder one, and CI runners read
commands out of logs (``::set-output``, ``##[command]``, ``##vso[task]``).
"""

from __future__ import annotations

import re

LIMIT = 1024
"""Outside text is capped at this many characters."""

# C0, DEL and C1 controls, line and paragraph separators, bidi marks and isolates, zero-width
# characters, the byte-order mark, tag characters and hidden variation selectors, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# ``##[command]``, ``##vso[…]``, ``##teamcity[…]``: some runners find these anywhere in a line.
_RUNNER_COMMAND = re.compile(r"##(?=\w{0,32}\[)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&@:])")
_QUERY = re.compile(r"\?[^\s\"'<>]+")
# Up to the last "@", for a password may hold one that was not encoded.
_USERINFO = re.compile(r"(?<=://)[^/\s\"'<>]*@")
_AUTHORIZATION = re.compile(
    # "Basic authentication" and "Bearer authorization" are words, not secrets.
    r"\b(?P<scheme>bearer|basic)\s+(?!authenti|authori[sz])[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=authorization:)[^\r\n,;\"']+"
    # A JSON Web Token, wherever it stands.
    r"|\beyJ[\w-]{8,}\.[\w.-]+",
    re.IGNORECASE,
)


def _escape_character(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape(text: str, limit: int = LIMIT) -> str:
    """Return outside text on one line, safe to print, as at most ``limit`` characters and an ellipsis."""
    # No more than can be kept is escaped; one more, so that what was too long is known.
    text = _UNSAFE.sub(_escape_character, text[: limit + 1])
    text = _RUNNER_COMMAND.sub(r"#\\x23", text)
    # A runner trims white space before it looks for its command, and a prefix is not always at hand.
    if text.lstrip().startswith("::"):
        text = text.replace(":", "\\x3a", 1)
    return text if len(text) <= limit else text[:limit] + "…"


def redact(text: str) -> str:
    """Return the text without query strings, user names and passwords in URLs, Authorization values and tokens."""
    text = _USERINFO.sub("…@", text)
    text = _QUERY.sub("?…", text)
    return _AUTHORIZATION.sub(lambda match: f"{match['scheme']} …" if match["scheme"] else "…", text)


def outside(text: str, limit: int = LIMIT) -> str:
    """Return what a registry said, redacted and escaped: fit for a message."""
    return escape(redact(text[: limit * 4]), limit)


def markdown(text: str) -> str:
    """Return outside text escaped for a Markdown table cell, as GitHub renders it."""
    return _MARKDOWN.sub(r"\\\1", escape(text))


def html(text: str) -> str:
    """Return outside text escaped for HTML, attribute values included."""
    from html import escape as escape_html

    return escape_html(escape(text), quote=True)


def plural(count: int, singular: str, many: str = "") -> str:
    """Return ``1 image`` or ``2 images``."""
    return f"{count} {singular if count == 1 else many or singular + 's'}"


def size(count: int) -> str:
    """Return a size in bytes as people read it: ``512 B``, ``3.4 KiB``, ``120.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        # From 1023.95 on it would be shown as 1024.0.
        if value < 1023.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"
