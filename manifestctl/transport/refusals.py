"""What a registry refuses for good, by status, code and kind of request, as the error that it is for its user.

Exit code 5 says that running again is safe and may help. What is here does not get better by itself: a document that
the registry calls invalid is 1, what it does not allow 4, a tag that is locked or was moved 7.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.errors import ConflictError, DeniedError, DocumentError, ManifestctlError, UnreachableError
from manifestctl.text import size
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.known_answers import hint_when_refused, hint_without_credentials

if TYPE_CHECKING:
    from manifestctl.transport.error_body import ErrorBody
    from manifestctl.transport.message import Request, Response

# As words of a sentence; a part of a repository's name does not count.
_IMMUTABLE = re.compile(r"(?<![\w/.-])(?:immutable|immutability)(?![\w/-])|cannot be overwritten")
_QUOTA = re.compile(
    r"(?<![\w/.-])quotas?(?![\w/-])|limitexceeded|(?<!rate )(?<!request )(?<!requests )limit exceeded"
    r"|exceeded a service limit|exceed the configured upper limit|storage limit has been reached"
    r"|repositories, limit is \d"
)
# A quota of requests in a time is over when the time is.
_RATE = re.compile(r"\brate\b|\brequests\b|\bper (?:second|minute|hour|day)\b")
_TOO_LARGE = "request body too large"
_INVALID_CODES = frozenset({"MANIFEST_INVALID", "MANIFEST_UNVERIFIED"})
# Not a word about the manifest itself: nobody knows why, or other bytes came there than were sent.
_PERHAPS_PASSING = frozenset({"", "UNKNOWN", "DIGEST_INVALID", "SIZE_INVALID"})
_CONDITIONS = frozenset({"if-match", "if-none-match"})
_DOCKERS = "application/vnd.docker."

HTML_HINT = "A proxy or another web server answered; check the host and the proxy variables."
_QUOTA_HINT = (
    "A quota or limit of the registry is reached, which does not pass: delete images there, or have it raised."
)
_IMMUTABLE_HINT = "The tag is immutable there and holds something else; publish under a new tag."
_OVERTAKEN_HINT = "Somebody else wrote the tag in between; look at what it holds now."
_LOCKED_HINT = (
    "The tag is locked, or somebody else is writing it: look at what it holds now; then unlock it, publish under a new "
    "tag, or run this again."
)
_READ_ONLY_HINT = (
    "This registry does not accept writes here: either the image or its repository is locked (unlock it, or publish "
    "under a new tag), or the registry itself is read-only, a mirror or a pull-through cache (push to the registry "
    "behind it)."
)
_POLICY_HINT = (
    "A rule of the registry forbids this, for instance a project's policy on scans or signatures: its words say which; "
    "running this again does not help."
)
_NO_DOCKER_HINT = "The registry does not take Docker's media types: publish the image as OCI (--format oci)."
_NO_TYPE_HINT = "The registry does not take this media type: try --format docker, or leave the artifact out."
_INVALID_HINT = (
    "The registry calls this document invalid: its words say why, and running this again does not help. 'manifestctl "
    "validate' checks a document against the schemas."
)
_REFUSED_HINT = "The registry does not take this manifest: its words say why; running this again does not help."


def is_quota(said: ErrorBody) -> bool:
    """Tell whether a quota is reached: of what is stored, or of anything else that does not come back with time."""
    return _reached(said) and _RATE.search(said.low) is None


def conflict(response: Response, said: ErrorBody, message: str) -> ConflictError | None:
    """Return the error for a write that what is there stands in the way of; None for any other answer."""
    status, request = response.status, response.request
    if status in (400, 403, 405, 409, 412) and _IMMUTABLE.search(said.low):
        return ConflictError(message, hint=_IMMUTABLE_HINT)
    if said.html or _reached(said) or not _puts_manifest(request):
        return None
    if status == 412 and request is not None and _CONDITIONS & {name.lower() for name in request.headers}:
        return ConflictError(message, hint=_OVERTAKEN_HINT)
    return ConflictError(message, hint=_LOCKED_HINT) if status in (409, 423) else None


def denied_hint(response: Response, said: ErrorBody) -> str:
    """Return the next step for a 401 or 403, or what comes to the same."""
    if _reached(said):
        return _QUOTA_HINT
    if said.html:
        return HTML_HINT
    if response.away:
        return (
            "That host, not the registry, refused; it is never sent the registry's credentials. Running again is safe."
        )
    nobody = response.credentials in ("", ANONYMOUS.source)
    return hint_without_credentials(response) if nobody else hint_when_refused(response)


def refusal(response: Response, said: ErrorBody, message: str) -> ManifestctlError | None:
    """Return the error for what is refused for good; None for what may be anything."""
    status, request = response.status, response.request
    if _reached(said):
        return DeniedError(message, hint=_QUOTA_HINT)
    if status == 413 or _TOO_LARGE in said.low:
        return _too_large(request, message)
    if said.html:
        return None
    if status == 412:
        return DeniedError(message, hint=_POLICY_HINT)
    if status == 405 and (_puts_manifest(request) or _begins_upload(request)):
        return DeniedError(message, hint=_READ_ONLY_HINT)
    return _refused_manifest(status, said, request, message) if _puts_manifest(request) else None


def _reached(said: ErrorBody) -> bool:
    return _QUOTA.search(said.low) is not None


def _too_large(request: Request | None, message: str) -> ManifestctlError:
    length = request.body.length if request is not None and request.body is not None else None
    large = f"as large as this ({size(length)})" if length else "so large"
    limit = (
        "raise the limit of the proxy in front of the registry, if that is what refuses it (nginx: "
        "client_max_body_size; CDNs have one too)"
    )
    hint = f"Nothing {large} is accepted in one request: {limit}, or build the image with smaller layers."
    if _puts_manifest(request):
        hint = f"No manifest {large} is accepted: put fewer images or annotations into one list, or {limit}."
    # Content whose length is not known beforehand may yet be taken in another way.
    return DeniedError(message, hint=hint) if length else UnreachableError(message, hint=hint)


def _refused_manifest(status: int, said: ErrorBody, request: Request | None, message: str) -> ManifestctlError | None:
    if status == 415:
        types = [value for name, value in request.headers.items() if name.lower() == "content-type"] if request else []
        dockers = any(value.startswith(_DOCKERS) for value in types)
        return DocumentError(message, hint=_NO_DOCKER_HINT if dockers else _NO_TYPE_HINT)
    if said.codes <= _PERHAPS_PASSING or not 400 <= status < 500:
        return None
    if said.codes & _INVALID_CODES:
        return DocumentError(message, hint=_INVALID_HINT)
    return DeniedError(message, hint=_REFUSED_HINT)


def _puts_manifest(request: Request | None) -> bool:
    return request is not None and request.method == "PUT" and "/manifests/" in request.path


def _begins_upload(request: Request | None) -> bool:
    return request is not None and request.method == "POST" and "/blobs/uploads/" in request.path
