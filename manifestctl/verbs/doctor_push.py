"""What a push asks of a repository before it sends content, for `doctor`: an upload, what the tag holds, a layer.

What a push sends and writes comes after that, and is not tried; `untried` names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, ManifestctlError, NotFoundError
from manifestctl.model.permission import Denial
from manifestctl.stores.base import Blob, described
from manifestctl.values import dataclass
from manifestctl.verbs.doctor_checks import Check, failed, ok, skipped, warning

if TYPE_CHECKING:
    from manifestctl.model.digest import Digest
    from manifestctl.model.reference import Reference
    from manifestctl.stores.base import Store
    from manifestctl.stores.probe import RegistryProbe, Tried
    from manifestctl.transport.credentials import Chain
    from manifestctl.verbs.doctor_aws import Account

NAMES = ("tag", "layers")
# No image has it, so what is asked for is whether one may ask.
_LAYER = Blob.of(b"a layer that manifestctl doctor looks for", "application/octet-stream").descriptor


@dataclass(frozen=True, slots=True)
class Trial:
    """How it ended. ``tried`` is the log-in or the upload; None if neither was tried, for want of what ``needs`` says.

    ``looked``: the tag and a layer were asked for. ``held`` is what the tag holds, ``unread`` and ``unseen`` why it
    could not be read, and why a layer could not be looked for; ``slowly`` why that took another way.
    """

    tried: Tried | None = None
    needs: str = ""
    looked: bool = False
    held: Digest | None = None
    unread: ManifestctlError | None = None
    unseen: ManifestctlError | None = None
    slowly: str = ""

    @property
    def is_unknown(self) -> bool:
        """Tell whether the registry says that the repository does not exist."""
        error = self.tried.error if self.tried is not None else None
        return isinstance(error, NotFoundError) and error.repository_unknown


def try_out(probe: RegistryProbe, reference: Reference | None, sources: Chain, lag: float = 0.0) -> Trial:
    """Ask a repository for all that a push asks it for before it sends anything; without a repository, log in.

    A repository that the registry does not know is waited for ``lag`` seconds.
    """
    client = probe.client(sources, reference)
    if reference is None:
        return Trial(probe.log_in(client))
    tried = probe.upload(client, reference, lag)
    # Where one permission is missing, others may be too; any other error would only come again.
    if tried.error is not None and Denial.parse(tried.error.message) is None:
        return Trial(tried)
    store = probe.store(client, reference)
    held, unread = _read(store, str(_named(reference)))
    told = len(probe.warnings)
    unseen = _look(store)
    return Trial(tried, "", True, held, unread, unseen, "; ".join(probe.warnings[told:]))


def untried(*, amazon: bool) -> tuple[str, ...]:
    """Return what a push needs too and cannot be tried without writing; at Amazon's registries, the permissions."""
    if amazon:
        return ("UploadLayerPart", "CompleteLayerUpload", "PutImage")
    return ("sending a layer", "writing a manifest")


def tag_check(trial: Trial, reference: Reference, account: Account) -> Check:
    """Judge what the tag or the digest names, and whether a tag may be moved."""
    named = _named(reference)
    if not trial.looked:
        return skipped("tag", _wanting(trial))
    if trial.unread is not None:
        return failed("tag", trial.unread, f"reading {described(str(named), reference.store)}")
    if trial.held is None:
        kept = isinstance(named, str) and account.settings is not None and account.settings.keeps(named)
        return ok("tag", f"{named} is not there yet{'; once it is, it is immutable' if kept else ''}")
    return _moving(named, trial.held, account) if isinstance(named, str) else ok("tag", f"{named} is there")


def _moving(tag: str, held: Digest, account: Account) -> Check:
    seen = f"{tag} holds {held}"
    if account.settings is None or not account.settings.keeps(tag):
        unknown = f"; whether it is immutable is not known: {account.unread}" if account.unread else ""
        return ok("tag", seen + unknown)
    rule = f"immutable ({account.settings.mutability})"
    step = "Push under a new tag, or change the rule (imageTagMutability)."
    return warning("tag", f"{seen}, and is {rule}: a push of anything else would end with exit code 7", step)


def layers_check(trial: Trial, reference: Reference) -> Check:
    """Judge whether a push may look for its layers."""
    if not trial.looked:
        return skipped("layers", _wanting(trial))
    if trial.unseen is not None:
        return failed("layers", trial.unseen, f"looking for blob {described(_LAYER, reference.store)}")
    if trial.slowly:
        return warning("layers", trial.slowly, "A push works like this, but takes longer.")
    return ok("layers", "it can be asked which layers are there")


def _wanting(trial: Trial) -> str:
    if trial.tried is None:
        return f"needs {trial.needs}"
    if isinstance(trial.tried.error, NotFoundError):
        return "needs the repository"
    if isinstance(trial.tried.error, DeniedError):
        return "needs to be let in"
    return "needs a repository that takes uploads"


def _named(reference: Reference) -> str | Digest:
    return reference.digest or reference.selector


def _read(store: Store, named: str) -> tuple[Digest | None, ManifestctlError | None]:
    try:
        return store.read_manifest(named).digest, None
    except NotFoundError:
        return None, None
    except ManifestctlError as error:
        return None, error


def _look(store: Store) -> ManifestctlError | None:
    try:
        store.has(_LAYER)
    except ManifestctlError as error:
        return error
    return None
