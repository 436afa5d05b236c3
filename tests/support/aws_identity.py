"""Who calls the fake AWS, and what they may do: access keys, signatures (AWS Signature Version 4), IAM's refusals."""

from __future__ import annotations

import fnmatch
import hmac
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.http_message import Request

ACCOUNT = "123456789012"
STAMP = "%Y%m%dT%H%M%SZ"
Form = Literal["identity", "boundary", "session", "scp", "resource", "bare"]

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/(?P<day>[0-9]{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request"
    r", ?SignedHeaders=(?P<signed>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_BEHIND, _AHEAD = 15, 5
_POLICIES = {
    "identity": ("identity-based policy", "an identity-based policy"),
    "boundary": ("permissions boundary", "a permissions boundary"),
    "session": ("session policy", "a session policy"),
    "scp": ("service control policy", "a service control policy"),
    "resource": ("resource-based policy", "a resource-based policy"),
}
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)


class AwsError(Exception):
    """A refusal of AWS: code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Keep the three."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(slots=True)
class AccessKey:
    """An access key and the principal that it stands for; one with a ``token`` is temporary, until ``expired``."""

    id: str
    secret: str = field(repr=False)
    principal: str = f"arn:aws:iam::{ACCOUNT}:user/ci"
    token: str | None = field(default=None, repr=False)
    expired: bool = False
    user_id: str = "AIDATESTTESTTESTTEST1"

    @property
    def account(self) -> str:
        """The account's number, which is in the principal's name."""
        return self.principal.split(":")[4]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a call, to which service in which region, as the signature says."""

    key: AccessKey
    service: str
    region: str

    @property
    def account(self) -> str:
        """The caller's account."""
        return self.key.account


def scope_of(request: Request) -> tuple[str, str, str]:
    """Return access key, service and region that a request names, proven or not; empty if it is not signed."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return (found["key"], found["service"], found["region"]) if found else ("", "", "")


def authenticate(request: Request, keys: Mapping[str, AccessKey], now: datetime) -> Caller:
    """Return who signed a request. Raises `AwsError` as AWS does, in the order in which AWS looks."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    key = keys.get(found["key"])
    if key is None or request.headers.get("x-amz-security-token") != key.token:
        raise AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")
    if key.expired:
        raise AwsError("ExpiredTokenException", "The security token included in the request is expired")
    _check_date(request.headers.get("x-amz-date", ""), now)
    if not hmac.compare_digest(_signature(request, key, found), found["signature"]):
        raise AwsError("InvalidSignatureException", _MISMATCH)
    return Caller(key, found["service"], found["region"])


def _check_date(text: str, now: datetime) -> None:
    signed = datetime.strptime(text, STAMP).replace(tzinfo=UTC)
    minutes = (now - signed).total_seconds() / 60
    words = {"at": now.strftime(STAMP), "signed": text}
    if minutes > _BEHIND:
        limit = datetime.fromtimestamp(now.timestamp() - _BEHIND * 60, UTC).strftime(STAMP)
        message = "Signature expired: {signed} is now earlier than {limit} ({at} - {minutes} min.)"
        raise AwsError("InvalidSignatureException", message.format(limit=limit, minutes=_BEHIND, **words))
    if minutes < -_AHEAD:
        limit = datetime.fromtimestamp(now.timestamp() + _AHEAD * 60, UTC).strftime(STAMP)
        message = "Signature not yet current: {signed} is still later than {limit} ({at} + {minutes} min.)"
        raise AwsError("InvalidSignatureException", message.format(limit=limit, minutes=_AHEAD, **words))


def _signature(request: Request, key: AccessKey, found: re.Match[str]) -> str:
    """Return the signature that this request would have, had it been signed with the key's own secret."""
    # Imported here: botocore takes a fifth of a second, which whoever runs tests without AWS does not pay.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signed = {name: request.headers.get(name, "") for name in found["signed"].split(";")}
    url = f"http://{request.headers.get('host', '')}{request.target}"
    made = AWSRequest(request.method, url, signed, request.body)
    made.context["timestamp"] = request.headers.get("x-amz-date", "")
    signer = SigV4Auth(Credentials(key.id, key.secret, key.token), found["service"], found["region"])
    signature: str = signer.signature(signer.string_to_sign(made, signer.canonical_request(made)), made)
    return signature


@dataclass(slots=True, eq=False)
class Denial:
    """One thing that IAM refuses; ``hits`` counts how often it did."""

    action: str
    resource: str
    explicit: bool
    form: Form
    principal: str
    hits: int = 0

    def fits(self, action: str, resource: str, principal: str) -> bool:
        """Tell whether this denies an action of a principal on a resource; all three may be patterns with ``*``."""
        pairs = ((action, self.action), (resource, self.resource), (principal, self.principal))
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)

    def message(self, action: str, resource: str, principal: str) -> str:
        """Return IAM's words."""
        base = f"User: {principal} is not authorized to perform: {action} on resource: {resource}"
        if self.form == "bare":
            return f"{base} with an explicit deny" if self.explicit else base
        kind, a_kind = _POLICIES[self.form]
        if self.explicit:
            return f"{base} with an explicit deny in {a_kind}"
        return f"{base} because no {kind} allows the {action} action"


class Permissions:
    """Everything is allowed except what was denied."""

    def __init__(self) -> None:
        """Begin with no denial."""
        self.denials: list[Denial] = []
        self._lock = threading.Lock()

    def deny(
        self,
        action: str,
        *,
        resource: str = "*",
        explicit: bool = False,
        form: Form = "identity",
        principal: str = "*",
    ) -> Denial:
        """Refuse an action (``ecr-public:PutImage``, or a pattern) from now on."""
        denial = Denial(action, resource, explicit, form, principal)
        with self._lock:
            self.denials.append(denial)
        return denial

    def allow(self, action: str = "*") -> None:
        """Take back the denials whose action matches."""
        with self._lock:
            self.denials = [denial for denial in self.denials if not fnmatch.fnmatchcase(denial.action, action)]

    def check(self, action: str, resource: str, principal: str) -> None:
        """Raise `AwsError` AccessDeniedException if the action is denied."""
        with self._lock:
            denial = next((held for held in self.denials if held.fits(action, resource, principal)), None)
            if denial is None:
                return
            denial.hits += 1
        raise AwsError("AccessDeniedException", denial.message(action, resource, principal))
