"""AWS as a source of credentials: one call a service, region and run; the cache; renewal; and what stands before it."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from manifestctl.aws.source import EcrSource, ecr_sources
from manifestctl.aws.token_cache import TokenCache
from manifestctl.aws.tokens import Token
from manifestctl.errors import DeniedError, InputError, InterruptedRun, ManifestctlError, UnreachableError
from manifestctl.events import Noted, Warned
from manifestctl.transport.credentials import Chain, Credential
from tests.support.actions import status
from tests.support.aws_run import AwsRun, amazon
from tests.support.faults import FOREVER
from tests.support.reach import Known
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.aws.calls import Aws

PUBLIC, DUAL_STACK = "public.ecr.aws", "ecr-public.aws.com"
ONE, TWO, FAR = (
    f"{account}.dkr.ecr.{region}.amazonaws.com"
    for account, region in (("123456789012", "eu-west-1"), ("210987654321", "eu-west-1"), ("123456789012", "us-west-2"))
)
ID = "0" * 64
CI = Credential("the test", "ci", "pass-word-of-ci")


def cache_of(run: AwsRun) -> TokenCache:
    return TokenCache(run.home / "tokens", ID, run.world.runtime)


def source_of(run: AwsRun, *, cached: bool = True, make: Callable[[], Aws] | None = None) -> EcrSource:
    """Return the source of a new run."""
    return EcrSource(make or run.make, run.world.runtime, cache_of(run) if cached else None)


def got(source: EcrSource, registry: str = PUBLIC, repository: str = "acme/web") -> Credential:
    credential = source.credential(registry, repository)
    assert credential is not None
    return credential


def kept(run: AwsRun, registry: str) -> str | None:
    """Return the password in the cache for a registry."""
    token = cache_of(run).read(amazon(registry))
    return token.password if token else None


def never() -> Aws:
    pytest.fail("AWS was asked")


def test_it_is_a_token_as_user_and_password(run: AwsRun) -> None:
    credential = got(source_of(run, cached=False))
    assert credential == Credential("AWS credentials: environment variables", "AWS", run.aws.tokens[0].password)
    assert not (run.home / "tokens").exists()


@pytest.mark.parametrize("registry", ["registry.example", "docker.io", "public.ecr.aws:8443"])
def test_other_registries_are_none_of_its_business(registry: str) -> None:
    source = EcrSource(never, World().runtime)
    assert source.credential(registry, "web") is None
    assert source.renew(registry, "web", CI) is None


@pytest.mark.parametrize(
    ("registries", "calls"),
    [
        ((PUBLIC, PUBLIC, "PUBLIC.ecr.aws"), 1),
        ((PUBLIC, DUAL_STACK), 1),
        ((ONE, TWO), 1),
        ((ONE, ONE.replace("dkr.ecr.", "dkr.ecr-fips.")), 1),
        ((ONE, FAR), 2),
        ((PUBLIC, ONE, TWO, DUAL_STACK), 2),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_one_call_for_each_service_and_region(
    run: AwsRun, registries: tuple[str, ...], calls: int, cached: bool
) -> None:
    source = source_of(run, cached=cached)
    for registry in registries:
        for repository in ("acme/web", "acme/api"):
            assert run.aws.is_valid(got(source, registry, repository).password, amazon(registry).service)
    assert run.aws.operations == ["GetAuthorizationToken"] * calls
    if cached:
        again = source_of(run, make=never)
        assert all(got(again, registry).password for registry in registries)
        assert run.aws.operations == ["GetAuthorizationToken"] * calls
        # Each registry's is kept under its own name, so that logging out there finds it.
        assert all(kept(run, registry) for registry in registries)


def test_threads_share_one_call(run: AwsRun) -> None:
    source = source_of(run)
    together = threading.Barrier(6)

    def ask(registry: str) -> Credential:
        together.wait(10)
        return got(source, registry)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, [PUBLIC, ONE, TWO] * 2))
    assert len({credential.password for credential in found}) == 2
    assert run.aws.operations == ["GetAuthorizationToken"] * 2


def test_one_region_does_not_wait_for_another(run: AwsRun) -> None:
    release, entered = threading.Event(), threading.Event()
    makes: list[int] = []

    def make() -> Aws:
        makes.append(1)
        if len(makes) == 1:
            entered.set()
            release.wait(10)
        return run.make()

    source = source_of(run, make=make)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(got, source, PUBLIC)
        entered.wait(10)
        assert got(source, ONE).password
        release.set()
        assert slow.result().password


# The cache.


def test_a_warm_cache_needs_no_aws(run: AwsRun) -> None:
    first = got(source_of(run))
    second = got(source_of(run, make=never))
    assert second.password == first.password
    assert second.source == "AWS credentials: environment variables, from the token cache"


def test_a_token_is_renewed_when_less_than_an_hour_is_left(run: AwsRun) -> None:
    got(source_of(run))
    run.world.advance(11 * 3600 + 1)
    fresh = got(source_of(run))
    assert fresh.password == run.aws.tokens[1].password == kept(run, PUBLIC)


def test_one_that_was_taken_from_the_cache_is_kept_for_another_registry_of_its_region(run: AwsRun) -> None:
    got(source_of(run), ONE)
    source = source_of(run, make=never)
    assert got(source, ONE) == got(source, TWO)
    assert kept(run, TWO) == run.aws.tokens[0].password


def test_what_is_kept_for_another_registry_stays(run: AwsRun) -> None:
    got(source_of(run), TWO)
    got(source_of(run), ONE)
    source = source_of(run, make=never)
    got(source, ONE)
    got(source, TWO)
    assert [kept(run, registry) for registry in (TWO, ONE)] == [token.password for token in run.aws.tokens]


# Renewal.


def test_a_kept_token_that_is_refused_is_dropped_and_replaced(run: AwsRun) -> None:
    got(source_of(run))
    source = source_of(run)
    stale = got(source)
    fresh = source.renew(PUBLIC, "acme/web", stale)
    assert fresh is not None
    assert fresh.password == run.aws.tokens[1].password == kept(run, PUBLIC)
    assert fresh.source == "AWS credentials: environment variables"
    assert source.renew(PUBLIC, "acme/api", stale) == fresh == got(source)
    assert run.aws.operations == ["GetAuthorizationToken"] * 2


def test_one_that_expires_in_the_middle_of_a_run_is_replaced_again_and_again(run: AwsRun) -> None:
    source = source_of(run)
    credential = got(source)
    for number in range(1, 4):
        run.world.advance(12 * 3600)
        renewed = source.renew(PUBLIC, "acme/web", credential)
        assert renewed is not None
        assert renewed != credential
        assert renewed.password == run.aws.tokens[number].password == kept(run, PUBLIC)
        credential = renewed


def test_without_a_cache_a_token_is_renewed_too(run: AwsRun) -> None:
    source = source_of(run, cached=False)
    fresh = source.renew(PUBLIC, "acme/web", got(source))
    assert fresh is not None
    assert fresh.password == run.aws.tokens[1].password
    assert not (run.home / "tokens").exists()


def test_registries_that_share_a_token_lose_it_together(run: AwsRun) -> None:
    source = source_of(run)
    stale = got(source, ONE)
    assert got(source, TWO) == stale
    fresh = source.renew(TWO, "web", stale)
    assert fresh == got(source, ONE) != stale
    assert kept(run, ONE) == kept(run, TWO) == run.aws.tokens[1].password


def test_another_registry_that_renews_what_was_replaced_already_has_its_own_entry_in_the_cache(run: AwsRun) -> None:
    source = source_of(run)
    stale = got(source, ONE)
    fresh = source.renew(ONE, "web", stale)
    assert source.renew(TWO, "web", stale) == fresh
    assert kept(run, ONE) == kept(run, TWO) == run.aws.tokens[1].password


def test_threads_renew_once(run: AwsRun) -> None:
    source = source_of(run)
    stale = got(source)
    with ThreadPoolExecutor(4) as pool:
        fresh = set(pool.map(lambda _: source.renew(PUBLIC, "web", stale), range(4)))
    assert len(fresh) == 1
    assert run.aws.operations == ["GetAuthorizationToken"] * 2


def test_what_is_refused_is_not_in_the_cache_if_there_is_no_other(run: AwsRun) -> None:
    stale = got(source_of(run))
    run.aws.deny("sts:GetServiceBearerToken")
    source = source_of(run)
    got(source)
    with pytest.raises(DeniedError, match="sts:GetServiceBearerToken"):
        source.renew(PUBLIC, "acme/web", replace(stale, source=got(source).source))
    with pytest.raises(DeniedError):
        source.credential(PUBLIC, "acme/web")
    assert kept(run, PUBLIC) is None


def test_renewal_of_what_was_never_asked_for(run: AwsRun) -> None:
    cache_of(run).write(amazon(PUBLIC), Token("AWS", "stale", "x", run.world.now + 43000, run.world.now + 39000))
    renewed = source_of(run).renew(PUBLIC, "acme/web", CI)
    assert renewed is not None
    assert renewed.password == run.aws.tokens[0].password


# What goes wrong.


@pytest.mark.parametrize("registry", [PUBLIC, ONE])
def test_no_credentials_are_no_error_and_said_once(run: AwsRun, registry: str) -> None:
    run.be(run.without_keys())
    source = source_of(run)
    assert [source.credential(registry, name) for name in ("web", "api")] == [None, None]
    notes = [event.message for event in run.world.heard(Noted)]
    assert notes == [f"no AWS credentials were found for {registry}"]
    assert not (run.home / "tokens").exists()


@pytest.mark.parametrize("action", ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"])
def test_credentials_that_are_denied_are_an_error_asked_for_once(run: AwsRun, action: str) -> None:
    run.aws.deny(action)
    source = source_of(run)
    for repository in ("acme/web", "acme/api", "acme/web"):
        with pytest.raises(DeniedError, match=action) as caught:
            source.credential(PUBLIC, repository)
        assert action in caught.value.statement
        assert "; nothing was stored" not in caught.value.message
        run.check_quiet(caught.value)
        caught.value.message += "; nothing was stored"
    assert run.aws.operations == ["GetAuthorizationToken"]
    assert run.world.said == []


def test_what_failed_after_all_tries_is_not_tried_again_by_others(run: AwsRun) -> None:
    run.aws.faults.add(status(500), times=FOREVER)
    source = source_of(run, make=lambda: run.make(tries=2))
    for _ in range(2):
        with pytest.raises(UnreachableError) as caught:
            source.credential(PUBLIC, "acme/web")
        assert not caught.value.transient
    assert run.aws.count() == 2


def test_a_bug_is_not_taken_for_the_lack_of_credentials(run: AwsRun) -> None:
    failures = [KeyError("a bug")]

    def make() -> Aws:
        if failures:
            raise failures.pop()
        return run.make()

    source = source_of(run, make=make)
    with pytest.raises(KeyError, match="a bug"):
        source.credential(PUBLIC, "acme/web")
    assert got(source).password == run.aws.tokens[0].password


def test_an_interruption_ends_it(run: AwsRun) -> None:
    run.world.cancel.set(2)
    with pytest.raises(InterruptedRun):
        source_of(run).credential(PUBLIC, "acme/web")


def test_a_cache_that_cannot_be_written_costs_a_warning(run: AwsRun) -> None:
    (run.home / "tokens").write_text("x")
    assert got(source_of(run)).password == run.aws.tokens[0].password
    assert len(run.world.heard(Warned)) == 1
    run.check_quiet()


# What stands before it.


class Failing:
    """A source that fails: from the beginning, or when it should renew what it gave."""

    def __init__(self, error: ManifestctlError, first: Credential | None = None) -> None:
        self.error, self.first = error, first

    def credential(self, registry: str, repository: str) -> Credential | None:
        if self.first is None:
            raise self.error
        return self.first

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        raise self.error


def chain(run: AwsRun, *stored: Known | Failing) -> Chain:
    return Chain(ecr_sources(stored, source_of(run), run.world.runtime))


def test_files_come_first(run: AwsRun) -> None:
    assert chain(run, Known(None), Known(CI)).credential(PUBLIC, "acme/web") == CI
    assert run.aws.count() == 0


def test_a_helper_that_fails_is_a_warning_and_aws_is_asked(run: AwsRun) -> None:
    failing = Failing(DeniedError("docker-credential-x failed"))
    found = chain(run, failing, Known(None)).credential(PUBLIC, "acme/web")
    assert found is not None
    assert found.password == run.aws.tokens[0].password
    assert run.world.heard(Warned) == [Warned("docker-credential-x failed; AWS credentials are tried instead")]


def test_the_next_file_is_asked_before_aws(run: AwsRun) -> None:
    failing = Failing(DeniedError("docker-credential-x failed"))
    assert chain(run, failing, Known(CI)).credential(PUBLIC, "acme/web") == CI


@pytest.mark.parametrize("first", [None, CI])
def test_a_file_that_cannot_be_used_stays_an_error(run: AwsRun, first: Credential | None) -> None:
    asked = chain(run, Failing(InputError("config.json is broken"), first))
    ask = asked.credential if first is None else functools.partial(asked.renew, rejected=first)
    assert first is None or asked.credential(PUBLIC, "acme/web") == first
    with pytest.raises(InputError, match=r"config\.json is broken"):
        ask(PUBLIC, "acme/web")
    assert run.aws.count() == 0


@pytest.mark.parametrize("stored", [Known(CI), Failing(DeniedError("the helper fails now"), CI)])
def test_a_stored_log_in_that_is_refused_gives_way(run: AwsRun, stored: Known | Failing) -> None:
    asked = chain(run, stored)
    assert asked.credential(PUBLIC, "acme/web") == CI
    instead = asked.renew(PUBLIC, "acme/web", CI)
    assert instead is not None
    assert instead.password == run.aws.tokens[0].password
    assert asked.credential(PUBLIC, "acme/web") == instead
    warned = [event.message for event in run.world.heard(Warned)]
    assert warned == (
        ["the helper fails now; AWS credentials are tried instead"] if isinstance(stored, Failing) else []
    )


def test_a_stored_log_in_that_has_another_one_is_asked_first(run: AwsRun) -> None:
    fresh = replace(CI, password="another")
    assert chain(run, Known(CI, fresh=[fresh])).renew(PUBLIC, "acme/web", CI) == fresh
