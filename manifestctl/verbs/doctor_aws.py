"""What AWS gives and says, for `doctor`: credentials, identity, the permissions for a token, alias, quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.aws.callers import ASKING, aliases, caller
from manifestctl.aws.quotas import tags_of_image
from manifestctl.aws.refusals import NoAwsCredentialsError
from manifestctl.aws.repositories import find
from manifestctl.aws.tokens import fetch_token
from manifestctl.errors import DeniedError, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.model.permission import Denial
from manifestctl.parallel import Pool
from manifestctl.transport.profiles import profile_for
from manifestctl.values import dataclass
from manifestctl.verbs.doctor_checks import Check, all_skipped, as_warning, failed, moment, ok, skipped, warning, words

if TYPE_CHECKING:
    from manifestctl.aws.callers import Caller
    from manifestctl.aws.calls import Aws
    from manifestctl.aws.hosts import EcrHost
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.aws.repository_settings import PrivateSettings, Repository
    from manifestctl.aws.tokens import Token
    from manifestctl.model.digest import Digest
    from manifestctl.stores.keyring import Keyring

# Check → the action that it is about, in the order in which AWS asks for them.
_PUBLIC_ACTIONS = {
    "get-authorization-token": "ecr-public:GetAuthorizationToken",
    "get-service-bearer-token": "sts:GetServiceBearerToken",
}
_PRIVATE_ACTIONS = {"get-authorization-token": "ecr:GetAuthorizationToken"}
_NOT_KNOWN, _NO_ANSWER = "needs AWS credentials that work", "needs an answer of AWS"
_SOON = 15 * 60.0
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Amazon:
    """The checks that came first; a token if there is one; and why AWS is asked no more, empty if it can be."""

    checks: tuple[Check, ...]
    token: Token | None = None
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What AWS's API says of a repository: the checks of its alias, and the one of its quotas.

    ``exists``: whether it is there; None if that is not known. ``settings`` are those of a private one, if they could
    be read; ``unread`` says why not.
    """

    alias: tuple[Check, ...] = ()
    quotas: tuple[Check, ...] = ()
    exists: bool | None = None
    settings: PrivateSettings | None = None
    unread: str = ""

    @property
    def is_foreign(self) -> bool:
        """Tell whether the alias is somebody else's."""
        return any(check.state == "failed" for check in self.alias)


def actions(host: EcrHost) -> dict[str, str]:
    """Return the checks of permissions that a token for a registry needs, with the actions that they are about."""
    return _PUBLIC_ACTIONS if host.is_public else _PRIVATE_ACTIONS


def names(host: EcrHost) -> tuple[str, ...]:
    """Return the names of the checks of `amazon`, in order."""
    return ("aws-credentials", "identity", *actions(host), "token")


def amazon(host: EcrHost, keys: Keyring) -> Amazon:
    """Find the credentials, ask AWS whose they are, and get a token with them.

    What is in the cache proves nothing, so a token is got anew; it is kept there in its place, for the next run.
    """
    if keys.use == "never":
        why = "AWS is not asked (--no-aws)"
        return Amazon(tuple(all_skipped(names(host), why)), closed=why)
    aws = keys.aws()
    doing = "getting AWS credentials"
    try:
        aws.obtain(doing, host.region)
    except ManifestctlError as error:
        first = _none() if isinstance(error, NoAwsCredentialsError) else failed("aws-credentials", error, doing)
        why = "needs AWS credentials"
        return Amazon((first, *all_skipped(names(host)[1:], why)), closed=why)
    with Pool(2, aws.runtime.cancel) as pool:
        asking = pool.submit(lambda _: _identity(host, aws), None)
        getting = pool.submit(lambda _: _token(host, aws, keys), None)
        (identity, known), token = asking.result(), getting.result()
    if isinstance(token, ManifestctlError):
        checks = (_credentials(aws), identity, *_without(host, token, known=known))
        # Who cannot be reached is not asked again, and who does not know us neither.
        closed = _NO_ANSWER if isinstance(token, UnreachableError) else "" if known else _NOT_KNOWN
        return Amazon(checks, closed=closed)
    if identity.state == "failed":
        # Whoever it is that AWS does not name there, it gives a token to.
        identity = as_warning(identity)
    allowed = [ok(name, f"{action} is allowed") for name, action in actions(host).items()]
    seen = f"AWS gives one, until {moment(token.expires, aws.runtime.now())}"
    return Amazon((_credentials(aws), identity, *allowed, ok("token", seen)), token)


def account(repository: RepositoryName, named: str | Digest, amazon: Amazon, keys: Keyring) -> Account:
    """Ask about a repository and the image in it that a tag or a digest names."""
    public = repository.host.is_public
    if amazon.closed:
        aliases = tuple(all_skipped(("alias",) if public else (), amazon.closed))
        return Account(aliases, (skipped("quotas", amazon.closed),), unread=amazon.closed)
    aws = keys.aws()
    if not public:
        return _private(repository, named, aws)
    held = alias(repository, aws)
    if held.state != "ok":
        wanted = "an alias that is ours" if held.state == "failed" else "to know our aliases"
        return Account((held,), (skipped("quotas", f"needs {wanted}"),))
    used, exists = quotas(repository, named, aws)
    return Account((held,), (used,), exists)


