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
# The same without a scheme, as somebody writes who takes a registry for a URL; "name:tag@sha256:…" is none, nor is
# the path of a layout or an archive, nor what our own hints call it.
_BARE_USERINFO = re.compile(
    r"(?<![^\s\"'<>(,;=])(?!(?:oci|oci-archive|docker-archive|docker-daemon|mailto):|(?-i:USER:PASSWORD)@)"
    r"[^\s\"'<>(),;/@:=]+:[^/\s\"'<>]*@(?=[\w\[])(?!sha\d{3}:|[\w.+-]{1,40}:[0-9a-f]{32})",
    re.IGNORECASE,
)
# Parts of a query that open what they stand for, wherever they are; "%3F" and "%26" are "?" and "&" in a URL in a URL.
_SIGNED = re.compile(
    r"(?P<name>x-amz-security-token(?:=|%3D|:[ \t]{0,3})|(?:x-(?:amz|goog)-[\w-]{1,40}"
    r"|(?:(?<![a-z0-9])|(?<=%3F)|(?<=%26))(?:_state|sig))(?:=|%3D))[^\s\"'<>&]+",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    # "Basic authentication" and "Bearer authorization" are words, not secrets.
    r"\b(?P<scheme>bearer|basic)\s+(?!authenti|authori[sz])[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=authorization:)[^\r\n,;\"']+"
    # A JSON Web Token, and tokens that begin as those of Docker Hub, GitHub and GitLab do, wherever they stand.
    r"|\beyJ[\w-]{8,}\.[\w.-]+|\b(?:dckr_[po]at_|gh[pousr]_|github_pat_|glpat-)[\w-]{8,}",
    re.IGNORECASE,
)
# What names a secret, and the secret: in JSON (perhaps inside a JSON string), as key=value and as key: value.
_NAMED_SECRET = re.compile(
    r"(?P<name>secret[ _-]?(?:access[ _-]?)?(?:key)?|passw(?:or)?d|passphrase|api[_-]?key|token)"
    r"(?P<between>(?P<closing>\\*[\"']?)[ \t]{0,3}(?P<sign>=>?|:)[ \t]{0,3})"
    r"(?P<value>(?P<quote>[\"'])(?:\\.|(?!(?P=quote))[^\\])*|(?P<deep>\\+[\"'])(?:(?!(?P=deep)).)*|[^\s\"'&]+)",
    re.IGNORECASE | re.DOTALL,
)
_NO_SECRET = frozenset({"null", "none", "true", "false"})
# What messages say of a password or a token behind a colon.
_SAID_OF_ONE = re.compile(
    r"null|none|true|false|cannot|denied|empty|expired|failed|forbidden|has|incorrect|invalid|is|malformed|may|missing"
    r"|must|no|not|refused|rejected|required|revoked|unauthorized|unknown|unsupported|was|wrong",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+|(?:[A-Z][a-z]+)+|[A-Z]{1,5}")
# A JSON web token, or another base64 of JSON.
_TOKEN_LIKE = re.compile(r"eyJ[A-Za-z0-9+/=._-]+")


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
    """Return the text without its secrets.

    These are query strings, user names and passwords in URLs, Authorization values, tokens, signatures, and what is
    named as a secret, a password or a token: ``"SecretAccessKey": "…"``, ``password=…``, ``token: …``. Sentences about
    them stay.
    """
    text = _BARE_USERINFO.sub("…@", _USERINFO.sub("…@", text))
    text = _SIGNED.sub(r"\g<name>…", _QUERY.sub("?…", text))
    text = _AUTHORIZATION.sub(lambda match: f"{match['scheme']} …" if match["scheme"] else "…", text)
    return _NAMED_SECRET.sub(_hidden, text)


def _hidden(match: re.Match[str]) -> str:
    opening = match["quote"] or match["deep"] or ""
    return match.group() if _is_said(match) else f"{match['name']}{match['between']}{opening}…"


def _is_said(match: re.Match[str]) -> bool:
    """Tell whether what stands behind the name of a secret is a part of a sentence, and no secret."""
    value = match["value"]
    if value.lstrip("\\\"'").startswith("…"):
        # It was taken out before.
        return True
    if match["quote"] or match["deep"]:
        return False
    word = value.strip(".,;:!)]}")
    if match["sign"] != ":" or match["closing"]:
        return word.lower() in _NO_SECRET
    if match["between"].endswith(":"):
        # The name and the tag of an image, or a part of an ARN.
        return True
    if _SAID_OF_ONE.fullmatch(word) or not any(character.isalnum() for character in word):
        return True
    # An HTTP status, the name of an error, and the word that a sentence begins with; a password may be a word too.
    worded = match["name"].lower() in ("token", "secret") and _WORD.fullmatch(word) is not None
    goes_on = word[0].isupper() or match.string[match.end() : match.end() + 1].isspace()
    return (worded and goes_on) or (word.isdigit() and len(word) <= 3)


def of_program(text: str, limit: int = 300) -> str:
    """Return the first line of what a program said that handles secrets, fit for a message.

    It is empty if the program may have written a whole credential where a message should be.
    """
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    if "{" in line or 'secret"' in text.lower():
        return ""
    return outside(_TOKEN_LIKE.sub("…", line), limit)


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


def duration(seconds: float) -> str:
    """Return a time as people read it: ``1 second``, ``30 minutes``, ``5 hours``, ``40 days``."""
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * unit:
            return plural(round(seconds / unit), name)
    return plural(round(seconds), "second")


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
