"""Challenges and tokens: who is asked for what, how often, and what is never sent to whom."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DeniedError, ManifestctlError, UnreachableError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.transport.credentials import Chain, Credential, MissingHelperError
from manifestctl.transport.message import Request
from manifestctl.transport.profiles import KnownChallenge, Profile
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import error, huge, proxy_page, redirect, reset, status, unauthorized
from tests.support.blob_host import BlobHost
from tests.support.fake_auth import READ, BasicAuth, BearerAuth, TokenRequest
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Response, json_response
from tests.support.reach import Known, Reach, reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.certificates import Certificates
    from tests.support.faults import Exchange

CI = Credential("the test's file", "ci", "pass-word-of-ci")
USERS = {"ci": "pass-word-of-ci"}
WEB, API = "team/web", "team/api"
PULL_WEB, PULL_API = f"repository:{WEB}:pull", f"repository:{API}:pull"


def bearer(**options: Any) -> BearerAuth:
    return BearerAuth(**({"users": USERS} | options))


def filled(auth: BearerAuth | BasicAuth, *, repositories: tuple[str, ...] = (WEB, API)) -> FakeRegistry:
    registry = FakeRegistry(auth=auth)
    for repository in repositories:
        registry.put_image(repository, "1", seed=repository)
    return registry


def asked(auth: BearerAuth) -> list[tuple[str, ...]]:
    return [request.scopes for request in auth.requests]


def read(reached: Reach, *repositories: str, write: bool = False) -> list[Digest]:
    stores = [reached.store(repository, write=write) for repository in repositories]
    return [store.read_manifest("1").digest for store in stores]


def failing(reached: Reach, *repositories: str) -> ManifestctlError:
    with pytest.raises(ManifestctlError) as raised:
        read(reached, *repositories)
    assert "\n" not in raised.value.message
    return raised.value


# One token for all.


def test_one_challenge_and_one_token_serve_all_repositories() -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB, API, WEB)
        reached.check_quiet(secrets=auth.secrets)
        assert registry.count(path_regex="/v2/") == 4
        assert [recorded.status for recorded in registry.find(path_regex="/v2/")] == [401, 200, 200, 200]
    assert auth.requests == [
        TokenRequest("GET", "ci", "fake.registry", (PULL_WEB, PULL_API), "", 200, auth.tokens[0].granted)
    ]


def test_reading_asks_for_pull_and_writing_for_pull_and_push() -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        reached.store(WEB)
        store = reached.store(API, write=True)
        reached.store(API)
        store.read_manifest("1")
    assert asked(auth) == [(f"repository:{API}:pull,push", PULL_WEB)]


def test_what_comes_to_be_wanted_later_is_asked_for_anew() -> None:
    auth = bearer(denied_status=403)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        content = reached.store(WEB).read_manifest("1")
        reached.store(WEB, write=True).write_manifest(content, "2")
        assert registry.tag(WEB, "2") == str(content.digest)
    assert asked(auth) == [(PULL_WEB,), (f"repository:{WEB}:pull,push",)]


def test_what_the_registry_demands_is_asked_for_too() -> None:
    auth = bearer(challenge_scope=f"repository:{WEB}:delete")
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB)
    assert asked(auth) == [(f"repository:{WEB}:delete,pull",)]


@pytest.mark.parametrize("threads", [2, 16])
def test_of_many_threads_one_fetches_the_token(threads: int) -> None:
    auth = bearer()
    together = threading.Barrier(threads, timeout=5.0)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        store = reached.store(WEB)

        def get(_: int) -> Digest:
            together.wait()
            return store.read_manifest("1").digest

        with ThreadPoolExecutor(threads) as pool:
            digests = set(pool.map(get, range(threads)))
        assert len(digests) == 1
        assert registry.count("GET", "/token") == 1
        refused = [recorded for recorded in registry.find(path_regex="/v2/") if recorded.status == 401]
        assert 1 <= len(refused) <= threads


def test_a_known_challenge_needs_no_401() -> None:
    auth = bearer()
    with filled(auth) as registry:
        profile = Profile(challenge=KnownChallenge(f"{registry.url}/token", "fake.registry"))
        with reach(registry, credentials=[CI], profile=profile) as reached:
            read(reached, WEB, API)
        assert [recorded.status for recorded in registry.requests] == [200, 200, 200]
    assert asked(auth) == [(PULL_WEB, PULL_API)]


def test_repositories_of_other_credentials_have_tokens_of_their_own() -> None:
    auth = bearer(users=USERS | {"other": "pass-word-of-other"})
    other = Known(Credential("another file", "other", "pass-word-of-other"), frozenset({API}))
    with filled(auth) as registry, reach(registry, credentials=Chain([other, Known(CI)])) as reached:
        read(reached, WEB, API)
        reached.check_quiet(secrets=auth.secrets)
    assert [(request.user, request.scopes) for request in auth.requests] == [
        ("ci", (PULL_WEB,)),
        ("other", (PULL_API,)),
    ]


# What of a joint token.


@pytest.mark.parametrize("joint", [401, 403])
def test_a_joint_request_that_is_denied_is_made_once_and_then_for_each(joint: int) -> None:
    auth = bearer(joint_status=joint)
    repositories = [f"team/{name}" for name in "abcd"]
    with filled(auth, repositories=tuple(repositories)) as registry, reach(registry, credentials=[CI]) as reached:
        for repository in repositories:
            reached.store(repository)
        read(reached, *repositories)
    assert [len(scopes) for scopes in asked(auth)] == [4, 1, 1, 1, 1]
    assert [scopes[0] for scopes in asked(auth)[1:]] == [f"repository:{name}:pull" for name in repositories]


@pytest.mark.parametrize("denied", [401, 403])
def test_a_joint_token_that_is_short_is_followed_by_one_for_each(denied: Any) -> None:
    auth = bearer(first_scope_only=True, denied_status=denied)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        reached.store(API)
        read(reached, WEB, API, WEB, API)
        reached.check_quiet(secrets=auth.secrets)
    assert asked(auth) == [(PULL_WEB, PULL_API), (PULL_API,)]


def test_where_joint_tokens_are_short_none_is_asked_for_again() -> None:
    auth = bearer(first_scope_only=True, expires_in=60)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        reached.store(API)
        read(reached, WEB, API)
        reached.world.advance(120.0)
        read(reached, WEB, API)
    assert asked(auth) == [(PULL_WEB, PULL_API), (PULL_API,), (PULL_WEB,), (PULL_API,)]


def test_a_joint_token_that_worked_and_is_refused_has_expired() -> None:
    auth = bearer(uses=2)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        reached.store(API)
        read(reached, WEB, API, WEB, API)
    assert asked(auth) == [(PULL_WEB, PULL_API)] * 2


def test_one_repository_that_is_denied_denies_no_other() -> None:
    auth = bearer(permissions={API: ()})
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        reached.store(API)
        read(reached, WEB)
        problem = failing(reached, API)
        read(reached, WEB)
        reached.check_quiet(problem, secrets=auth.secrets)
    assert isinstance(problem, DeniedError)
    assert f"{API}:1 failed: the registry said 401 UNAUTHORIZED" in problem.message
    assert "(credentials: the test's file)" in problem.message
    assert asked(auth) == [(PULL_WEB, PULL_API), (PULL_API,)]


# Expiry.


@pytest.mark.parametrize(
    ("expires_in", "good", "stale"), [(None, 49.0, 51.0), (300, 289.0, 291.0), (20, 14.9, 15.1), (1, 0.7, 0.8)]
)
def test_a_token_is_renewed_shortly_before_it_expires(expires_in: int | None, good: float, stale: float) -> None:
    auth = bearer(expires_in=expires_in)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB)
        reached.world.advance(good)
        read(reached, WEB)
        assert len(auth.requests) == 1
        reached.world.advance(stale - good)
        read(reached, WEB)
        assert len(auth.requests) == 2
        assert [recorded.status for recorded in registry.find(path_regex="/v2/")] == [401, 200, 200, 200]


@pytest.mark.parametrize(
    "lifetime", [0, -1, "soon", None, [], float("nan"), float("inf"), 10**400, "1e999", {"seconds": 9}]
)
def test_a_lifetime_that_is_none_is_a_minute(lifetime: object) -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:

        def odd(exchange: Exchange) -> Response:
            body = exchange.serve().body
            assert isinstance(body, bytes)
            return json_response(json.loads(body) | {"expires_in": lifetime})

        registry.faults.add(odd, path="/token", times=FOREVER)
        read(reached, WEB)
        reached.world.advance(49.0)
        read(reached, WEB)
        assert len(auth.tokens) == 1
        reached.world.advance(2.0)
        read(reached, WEB)
        assert len(auth.tokens) == 2


def test_tokens_that_are_revoked_in_the_middle_are_renewed_once_for_all_threads() -> None:
    auth = bearer()
    together = threading.Barrier(8, timeout=5.0)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        store = reached.store(WEB)
        store.read_manifest("1")
        auth.revoke_all()

        def get(_: int) -> Digest:
            together.wait()
            return store.read_manifest("1").digest

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(get, range(8)))
    assert len(auth.requests) == 2


# What token services answer.


@pytest.mark.parametrize("fields", [("token",), ("access_token",), ("token", "access_token")])
def test_a_token_has_either_name(fields: tuple[str, ...]) -> None:
    auth = bearer(token_fields=fields)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"token",
        b"[]",
        b"null",
        b"{}",
        b'{"token": ""}',
        b'{"token": null, "access_token": ""}',
        b'{"token": 7}',
        b'{"token": ["x"]}',
        b'{"token": "a\\r\\nX-Injected: 1"}',
        b'{"token": "t\\u00f6ken"}',
        b"[" * 60_000,
        b'{"token": "' + b"x" * 70_000 + b'"}',
        b"<html>log in to the network</html>",
    ],
)
def test_an_answer_without_a_token_is_an_error(body: bytes) -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        registry.faults.add(status(200, body), path="/token")
        problem = failing(reached, WEB)
        reached.check_quiet(problem)
        assert registry.count(path_regex="/v2/") == 1
    assert type(problem) is UnreachableError
    assert problem.message == f"getting a token for {registry_host(problem)} failed: the answer holds no token"


def registry_host(problem: ManifestctlError) -> str:
    words = problem.message.split()
    return f"{words[4]} from {words[6]}"


@pytest.mark.parametrize(
    ("action", "kind", "words", "hint"),
    [
        (error(401, "UNAUTHORIZED", "incorrect password"), DeniedError, "401 UNAUTHORIZED", "log in again"),
        (error(403, "DENIED", "no"), DeniedError, "403 DENIED", "log in again"),
        (status(400, b'{"error":"invalid_grant"}'), DeniedError, "400", "log in again"),
        (status(404), UnreachableError, "404", "check its settings"),
        (status(405), UnreachableError, "405", "check its settings"),
        (status(409), UnreachableError, "409", "check its settings"),
        (status(501), UnreachableError, "501", "check its settings"),
        (proxy_page(200), UnreachableError, "holds no token", "proxy"),
        (status(307), UnreachableError, "307", "check its settings"),
    ],
)
def test_a_refused_token_says_what_to_do(
    action: Callable[[Any], Response], kind: type[ManifestctlError], words: str, hint: str
) -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        registry.faults.add(action, path="/token", times=FOREVER)
        problem = failing(reached, WEB)
        reached.check_quiet(problem)
        assert reached.retried == 0
    assert type(problem) is kind
    assert words in problem.message
    assert hint in problem.hint
    assert f"getting a token for {registry_host(problem)} failed" in problem.message


def test_a_wrong_password_is_tried_once_a_repository_not_once_a_request() -> None:
    auth = bearer()
    wrong = Credential("config.json", "ci", "wrong-pass-word")
    with filled(auth) as registry, reach(registry, credentials=[wrong]) as reached:
        store = reached.store(WEB)

        def get(_: int) -> ManifestctlError:
            with pytest.raises(DeniedError) as raised:
                store.read_manifest("1")
            return raised.value

        with ThreadPoolExecutor(8) as pool:
            problems = list(pool.map(get, range(16)))
        reached.check_quiet(*problems, secrets=auth.secrets)
        assert len({problem.message for problem in problems}) == 1
        assert "(credentials: config.json)" in problems[0].message
        assert registry.count(path_regex="/v2/") <= 16
        for problem in problems:
            problem.message += "; and so on"
        assert "and so on" not in get(16).message
    assert len(auth.requests) == 1


@pytest.mark.parametrize("action", [status(503), status(429, retry_after=0), reset()])
def test_a_token_service_that_fails_for_a_moment_is_asked_again(action: Callable[[Any], Response]) -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        registry.faults.add(action, path="/token", times=2)
        read(reached, WEB)
        assert reached.retried == 2


def test_a_token_service_may_ask_to_wait() -> None:
    with filled(bearer()) as registry, reach(registry, credentials=[CI]) as reached:
        registry.faults.add(status(429, retry_after=33), path="/token")
        read(reached, WEB)
        assert reached.world.slept == [33.0]


def test_a_token_that_cannot_be_fetched_leaves_no_write_unknown() -> None:
    auth = bearer(identity_tokens={"identity-token": "ci"})
    identity = Credential("config.json", identity_token="identity-token")
    with filled(auth) as registry, reach(registry, credentials=[identity]) as reached:
        store = reached.store(WEB, write=True)
        content = store.read_manifest("1")
        reached.world.advance(1000.0)
        registry.faults.add(reset(), path="/token", times=FOREVER)
        with pytest.raises(UnreachableError) as raised:
            store.write_manifest(content, "2")
    assert not raised.value.outcome_unknown
    assert registry.count("PUT") == 0


# Identity tokens.

IDENTITY = Credential("config.json", identity_token="identity-token-of-ci")
BOTH = Credential("config.json", "ci", "pass-word-of-ci", "identity-token-of-ci")


def test_an_identity_token_is_posted() -> None:
    auth = bearer(identity_tokens={"identity-token-of-ci": "ci"})
    with filled(auth) as registry, reach(registry, credentials=[IDENTITY]) as reached:
        read(reached, WEB, API)
        reached.check_quiet(secrets=auth.secrets)
        posted = registry.find("POST", "/token")[0]
        assert posted.headers["content-type"] == "application/x-www-form-urlencoded"
        assert posted.query == ""
        assert posted.authorization is None
    assert [(request.method, request.grant_type, request.scopes) for request in auth.requests] == [
        ("POST", "refresh_token", (PULL_WEB, PULL_API))
    ]


@pytest.mark.parametrize("post_status", [400, 401, 404, 405])
def test_where_identity_tokens_are_not_taken_the_password_is_sent(post_status: int) -> None:
    auth = bearer(post_status=post_status)
    with filled(auth) as registry, reach(registry, credentials=[BOTH]) as reached:
        read(reached, WEB)
        reached.check_quiet(secrets=auth.secrets)
    assert [(request.method, request.user, request.status) for request in auth.requests] == [
        ("POST", "", post_status),
        ("GET", "ci", 200),
    ]


@pytest.mark.parametrize(
    ("post_status", "kind"), [(400, DeniedError), (401, DeniedError), (404, UnreachableError), (405, UnreachableError)]
)
def test_where_identity_tokens_are_not_taken_and_there_is_no_password_it_is_an_error(
    post_status: int, kind: type[ManifestctlError]
) -> None:
    auth = bearer(post_status=post_status)
    with filled(auth) as registry, reach(registry, credentials=[IDENTITY]) as reached:
        problem = failing(reached, WEB)
        reached.check_quiet(problem, secrets=auth.secrets)
    assert type(problem) is kind
    assert "log in" in problem.hint
    assert {request.method for request in auth.requests} == {"POST"}


def test_a_registry_token_is_sent_as_it_is() -> None:
    auth = bearer(mint=lambda _user, _granted: "registry-token-of-ci")
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB)
        with reach(registry, credentials=[Credential("config.json", registry_token="registry-token-of-ci")]) as second:
            read(second, WEB)
            second.check_quiet()
        assert registry.count(path_regex="/token") == 1


# Nobody.


def test_without_credentials_a_token_is_asked_for_by_nobody() -> None:
    auth = BearerAuth(users=USERS, anonymous=READ)
    with filled(auth) as registry, reach(registry) as reached:
        read(reached, WEB, API)
        assert registry.find("GET", "/token")[0].authorization is None
    assert [(request.user, request.scopes) for request in auth.requests] == [("", (PULL_WEB, PULL_API))]


class Absent:
    """A helper that is not installed."""

    def credential(self, registry: str, repository: str) -> Credential | None:
        raise MissingHelperError("docker-credential-x is not installed", hint="Install it.")

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        raise AssertionError("it gave nothing")


def test_what_anybody_may_read_needs_no_helper() -> None:
    auth = BearerAuth(users=USERS, anonymous=READ)
    with filled(auth) as registry, reach(registry, credentials=Chain([Absent()])) as reached:
        read(reached, WEB, API)
        said = f"docker-credential-x is not installed; {reached.host} is read without credentials"
        assert reached.warnings == [said]
        store = reached.store(API, write=True)
        for _ in range(2):
            with pytest.raises(MissingHelperError) as raised:
                store.read_manifest("1")
            assert raised.value.message == "docker-credential-x is not installed"
            assert raised.value.hint == "Install it."
            raised.value.message += "; nothing was published"
    assert [request.user for request in auth.requests] == [""]


def test_nobody_may_be_refused_by_the_token_service() -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry) as reached:
        problem = failing(reached, WEB)
    assert isinstance(problem, DeniedError)
    assert "(asked without credentials)" in problem.message
    assert "No credentials were found for this registry" in problem.hint
    assert len(auth.requests) == 1


def test_nobody_may_be_refused_by_the_registry() -> None:
    auth = BearerAuth(users=USERS, anonymous=READ, permissions={WEB: ()})
    with filled(auth) as registry, reach(registry) as reached:
        problem = failing(reached, WEB)
    assert isinstance(problem, DeniedError)
    assert "(asked without credentials)" in problem.message
    assert len(auth.requests) == 2


def test_a_registry_that_asks_for_nothing_is_sent_nothing() -> None:
    with FakeRegistry() as registry, reach(registry, credentials=[CI]) as reached:
        registry.put_image(WEB, "1")
        read(reached, WEB)
        assert registry.requests[0].authorization is None
        assert registry.count() == 1


# Basic.


def test_basic_is_sent_after_it_was_asked_for() -> None:
    with filled(BasicAuth("ci", "pass-word-of-ci")) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB, WEB, API)
        reached.check_quiet()
        assert [recorded.status for recorded in registry.requests] == [401, 200, 200, 200]


def test_basic_only_registries_are_sent_it_at_once() -> None:
    profile = Profile(basic_only=True)
    with filled(BasicAuth("ci", "pass-word-of-ci")) as registry:
        with reach(registry, credentials=[CI], profile=profile) as reached:
            read(reached, WEB, API)
        assert [recorded.status for recorded in registry.requests] == [200, 200]


@pytest.mark.parametrize("credentials", [[], [Credential("config.json", "ci", "wrong-pass-word")], [IDENTITY]])
def test_basic_that_is_refused_or_absent_is_denied(credentials: list[Credential]) -> None:
    with filled(BasicAuth("ci", "pass-word-of-ci")) as registry, reach(registry, credentials=credentials) as reached:
        problem = failing(reached, WEB)
        reached.check_quiet(problem)
        assert registry.count() <= 2
    assert isinstance(problem, DeniedError)
    assert problem.hint


def test_bearer_goes_before_basic_where_both_are_offered() -> None:
    auth = bearer()
    with filled(auth) as registry:
        both = f'Basic realm="x", Bearer realm="{registry.url}/token",service="fake.registry"'
        registry.faults.add(unauthorized(both), path="/v2/", before_auth=True)
        with reach(registry, credentials=[CI]) as reached:
            read(reached, WEB)
        assert not any(
            (recorded.authorization or "").startswith("Basic") for recorded in registry.find(path_regex="/v2/")
        )


# Loops.


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="{url}/token",service="s",scope="repository:team/web:pull"',
        'Bearer realm="{url}/token",service="s",scope="repository:team/web:pull",error="invalid_token"',
        'Bearer realm="{url}/token",service="s",error="insufficient_scope"',
        'Basic realm="x"',
        'Bearer service="no realm"',
        "Negotiate abcdef",
        "",
        None,
    ],
)
@pytest.mark.parametrize("write", [False, True])
def test_a_registry_that_always_answers_401_is_left_in_the_end(challenge: str | None, write: bool) -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        text = challenge.replace("{url}", registry.url) if challenge is not None else None
        registry.faults.add(unauthorized(text), path="/v2/", times=FOREVER, before_auth=True)
        store = reached.store(WEB, write=write)
        reached.store(API)
        with pytest.raises(DeniedError) as raised:
            store.read_manifest("1")
        assert "failed: the registry said 401" in raised.value.message
        assert registry.count(path_regex="/v2/") <= 4
        assert len(auth.requests) <= 3
        reached.check_quiet(raised.value, secrets=auth.secrets)
        assert reached.retried == 0


# Where credentials do not go.


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://10.1.2.3/token", "an address inside a private network"),
        ("http://169.254.169.254/token", "an address inside a private network"),
        ("http://[fe80::1]/token", "an address inside a private network"),
        ("http://192.168.1.1:8080/token", "an address inside a private network"),
        ("ftp://auth.example/token", "which is not a URL that can be asked"),
        ("//auth.example/token", "which is not a URL that can be asked"),
        ("/token", "which is not a URL that can be asked"),
        ("http://user:pw@auth.example/token", "which is not a URL that can be asked"),
        ("http://auth.example\\@127.0.0.1/", "which is not a URL that can be asked"),
    ],
)
def test_a_realm_that_leads_astray_gets_nothing(realm: str, words: str) -> None:
    with filled(bearer(realm=realm)) as registry, reach(registry, credentials=[CI]) as reached:
        problem = failing(reached, WEB)
        reached.check_quiet(problem, secrets=[CI.basic])
        assert reached.meter.counts()["sent"] == 1
        assert reached.retried == 0
    assert isinstance(problem, DeniedError)
    assert words in problem.message
    assert "no credentials were sent" in problem.message


def test_a_registry_on_https_may_not_send_for_tokens_by_http(certificates: Certificates) -> None:
    with filled(bearer()) as plain:
        auth = bearer(realm=f"{plain.url}/token")
        with FakeRegistry(auth=auth, tls=certificates.server_context()) as registry:
            settings = TransportSettings(ca_file=certificates.authority)
            with reach(registry, credentials=[CI], settings=settings) as reached:
                problem = failing(reached, WEB)
        assert plain.count() == 0
    assert isinstance(problem, DeniedError)
    assert "which is not https" in problem.message


def test_tokens_come_over_tls_too(certificates: Certificates) -> None:
    auth = bearer()
    with FakeRegistry(auth=auth, tls=certificates.server_context()) as registry:
        registry.put_image(WEB, "1")
        settings = TransportSettings(ca_file=certificates.authority)
        with reach(registry, credentials=[CI], settings=settings) as reached:
            read(reached, WEB)
            reached.check_quiet(secrets=auth.secrets)


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="{origin}/token",service="x"'])
def test_another_host_that_asks_for_credentials_gets_none(challenge: str) -> None:
    auth = bearer()
    with filled(auth) as registry, BlobHost(registry, challenge=challenge) as other:
        registry.faults.add(redirect(other.url), path="/manifests/", times=FOREVER)
        with reach(registry, credentials=[CI]) as reached:
            problem = failing(reached, WEB)
            reached.check_quiet(problem, secrets=auth.secrets)
        assert other.authorizations == []
        assert [recorded.path for recorded in other.requests] == ["/v2/team/web/manifests/1"]
    assert isinstance(problem, DeniedError)
    assert f"{other_name(problem)}, to which the registry leads, said 401" in problem.message
    assert "never sent the registry's credentials" in problem.hint
    assert len(auth.requests) == 1


def other_name(problem: ManifestctlError) -> str:
    return problem.message.split("failed: ")[1].split(",")[0]


def test_a_huge_challenge_is_not_read_whole() -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        challenge = f'Bearer realm="{registry.url}/token",service="fake.registry"'
        body = huge(401, 400, headers={"WWW-Authenticate": challenge})
        registry.faults.add(body, path="/v2/", before_auth=True)
        read(reached, WEB)
        assert reached.meter.counts()["bytes_in"] < 1024 * 1024


def test_a_query_in_the_realm_is_kept() -> None:
    auth = bearer()
    with filled(auth) as registry:
        auth.realm = f"{registry.url}/token?tenant=a%2Fb"
        with reach(registry, credentials=[CI]) as reached:
            read(reached, WEB)
        query = registry.find("GET", "/token")[0].query
    assert query == "tenant=a%2Fb&service=fake.registry&scope=repository%3Ateam%2Fweb%3Apull"


def test_a_service_that_has_no_name_is_not_named() -> None:
    auth = bearer(service=None)
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        read(reached, WEB)
    assert auth.requests[0].service is None


# Credentials that are refused, and others in their place.


def test_the_next_source_is_tried_when_the_token_service_refuses_the_first() -> None:
    auth = bearer()
    stale = Credential("an old file", "ci", "stale-pass-word")
    with filled(auth) as registry, reach(registry, credentials=[stale, CI]) as reached:
        read(reached, WEB, API)
        reached.check_quiet(secrets=auth.secrets)
    assert [request.status for request in auth.requests][-1] == 200


def test_the_next_source_is_tried_when_the_registry_refuses_basic() -> None:
    stale = [Credential(f"old file {number}", "ci", f"stale-{number}") for number in range(2)]
    with filled(BasicAuth("ci", "pass-word-of-ci")) as registry, reach(registry, credentials=[*stale, CI]) as reached:
        read(reached, WEB)
        reached.check_quiet()


def test_basic_that_expires_is_renewed_by_its_own_source() -> None:
    source = Known(CI, fresh=[Credential("the helper", "ci", "next-pass-word")])
    auth = BasicAuth("ci", "pass-word-of-ci")
    with filled(auth) as registry, reach(registry, credentials=Chain([source])) as reached:
        read(reached, WEB)
        auth.password = "next-pass-word"
        read(reached, WEB)
        assert source.rejected == [CI]
        reached.check_quiet(secrets=["next-pass-word", "pass-word-of-ci"])


def test_an_expired_denial_without_a_challenge_renews_basic() -> None:
    source = Known(CI, fresh=[Credential("the helper", "ci", "next-pass-word")])
    auth = BasicAuth("ci", "pass-word-of-ci")
    profile = Profile(basic_only=True, bad_token_statuses=frozenset({403}))
    with filled(auth) as registry, reach(registry, credentials=Chain([source]), profile=profile) as reached:
        read(reached, WEB)
        auth.password = "next-pass-word"
        expired = error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        registry.faults.add(expired, path="/v2/", before_auth=True)
        read(reached, WEB)
        assert source.rejected == [CI]


def test_a_denial_that_names_a_permission_is_final() -> None:
    source = Known(CI, fresh=[Credential("the helper", "ci", "next-pass-word")])
    profile = Profile(basic_only=True, bad_token_statuses=frozenset({403}))
    auth = BasicAuth("ci", "pass-word-of-ci")
    with filled(auth) as registry, reach(registry, credentials=Chain([source]), profile=profile) as reached:
        text = "User: arn is not authorized to perform: ecr:BatchGetImage on resource: arn"
        registry.faults.add(error(403, "DENIED", text), times=FOREVER)
        problem = failing(reached, WEB)
        assert registry.count() == 1
    assert source.rejected == []
    assert "not authorized to perform: ecr:BatchGetImage" in problem.message


# Registries like ECR Public.

AWS = Credential("the AWS test", "AWS", "ecr-pass-word")


def test_a_password_may_be_the_bearer_token() -> None:
    auth = BearerAuth(users={"AWS": "ecr-pass-word"}, refusal="denied", mint=lambda _user, _granted: AWS.basic)
    with filled(auth) as registry:
        profile = Profile(password_as_bearer=True, challenge=KnownChallenge(f"{registry.url}/token", "x", "aws"))
        with reach(registry, credentials=[Credential("x", "AWS", "ecr-pass-word")]) as first:
            read(first, WEB, API)
        registry.reset()
        with reach(registry, credentials=[AWS], profile=profile) as reached:
            read(reached, WEB)
            reached.check_quiet(secrets=auth.secrets)
        assert [(recorded.path, recorded.status) for recorded in registry.requests] == [
            ("/v2/team/web/manifests/1", 200)
        ]


def ecr(registry: FakeRegistry, **changes: Any) -> Profile:
    values: dict[str, Any] = {
        "challenge": KnownChallenge(f"{registry.url}/token/", "public.ecr.aws", "aws"),
        "bad_token_statuses": frozenset({400, 403}),
        "anonymous_retry": True,
    }
    return Profile(**(values | changes))


def test_a_scope_that_is_none_is_passed_through() -> None:
    auth = BearerAuth.ecr_public()
    with filled(auth) as registry, reach(registry, profile=ecr(registry)) as reached:
        read(reached, WEB)
    assert asked(auth) == [("aws", PULL_WEB)]


def test_an_expired_token_that_is_denied_with_400_is_fetched_anew() -> None:
    auth = BearerAuth.ecr_public(uses=2)
    with filled(auth) as registry, reach(registry, credentials=[AWS], profile=ecr(registry)) as reached:
        read(reached, WEB, API, WEB, API)
        statuses = [recorded.status for recorded in registry.find(path_regex="/v2/")]
    assert statuses == [200, 200, 400, 200, 200]
    assert len(auth.requests) == 2


@pytest.mark.parametrize("code", [400, 403])
def test_a_denial_that_stays_ends_after_one_new_token(code: int) -> None:
    auth = BearerAuth.ecr_public()
    with filled(auth) as registry, reach(registry, credentials=[AWS], profile=ecr(registry)) as reached:
        registry.faults.add(error(code, "DENIED", "no"), path="/v2/", times=FOREVER)
        problem = failing(reached, WEB)
        reached.check_quiet(problem, secrets=auth.secrets)
        assert registry.count(path_regex="/v2/") <= 3
    assert len(auth.requests) <= 2
    assert isinstance(problem, DeniedError)


def test_a_400_that_is_no_denial_is_an_answer() -> None:
    auth = BearerAuth.ecr_public()
    with filled(auth) as registry, reach(registry, credentials=[AWS], profile=ecr(registry)) as reached:
        registry.faults.add(error(400, "MANIFEST_INVALID", "manifest invalid"), path="/v2/")
        problem = failing(reached, WEB)
        assert registry.count(path_regex="/v2/") == 1
    assert "400 MANIFEST_INVALID" in problem.message


@pytest.mark.parametrize("straight", [True, False])
def test_reading_goes_on_without_credentials_that_are_refused(straight: bool) -> None:
    auth = BearerAuth.ecr_public()
    stale = Credential("config.json", "AWS", "stale-pass-word")
    with filled(auth) as registry:
        profile = ecr(registry, password_as_bearer=straight)
        with reach(registry, credentials=[stale], profile=profile) as reached:
            read(reached, WEB, WEB)
            reached.check_quiet(secrets=auth.secrets)
            assert reached.warnings == [
                f"{reached.host} refused the credentials (config.json); team/web is read without them"
            ]
    assert [request.user for request in auth.requests if request.status == 200] == [""]


@pytest.mark.parametrize("straight", [True, False])
def test_writing_does_not_go_on_without_credentials(straight: bool) -> None:
    auth = BearerAuth.ecr_public()
    stale = Credential("config.json", "AWS", "stale-pass-word")
    with filled(auth) as registry:
        profile = ecr(registry, password_as_bearer=straight)
        with reach(registry, credentials=[stale], profile=profile) as reached:
            store = reached.store(WEB, write=True)
            with pytest.raises(DeniedError, match=r"config\.json") as raised:
                store.read_manifest("1")
            reached.check_quiet(raised.value, secrets=auth.secrets)
            assert reached.warnings == []


def test_a_403_without_a_joint_token_is_final() -> None:
    auth = bearer(denied_status=403, permissions={WEB: ()})
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        problem = failing(reached, WEB)
        assert [recorded.status for recorded in registry.find(path_regex="/v2/")] == [401, 403]
    assert isinstance(problem, DeniedError)
    assert len(auth.requests) == 1


def test_a_request_for_no_repository_has_no_scope_but_what_is_demanded() -> None:
    auth = bearer(challenge_scope="registry:catalog:*")
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        assert reached.client.send(Request("GET", "/v2/")).status == 200
    assert asked(auth) == [("registry:catalog:*",)]


def test_refusals_that_come_late_cost_no_token() -> None:
    auth = bearer()
    with filled(auth) as registry, reach(registry, credentials=[CI]) as reached:
        authorizer = reached.authorizer
        reached.store(API)
        read(reached, WEB)
        old = authorizer.authorization(WEB)
        assert old is not None
        reached.world.advance(1000.0)
        read(reached, WEB)
        now = authorizer.authorization(WEB)
        assert authorizer.answer(WEB, [f'Bearer realm="{registry.url}/token"'], None)
        assert authorizer.answer(WEB, [f'Bearer realm="{registry.url}/token"'], old)
        assert authorizer.replace(WEB, old)
        assert authorizer.narrow(WEB, old)
        assert authorizer.authorization(WEB) is now
    assert len(auth.requests) == 2


def test_not_every_credential_there_is_is_tried() -> None:
    auth = bearer()
    stale = [Credential(f"old file {number}", "ci", f"stale-{number}") for number in range(20)]
    with filled(auth) as registry, reach(registry, credentials=stale) as reached:
        problem = failing(reached, WEB)
        reached.check_quiet(problem)
    assert isinstance(problem, DeniedError)
    assert len(auth.requests) == 8


PRIVATE = Profile(basic_only=True, bad_token_statuses=frozenset({400, 403}))


@pytest.mark.parametrize("code", [400, 403])
def test_a_head_that_is_refused_without_a_word_renews_the_token(code: int) -> None:
    source = Known(CI, fresh=[Credential("the helper", "ci", "next-pass-word")])
    auth = BasicAuth("ci", "pass-word-of-ci")
    with filled(auth) as registry, reach(registry, credentials=Chain([source]), profile=PRIVATE) as reached:
        digest = read(reached, WEB)[0]
        auth.password = "next-pass-word"
        registry.faults.add(status(code), method="HEAD", path="/v2/", before_auth=True)
        assert reached.store(WEB).resolve("1").digest == digest
        assert source.rejected == [CI]
        assert registry.count("GET") == 1


def test_a_head_that_stays_refused_renews_the_token_once_however_many_there_are() -> None:
    fresh = [Credential(f"renewed {number}", "ci", "pass-word-of-ci") for number in range(20)]
    source = Known(CI, fresh=fresh)
    blobs = [Descriptor("x/y", Digest.of(str(number).encode()), 1) for number in range(12)]
    with filled(BasicAuth("ci", "pass-word-of-ci")) as registry:
        with reach(registry, credentials=Chain([source]), profile=PRIVATE) as reached:
            store = reached.store(WEB)
            read(reached, WEB)
            registry.faults.add(status(403), method="HEAD", path="/blobs/", times=FOREVER)
            with ThreadPoolExecutor(6) as pool:
                problems = list(pool.map(lambda blob: error_of(store.has, blob), blobs))
        assert all(isinstance(problem, DeniedError) for problem in problems)
        assert len(source.rejected) == 1


def error_of(call: Callable[[Any], object], argument: object) -> ManifestctlError | None:
    try:
        call(argument)
    except ManifestctlError as problem:
        return problem
    return None


def test_that_another_source_is_used_is_said() -> None:
    stale = Credential("yesterday's log-in", "ci", "stale-pass-word")
    with filled(BasicAuth("ci", "pass-word-of-ci")) as registry, reach(registry, credentials=[stale, CI]) as reached:
        read(reached, WEB)
        assert reached.warnings == [
            f"{registry.host} refused the credentials (yesterday's log-in); used instead: {CI.source}"
        ]
        reached.check_quiet(secrets=["stale-pass-word"])