def _private(repository: RepositoryName, named: str | Digest, aws: Aws) -> Account:
    found: Repository | None = None
    unread = ""
    try:
        found = find(repository, aws)
    except NotFoundError:
        return Account(quotas=(_no_repository(),), exists=False)
    except ManifestctlError as error:
        unread = f"AWS does not tell: {words(error)}"
    used, exists = quotas(repository, named, aws)
    if found is None:
        return Account((), (used,), exists, unread=unread)
    return Account((), (used,), True, found.settings)


def alias(repository: RepositoryName, aws: Aws) -> Check:
    """Judge whether the alias in a repository's name is one of ours."""
    try:
        found = aliases(repository.host, aws)
    except ManifestctlError as error:
        return skipped("alias", f"AWS does not say which are ours: {words(error)}")
    own = {held.name: held.active for held in found}
    if own.get(repository.alias):
        return ok("alias", f"{repository.alias} is an alias of this account's public registry")
    if repository.alias in own:
        seen = f"{repository.alias} is an alias of this account's public registry, but not active yet"
        return failed("alias", DeniedError(seen, hint="Wait until AWS has granted it, or push under another alias."))
    known = ", ".join(name for name, active in own.items() if active)
    yours = f"yours: {known}" if known else "it has none until its first repository is made"
    seen = f"{repository.alias} is not an alias of this account's public registry ({yours})"
    hint = "Write one of your own aliases into TARGET, or use the credentials of the account whose alias it is."
    if not known:
        hint = (
            f"'manifestctl repo create {repository.name}' makes its first repository, which brings an alias; or use "
            "the credentials of the account whose alias it is."
        )
    return failed("alias", DeniedError(seen, hint=hint))


def quotas(repository: RepositoryName, named: str | Digest, aws: Aws) -> tuple[Check, bool | None]:
    """Judge how many of the tags that an image may have are used up by the one that the target names.

    Returns also whether the repository is there, by what AWS says; None if that is not known.
    """
    limit = profile_for(repository.host.host).tags_per_image or 0
    try:
        count = tags_of_image(repository, named, aws)
    except NotFoundError:
        return _no_repository(), False
    except ManifestctlError as error:
        return skipped("quotas", f"AWS does not tell: {words(error)}"), None
    if count is None:
        return ok("quotas", f"{named} is not there yet; an image may have {limit:,} tags"), True
    tagged = "tagged " if isinstance(named, str) else ""
    seen = f"the image {tagged}{named} has {count:,} of the {limit:,} tags that it may have"
    if count < limit * _NEARLY_FULL:
        return ok("quotas", seen), True
    return warning("quotas", seen, "The quota is fixed; delete tags that nobody needs before more are added."), True


def _no_repository() -> Check:
    return skipped("quotas", "needs the repository")


def _none() -> Check:
    error = DeniedError(
        "none were found: not in the environment, a profile, a web identity, or a container's or instance's role",
        hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run 'aws configure' or "
        "'aws sso login'; in CI let the job assume a role.",
    )
    return failed("aws-credentials", error)


def _credentials(aws: Aws) -> Check:
    end, now = aws.expires(), aws.runtime.now()
    seen = f"from {aws.origin()}"
    if end is None:
        return ok("aws-credentials", seen)
    seen = f"{seen}, until {moment(end, now)}"
    if end - now < _SOON:
        return warning("aws-credentials", seen, "A long push may outlive them; log in anew, or assume the role again.")
    return ok("aws-credentials", seen)


def _identity(host: EcrHost, aws: Aws) -> tuple[Check, bool]:
    """Return who we are, and whether AWS knows us, as far as can be told. A push does not need to know who it is."""
    try:
        who = caller(host, aws)
    except DeniedError as error:
        if Denial.parse(error.message) is not None:
            return skipped("identity", f"AWS does not say: {words(error, ASKING)}"), True
        return failed("identity", error, ASKING), False
    except ManifestctlError as error:
        return warning("identity", words(error, ASKING), "A push does not need it, if AWS gives a token."), True
    return ok("identity", _named(host, who)), True


def _named(host: EcrHost, who: Caller) -> str:
    seen = f"{who.arn} (account {who.account})"
    if host.account and host.account != who.account:
        return f"{seen}; the registry is account {host.account}'s, whose repository policy must let this one in"
    return seen


def _token(host: EcrHost, aws: Aws, keys: Keyring) -> Token | ManifestctlError:
    try:
        token = fetch_token(host, aws)
    except ManifestctlError as error:
        return error
    cache = keys.token_cache()
    if cache is not None:
        cache.write(host, token)
    return token


def _without(host: EcrHost, error: ManifestctlError, *, known: bool) -> list[Check]:
    """Return the checks of the permissions and of the token where there is none."""
    doing = f"getting a token for {host.host}"
    denial = Denial.parse(error.message) if isinstance(error, DeniedError) else None
    if denial is not None and denial.action in actions(host).values():
        return _lacking(host, denial.action, error, doing)
    if isinstance(error, DeniedError) and not known:
        return all_skipped((*actions(host), "token"), _NOT_KNOWN)
    return [*all_skipped(actions(host), _NO_ANSWER), failed("token", error, doing)]


def _lacking(host: EcrHost, action: str, error: ManifestctlError, doing: str) -> list[Check]:
    checks: list[Check] = []
    found = False
    for name, needed in actions(host).items():
        if needed == action:
            checks.append(failed(name, error, doing))
            found = True
        elif found:
            checks.append(skipped(name, f"AWS looks for {needed} only after {action}; a push needs both"))
        else:
            checks.append(ok(name, f"{needed} is allowed: AWS refuses what comes after it"))
    return [*checks, skipped("token", f"needs {action}")]
