"""Credentials keep their secrets, and a chain asks its sources in order, once, and again only for good reason."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from manifestctl.errors import DeniedError, InputError
from manifestctl.events import Warned
from manifestctl.transport.credentials import ANONYMOUS, Chain, Credential, MissingHelperError
from tests.support.world import World

REGISTRY, REPOSITORY = "registry.example", "team/web"


@dataclass
class Source:
    """Gives the credentials it was made with, one a call; None when they are used up. An error is raised instead."""

    answers: list[Credential | Exception | None] = field(default_factory=list)
    renewals: list[Credential | Exception | None] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def credential(self, registry: str, repository: str) -> Credential | None:
        self.calls.append(f"get {registry}/{repository}")
        return _next(self.answers)

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        self.calls.append(f"renew {registry}/{repository} {rejected.source}")
        return _next(self.renewals)


def _next(answers: list[Credential | Exception | None]) -> Credential | None:
    answer = answers.pop(0) if answers else None
    if isinstance(answer, Exception):
        raise answer
    return answer


def named(name: str) -> Credential:
    return Credential(name, "user", f"password-of-{name}")


@pytest.mark.parametrize("show", [repr, str])
def test_no_secret_is_shown(show: object) -> None:
    credential = Credential("here", username="s1", password="s2", identity_token="s3", registry_token="s4")
    shown = show(credential)  # type: ignore[operator]
    assert shown == "Credential(source='here')"


@pytest.mark.parametrize(
    ("credential", "anonymous"),
    [
        (ANONYMOUS, True),
        (Credential("file"), True),
        (Credential("file", "user"), False),
        (Credential("file", password="p"), False),
        (Credential("file", identity_token="t"), False),
        (Credential("file", registry_token="t"), False),
    ],
)
def test_anonymous(credential: Credential, anonymous: bool) -> None:
    assert credential.anonymous is anonymous


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [("Aladdin", "open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("ü", "a:b", "w7w6YTpi"), ("", "", "Og==")],
)
def test_basic(user: str, password: str, expected: str) -> None:
    assert Credential("file", user, password).basic == expected


def test_first_answer_wins_and_later_sources_are_not_asked() -> None:
    empty, first, second = Source(), Source([named("first")]), Source([named("second")])
    assert Chain([empty, first, second]).credential(REGISTRY, REPOSITORY) == named("first")
    assert (len(empty.calls), len(first.calls), len(second.calls)) == (1, 1, 0)


def test_no_source_and_no_answer_is_none() -> None:
    assert Chain([]).credential(REGISTRY, REPOSITORY) is None
    source = Source()
    chain = Chain([source])
    assert [chain.credential(REGISTRY, REPOSITORY) for _ in range(3)] == [None, None, None]
    assert len(source.calls) == 1


def test_asked_once_for_each_registry_and_repository() -> None:
    source = Source([named("1"), named("2"), named("3")])
    chain = Chain([source])
    keys = [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x"), ("a", "y"), ("b", "x")]
    answers = [chain.credential(*key) for key in keys]
    assert answers == [named("1"), named("2"), named("3")] * 2
    assert source.calls == ["get a/x", "get a/y", "get b/x"]


def test_an_error_is_raised_and_remembered() -> None:
    error = DeniedError("the helper failed")
    source, behind = Source([error]), Source([named("behind")])
    chain = Chain([source, behind])
    for _ in range(2):
        with pytest.raises(DeniedError, match="the helper failed"):
            chain.credential(REGISTRY, REPOSITORY)
    assert (len(source.calls), len(behind.calls)) == (1, 0)


def test_who_adds_to_an_error_changes_it_for_nobody_else() -> None:
    chain = Chain([Source([DeniedError("the helper failed")])])
    for _ in range(2):
        with pytest.raises(DeniedError) as caught:
            chain.credential(REGISTRY, REPOSITORY)
        assert caught.value.message == "the helper failed"
        caught.value.message += "; nothing was stored"


ABSENT = "docker-credential-x is not installed"


def test_a_missing_helper_gives_way_to_the_next_source_which_is_said_once() -> None:
    world = World()
    absent = Source([MissingHelperError(ABSENT), MissingHelperError(ABSENT)])
    chain = Chain([absent, Source(), Source([named("behind"), named("behind")])], world.runtime.observe)
    for repository in ("a", "b", "a"):
        assert chain.credential(REGISTRY, repository) == named("behind")
    assert world.heard(Warned) == [Warned(f"{ABSENT}; used instead: behind")]


def test_a_missing_helper_is_the_error_if_nobody_has_anything() -> None:
    world = World()
    absent = Source([MissingHelperError(ABSENT)])
    chain = Chain([absent, Source([MissingHelperError("another")]), Source()], world.runtime.observe)
    for _ in range(2):
        with pytest.raises(MissingHelperError, match=ABSENT):
            chain.credential(REGISTRY, REPOSITORY)
    assert len(absent.calls) == 1
    assert world.events == []


def test_what_cannot_be_used_behind_a_missing_helper_stays_an_error() -> None:
    chain = Chain([Source([MissingHelperError(ABSENT)]), Source([InputError("is broken")])])
    with pytest.raises(InputError, match="is broken"):
        chain.credential(REGISTRY, REPOSITORY)


@pytest.mark.parametrize("behind", [named("behind"), None])
def test_a_helper_that_is_gone_when_it_should_renew_gives_way_too(behind: Credential | None) -> None:
    world = World()
    source = Source([named("old")], [MissingHelperError(ABSENT)])
    chain = Chain([source, Source([behind])], world.runtime.observe)
    chain.credential(REGISTRY, REPOSITORY)
    if behind is None:
        with pytest.raises(MissingHelperError, match=ABSENT):
            chain.renew(REGISTRY, REPOSITORY, named("old"))
    else:
        assert chain.renew(REGISTRY, REPOSITORY, named("old")) == behind
        assert len(world.heard(Warned)) == 1


def test_threads_share_one_call() -> None:
    asked = threading.Event()
    release = threading.Event()

    class Slow(Source):
        def credential(self, registry: str, repository: str) -> Credential | None:
            asked.set()
            release.wait(10)
            return super().credential(registry, repository)

    source = Slow([named("one"), named("two")])
    chain = Chain([source])
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(chain.credential, REGISTRY, REPOSITORY) for _ in range(8)]
        asked.wait(10)
        release.set()
    assert {future.result() for future in futures} == {named("one")}
    assert len(source.calls) == 1


def test_another_key_does_not_wait() -> None:
    release = threading.Event()

    class OnlyFirstIsSlow(Source):
        def credential(self, registry: str, repository: str) -> Credential | None:
            if registry == "slow":
                release.wait(10)
            return named(registry)

    chain = Chain([OnlyFirstIsSlow()])
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(chain.credential, "slow", REPOSITORY)
        assert chain.credential("quick", REPOSITORY) == named("quick")
        release.set()
        assert future.result() == named("slow")


def test_renewal_comes_from_the_source_that_gave_it() -> None:
    before, source, behind = Source(), Source([named("old")], [named("new")]), Source([named("behind")])
    chain = Chain([before, source, behind])
    chain.credential(REGISTRY, REPOSITORY)
    assert chain.renew(REGISTRY, REPOSITORY, named("old")) == named("new")
    assert chain.credential(REGISTRY, REPOSITORY) == named("new")
    assert source.calls == ["get registry.example/team/web", "renew registry.example/team/web old"]
    assert (len(before.calls), behind.calls) == (1, [])


@pytest.mark.parametrize("renewal", [None, named("old")])
def test_without_renewal_the_sources_behind_are_asked(renewal: Credential | None) -> None:
    source, empty, behind = Source([named("old")], [renewal]), Source(), Source([named("behind")])
    chain = Chain([source, empty, behind])
    chain.credential(REGISTRY, REPOSITORY)
    assert chain.renew(REGISTRY, REPOSITORY, named("old")) == named("behind")
    assert chain.renew(REGISTRY, REPOSITORY, named("behind")) is None
    assert chain.credential(REGISTRY, REPOSITORY) is None


def test_a_source_whose_renewals_are_refused_too_does_not_block_the_next() -> None:
    source = Source([named("1")], [named("2"), named("3")])
    chain = Chain([source, Source([named("behind")])])
    chain.credential(REGISTRY, REPOSITORY)
    assert chain.renew(REGISTRY, REPOSITORY, named("1")) == named("2")
    assert chain.renew(REGISTRY, REPOSITORY, named("2")) == named("behind")


def test_what_worked_is_renewed_again_and_again() -> None:
    source = Source([named("0")], [named(str(number)) for number in range(1, 5)])
    chain = Chain([source, Source([named("behind")])])
    credential = chain.credential(REGISTRY, REPOSITORY)
    for number in range(1, 5):
        assert credential is not None
        credential = chain.renew(REGISTRY, REPOSITORY, credential, worked=True)
        assert credential == named(str(number))


def test_what_replaced_something_that_worked_and_is_refused_itself_is_not_renewed() -> None:
    source = Source([named("1")], [named("2"), named("3")])
    chain = Chain([source, Source([named("behind")])])
    chain.credential(REGISTRY, REPOSITORY)
    assert chain.renew(REGISTRY, REPOSITORY, named("1"), worked=True) == named("2")
    assert chain.renew(REGISTRY, REPOSITORY, named("2")) == named("behind")


def test_a_late_rejection_of_what_was_replaced_already_changes_nothing() -> None:
    source = Source([named("old")], [named("new"), named("newer")])
    chain = Chain([source])
    chain.credential(REGISTRY, REPOSITORY)
    answers = [chain.renew(REGISTRY, REPOSITORY, named("old")) for _ in range(3)]
    assert answers == [named("new")] * 3
    assert len(source.calls) == 2


def test_renewal_of_what_was_never_asked_for() -> None:
    chain = Chain([Source([named("fresh")])])
    assert chain.renew(REGISTRY, REPOSITORY, named("from elsewhere")) == named("fresh")


def test_a_failing_renewal_is_an_error_that_stays() -> None:
    source = Source([named("old")], [InputError("the file is broken now")])
    chain = Chain([source, Source([named("behind")])])
    chain.credential(REGISTRY, REPOSITORY)
    with pytest.raises(InputError, match="broken now"):
        chain.renew(REGISTRY, REPOSITORY, named("old"))
    with pytest.raises(InputError, match="broken now"):
        chain.credential(REGISTRY, REPOSITORY)


def test_chains_nest() -> None:
    inner = Chain([Source([named("old")], [named("new")])])
    outer = Chain([Source(), inner])
    assert outer.credential(REGISTRY, REPOSITORY) == named("old")
    assert outer.renew(REGISTRY, REPOSITORY, named("old")) == named("new")


def test_what_was_refused_is_not_given_again_by_another_source() -> None:
    # A log-in stores the token that is kept for later runs too.
    kept = replace(named("old"), source="cache")
    cache, behind = Source([kept], [named("fresh")]), Source([named("behind")])
    chain = Chain([Source([named("old")]), Source([named("old")]), cache, behind])
    chain.credential(REGISTRY, REPOSITORY)
    assert chain.renew(REGISTRY, REPOSITORY, named("old")) == named("fresh")
    assert cache.calls[-1] == "renew registry.example/team/web cache"
    assert behind.calls == []


def test_what_was_refused_earlier_is_not_given_again_either() -> None:
    chain = Chain([Source([named("1")]), Source([named("2")]), Source([named("1")])])
    chain.credential(REGISTRY, REPOSITORY)
    assert chain.renew(REGISTRY, REPOSITORY, named("1")) == named("2")
    assert chain.renew(REGISTRY, REPOSITORY, named("2")) is None


def test_a_renewal_is_new() -> None:
    chain = Chain([Source([named("old")], [named("new")])])
    first = chain.credential(REGISTRY, REPOSITORY)
    assert first is not None
    renewed = chain.renew(REGISTRY, REPOSITORY, first)
    assert renewed is not None
    assert (first.issued, renewed.issued) == (False, True)
