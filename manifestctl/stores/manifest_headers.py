"""What is said beside a manifest, in headers: its digest, conditions, warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.stores.base import check_digest
from manifestctl.text import outside

if TYPE_CHECKING:
    from manifestctl.stores.base import OnlyIf
    from manifestctl.transport.message import Response

DIGEST_HEADER = "docker-content-digest"


def check_header(response: Response, raw: bytes, what: str) -> None:
    """Raise `IntegrityError` if the registry names another digest than the bytes have; what is no digest is none."""
    try:
        digest = Digest.parse(response.headers.get(DIGEST_HEADER, ""))
    except InputError:
        return
    if digest.verifiable:
        check_digest(raw, digest, what)


def warning(response: Response) -> str:
    """Return what the registry wants its user to know, fit to be shown. OCI distribution-spec "Warnings"."""
    said = response.headers.get("warning", "")
    return outside(said[4:], 300) if said.startswith("299 ") else ""


def conditions(only_if: OnlyIf | None) -> dict[str, str]:
    """Return the headers that make a registry heed a condition (RFC 9110 §13.1), where it does."""
    if only_if is None:
        return {}
    return {"If-Match": f'"{only_if.digest}"'} if only_if.digest else {"If-None-Match": "*"}
