"""What AWS's refusals and boto3's failures mean: `translated`, the one place where they become errors of ours.

Errors that AWS does not document as such (``AccessDeniedException`` is no modelled class) are recognised by their
code. What is not known here becomes an error that shows AWS's own words. ``docs/errors.md`` has a row for each.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from manifestctl.aws.boto_failures import NO_KEYS, failed
from manifestctl.errors import DeniedError, InputError, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.model.permission import Denial
from manifestctl.text import duration, outside
from manifestctl.transport.retry import retry_after
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CLOCK_TOLERANCE = 300.0
"""Seconds by which a signature's time may differ from AWS's."""

_BOTH_NEEDED = "A token for ECR Public needs both ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken. "
_SET_CLOCK = "Set this machine's clock (NTP), then run this again."
# Calls that boto3 makes to get credentials, before the one that was wanted.
_OF_CREDENTIALS = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetRoleCredentials", "CreateToken"}
)
_QUOTA_OF = {
    "CreateRepository": "repositories in this account and region",
    "TagResource": "tags of a repository (50)",
    "PutImage": "images per repository",
}
_TOO_MANY = 429
# Where AWS goes on with what it would have signed: with all headers, and the session token in one of them.
_CANONICAL = re.compile(r"[.\s]*(?:The )?(?:Canonical String|String-to-Sign)\b.*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What some codes of AWS's mean: the error, and the next step.

    With ``words`` (an expression, without regard to case) they mean it if AWS says these. ``passes``: it may be
    different a moment later. ``clock``: it may be that this machine's clock is wrong.
    """

    codes: frozenset[str]
    kind: type[ManifestctlError]
    step: str
    words: str = ""
    passes: bool = False
    clock: bool = False


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SIGNATURES = _codes("InvalidSignatureException SignatureDoesNotMatch")
_ACCESS_DENIED = _codes("AccessDeniedException AccessDenied UnauthorizedOperation NotAuthorized")
_QUOTAS = _codes("LimitExceededException TooManyTagsException ServiceQuotaExceededException")
_REPOSITORY_UNKNOWN = "RepositoryNotFoundException"

