"""`login`: a registry's credentials, got from AWS or given, put into the credential file that is looked into first."""

from __future__ import annotations

from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from manifestctl.aws.hosts import HOSTS, ecr_host, looks_like_ecr
from manifestctl.errors import (
    DeniedError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import Warned
from manifestctl.model.reference import Reference
from manifestctl.text import outside
from manifestctl.transport.credential_writer import CredentialWriter
from manifestctl.transport.credentials import Credential, OneCredential
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.aws.hosts import EcrHost
    from manifestctl.stores.locate import Stores
    from manifestctl.transport.message import Response

# Docker's own name for its Hub is the URL of an API.
_API_PATHS = frozenset({"", "v1", "v2"})
_GIVEN = "--username and --password-stdin"
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """Where to log in; ``registry`` is as `parse_registry` returns it. Without a ``username`` AWS gives a token."""

    registry: str
    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse what stands for nobody, and what no file could hold; raises `InputError`."""
        if self.password and not self.username:
            raise InputError("there is a password and no user name", hint="Pass --username NAME.")
        if self.username and not self.password:
            raise InputError("the password is empty", hint="Write it to the standard input.")
        if ":" in self.username or not self.username.isprintable():
            # It may be user:password, so it is not shown.
            wrong = "the user name has a ':' or a control character in it, which none can have"
            raise InputError(wrong, hint="Pass the password apart from it, on the standard input.")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """What was stored. ``origin`` says where the credentials come from, ``place`` where they are now, both in words.

    ``plain``: they stand there as plain text, which ``shared`` says others may read. ``expires`` is when the registry
    stops taking them, in seconds since the epoch; None if that is not known.
    """

    registry: str
    username: str
    origin: str
    place: str
    plain: bool
    shared: bool
    expires: float | None

    @property
    def until(self) -> str | None:
        """When the registry stops taking them (RFC 3339), if that is known."""
        if self.expires is None:
            return None
        return datetime.fromtimestamp(self.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_registry(text: str) -> str:
    """Return the registry that a user means, as in references: ``host[:port]``; raises `InputError`.

    ``https://`` and what Docker's own keys have behind the host (``/v1/``) are left out.
    """
    if "@" in text:
        # It may be a password, so the text is not shown.
        hint = f"Write host or host:port; user and password are given by {_GIVEN}."
        raise InputError("the name of a registry has no '@' in it", hint=hint)
    before, mark, rest = text.rpartition("://")
    host, _, path = rest.partition("/")
    registry, shown = _registry(host.lower()), outside(text, 200)
    if registry is None:
        hint = "Write host or host:port, such as registry.example.com:5000, and no repository."
        raise InputError(f"'{shown}' is not a registry", hint=hint)
    if before + mark not in ("", "https://"):
        hint = f"Write {registry}, and --plain-http {registry} if it has no TLS."
        raise InputError(f"'{shown}' is a URL, not a registry", hint=hint)
    if path.strip("/") not in _API_PATHS:
        raise InputError(f"'{shown}' is a repository, not a registry", hint=f"Name its registry: {registry}.")
    return registry


def login(request: LoginRequest, stores: Stores) -> LoggedIn:
    """Log in and store it. What cannot be stored is found before anybody is asked, where that is possible.

    Raises `InputError` for what is missing or cannot be used, `DeniedError` for credentials that are refused and for a
    helper that fails, `UnreachableError`.
    """
    host = None if request.username else _amazon(request.registry, stores)
    writer = CredentialWriter.of_system(stores.runtime, stores.settings.authfile)
    try:
        writer.read()
        obtained = _given(request, stores) if host is None else _token(host, stores)
    except InterruptedRun:
        raise
    except ManifestctlError as error:
        error.message += "; nothing was stored"
        raise
    credential, expires = obtained
    stored = writer.store(request.registry, credential.username, credential.password)
    # Who names a file knows which programs will look there.
    for place in writer.left_elsewhere(request.registry) if stores.settings.authfile is None else ():
        also = f"{place} holds credentials for {request.registry} too, which some programs use in place of these"
        stores.runtime.observe(Warned(also))
    return LoggedIn(
        request.registry, credential.username, credential.source, stored.place, stored.plain, stored.shared, expires
    )


def _registry(host: str) -> str | None:
    """Return a host as references name it, or None if none could: a bare word is a repository to them."""
    if not ("." in host or ":" in host or host == "localhost"):
        return None
    try:
        return Reference.parse(f"{host}/any").registry
    except InputError:
        return None


def _amazon(registry: str, stores: Stores) -> EcrHost:
    host = ecr_host(registry)
    if host is None:
        meant = f"{HOSTS} If another registry is meant: " if looks_like_ecr(registry) else ""
        raise InputError(
            f"{registry} needs a user name and a password; AWS credentials open registries of Amazon ECR alone",
            hint=f"{meant}Pass --username NAME --password-stdin, and the password on the standard input.",
        )
    if stores.keys.aws().settings.use == "never":
        raise InputError(
            f"--no-aws leaves nothing to log in to {registry} with", hint=f"Leave it out, or pass {_GIVEN}."
        )
    return host


def _token(host: EcrHost, stores: Stores) -> tuple[Credential, float | None]:
    """Get a token from AWS; this machine's other runs may use it too."""
    from manifestctl.aws.tokens import fetch_token

    token = fetch_token(host, stores.keys.aws())
    cache = stores.keys.token_cache()
    if cache is not None:
        cache.write(host, token)
    return token.credential(), token.expires


def _given(request: LoginRequest, stores: Stores) -> tuple[Credential, float | None]:
    """Show the user's credentials to the registry; they are returned if it takes them."""
    credential = Credential("--username", request.username, request.password)
    response = _asked(request.registry, credential, stores)
    if response.credentials != credential.source:
        unchecked = f"{request.registry} does not ask for credentials, so these are stored without having been checked"
        stores.runtime.observe(Warned(unchecked))
    return credential, None


def _asked(registry: str, credential: Credential, stores: Stores) -> Response:
    from manifestctl.transport.failures import failure
    from manifestctl.transport.message import Request
    from manifestctl.transport.retry import retry_after

    doing = f"logging in to {registry}"
    with stores.showing(OneCredential(credential)) as trial:
        client = trial.client(registry)
        # What anybody may read proves nothing: a credential that is refused must not be left out.
        client.authorizer.want("", write=True)

        def ask() -> Response:
            response = client.send(Request("GET", "/v2/", doing=doing))
            if response.ok:
                return response
            wait = retry_after(response.headers.get("retry-after"), stores.runtime.now())
            error = failure(response, doing, retry_after=wait)
            refused = response.status == _UNAUTHORIZED or response.status in client.profile.bad_token_statuses
            if refused and not response.away and isinstance(error, DeniedError) and not error.statement:
                error.hint = _refused_hint(registry)
            if isinstance(error, NotFoundError):
                error.hint = "What answers there is no registry; check its name."
            raise error

        response = trial.retries().run(doing, ask)
    if "html" in response.headers.get("content-type", "").lower():
        hint = "Check the registry's name; a proxy may have answered."
        raise UnreachableError(f"{doing} failed: a web page answered, not a registry", hint=hint)
    return response


def _refused_hint(registry: str) -> str:
    if ecr_host(registry) is not None:
        return "A token is valid for 12 hours; without --username one is got from AWS."
    return "User name or password is wrong, or the registry wants an access token in the password's place."
