"""`doctor`: what would stop a push, tried without writing.

One run looks at everything that a push needs, and goes on behind what fails as far as it can, so that all is known at
once. A registry is left as it was: an upload is opened and cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.aws.hosts import PUBLIC_HOST, EcrHost, ecr_host
from manifestctl.aws.repository_names import RepositoryName
from manifestctl.errors import exit_code
from manifestctl.model.location import LayoutLocation
from manifestctl.parallel import Pool
from manifestctl.stores.probe import RegistryProbe
from manifestctl.values import dataclass
from manifestctl.verbs import doctor_access as access
from manifestctl.verbs import doctor_aws
from manifestctl.verbs import doctor_push as push
from manifestctl.verbs.doctor_aws import Account, Amazon
from manifestctl.verbs.doctor_checks import Check, as_warning, skipped
from manifestctl.verbs.doctor_network import network
from manifestctl.verbs.doctor_push import Trial

if TYPE_CHECKING:
    from manifestctl.aws.settings import Use
    from manifestctl.model.location import Writable
    from manifestctl.model.reference import Reference
    from manifestctl.runtime import Runtime
    from manifestctl.stores.locate import Stores
    from manifestctl.verbs.doctor_access import Stored
    from manifestctl.verbs.doctor_network import Network


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """Where a push would go: a target, or a registry alone, given as in references; ECR Public if nothing is given."""

    target: Writable | None = None
    registry: str = PUBLIC_HOST

    def __str__(self) -> str:
        """Return the target, or the registry."""
        return str(self.target) if self.target is not None else self.registry


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was looked at, in order. ``untried``: what else a push needs, which cannot be tried without writing."""

    request: DoctorRequest
    checks: tuple[Check, ...]
    untried: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if nothing that was tried would stop a push, else the first of what the checks that failed end with."""
        return exit_code(codes=[check.exit_code for check in self.checks])


def doctor(request: DoctorRequest, stores: Stores, runtime: Runtime) -> Diagnosis:
    """Look at everything that a push to the request's target needs.

    What is wrong becomes a `Check`. Raises `InputError` for a target that cannot be one, and for settings that keep
    anything from being looked at.
    """
    if isinstance(request.target, LayoutLocation):
        from manifestctl.verbs.doctor_layout import layout

        return Diagnosis(request, tuple(layout(request.target)))
    registry = request.target.registry if request.target is not None else request.registry
    with RegistryProbe(registry, stores) as probe, Pool(3, runtime.cancel) as pool:
        examination = _Examination(request.target, stores, probe)
        amazon = examination.host is not None
        untried = push.untried(amazon=amazon) if request.target is not None else ()
        return Diagnosis(request, tuple(examination.checks(pool)), untried)


class _Examination:
    """One registry, and one repository of it or none."""

    def __init__(self, reference: Reference | None, stores: Stores, probe: RegistryProbe) -> None:
        self.reference = reference
        self.probe = probe
        self.registry = probe.registry
        self.keys = stores.keys
        self.host: EcrHost | None = ecr_host(self.registry)
        self.use: Use | None = self.keys.use if self.host is not None else None
        # Names that ECR never has are refused before anything is asked.
        self.repository = RepositoryName.of(reference) if self.host is not None and reference is not None else None

    def checks(self, pool: Pool) -> list[Check]:
        """Look at all of it: first, at once, at what needs nothing else; then at what needs that."""
        going = pool.submit(network, self.probe)
        looking = pool.submit(self._stored, self.reference)
        asking = pool.submit(self._amazon, self.host)
        way, found, amazon = going.result(), looking.result(), asking.result()
        trying = pool.submit(lambda _: self._trial(way, found, amazon), None)
        accounting = pool.submit(self._account, amazon)
        trial, account = trying.result(), accounting.result()
        if trial.is_unknown and account.exists:
            # It was just made, and a push would wait for it too.
            lag = self.probe.profile.repository_lag
            trial = pool.submit(lambda _: self._trial(way, found, amazon, lag), None).result()
        tried, asks = trial.tried, way.asks if way.answers else None
        credentials = access.stored_check(found, self.use, self.registry, tried, asks=asks)
        before = [*amazon.checks, *account.alias]
        if tried is not None and tried.error is None:
            stored = found.credential is not None and tried.credentials == found.source
            before = _in_the_light_of_success(before, stored=stored)
        return [*way.checks, credentials, *before, *self._pushing(trial, account), *account.quotas]

    def _pushing(self, trial: Trial, account: Account) -> list[Check]:
        if trial.tried is None:
            first = skipped(access.access_name(self.reference), f"needs {trial.needs}")
        else:
            known = account if self.host is not None else None
            first = access.access_check(trial.tried, self.reference, self.registry, known)
        if self.reference is None:
            return [first]
        return [first, push.tag_check(trial, self.reference, account), push.layers_check(trial, self.reference)]

    def _stored(self, reference: Reference | None) -> Stored:
        return access.stored(self.keys, self.registry, reference.repository if reference is not None else "", self.use)

    def _amazon(self, host: EcrHost | None) -> Amazon:
        return doctor_aws.amazon(host, self.keys) if host is not None else Amazon(())

    def _trial(self, way: Network, found: Stored, amazon: Amazon, lag: float = 0.0) -> Trial:
        """Try what a push asks for; returns how that ended, or what it would need."""
        if not way.answers:
            return Trial(needs="an answer of the registry")
        if access.stops(found, self.use, asks=way.asks):
            return Trial(needs="credentials that can be read")
        if self.host is not None and found.credential is None and amazon.token is None:
            return Trial(needs="credentials" if self.use == "never" else "a token")
        token = amazon.token.credential() if amazon.token is not None else None
        sources = access.chain(self.keys, self.use, token, self.probe)
        return push.try_out(self.probe, self.reference, sources, lag)

    def _account(self, amazon: Amazon) -> Account:
        """Ask AWS about the repository, where there is one to ask about."""
        if self.repository is None or self.reference is None:
            return Account()
        named = self.reference.digest or self.reference.selector
        return doctor_aws.account(self.repository, named, amazon, self.keys)


def _in_the_light_of_success(checks: list[Check], *, stored: bool) -> list[Check]:
    """Return what stops nothing as warnings, the registry having let us in all the same.

    The alias of another account is no hindrance to whom its policies let in, nor is AWS to a ``stored`` log-in.
    """
    return [
        as_warning(check) if check.state == "failed" and (stored or check.name == "alias") else check
        for check in checks
    ]
