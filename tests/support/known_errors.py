"""The answers that ``docs/errors.md`` explains, each in the exact words in which it was seen, as the error it becomes."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from manifestctl.aws.public_repositories import create
from manifestctl.aws.refusals import translated
from manifestctl.aws.repository_names import RepositoryName
from manifestctl.errors import ManifestctlError
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.failures import failure
from manifestctl.transport.message import Body, Request, Response
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.aws.calls import Aws

NOW = 1_700_000_000.0
HOST = "public.ecr.aws"
FILE = "config.json"
SECRET = "s3ssion-t0ken-with-a-line-break"
DIGESTS = ("sha256:" + "ab" * 32, "sha256:" + "cd" * 32)
ROLE = "arn:aws:sts::123456789012:assumed-role/release/build-17"
WEB = "arn:aws:ecr-public::123456789012:repository/web"


def response(
    status: int,
    code: str = "",
    message: str = "",
    *,
    body: bytes | None = None,
    method: str = "PUT",
    path: str = "manifests/1.4",
    repository: str = "acme/web",
    registry: str = HOST,
    credentials: str = FILE,
    by_token: bool = False,
    detail: object = None,
    sends: Mapping[str, str] | None = None,
    length: int | None = 1_000_000,
) -> Response:
    """Return a registry's answer to a request below ``/v2/REPOSITORY/``, with one error or another body.

    ``sends`` are the headers of the request, ``length`` is that of what a PUT or a PATCH sends, None if it is unknown.
    """
    if body is None:
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()
    sent = Body(lambda: iter(()), length) if method in ("PUT", "PATCH") else None
    writes = method not in ("GET", "HEAD")
    request = Request(method, f"/v2/{repository}/{path}", repository, sends or {}, sent, writes=writes)
    kind = "text/html" if body.startswith(b"<") else "application/json"
    answered = Response(status, {"content-type": kind}, body, credentials, request=request, registry=registry)
    return replace(answered, by_token=by_token)


def registry(*arguments: Any, **options: Any) -> Callable[[], ManifestctlError]:
    """Return what makes the error of a registry's answer; the arguments are those of `response`."""

    def made() -> ManifestctlError:
        answer = response(*arguments, **options)
        assert answer.request is not None
        return failure(answer, f"writing {HOST}/acme/web:1.4", writing=answer.request.writes)

    return made


def client_error(code: str, message: str, operation: str = "GetAuthorizationToken", status: int = 400) -> Exception:
    """Return boto3's error for a refusal of AWS's."""
    made = importlib.import_module("botocore.exceptions").ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )
    assert isinstance(made, Exception)
    return made


def aws(*arguments: Any, **options: Any) -> Callable[[], ManifestctlError]:
    """Return what makes the error of a refusal; the arguments are those of `client_error`."""
    return lambda: translated(client_error(*arguments, **options), f"getting a token for {HOST}", NOW)


def boto(name: str, **fields: Any) -> Callable[[], ManifestctlError]:
    """Return what makes the error of one of boto3's own errors."""

    def made() -> ManifestctlError:
        error = getattr(importlib.import_module("botocore.exceptions"), name)(**fields)
        return translated(error, f"getting a token for {HOST}", NOW)

    return made


def raised(call: Callable[[], object]) -> Callable[[], ManifestctlError]:
    """Return what makes the error that a call ends with."""

    def made() -> ManifestctlError:
        try:
            call()
        except ManifestctlError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever Python raises there
            return translated(error, f"getting a token for {HOST}", NOW)
        raise AssertionError("it did not fail")

    return made


def not_authorized(action: str, resource: str, why: str) -> str:
    """Return IAM's words."""
    return f"User: {ROLE} is not authorized to perform: {action} on resource: {resource} {why}"


def no_policy(action: str, kind: str = "identity-based") -> str:
    """Return the end of IAM's words where no policy allows an action."""
    return f"because no {kind} policy allows the {action} action"


def absent(name: str) -> str:
    """Return ECR's words for a repository that is not there."""
    return f"The repository with name '{name}' does not exist in the registry with id 'acme'"


