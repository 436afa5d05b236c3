"""Where credentials come from besides the environment: container and instance roles, IAM Identity Center (SSO), STS.

One object answers for all of them; what it hands out is a temporary key that the fake AWS knows from then on.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.support.aws_identity import ACCOUNT, AccessKey, AwsError, authenticate
from tests.support.http_message import Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.aws_identity import Permissions
    from tests.support.http_message import Request

CONTAINER_PATH = "/container-credentials"
INSTANCE_PATH = "/latest/meta-data/iam/security-credentials"
SSO_PATH = "/federation/credentials"
ROLE = "release"
_XMLNS = "https://sts.amazonaws.com/doc/2011-06-15/"
# How the query protocol of STS names what the other services name otherwise.
_STS_CODES = {
    "UnrecognizedClientException": ("InvalidClientTokenId", 403),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403),
    "AccessDeniedException": ("AccessDenied", 403),
    "ThrottlingException": ("Throttling", 400),
    "UnknownOperationException": ("InvalidAction", 400),
}


class CredentialSources:
    """Hands out temporary keys for a role; ``role`` is its name, ``lifetime`` how many seconds they say to be valid.

    ``container_token``: the container endpoint wants it as Authorization. ``sso_token``: the access token of SSO that
    is taken; another is UnauthorizedException. ``web_identity``: the web identity token that STS takes.
    """

    def __init__(self, keys: dict[str, AccessKey], clock: Callable[[], float]) -> None:
        """Add keys to ``keys``."""
        self.keys = keys
        self.clock = clock
        self.role = ROLE
        self.lifetime = 6 * 3600.0
        self.container_token: str | None = None
        self.sso_token = "sso-access-token"
        self.web_identity = "web.identity.token"
        self.handed_out: list[str] = []

    @property
    def secrets(self) -> list[str]:
        """What stands for a person or a machine that asks here."""
        return [self.sso_token, self.web_identity, *([self.container_token] if self.container_token else [])]

    def temporary(self, session: str, source: str, principal: str | None = None) -> AccessKey:
        """Make a temporary key of the role."""
        principal = principal or f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role}/{session}"
        made = AccessKey(
            "ASIA" + secrets.token_hex(8).upper(),
            secrets.token_urlsafe(30),
            principal,
            secrets.token_urlsafe(60),
            user_id=f"AROATESTTESTTESTTEST1:{session}",
        )
        self.keys[made.id] = made
        self.handed_out.append(source)
        return made

    def owns(self, path: str) -> bool:
        """Tell whether a path is one of these sources."""
        return path == CONTAINER_PATH or path.startswith(("/latest/", SSO_PATH))

    def answer(self, request: Request) -> Response:
        """Answer a request for credentials over HTTP."""
        if request.path == CONTAINER_PATH:
            if request.headers.get("authorization") != self.container_token:
                return json_response({"code": "Unauthorized", "message": "the token is wrong"}, 401)
            return json_response(self._document(self.temporary("container", "container")))
        if request.path == SSO_PATH:
            return self._sso(request)
        return self._instance(request)

    def _instance(self, request: Request) -> Response:
        text = {"Content-Type": "text/plain"}
        if request.path == "/latest/api/token" and request.method == "PUT":
            return Response(200, b"metadata-session", {"X-aws-ec2-metadata-token-ttl-seconds": "21600", **text})
        if request.headers.get("x-aws-ec2-metadata-token") != "metadata-session":
            return Response(401, b"", text)
        if request.path.rstrip("/") == INSTANCE_PATH:
            return Response(200, self.role.encode(), text)
        if request.path == f"{INSTANCE_PATH}/{self.role}":
            key = self.temporary("i-0123456789abcdef0", "instance")
            return json_response({"Code": "Success", "Type": "AWS-HMAC", **self._document(key)})
        return Response(404, b"", text)

    def _sso(self, request: Request) -> Response:
        if request.headers.get("x-amz-sso_bearer_token") != self.sso_token:
            headers = {"x-amzn-ErrorType": "UnauthorizedException"}
            return json_response({"message": "Session token not found or invalid"}, 401, headers)
        account, role = request.parameter("account_id"), request.parameter("role_name")
        principal = f"arn:aws:sts::{account}:assumed-role/AWSReservedSSO_{role}_0123456789abcdef/person"
        key = self.temporary("person", "sso", principal)
        credentials = {
            "accessKeyId": key.id,
            "secretAccessKey": key.secret,
            "sessionToken": key.token,
            "expiration": int((self.clock() + self.lifetime) * 1000),
        }
        return json_response({"roleCredentials": credentials})

    def _document(self, key: AccessKey) -> dict[str, Any]:
        return {
            "AccessKeyId": key.id,
            "SecretAccessKey": key.secret,
            "Token": key.token,
            "Expiration": self._expiration(),
            "LastUpdated": datetime.fromtimestamp(self.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _expiration(self) -> str:
        return datetime.fromtimestamp(self.clock() + self.lifetime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # STS.

    def sts(self, request: Request, form: Mapping[str, str], now: datetime, permissions: Permissions) -> Response:
        """Answer a call of STS. Raises `AwsError` with the names of the other services."""
        action = form.get("Action", "")
        if action == "AssumeRoleWithWebIdentity":
            if form.get("WebIdentityToken") != self.web_identity:
                raise AwsError("InvalidIdentityToken", "No OpenIDConnect provider found in your account for this token")
            return self._assumed(action, form)
        caller = authenticate(request, self.keys, now)
        if action == "GetCallerIdentity":
            permissions.check("sts:GetCallerIdentity", "*", caller.key.principal)
            identity = {"Arn": caller.key.principal, "UserId": caller.key.user_id, "Account": caller.account}
            return _answer(action, _elements(identity))
        if action == "AssumeRole":
            permissions.check("sts:AssumeRole", form["RoleArn"], caller.key.principal)
            return self._assumed(action, form)
        raise AwsError("UnknownOperationException", f"Could not find operation {action} for version 2011-06-15")

    def _assumed(self, action: str, form: Mapping[str, str]) -> Response:
        _, _, _, _, account, resource = form["RoleArn"].split(":", 5)
        session = form["RoleSessionName"]
        principal = f"arn:aws:sts::{account}:assumed-role/{resource.removeprefix('role/')}/{session}"
        key = self.temporary(session, action, principal)
        credentials = {
            "AccessKeyId": key.id,
            "SecretAccessKey": key.secret,
            "SessionToken": key.token or "",
            "Expiration": self._expiration(),
        }
        user = {"Arn": principal, "AssumedRoleId": key.user_id}
        parts = {"Credentials": _elements(credentials), "AssumedRoleUser": _elements(user)}
        return _answer(action, "".join(f"<{name}>{inner}</{name}>" for name, inner in parts.items()))


def form_of(request: Request) -> dict[str, str]:
    """Return the parameters of a query-protocol request; empty if it is none."""
    if "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
        return {}
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True))


def sts_error(error: AwsError) -> Response:
    """Return an error in STS's own words."""
    code, status = _STS_CODES.get(error.code, (error.code, error.status))
    kind = "Sender" if status < 500 else "Receiver"
    inner = f"<Error><Type>{kind}</Type>{_elements({'Code': code, 'Message': error.message})}</Error>"
    body = f'<ErrorResponse xmlns="{_XMLNS}">{inner}<RequestId>{secrets.token_hex(16)}</RequestId></ErrorResponse>'
    return Response(status, body.encode(), {"Content-Type": "text/xml"})


def json_error(error: AwsError) -> Response:
    """Return an error as the JSON protocol has it."""
    # IAM's refusals spell the member with a capital.
    member = "Message" if error.code == "AccessDeniedException" else "message"
    body = json.dumps({"__type": error.code, member: error.message}).encode()
    return Response(error.status, body, {"Content-Type": "application/x-amz-json-1.1"})


def _answer(action: str, inner: str) -> Response:
    metadata = f"<ResponseMetadata><RequestId>{secrets.token_hex(16)}</RequestId></ResponseMetadata>"
    body = f'<{action}Response xmlns="{_XMLNS}"><{action}Result>{inner}</{action}Result>{metadata}</{action}Response>'
    return Response(200, body.encode(), {"Content-Type": "text/xml"})


def _elements(values: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
