"""What is asked before a repository can be: where redirects of a token service may lead, and a challenge on /v2/."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DeniedError, ManifestctlError, UnreachableError
from manifestctl.transport.credentials import Chain, Credential
from manifestctl.transport.message import Request
from manifestctl.transport.profiles import Profile
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import header, redirect, status, unauthorized
from tests.support.fake_auth import READ, BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.reach import Known, Reach, reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.certificates import Certificates
    from tests.support.faults import Action
    from tests.support.http_message import Request as Received
    from tests.support.http_server import HttpServer

CI = Credential("the test's file", "ci", "pass-word-of-ci")
IDENTITY = Credential("config.json", identity_token="identity-token-of-ci")
WEB, API = "team/web", "team/api"


def bearer(**options: Any) -> BearerAuth:
    given = {"users": {"ci": "pass-word-of-ci"}, "identity_tokens": {"identity-token-of-ci": "ci"}}
    return BearerAuth(**(given | options))


def filled(auth: BearerAuth | BasicAuth | None, **options: Any) -> FakeRegistry:
    registry = FakeRegistry(auth=auth, **options)
    for repository in (WEB, API):
        registry.put_image(repository, "1", seed=repository)
    return registry


def read(reached: Reach, *repositories: str) -> None:
    for repository in repositories:
        reached.store(repository).read_manifest("1")


def failing(reached: Reach, *repositories: str) -> ManifestctlError:
    with pytest.raises(ManifestctlError) as raised:
        read(reached, *repositories)
    assert "\n" not in raised.value.message
    return raised.value


def with_slash(request: Received) -> str:
    return f"/token/?{request.query}"


def to(other: HttpServer) -> Callable[[Received], str]:
    return lambda request: f"{other.url}{request.target}"


def moved(server: HttpServer, where: Callable[[Received], str], code: int = 301) -> None:
    server.faults.add(redirect(where, code), path="^/token$", times=FOREVER)


# Redirects of the token service.


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_on_its_own_origin_a_redirect_is_followed_with_the_credential(code: int) -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        moved(registry, with_slash, code)
        read(reached, WEB)
        reached.check_quiet(secrets=auth.secrets)
        first, second = registry.find("GET", "/token")
    assert (second.path, second.query) == ("/token/", first.query)
    assert first.authorization == second.authorization == f"Basic {CI.basic}"
    assert [(request.user, request.status) for request in auth.requests] == [("ci", 200)]


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_on_its_own_origin_a_post_stays_one(code: int) -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[IDENTITY]) as reached:
        moved(registry, with_slash, code)
        read(reached, WEB)
        reached.check_quiet(secrets=auth.secrets)
        first, second = registry.find(path_regex="/token")
    assert first.method == second.method == "POST"
    assert first.body == second.body != b""


def test_a_post_does_not_become_a_get() -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[IDENTITY]) as reached:
        moved(registry, with_slash, 303)
        problem = failing(reached, WEB)
        reached.check_quiet(problem)
        assert [recorded.method for recorded in registry.find(path_regex="/token")] == ["POST"]
    assert isinstance(problem, UnreachableError)
    assert "the registry said 303" in problem.message


def test_elsewhere_a_redirect_is_followed_without_the_credential() -> None:
    auth = bearer(anonymous=READ)
    with filled(auth) as registry, filled(auth) as other:
        moved(registry, to(other))
        with reach(registry, credentials=[CI]) as reached:
            read(reached, WEB)
            reached.check_quiet(secrets=auth.secrets)
        assert [recorded.authorization for recorded in other.requests] == [None]
    assert [(request.user, request.status) for request in auth.requests] == [("", 200)]


def test_a_token_that_was_got_without_the_credential_says_so() -> None:
    auth = bearer(anonymous=READ, permissions={WEB: ()})
    with filled(auth) as registry, filled(auth) as other:
        moved(registry, to(other))
        with reach(registry, credentials=[CI]) as reached:
            problem = failing(reached, WEB)
        assert f"(credentials: the test's file, not sent to {other.host})" in problem.message
    assert isinstance(problem, DeniedError)
    assert "The credentials are good" not in problem.hint


def test_who_has_left_the_origin_does_not_come_back_with_the_credential() -> None:
    auth = bearer(anonymous=READ)
    with filled(auth) as registry, filled(auth) as other:
        moved(registry, to(other))
        other.faults.add(redirect(lambda request: f"{registry.url}/token/?{request.query}"), path="^/token$")
        with reach(registry, credentials=[CI]) as reached:
            read(reached, WEB)
        assert [recorded.authorization for recorded in registry.find(path_regex="/token/")] == [None]


def test_an_identity_token_goes_nowhere_else() -> None:
    with filled(bearer()) as registry, filled(bearer()) as other:
        moved(registry, to(other), 307)
        with reach(registry, credentials=[IDENTITY]) as reached:
            problem = failing(reached, WEB)
            reached.check_quiet(problem)
        assert other.count() == 0
    assert isinstance(problem, UnreachableError)
    assert "the registry said 307" in problem.message


def test_another_host_that_refuses_says_nothing_about_the_credential() -> None:
    with filled(bearer()) as registry, filled(bearer()) as other:
        moved(registry, to(other))
        second = Credential("another file", "ci", "another-pass-word")
        with reach(registry, credentials=[CI, second]) as reached:
            problem = failing(reached, WEB)
            assert reached.warnings == []
        assert f"{other.host}, to which the registry leads, said 401" in problem.message
        assert registry.count(path_regex="/token") == other.count() == 1
    assert isinstance(problem, DeniedError)
    assert "is never sent the registry's credentials" in problem.hint


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        ("http://10.0.0.1/token", DeniedError, "'http://10.0.0.1/token', an address inside a private network"),
        ("http://169.254.169.254/latest?x=1", DeniedError, "an address inside a private network"),
        ("http://[fd00::1]/token", DeniedError, "an address inside a private network"),
        ("ftp://auth.example/token", DeniedError, "which is not a URL that can be asked"),
        ("http:///token", UnreachableError, "is not a URL that can be asked"),
    ],
)
def test_redirects_that_lead_astray_are_not_followed(target: str, kind: type[ManifestctlError], words: str) -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        moved(registry, lambda _: target)
        problem = failing(reached, WEB)
        reached.check_quiet(problem, secrets=["x=1"])
        assert registry.count() == reached.meter.counts()["sent"] == 2
    assert type(problem) is kind
    assert words in problem.message


def test_redirects_in_a_circle_end() -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        moved(registry, lambda request: request.target)
        problem = failing(reached, WEB)
        assert registry.count(path_regex="/token") == 6
    assert isinstance(problem, UnreachableError)
    assert not problem.transient


def test_from_https_nothing_leads_to_http(certificates: Certificates) -> None:
    with filled(bearer()) as plain, filled(bearer(), tls=certificates.server_context()) as registry:
        moved(registry, to(plain))
        settings = TransportSettings(ca_file=certificates.authority)
        with reach(registry, credentials=[CI], settings=settings) as reached:
            problem = failing(reached, WEB)
        assert plain.count() == 0
    assert isinstance(problem, DeniedError)
    assert "which is not https; no credentials were sent there" in problem.message


def test_a_service_that_does_not_know_that_it_is_on_https_is_asked_on_https(certificates: Certificates) -> None:
    auth = bearer()
    with filled(auth, tls=certificates.server_context()) as registry:
        moved(registry, lambda request: f"http://{registry.host}/token/?{request.query}")
        settings = TransportSettings(ca_file=certificates.authority)
        with reach(registry, credentials=[CI], settings=settings) as reached:
            read(reached, WEB)
            reached.check_quiet(secrets=auth.secrets)
        assert registry.tls_failures == 0
    assert [request.user for request in auth.requests] == ["ci"]


# A challenge that is made on /v2/ alone.


def silent(registry: FakeRegistry, action: Action) -> None:
    """Let whoever comes without a token be refused, without a challenge but on ``/v2/``."""
    registry.faults.add(
        action,
        path="/v2/.",
        times=FOREVER,
        before_auth=True,
        when=lambda request: "authorization" not in request.headers,
    )


@pytest.mark.parametrize("action", [unauthorized(None), status(403), status(401, b"who are you?")])
@pytest.mark.parametrize("auth", [bearer(), BasicAuth("ci", "pass-word-of-ci")], ids=["Bearer", "Basic"])
def test_a_refusal_without_a_challenge_is_followed_up_on_v2_once(auth: BearerAuth | BasicAuth, action: Action) -> None:
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        silent(registry, action)
        store = reached.store(WEB)
        digest = str(store.resolve("1").digest)
        assert digest == registry.tag(WEB, "1")
        read(reached, WEB, API)
        reached.check_quiet(secrets=auth.secrets)
        greetings = registry.find(path_regex="^/v2/$")
    assert [(greeting.method, greeting.authorization) for greeting in greetings] == [("GET", None)]


def test_of_many_threads_one_asks_for_the_challenge() -> None:
    auth = bearer()
    together = threading.Barrier(8, timeout=5.0)
    repositories = [f"team/{name}" for name in "abcdefgh"]
    with FakeRegistry(auth=auth) as registry, reach(registry, credentials=[CI]) as reached:
        silent(registry, unauthorized(None))

        def get(repository: str) -> None:
            # Not wanted beforehand, so that no token is for all of them.
            together.wait()
            read(reached, repository)

        for repository in repositories:
            registry.put_image(repository, "1")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(get, repositories))
        assert registry.count(path_regex="^/v2/$") == 1


def test_where_nothing_is_asked_for_it_is_said_that_nothing_was_looked_for() -> None:
    known = Known(CI)
    with filled(None) as registry, reach(registry, credentials=Chain([known])) as reached:
        silent(registry, status(403))
        for repository in (WEB, WEB, API):
            problem = failing(reached, repository)
            assert isinstance(problem, DeniedError)
            assert "said 403" in problem.message
            assert "asks for no credentials" in problem.hint
        assert registry.count(path_regex="^/v2/$") == 1
    assert known.asked == []


def test_v2_itself_is_not_asked_twice() -> None:
    with filled(None) as registry, reach(registry, credentials=[CI]) as reached:
        registry.faults.add(status(403), times=FOREVER)
        assert reached.client.send(Request("GET", "/v2/")).status == 403
        failing(reached, WEB)
        assert registry.count(path_regex="^/v2/$") == 1


def test_where_none_are_found_that_is_said() -> None:
    with filled(BasicAuth()) as registry, reach(registry) as reached:
        silent(registry, status(403))
        problem = failing(reached, WEB)
        assert registry.count() == 2
    assert "(asked without credentials)" in problem.message
    assert "No credentials were found for this registry" in problem.hint


@pytest.mark.parametrize("action", [status(503), status(429, retry_after=0)])
def test_a_registry_that_fails_on_v2_for_a_moment_is_asked_again(action: Action) -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        silent(registry, unauthorized(None))
        registry.faults.add(action, path="^/v2/$", times=2, before_auth=True)
        read(reached, WEB)
        assert reached.retried == 2


def test_several_challenges_on_v2_are_told_apart() -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        silent(registry, unauthorized(None))
        both = f'Basic realm="x", Bearer realm="{registry.url}/token",service="fake.registry"'
        registry.faults.add(header("WWW-Authenticate", both), path="^/v2/$", before_auth=True)
        read(reached, WEB)
    assert [request.user for request in auth.requests] == ["ci"]


def test_what_is_not_found_costs_no_more() -> None:
    with filled(None) as registry, reach(registry, credentials=[CI]) as reached:
        failing(reached, "team/none")
        assert registry.count() == 1


@pytest.mark.parametrize("code", [400, 403])
def test_a_registry_whose_challenge_is_known_is_not_asked_for_it(code: int) -> None:
    profile = Profile(basic_only=True, bad_token_statuses=frozenset({400, 403}))
    with filled(None) as registry, reach(registry, profile=profile) as reached:
        registry.faults.add(status(code), path="/v2/", times=FOREVER)
        failing(reached, WEB)
        assert registry.count() == 1


# What a refusal after a good token means.


@pytest.mark.parametrize("code", [401, 403])
def test_a_token_that_was_given_and_does_not_open_it(code: Any) -> None:
    auth = bearer(denied_status=code, permissions={WEB: ()})
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        problem = failing(reached, WEB)
    assert isinstance(problem, DeniedError)
    assert "the repository may not exist, its name may be misspelt, or the account may lack the right" in problem.hint
    assert "log in" not in problem.hint


def test_nobodys_token_that_does_not_open_it() -> None:
    auth = bearer(anonymous=READ, permissions={WEB: ()})
    with filled(auth) as registry, reach(registry) as reached:
        problem = failing(reached, WEB)
    assert isinstance(problem, DeniedError)
    assert "the repository may not exist" in problem.hint
    assert "if it is private, log in" in problem.hint


@pytest.mark.parametrize("auth", [BasicAuth("ci", "another-pass-word"), bearer(users={"ci": "another-pass-word"})])
def test_a_password_that_is_wrong_is_to_be_given_anew(auth: BearerAuth | BasicAuth) -> None:
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        problem = failing(reached, WEB)
    assert isinstance(problem, DeniedError)
    assert "log in again" in problem.hint