REFUSALS = (
    Refusal(_SIGNATURES, DeniedError, _SET_CLOCK, words="signature expired|signature not yet current", clock=True),
    Refusal(_codes("RequestTimeTooSkewed RequestExpired"), DeniedError, _SET_CLOCK, clock=True),
    Refusal(
        _SIGNATURES,
        DeniedError,
        "The secret access key does not belong to the access key; check both for typing errors.",
    ),
    Refusal(
        _codes("ExpiredTokenException ExpiredToken"),
        DeniedError,
        "The job's web identity token has expired; take a new one right before, or give it a longer life.",
        words="current date/time",
    ),
    Refusal(
        _codes("ExpiredTokenException ExpiredToken"),
        DeniedError,
        "The session has ended; log in anew (aws sso login), or let the job assume its role again.",
        clock=True,
    ),
    Refusal(
        _codes("UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId"),
        DeniedError,
        "AWS does not know this access key: it was deleted, is of another partition, or lacks its session token. "
        + NO_KEYS,
    ),
    Refusal(
        _codes("MissingAuthenticationTokenException MissingAuthenticationToken IncompleteSignature"),
        DeniedError,
        "The signature did not reach AWS: a proxy may take the Authorization header away; check HTTPS_PROXY.",
    ),
    Refusal(
        _codes("InvalidIdentityToken IDPRejectedClaim"),
        DeniedError,
        "AWS does not take the job's web identity token: check the identity provider in IAM, and the token's audience.",
    ),
    Refusal(
        _ACCESS_DENIED,
        DeniedError,
        "The role's trust policy does not let this caller assume it: compare its conditions (aud, sub) with the token.",
        words=r"not authorized to perform:? sts:assumerolewith",
    ),
    Refusal(_ACCESS_DENIED, DeniedError, "The identity lacks a permission; 'manifestctl doctor' shows who it is."),
    Refusal(
        _codes("OptInRequired SubscriptionRequiredException AccountProblem"),
        DeniedError,
        "The account is not signed up for this service, or is blocked; see its billing console.",
    ),
    Refusal(
        _codes("BlockedByOrganizationPolicyException"),
        DeniedError,
        "The organization that the account belongs to forbids it; ask who runs it.",
    ),
    Refusal(
        _codes("KmsException"),
        DeniedError,
        "KMS refuses the repository's key: it must be enabled, in the repository's region, and let ECR use it.",
    ),
    Refusal(
        _QUOTAS,
        DeniedError,
        "A quota of this account is reached; trying again will not help. Ask AWS to raise it, or remove something.",
    ),
    Refusal(
        _codes("InvalidParameterException InvalidTagParameterException ValidationException ValidationError"),
        InputError,
        "AWS does not accept what was given; correct it.",
    ),
    Refusal(
        _codes(_REPOSITORY_UNKNOWN),
        NotFoundError,
        "Make it with 'manifestctl repo create NAME'; if it should be there, check the name, the region, and whose "
        "the AWS credentials are.",
    ),
    Refusal(
        _codes("RegistryNotFoundException"),
        NotFoundError,
        "Check the alias or the account in the registry's name.",
    ),
    Refusal(_codes("ImageNotFoundException"), NotFoundError, "Push the image first, or check the tag's spelling."),
    Refusal(
        _codes("RepositoryCatalogDataNotFoundException"),
        NotFoundError,
        "The repository has no page in the Gallery yet; 'manifestctl repo catalog NAME --description TEXT' makes one.",
    ),
    Refusal(
        _codes("UnsupportedCommandException"),
        InputError,
        "The service is not in this region: ECR Public is asked in us-east-1 alone. Leave out AWS_ENDPOINT_URL_… and "
        "the like.",
    ),
    Refusal(
        _codes("UnknownOperationException InvalidAction"),
        InputError,
        "ECR and ECR Public are two services, and the other one was asked: check AWS_ENDPOINT_URL_ECR and "
        "AWS_ENDPOINT_URL_ECR_PUBLIC.",
    ),
    Refusal(
        _codes(
            "Throttling ThrottlingException ThrottledException RequestThrottledException RequestThrottled "
            "TooManyRequestsException RequestLimitExceeded SlowDown"
        ),
        UnreachableError,
        "AWS limits these calls; wait a little.",
        passes=True,
    ),
    Refusal(
        _codes(
            "ServerException InternalFailure InternalServerError ServiceUnavailable ServiceUnavailableException "
            "RequestTimeout RequestTimeoutException PriorRequestNotComplete IDPCommunicationError"
        ),
        UnreachableError,
        "AWS is failing; running again later is safe.",
        passes=True,
    ),
)
"""Read in this order; the first that fits is meant."""


class NoAwsCredentialsError(DeniedError):
    """boto3 looked everywhere and found no credentials: nobody was refused, nobody asked."""


def translated(error: Exception, doing: str, now: float, origin: str = "") -> ManifestctlError:
    """Return the error of ours for one that a call to AWS raised; an interruption, or a bug of ours, is raised again.

    ``doing`` begins the message; ``now`` is this machine's clock, to be compared with AWS's. ``origin`` says in words
    where the credentials come from.
    """
    from botocore.exceptions import ClientError, NoCredentialsError

    if isinstance(error, ManifestctlError):
        raise error
    if isinstance(error, ClientError):
        _guard(error)
        return _refused(_Answer.of(error), doing, now, origin)
    if isinstance(error, NoCredentialsError):
        return NoAwsCredentialsError(f"{doing} failed: no AWS credentials were found", hint=NO_KEYS)
    return failed(error, doing)


def _guard(error: ClientError) -> None:
    """Take out of a refusal what AWS would have signed; the error becomes the cause of ours, and is printed with it."""
    error.args = tuple(_CANONICAL.sub("", str(part)) for part in error.args)
    detail: dict[str, Any] = error.response.get("Error") or {}
    if "Message" in detail:
        detail["Message"] = _CANONICAL.sub("", str(detail["Message"]))


