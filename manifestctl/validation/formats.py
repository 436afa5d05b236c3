"""Text formats that a JSON Schema names but does not check: dates, URIs, base64."""

from __future__ import annotations

import binascii
import re
from datetime import date

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|[+-]([0-9]{2}):([0-9]{2}))"
)
_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):"
    r"(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?"
)
_ENCODED = r"%[0-9A-Fa-f]{2}"
_NAME = rf"[A-Za-z0-9._~!$&'()*+,;=-]|{_ENCODED}"
_AUTHORITY = re.compile(
    rf"(?:(?:{_NAME}|:)*@)?(?:\[[0-9A-Fa-f:.]+\]|\[[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+\]|(?:{_NAME})*)(?::[0-9]*)?"
)
_PATH = re.compile(rf"(?:{_NAME}|[:@/])*")
_QUERY = re.compile(rf"(?:{_NAME}|[:@/?])*")
WEB_SCHEMES = frozenset({"http", "https"})


def is_date_time(text: str) -> bool:
    """Tell whether the text is a date and time as RFC 3339 section 5.6 writes it; a leap second is one."""
    match = _DATE.fullmatch(text)
    if not match:
        return False
    year, month, day, hour, minute, second, offset_hour, offset_minute = (int(part or 0) for part in match.groups())
    try:
        # Python has no year 0; 2000 has the same days.
        date(year or 2000, month, day)
    except ValueError:
        return False
    return hour <= 23 and minute <= 59 and second <= 60 and offset_hour <= 23 and offset_minute <= 59


def uri_scheme(text: str) -> str | None:
    """Return the scheme of a URI in lower case, or None if the text is not a URI with a scheme (RFC 3986).

    An http or https URI must have a host (RFC 9110 section 4.2).
    """
    match = _URI.fullmatch(text)
    if not match or not _PATH.fullmatch(match["path"]):
        return None
    if not all(_QUERY.fullmatch(match[part] or "") for part in ("query", "fragment")):
        return None
    scheme, authority = match["scheme"].lower(), match["authority"]
    if authority is not None and not _AUTHORITY.fullmatch(authority):
        return None
    if authority is None and scheme in WEB_SCHEMES:
        return None
    host = (authority or "").rpartition("@")[2]
    return None if scheme in WEB_SCHEMES and (not host or host.startswith(":")) else scheme


def base64_content(text: str) -> bytes | None:
    """Return what the text holds, or None if it is not base64 with padding and nothing else (RFC 4648 section 4)."""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