PUT_IMAGE = "ecr-public:PutImage"
TOKEN, BEARER = "ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"
IN_WEB = "the repository with name 'web' in registry with id '123456789012'"
MISSING = (
    f"Images with digests '[{', '.join(DIGESTS)}]' required for pushing image into repository with name 'web' in the "
    "registry with id '123456789012' do not exist"
)
IMMUTABLE = (
    "The image tag '1.4' already exists in the 'web' repository and cannot be overwritten because the repository is "
    "immutable."
)
SCHEMA = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
TOO_LONG = (
    "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Member must have length less than or equal to "
    "4194304'"
)
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
LIMIT = (
    "The operation did not succeed because it would have exceeded a service limit for your account. For more "
    "information, see Amazon ECR Service Quotas in the Amazon Elastic Container Registry User Guide."
)
EXPIRED = "Signature expired: 20260301T120000Z is now earlier than 20260301T121500Z (20260301T123000Z - 15 min.)"
EARLY = "Signature not yet current: 20260301T120000Z is still later than 20260301T113500Z (20260301T113000Z + 5 min.)"
UPPER_LIMIT = (
    "adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the configured "
    "upper limit of 10.0 MiB."
)
SEVERITY = "current image with 12 vulnerabilities cannot be pulled due to configured policy"
DISALLOWED = "The operation is disallowed on this registry, repository or image."
DOCKERS = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
ELSEWHERE: dict[str, Any] = {"registry": "registry.example"}
BLOB = {"path": "blobs/uploads/1?digest=x"}
PAGE = b"<html><body>Blocked by the proxy</body></html>"