def clock_offset(headers: dict[str, Any], now: float) -> float | None:
    """Return by how many seconds this machine's clock is ahead of the ``Date`` of an answer; None if it has none."""
    try:
        date = parsedate_to_datetime(str(headers.get("date", "")))
        return now - (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def wrong_clock(offset: float) -> str:
    """Return in words what is wrong with this machine's clock."""
    side = "ahead of" if offset > 0 else "behind"
    return f"this machine's clock is {duration(abs(offset))} {side} AWS's"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What AWS answered to an operation; ``said`` is as it came."""

    code: str
    said: str
    operation: str
    status: int
    headers: dict[str, str]

    @classmethod
    def of(cls, error: ClientError) -> Self:
        detail, metadata = (error.response.get(name) or {} for name in ("Error", "ResponseMetadata"))
        return cls(
            str(detail.get("Code") or ""),
            str(detail.get("Message") or ""),
            error.operation_name,
            metadata.get("HTTPStatusCode", 0),
            metadata.get("HTTPHeaders", {}),
        )


def _refused(answer: _Answer, doing: str, now: float, origin: str) -> ManifestctlError:
    if not answer.code or answer.code.isdigit():
        return _not_aws(answer, doing)
    to = f" to {answer.operation}" if answer.operation in _OF_CREDENTIALS else ""
    who = f" (credentials: {origin})" if origin else ""
    message = f'{doing} failed: AWS said {outside(answer.code, 80)} "{outside(answer.said)}"{to}{who}'
    refusal = _meaning(answer)
    if refusal is None or refusal.passes:
        return _unreached(answer, message, refusal, retry_after(answer.headers.get("retry-after"), now))
    if refusal.codes is _ACCESS_DENIED and not refusal.words:
        return _denied(answer, message, refusal)
    if refusal.clock:
        return _skewed(message, refusal, clock_offset(answer.headers, now))
    if issubclass(refusal.kind, NotFoundError):
        return refusal.kind(message, hint=refusal.step, repository_unknown=answer.code == _REPOSITORY_UNKNOWN)
    return refusal.kind(message, hint=_named_quota(answer) or refusal.step)


def _meaning(answer: _Answer) -> Refusal | None:
    for refusal in REFUSALS:
        if answer.code in refusal.codes and re.search(refusal.words, answer.said, re.IGNORECASE):
            return refusal
    return None


def _denied(answer: _Answer, message: str, refusal: Refusal) -> DeniedError:
    denial = Denial.parse(answer.said)
    if denial is None:
        return DeniedError(message, hint=refusal.step)
    needs = _BOTH_NEEDED if denial.action in _BOTH_NEEDED else ""
    return DeniedError(message, hint=needs + denial.hint, statement=denial.statement)


def _skewed(message: str, refusal: Refusal, offset: float | None) -> DeniedError:
    if offset is not None and abs(offset) > CLOCK_TOLERANCE:
        return DeniedError(f"{message}; {wrong_clock(offset)}", hint=_SET_CLOCK)
    return DeniedError(message, hint=refusal.step)


def _named_quota(answer: _Answer) -> str:
    of = "TagResource" if answer.code == "TooManyTagsException" else answer.operation
    if answer.code not in _QUOTAS or of not in _QUOTA_OF:
        return ""
    return f"The quota of {_QUOTA_OF[of]} is reached; trying again will not help. Ask AWS to raise it, or remove some."


def _not_aws(answer: _Answer, doing: str) -> UnreachableError:
    """Return the error for an answer that has no code of AWS's: a proxy's page, or the error of a load balancer."""
    page = answer.said.lstrip().startswith("<")
    words = ", with an HTML page" if page else f' "{outside(answer.said, 300)}"' if answer.said else ""
    message = f"{doing} failed: the answer is {answer.status}{words}, and not AWS's"
    if answer.status == _TOO_MANY or answer.status >= 500:
        return UnreachableError(message, hint="Running again later is safe.", transient=True)
    return UnreachableError(message, hint="A proxy or another web server answered; check the proxy variables.")


def _unreached(answer: _Answer, message: str, refusal: Refusal | None, wait: float | None) -> ManifestctlError:
    if refusal is not None or answer.status == _TOO_MANY or answer.status >= 500:
        step = refusal.step if refusal is not None else "Running again later is safe."
        return UnreachableError(message, hint=step, transient=True, retry_after=wait)
    if answer.status in (401, 403):
        return DeniedError(message, hint="AWS refuses this identity; 'manifestctl doctor' shows who it is.")
    return UnreachableError(message, hint="AWS does not accept this call; see its words.")
