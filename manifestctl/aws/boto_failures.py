"""What boto3 fails by without an answer of AWS's: configuration, credentials, the network; as errors of ours.

boto3's own errors are known by their names, so that nothing of it is imported for that. Of a ``credential_process``, a
metadata endpoint or an answer that is not what it should be, boto3 lets through whatever Python raised there; where in
boto3 that was decides what it means.
"""

from __future__ import annotations

import re

from manifestctl.errors import DeniedError, InputError, ManifestctlError, UnreachableError
from manifestctl.files import reason
from manifestctl.text import escape, of_program, outside
from manifestctl.values import dataclass

NO_KEYS = (
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run 'aws configure' or 'aws sso login'; in CI "
    "let the job assume a role. 'manifestctl doctor' shows what is found."
)
_LOG_IN = "Run 'aws sso login' for that profile, then run this again."
_SAFE = "Running again is safe."
_SETTING = "Correct it in AWS's config file, or in the AWS_* variables."
_PROXY = "Check HTTPS_PROXY and NO_PROXY."
_PAGE = "A proxy or another web server answered in AWS's place; check the proxy variables."


@dataclass(frozen=True, slots=True)
class Failure:
    """What some of boto3's errors mean: the error of ours, and the next step.

    ``names`` are classes of ``botocore.exceptions``; derived ones are meant too. With ``words`` (an expression, without
    regard to case) it is meant if the error says these. ``instead`` is said in the place of boto3's words, which may
    hold a secret. ``passes``: it may be different a moment later.
    """

    names: frozenset[str]
    kind: type[ManifestctlError]
    step: str
    words: str = ""
    instead: str = ""
    passes: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SSL = _names("SSLError")
_PROXIES = _names("ProxyConnectionError")
_ENDPOINTS = _names("EndpointConnectionError")

FAILURES = (
    Failure(
        _names("ProfileNotFound"),
        InputError,
        "Check the name (--profile, AWS_PROFILE); 'aws configure list-profiles' shows those that there are.",
    ),
    Failure(
        _names("ConfigParseError ConfigNotFound"), InputError, "Correct the file, or name another (AWS_CONFIG_FILE)."
    ),
    Failure(_names("PartialCredentialsError"), InputError, "Set what is missing too, or take the rest away."),
    Failure(
        _names("NoRegionError InvalidRegionError BaseEndpointResolverError EndpointProviderError"),
        InputError,
        "Correct the region: in AWS_REGION, in the profile, or in the registry's host name.",
    ),
    Failure(_names("MissingDependencyException"), InputError, "Install what it names, or use other credentials."),
    Failure(
        _names(
            "InvalidConfigError InvalidSTSRegionalEndpointsConfigError InvalidRetryConfigurationError "
            "InvalidDefaultsMode InvalidProxiesConfigError InvalidIMDSEndpointError InvalidIMDSEndpointModeError "
            "InvalidEndpointConfigurationError InvalidChecksumConfigError UnknownCredentialError"
        ),
        InputError,
        _SETTING,
    ),
    Failure(_names("ParamValidationError"), InputError, "AWS does not accept what was given; correct it."),
    Failure(
        _names("SSOError TokenRetrievalError UnknownTokenProviderError"),
        DeniedError,
        _LOG_IN,
    ),
    Failure(_names("LoginError"), DeniedError, "Run 'aws login' for that profile, then run this again."),
    Failure(
        _names("RefreshWithMFAUnsupportedError"),
        DeniedError,
        "The role wants an MFA code, which boto3 cannot ask for again; get a session with one first.",
    ),
    Failure(
        _names("CredentialRetrievalError MetadataRetrievalError"),
        DeniedError,
        "AWS credentials are configured, but the configured source returned none; test it on its own, or use other "
        "credentials.",
    ),
    Failure(
        _names("HTTPClientError"),
        InputError,
        "Set the access key, the session token or the token file anew; there may be a line break in it.",
        words="invalid header value|codec can't encode",
        instead="a credential holds a character that cannot be sent",
    ),
    Failure(
        _SSL,
        InputError,
        "Correct AWS_CA_BUNDLE (or ca_bundle in AWS's config file): it names no file of certificates.",
        words=r"\[Errno|NO_CERTIFICATE|\bPEM\b",
    ),
    Failure(
        _SSL,
        UnreachableError,
        "This machine's clock is wrong, or somebody else answers in AWS's place.",
        words="has expired|not yet valid",
    ),
    Failure(
        _SSL,
        UnreachableError,
        "boto3 trusts its own authorities: name yours with AWS_CA_BUNDLE=FILE. A proxy that opens TLS has one.",
        words="CERTIFICATE_VERIFY_FAILED",
    ),
    Failure(_SSL, UnreachableError, f"What answers there breaks TLS off. {_PROXY} {_SAFE}", passes=True),
    Failure(
        _PROXIES,
        UnreachableError,
        # As a URL it would be redacted.
        "The proxy wants a user and a password that it knows: write them into HTTPS_PROXY before the host, as "
        "USER:PASSWORD@HOST:PORT.",
        words=r"failed: 407",
    ),
    Failure(_PROXIES, UnreachableError, f"The proxy does not let this host through. {_PROXY}", words=r"failed: 4"),
    Failure(_PROXIES, UnreachableError, _PROXY, passes=True),
    Failure(
        _ENDPOINTS,
        UnreachableError,
        "There is no such host: check the region (in the registry's host name, in AWS_REGION), and DNS.",
        words="not known|name resolution|resolve|nodename|no address",
        passes=True,
    ),
    Failure(_ENDPOINTS, UnreachableError, "Check the network and the proxy variables.", passes=True),
    Failure(
        _names("ReadTimeoutError ConnectTimeoutError"),
        UnreachableError,
        "Run again, or give it longer with --timeout.",
        passes=True,
    ),
    Failure(_names("HTTPClientError ConnectionError"), UnreachableError, _SAFE, passes=True),
    # It quotes the whole answer, which may hold somebody's keys.
    Failure(
        _names("ResponseParserError"),
        UnreachableError,
        _PAGE,
        instead="the answer is not AWS's, and cannot be read",
    ),
    Failure(_names("BotoCoreError"), UnreachableError, "boto3 could not make this call; see its words."),
)
"""Read in this order; the first that fits is meant."""

