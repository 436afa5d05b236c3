"""Whether a registry lets us in, for `doctor`: stored credentials, and a log-in or an upload that is cancelled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, ManifestctlError, NotFoundError
from manifestctl.transport.credentials import ANONYMOUS, Chain, MissingHelperError, OneCredential
from manifestctl.values import dataclass
from manifestctl.verbs.doctor_checks import Check, advice, failed, ok, skipped, warning, words

if TYPE_CHECKING:
    from manifestctl.aws.settings import Use
    from manifestctl.model.reference import Reference
    from manifestctl.stores.keyring import Keyring
    from manifestctl.stores.probe import RegistryProbe, Tried
    from manifestctl.transport.credentials import Credential
    from manifestctl.verbs.doctor_aws import Account

# What stands behind a push's requests, by their names in both services of ECR's.
_PUSHING = (
    "A push needs BatchCheckLayerAvailability, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and PutImage, "
    "and in private repositories BatchGetImage. "
)
_READ_ONLY = (
    "The registry takes no uploads there: it is a mirror or a cache, or read-only for a while; ask its operator, or "
    "push elsewhere."
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What Docker's and Podman's files have for a registry: a credential, an error, both, or neither."""

    credential: Credential | None = None
    error: ManifestctlError | None = None

    @property
    def source(self) -> str:
        """Where the credential came from, in words; empty if there is none."""
        return self.credential.source if self.credential is not None else ""


def stored(keys: Keyring, registry: str, repository: str, use: Use | None) -> Stored:
    """Look for stored credentials; ``use`` says how AWS is used at a registry of Amazon's, None elsewhere.

    Where AWS stands behind them, one source that fails does not stand in the way of the next; a helper that is not
    installed does so nowhere.
    """
    if use == "always":
        return Stored()
    error: ManifestctlError | None = None
    for source in keys.stored.sources:
        try:
            found = source.credential(registry, repository)
        except ManifestctlError as failure:
            error = error or failure
            if not isinstance(failure, DeniedError if use == "auto" else MissingHelperError):
                return Stored(error=failure)
            continue
        if found is not None:
            return Stored(found, error)
    return Stored(error=error)


def stops(found: Stored, use: Use | None, *, asks: bool | None) -> bool:
    """Tell whether the error of what is stored would stop a push. ``asks``: as in `stored_check`."""
    if found.error is None or (use == "auto" and isinstance(found.error, DeniedError)):
        return False
    return not isinstance(found.error, MissingHelperError) or (found.credential is None and asks is not False)


def chain(keys: Keyring, use: Use | None, token: Credential | None, probe: RegistryProbe) -> Chain:
    """Return the sources that a push would ask, with the token that was just got in the place of AWS."""
    if use is None:
        return keys.stored
    from manifestctl.aws.source import ecr_sources

    before = keys.stored.sources if use != "always" else ()
    return Chain(ecr_sources(before, OneCredential(token) if use != "never" else None, probe.runtime))


def stored_check(found: Stored, use: Use | None, registry: str, tried: Tried | None, *, asks: bool | None) -> Check:
    """Judge what is stored. ``asks``: whether the registry asks for credentials; None if it did not answer."""
    name = "credentials"
    if use == "always":
        return skipped(name, "stored ones are not asked (--aws, --profile)")
    if found.error is not None:
        if stops(found, use, asks=asks):
            return failed(name, found.error)
        none = "AWS credentials are used instead" if use == "auto" else "the registry asks for none"
        instead = f"{found.source} is used instead" if found.source else none
        return warning(name, f"{words(found.error)}; {instead}", advice(found.error))
    if found.credential is None:
        return _none(name, use, registry, asks=asks)
    if tried is not None and tried.credentials not in ("", found.source):
        step = f"Log in anew ('manifestctl login {registry}'), or drop it ('manifestctl logout {registry}')."
        return warning(name, f"{found.source}: the registry refuses it; used instead: {tried.credentials}", step)
    return ok(name, f"{found.source}{', asked before AWS' if use == 'auto' else ''}")


def access_check(tried: Tried, reference: Reference | None, registry: str, account: Account | None) -> Check:
    """Judge how a log-in or an upload ended; ``account`` is what AWS says of the repository, None elsewhere."""
    name = access_name(reference)
    if tried.error is not None:
        return _refused(tried, tried.error, reference, registry, account)
    if reference is None:
        if tried.credentials in ("", ANONYMOUS.source):
            return warning(name, f"{registry} accepts anonymous access so far; whether it takes pushes was not tried")
        return ok(name, f"{registry} lets us in ({tried.credentials})")
    after = "was opened, and will expire: it cannot be cancelled there" if tried.left else "was opened and cancelled"
    return ok(name, f"{reference.store} takes uploads: one {after} ({tried.credentials or ANONYMOUS.source})")


def access_name(reference: Reference | None) -> str:
    """Return what the check is called."""
    return "repository" if reference is not None else "login"


def _none(name: str, use: Use | None, registry: str, *, asks: bool | None) -> Check:
    if use == "auto":
        return skipped(name, "none are stored; AWS credentials are used")
    if asks is None:
        return skipped(name, "none were found")
    if not asks:
        return ok(name, "none were found, and the registry asks for none")
    wanted = "none were found, and the registry asks for some"
    if use == "never":
        # Others may take a push from anybody, which is tried.
        hint = f"Leave out --no-aws, or log in: 'manifestctl login {registry}'."
        return failed(name, DeniedError(wanted, hint=hint))
    return warning(name, wanted, f"Log in: 'manifestctl login {registry}'.")


def _refused(
    tried: Tried, error: ManifestctlError, reference: Reference | None, registry: str, account: Account | None
) -> Check:
    if reference is None:
        return failed(access_name(None), error, f"logging in to {registry}")
    check = failed(access_name(reference), error, f"opening an upload to {reference.store}")
    if isinstance(error, NotFoundError):
        seen, step = _absent(reference, check.seen, account)
        return replace(check, seen=seen, next_step=step)
    if account is not None and check.statement:
        return replace(check, next_step=_PUSHING + check.next_step)
    if tried.status == 405:
        return replace(check, next_step=_READ_ONLY)
    return check


def _absent(reference: Reference, said: str, account: Account | None) -> tuple[str, str]:
    """Return what is seen of a repository that the registry does not know, and the next step."""
    seen = f"{reference.store} does not exist: {said}"
    if account is None:
        step = "Check its name; some registries want a repository, or its project, to be made before the first push."
    elif account.exists:
        seen = f"AWS's API knows {reference.store}, but the registry does not: {said}"
        step = "If it was just made, run this again in a minute; else check the account and the region in its name."
    elif account.is_foreign:
        step = "Correct the alias first."
    else:
        step = f"Make it: 'manifestctl repo create {reference.store}', or push with --create-repository."
    return seen, step
