"""A fake AWS on a real socket: ECR Public, ECR and STS for boto3, with real signatures, permissions and tokens.

::

    with FakeAws() as aws:
        aws.deny("sts:GetServiceBearerToken")
        client = boto3.client("ecr-public", …)  # in a process that has aws.environ()
        ...
        assert aws.operations == ["GetAuthorizationToken"]

Requests are checked by botocore's own service models. AWS JSON protocol 1.1, AWS query protocol, AWS Signature Version 4.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal

from tests.support.aws_credentials import CONTAINER_PATH, CredentialSources, form_of, json_error, sts_error
from tests.support.aws_identity import (
    ACCOUNT,
    AccessKey,
    AwsError,
    Caller,
    Denial,
    Form,
    Permissions,
    authenticate,
    scope_of,
)
from tests.support.aws_models import TARGETS, checked_parameters, put_out, share_models
from tests.support.aws_private import EcrPrivate, PrivateRepository
from tests.support.aws_public import Alias, EcrPublic, PublicRegistry, PublicRepository
from tests.support.aws_script import QUOTA_TEXT, Call, Failure, Script
from tests.support.aws_tokens import IssuedToken, State, Tokens
from tests.support.http_message import Response, json_response
from tests.support.http_server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.http_message import Request

Kind = Literal["ecr-public", "ecr"]
Source = Literal["keys", "container", "instance"]
ALIAS = "acme"
REGION = "eu-west-1"


class FakeAws(HttpServer):
    """The services, on one loopback port over plain HTTP.

    ``clock`` gives the time by which tokens expire, and the Date of every answer; signatures are judged by the real
    time, because botocore signs with it. ``skew`` seconds are added to both.
    """

    def __init__(self, *, alias: str | None = ALIAS, clock: Callable[[], float] = time.time) -> None:
        """Make a fake with one account, one access key, and this alias of its public registry, or none."""
        super().__init__()
        share_models()
        self.account = ACCOUNT
        self.key = AccessKey("AKIATESTTESTTESTTEST", secrets.token_urlsafe(30))
        self.keys: dict[str, AccessKey] = {self.key.id: self.key}
        self.calls: list[Call] = []
        self.clock = clock
        self.skew = 0.0
        self.permissions = Permissions()
        self.public, self.private = EcrPublic(), EcrPrivate()
        self.sources = CredentialSources(self.keys, self.now)
        self._tokens = Tokens(self.now)
        self._script = Script()
        self._handling = threading.RLock()
        if alias is not None:
            self.registry.aliases.append(Alias(alias, default=True))

    # What tests set.

    def now(self) -> float:
        """Return the fake's time, in seconds since 1970."""
        return self.clock() + self.skew

    @property
    def registry(self) -> PublicRegistry:
        """The public registry of the first account."""
        return self.public.registry(self.account)

    @property
    def alias(self) -> str:
        """The primary alias of the first account."""
        primary = self.registry.primary
        assert primary is not None, "the registry has no alias yet"
        return primary.name

    def add_key(
        self, principal: str = f"arn:aws:iam::{ACCOUNT}:user/other", *, token: str | None = None, expired: bool = False
    ) -> AccessKey:
        """Make another access key; with a session ``token`` it is temporary, and may be ``expired``."""
        made = AccessKey("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), principal, token, expired)
        self.keys[made.id] = made
        return made

    def add_alias(self, name: str, *, account: str = ACCOUNT, status: str = "ACTIVE", primary: bool = False) -> Alias:
        """Give an account's public registry another alias."""
        made = Alias(name, status, primary)
        self.public.registry(account).aliases.append(made)
        return made

    def add_repository(self, name: str, *, account: str = ACCOUNT) -> PublicRepository:
        """Make a public repository."""
        return self.public.registry(account).add(name)

    def add_private_repository(
        self, name: str, *, account: str = ACCOUNT, region: str = REGION, **settings: Any
    ) -> PrivateRepository:
        """Make a private repository; the settings are those of `PrivateRepository`."""
        return self.private.add(name, account, region, **settings)

    def deny(
        self,
        action: str,
        *,
        resource: str = "*",
        explicit: bool = False,
        form: Form = "identity",
        principal: str = "*",
    ) -> Denial:
        """Let IAM refuse an action, such as ``sts:GetServiceBearerToken``, in all APIs and registries from now on."""
        return self.permissions.deny(action, resource=resource, explicit=explicit, form=form, principal=principal)

    def allow(self, action: str = "*") -> None:
        """Take back the denials of an action."""
        self.permissions.allow(action)

    def fail(self, operation: str, code: str, message: str, *, status: int = 400, times: int | None = None) -> Failure:
        """Answer an operation (a regular expression) with an error."""
        return self._script.add(operation, AwsError(code, message, status), times)

    def quota(self, operation: str) -> Failure:
        """Answer an operation with LimitExceededException, always; the result's ``hits`` counts the tries."""
        return self.fail(operation, "LimitExceededException", QUOTA_TEXT)

    def throttle(self, operation: str, times: int = 1) -> Failure:
        """Answer an operation with ThrottlingException."""
        return self.fail(operation, "ThrottlingException", "Rate exceeded", times=times)

    # What tests ask.

    @property
    def operations(self) -> list[str]:
        """The names of the operations that were called, in order."""
        return [call.operation for call in list(self.calls)]

    @property
    def secrets(self) -> list[str]:
        """Everything that must never be shown: secret keys, session tokens, passwords and authorization tokens."""
        keys = [value for key in list(self.keys.values()) for value in (key.secret, key.token) if value]
        return [*keys, *self.sources.secrets] + [
            text for token in self.tokens for text in (token.password, token.authorization)
        ]

    @property
    def tokens(self) -> list[IssuedToken]:
        """All authorization tokens given out, in order."""
        return list(self._tokens.issued)

    @property
    def token_lifetime(self) -> float:
        """How many seconds the tokens given out from now on are valid."""
        return self._tokens.lifetime

    @token_lifetime.setter
    def token_lifetime(self, seconds: float) -> None:
        self._tokens.lifetime = seconds

    def token(self, kind: Kind = "ecr-public") -> IssuedToken:
        """Return the latest valid token of a kind, or a new one of the first key that no call asked for."""
        valid = [held for held in self.tokens if held.kind == kind and self._tokens.state(held) == "valid"]
        return valid[-1] if valid else self._tokens.issue(kind, self.key.principal, self.account)

    def revoke_tokens(self) -> None:
        """Make all tokens given out so far unknown to the registries."""
        self._tokens.revoke_all()

    def expire_tokens(self) -> None:
        """Let all tokens given out so far be too old."""
        self._tokens.expire_all()

    def is_valid(self, password: str, kind: Kind = "ecr-public") -> bool:
        """Tell whether a registry would take this password now."""
        return self._tokens.state(self._tokens.find(password, kind)) == "valid"

    def lookup(
        self, kind: Kind, *, password: str | None = None, authorization: str = ""
    ) -> tuple[State, IssuedToken | None]:
        """Return the state of the token with this password or authorization token, and the token."""
        if password is not None:
            token = self._tokens.find(password, kind)
        else:
            token = self._tokens.by_authorization(authorization, kind)
        return self._tokens.state(token), token

    def environ(self, *, access_key: AccessKey | None = None, source: Source = "keys") -> dict[str, str]:
        """Return the environment in which boto3 comes here, with no region and no configuration of its own.

        ``access_key`` is the first one if it is not given. ``source``: the key itself, or a container's or instance's
        role, which this server hands out.
        """
        made = dict.fromkeys(("AWS_ENDPOINT_URL_ECR_PUBLIC", "AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_STS"), self.url)
        made |= {
            "AWS_ENDPOINT_URL_SSO": self.url,
            "AWS_CONFIG_FILE": "/nonexistent/aws/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/aws/credentials",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if source == "container":
            return made | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url + CONTAINER_PATH}
        if source == "instance":
            return made | {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url + "/"}
        key = access_key or self.key
        made |= {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret}
        return made | ({"AWS_SESSION_TOKEN": key.token} if key.token else {})

    # Answering.

    def _respond(self, request: Request) -> Response:
        response = super()._respond(request)
        response.headers.setdefault("Date", formatdate(self.now(), usegmt=True))
        response.headers.setdefault("x-amzn-RequestId", secrets.token_hex(16))
        return response

    def answer(self, request: Request) -> Response:
        """Answer as AWS."""
        if self.sources.owns(request.path):
            return self.sources.answer(request)
        form = form_of(request)
        if form:
            return self._sts(request, form)
        body = request.body
        key, service, region = scope_of(request)
        target, _, operation = request.headers.get("x-amz-target", "").partition(".")
        parameters: dict[str, Any] = {}
        try:
            # What is recorded has the blobs as bytes, if the request is right.
            parameters = document = json.loads(body or b"{}")
            caller = authenticate(request, self.keys, self._signing_time())
            if TARGETS.get(service) != target:
                raise AwsError("UnknownOperationException", "")
            with self._handling:
                parameters = checked_parameters(service, operation, document)
                result = self._perform(operation, parameters, caller)
            answer = json_response(put_out(service, operation, result))
            answer.header("Content-Type", "application/x-amz-json-1.1")
        except AwsError as error:
            self.calls.append(Call(service, region, operation, parameters, key, error.code))
            return json_error(error)
        self.calls.append(Call(service, region, operation, parameters, key))
        return answer

    def _sts(self, request: Request, form: dict[str, str]) -> Response:
        key, service, region = scope_of(request)
        parameters = {name: value for name, value in form.items() if name not in ("Action", "Version")}
        call = (service or "sts", region, form.get("Action", ""), parameters, key)
        try:
            self._script.play(call[2])
            with self._handling:
                answer = self.sources.sts(request, form, self._signing_time(), self.permissions)
        except AwsError as error:
            self.calls.append(Call(*call, error.code))
            return sts_error(error)
        self.calls.append(Call(*call))
        return answer

    def _signing_time(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.skew, UTC)

    def _perform(self, operation: str, parameters: dict[str, Any], caller: Caller) -> dict[str, Any]:
        service = self.public if caller.service == self.public.service else self.private
        if not service.supported(caller.region):
            raise AwsError("UnsupportedCommandException", "The action isn't supported in this Region.")
        self._check_permissions(service, operation, parameters, caller)
        self._script.play(operation)
        if operation == "GetAuthorizationToken":
            return self._authorization(caller)
        method = getattr(service, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(), None)
        if method is None:
            raise AwsError("UnknownOperationException", "")
        result: dict[str, Any] = method(parameters, caller)
        return result

    def _check_permissions(
        self, service: EcrPublic | EcrPrivate, operation: str, parameters: dict[str, Any], caller: Caller
    ) -> None:
        principal, resource = caller.key.principal, service.resource(operation, parameters, caller)
        self.permissions.check(f"{service.service}:{operation}", resource, principal)
        if operation == "GetAuthorizationToken" and service is self.public:
            self.permissions.check("sts:GetServiceBearerToken", "*", principal)
        if operation == "CreateRepository" and parameters.get("tags"):
            self.permissions.check(f"{service.service}:TagResource", resource, principal)

    def _authorization(self, caller: Caller) -> dict[str, Any]:
        token = self._tokens.issue(caller.service, caller.key.principal, caller.account)
        data = {
            "authorizationToken": token.authorization,
            "expiresAt": datetime.fromtimestamp(token.expires_at, UTC),
        }
        if caller.service == "ecr-public":
            return {"authorizationData": data}
        proxy = f"https://{caller.account}.dkr.ecr.{caller.region}.amazonaws.com"
        return {"authorizationData": [data | {"proxyEndpoint": proxy}]}


def calls_of(operation: str) -> Callable[[Request], bool]:
    """Return the ``when`` of a fault that is about the calls of one operation: ``CreateRepository``."""
    return lambda request: request.headers.get("x-amz-target", "").endswith(f".{operation}")