OF_REGISTRIES: tuple[Callable[[], ManifestctlError], ...] = (
    registry(404, "NAME_UNKNOWN", absent("web")),
    registry(404, "NAME_UNKNOWN", absent("public.ecr.aws/acme/web"), repository="public.ecr.aws/acme/web"),
    registry(404, "NAME_UNKNOWN", absent(""), repository="web"),
    registry(400, "DENIED", "Your Authorization Token is invalid."),
    registry(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again."),
    registry(
        403,
        "DENIED",
        "Your Authorization Token has expired. Please run 'aws ecr get-login' to fetch a new one.",
        registry="123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    ),
    registry(401, "DENIED", "no basic auth credentials"),
    registry(401, "DENIED", "Not Authorized", credentials=ANONYMOUS.source),
    registry(403, "DENIED", not_authorized(PUT_IMAGE, WEB, no_policy(PUT_IMAGE))),
    registry(403, "DENIED", not_authorized(PUT_IMAGE, WEB, "with an explicit deny in a service control policy")),
    registry(403, "DENIED", not_authorized(PUT_IMAGE, WEB, no_policy(PUT_IMAGE, "resource-based"))),
    registry(403, body=b"", method="HEAD", path=f"blobs/{DIGESTS[0]}"),
    registry(400, "TAG_INVALID", IMMUTABLE),
    registry(405, "UNSUPPORTED", SCHEMA),
    registry(400, "UNSUPPORTED", 'Unsupported manifest type: "application/vnd.example+json"'),
    registry(404, "MANIFEST_BLOB_UNKNOWN", MISSING),
    registry(429, "TOOMANYREQUESTS", "Rate exceeded", method="GET", credentials=ANONYMOUS.source),
    registry(403, "DENIED", f"T{IN_WEB[1:]} already has the maximum allowed number of images which is '100000'"),
    registry(
        403,
        "DENIED",
        f"Adding tag '1.4' to an image in {IN_WEB} exceeds the maximum allowed number of tags per image which is '1000'",
    ),
    registry(
        403,
        "DENIED",
        f"Adding this part to the layer with upload id '1' in {IN_WEB} exceeds the maximum allowed size of a layer "
        "which is '10485760000'",
    ),
    registry(405, "UNSUPPORTED", TOO_LONG),
    registry(405, "UNSUPPORTED", "The operation is unsupported.", method="POST", path="blobs/uploads/"),
    registry(403, body=PAGE),
    registry(403, "DENIED", "permission_denied: write_package", **ELSEWHERE),
    registry(403, "DENIED", "installation not allowed to Create organization package", **ELSEWHERE),
    registry(
        403,
        "DENIED",
        'Permission "artifactregistry.repositories.uploadArtifacts" denied on resource "projects/p/locations/l/'
        'repositories/web" (or it may not exist)',
        **ELSEWHERE,
    ),
    registry(401, "UNAUTHORIZED", "authentication required", by_token=True, **ELSEWHERE),
    registry(401, "UNAUTHORIZED", "access denied", **ELSEWHERE),
    registry(401, body=b"", credentials=ANONYMOUS.source, registry="registry.example"),
    registry(403, "FORBIDDEN", "forbidden", credentials="", registry="registry.example"),
    registry(412, "PRECONDITION", UPPER_LIMIT, **(ELSEWHERE | BLOB)),
    registry(403, "DENIED", "the storage limit has been reached", **ELSEWHERE),
    registry(412, "PRECONDITION", "Failed to process request due to 'web:1.4' configured as immutable.", **ELSEWHERE),
    registry(412, "PRECONDITION_FAILED", "the tag has changed", sends={"If-Match": '"x"'}, **ELSEWHERE),
    registry(412, "PROJECTPOLICYVIOLATION", SEVERITY, method="GET", **ELSEWHERE),
    registry(405, "REGISTRY_DISALLOWED_OPERATION", DISALLOWED, **ELSEWHERE),
    registry(409, "CONFLICT", "the tag is locked", **ELSEWHERE),
    registry(413, body=b"<html><head><title>413 Request Entity Too Large</title></head></html>", **(ELSEWHERE | BLOB)),
    registry(400, "MANIFEST_INVALID", "manifest invalid", detail="http: request body too large", **ELSEWHERE),
    registry(400, "MANIFEST_INVALID", "manifest invalid", detail="unrecognized manifest content type", **ELSEWHERE),
    registry(415, "MANIFEST_INVALID", "manifest invalid", sends={"Content-Type": DOCKERS}, **ELSEWHERE),
    registry(415, "MANIFEST_INVALID", "media type not allowed", sends={"Content-Type": OCI}, **ELSEWHERE),
    registry(400, "TAG_INVALID", "manifest tag did not match URI", **ELSEWHERE),
)

OF_AWS: tuple[Callable[[], ManifestctlError], ...] = (
    aws("AccessDeniedException", not_authorized(BEARER, "*", no_policy(BEARER))),
    aws("AccessDeniedException", not_authorized(TOKEN, "*", no_policy(TOKEN))),
    aws("AccessDeniedException", not_authorized(TOKEN, "*", "with an explicit deny")),
    aws("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", "AssumeRoleWithWebIdentity", 403),
    aws(
        "InvalidIdentityToken",
        "No OpenIDConnect provider found in your account for https://ci.example.com",
        "AssumeRoleWithWebIdentity",
    ),
    aws(
        "ExpiredToken",
        "Token expired: current date/time 1700000300 must be before the expiration date/time 1700000000",
        "AssumeRoleWithWebIdentity",
    ),
    aws("UnrecognizedClientException", "The security token included in the request is invalid."),
    aws("ExpiredTokenException", "The security token included in the request is expired"),
    aws("InvalidSignatureException", MISMATCH),
    aws("InvalidSignatureException", EXPIRED),
    aws("InvalidSignatureException", EARLY),
    aws(
        "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", status=403
    ),
    aws("AccessDeniedException", "Access denied"),
    aws("LimitExceededException", LIMIT, "CreateRepository"),
    aws("TooManyTagsException", "The list of tags on the repository is over the limit.", "CreateRepository"),
    aws("ServiceQuotaExceededException", "The quota is exceeded."),
    aws("KmsException", "The operation failed due to a KMS exception.", "CreateRepository"),
    aws("BlockedByOrganizationPolicyException", "The account is managed by an organization policy."),
    aws("OptInRequired", "The AWS Access Key Id needs a subscription for the service", status=403),
    aws("MissingAuthenticationTokenException", "Missing Authentication Token", status=403),
    aws("RepositoryNotFoundException", absent("web"), "DescribeRepositories"),
    aws("RegistryNotFoundException", "The registry does not exist"),
    aws("ImageNotFoundException", "The image does not exist", "DescribeImages"),
    aws("RepositoryCatalogDataNotFoundException", "There is none", "GetRepositoryCatalogData"),
    aws("UnsupportedCommandException", "The action isn't supported in this Region."),
    aws("UnknownOperationException", ""),
    aws(
        "InvalidParameterException",
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must not be empty'",
        "CreateRepository",
    ),
    aws("ThrottlingException", "Rate exceeded"),
    aws("ServerException", "There was an internal error", status=500),
    aws("403", PAGE.decode(), status=403),
)


def _no_such_file() -> None:
    raise FileNotFoundError(2, "No such file or directory", "/run/secrets/token")


def _no_terminal() -> None:
    raise EOFError


def _garbage() -> None:
    credentials = importlib.import_module("botocore.credentials")
    provider = credentials.ProcessProvider("ci", lambda: {"profiles": {"ci": {"credential_process": "echo garbage"}}})
    provider.load()


def _no_url() -> None:
    importlib.import_module("botocore.session").get_session().create_client(
        "ecr-public", region_name="us-east-1", endpoint_url="registry"
    )


def _no_answer() -> None:
    model = importlib.import_module("botocore.session").get_session().get_service_model("sts")
    parser = importlib.import_module("botocore.parsers").create_parser("query")
    shape = model.operation_model("GetCallerIdentity").output_shape
    parser.parse({"body": PAGE, "headers": {}, "status_code": 200}, shape)


class _OfOthers:
    """AWS's APIs for somebody whose only alias is another one."""

    def call(self, *_: object, **__: object) -> dict[str, Any]:
        """Answer DescribeRegistries."""
        alias = {"name": "acme", "status": "ACTIVE", "primaryRegistryAlias": True}
        return {"registries": [{"registryId": "123456789012", "aliases": [alias]}]}


def _not_our_alias() -> None:
    create(RepositoryName.parse(f"{HOST}/else/web"), {}, cast("Aws", _OfOthers()), World().runtime)


ENDPOINT = "https://api.ecr-public.us-east-1.amazonaws.com/"
NOWHERE = "https://api.ecr.eu-nowhere-9.amazonaws.com/"
PROXY = "http://proxy.example:3128"
NO_CONNECTION = "AWSHTTPSConnection(host='x'): Failed to establish a new connection: "
VERIFY = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "

OF_BOTO: tuple[Callable[[], ManifestctlError], ...] = (
    boto("NoCredentialsError"),
    boto("ProfileNotFound", profile="release"),
    boto("ConfigParseError", path="/home/ci/.aws/config"),
    boto("PartialCredentialsError", provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
    boto("MissingDependencyException", msg="Using the login credential provider requires an additional dependency."),
    boto("InvalidConfigError", error_msg='The source_profile "base" referenced in the profile "ci" does not exist.'),
    boto("ParamValidationError", report="Invalid length for parameter RoleArn, value: 4, valid min length: 20"),
    raised(_no_such_file),
    boto("HTTPClientError", error=f"Invalid header value b'{SECRET}'"),
    boto("SSOTokenLoadError", error_msg="Token for https://start.example does not exist"),
    boto("TokenRetrievalError", provider="sso", error_msg="Token has expired and refresh failed"),
    boto("UnauthorizedSSOTokenError"),
    boto("LoginRefreshRequired"),
    boto("CredentialRetrievalError", provider="custom-process", error_msg="no such account\n"),
    boto("CredentialRetrievalError", provider="container-role", error_msg="Received non 200 response 403"),
    raised(_garbage),
    raised(_no_terminal),
    boto("RefreshWithMFAUnsupportedError"),
    boto("InvalidRegionError", region_name="eu_west"),
    raised(_no_url),
    boto("EndpointConnectionError", endpoint_url=NOWHERE, error=f"{NO_CONNECTION}[Errno -2] Name or service not known"),
    boto("EndpointConnectionError", endpoint_url=ENDPOINT, error=f"{NO_CONNECTION}[Errno 111] Connection refused"),
    boto("SSLError", endpoint_url=ENDPOINT, error=f"{VERIFY}unable to get local issuer certificate (_ssl.c:1006)"),
    boto("SSLError", endpoint_url=ENDPOINT, error=f"{VERIFY}certificate has expired (_ssl.c:1006)"),
    boto("SSLError", endpoint_url=ENDPOINT, error="[Errno 2] No such file or directory"),
    boto("SSLError", endpoint_url=ENDPOINT, error="[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred (_ssl.c:1006)"),
    boto(
        "ProxyConnectionError", proxy_url=PROXY, error="('Unable to connect to proxy', [Errno 111] Connection refused)"
    ),
    boto(
        "ProxyConnectionError",
        proxy_url=PROXY,
        error="OSError('Tunnel connection failed: 407 Proxy Authentication Required')",
    ),
    boto("ProxyConnectionError", proxy_url=PROXY, error="OSError('Tunnel connection failed: 403 Forbidden')"),
    boto("ReadTimeoutError", endpoint_url=ENDPOINT),
    boto("ConnectionClosedError", endpoint_url=ENDPOINT),
    raised(_no_answer),
    boto("OperationNotPageableError", operation_name="GetAuthorizationToken"),
)

BEFORE: tuple[Callable[[], ManifestctlError], ...] = (
    raised(_not_our_alias),
    raised(lambda: RepositoryName.parse(f"{HOST}/{HOST}/acme/web")),
)

KNOWN_ERRORS = (*OF_REGISTRIES, *OF_AWS, *OF_BOTO, *BEFORE)
"""In the order of the rows."""