# Where in boto3 credentials are got, and where answers are read.
_CREDENTIALS = _names("botocore.credentials botocore.tokens botocore.auth")
_ANSWERS = _names("botocore.parsers")
# What boto3 calls a program that gives credentials.
_PROCESS = "custom-process"
_REASON = re.compile(r"\[Errno [^\]]{1,8}\] [^'\")]{1,100}|Tunnel connection failed: [^'\")]{1,100}")


def failed(error: Exception, doing: str) -> ManifestctlError:
    """Return the error of ours; what is nobody's failure but a bug is raised again. ``doing`` begins the message."""
    _guard(error)
    known = {kind.__name__ for kind in type(error).__mro__}
    # The error itself often leaves out why.
    why = str(getattr(error, "kwargs", {}).get("error", ""))
    for failure in FAILURES:
        if failure.names & known and re.search(failure.words, f"{error}\n{why}", re.IGNORECASE):
            message = f"{doing} failed: {failure.instead or _said(error, why)}"
            if failure.instead:
                # As above.
                error.args, error.__context__ = (failure.instead,), None
            if issubclass(failure.kind, UnreachableError):
                return failure.kind(message, hint=failure.step, transient=failure.passes)
            return failure.kind(message, hint=failure.step)
    return _surprise(error, doing)


def _guard(error: Exception) -> None:
    """Take out of an error what a credential_process wrote, if that may be the credentials themselves."""
    details = getattr(error, "kwargs", {})
    written = str(details.get("error_msg", ""))
    if details.get("provider") == _PROCESS and written:
        said = of_program(written) or "it wrote something that is not shown, for it may be a secret"
        # The error becomes the cause of ours, and whoever prints that must not print the secret.
        error.args = tuple(str(part).replace(written, said) for part in error.args)
        details["error_msg"] = said


def _said(error: Exception, why: str) -> str:
    found = _REASON.search(why)
    more = f" ({found[0]})" if found is not None and found[0] not in str(error) else ""
    return outside(" ".join(str(error).split()).rstrip(".") + more, 600)


def _surprise(error: Exception, doing: str) -> ManifestctlError:
    """Return the error for what is no error of boto3's own."""
    places, owners = _trace(error)
    said = outside(str(error).rstrip("."), 300)
    if isinstance(error, OSError) and error.filename is not None:
        path = escape(str(error.filename), 300)
        return InputError(
            f"{doing} failed: AWS's configuration names {path}, which cannot be used: {reason(error)}",
            hint="Correct AWS's config file, or the variable that names it.",
        )
    # Of an answer that is "null", the parser makes nothing, and its caller stumbles.
    if places & _ANSWERS or ("botocore.endpoint" in places and isinstance(error, AttributeError)):
        return UnreachableError(f"{doing} failed: the answer is not AWS's, and cannot be read", hint=_PAGE)
    if isinstance(error, EOFError):
        said = f"{doing} failed: the role of the profile wants an MFA code, and there is no terminal to ask for it"
        return DeniedError(said, hint="Get a session with the code first, or use credentials that want none.")
    if places & _CREDENTIALS:
        # What a KeyError or an AttributeError says is no sentence.
        why = said if isinstance(error, ValueError | OSError | RuntimeError) else type(error).__name__
        hint = "Test it on its own (its credential_process, its metadata endpoint), or use other credentials."
        none = f"{doing} failed: AWS credentials are configured, but the configured source gave none that can be used"
        return DeniedError(
            f"{none}: {why}",
            hint=_LOG_IN if any(owner.startswith("SSO") for owner in owners) else hint,
        )
    if isinstance(error, OSError):
        return UnreachableError(f"{doing} failed: {said}", hint=_SAFE, transient=True)
    if isinstance(error, ValueError):
        return InputError(f"{doing} failed: {said}", hint=_SETTING)
    raise error


def _trace(error: Exception) -> tuple[set[str], set[str]]:
    """Return the names of the modules, and of the classes or functions in them, through which an error came."""
    modules, owners = set(), set()
    trace = error.__traceback__
    while trace is not None:
        modules.add(str(trace.tb_frame.f_globals.get("__name__", "")))
        owners.add(trace.tb_frame.f_code.co_qualname.partition(".")[0])
        trace = trace.tb_next
    return modules, owners
