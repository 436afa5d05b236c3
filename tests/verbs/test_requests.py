"""How many requests a run makes: each is a round trip, and on some registries one of few that are allowed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.model.published import Published
from tests.support import images
from tests.support.actions import redirect
from tests.support.blob_host import BlobHost
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import basic_authorization
from tests.verbs.scene import REPOSITORY, Scene, published

if TYPE_CHECKING:
    from tests.support.fake_auth import Auth

ARCHITECTURES = ("amd64", "arm64", "s390x", "ppc64le", "riscv64", "386", "loong64", "mips64le")
OTHER = images.index([images.image("linux/arm/v5")])


def fill(registry: FakeRegistry, count: int) -> list[str]:
    """Store so many single images; return what names them."""
    tags = ARCHITECTURES[:count]
    for tag in tags:
        registry.put_image(REPOSITORY, tag, f"linux/{tag}")
    return [f":{tag}" for tag in tags]


def sent(registry: FakeRegistry) -> list[str]:
    """Return the requests to the registry proper, as ``METHOD what``."""
    return [
        f"{request.method} {request.path.split(REPOSITORY)[-1]}" for request in registry.find() if request.status != 401
    ]


def environ_for(registry: FakeRegistry, user: str = "ci", password: str = "secret") -> dict[str, str]:
    """Return an environment that has credentials for the registry."""
    authorization = basic_authorization(user, password).removeprefix("Basic ")
    return {"DOCKER_AUTH_CONFIG": f'{{"auths":{{"{registry.host}":{{"auth":"{authorization}"}}}}}}'}


# Without authentication.


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_run_makes_2n_and_3_requests(registry: FakeRegistry, count: int) -> None:
    scene, given = Scene.of(registry), fill(registry, count)
    published(scene.create(*given))
    requests = sent(registry)
    assert len(requests) == 2 * count + 3
    assert sum("/blobs/" in request for request in requests) == count
    assert [request for request in requests if not request.startswith("GET")] == ["PUT /manifests/1.4"]
    # Nothing is asked twice but the tag, before and after.
    assert sorted(requests, key=requests.count)[-2:] == ["GET /manifests/1.4"] * 2
    assert len(set(requests)) == len(requests) - 1
    assert not any("/v2/" in request for request in requests)
    assert requests[-2:] == ["PUT /manifests/1.4", "GET /manifests/1.4"]


ADDED: list[tuple[str, dict[str, Any], int]] = [
    ("a further tag", {"tags": ["latest"]}, 3),
    ("two further tags", {"tags": ["latest", "1"]}, 6),
    ("expecting something", {"expect": OTHER.digest}, 1),
    ("what is required", {"require": "linux/amd64", "same": (), "format": "oci"}, 0),
    ("a declaration", {"declared": {":amd64": "linux/amd64"}}, 0),
    ("annotations", {"annotations": {"a": "b"}}, 0),
    ("allowing", {"allow": ["image-duplicate"]}, 0),
    ("denying", {"deny": ["image-duplicate"]}, 0),
    ("one at a time", {"concurrency": 1}, 0),
]


@pytest.mark.parametrize(("options", "more"), [case[1:] for case in ADDED], ids=[case[0] for case in ADDED])
def test_options_cost_what_they_must(registry: FakeRegistry, options: dict[str, Any], more: int) -> None:
    scene, given = Scene.of(registry), fill(registry, 2)
    registry.put(REPOSITORY, "1.4", OTHER)
    published(scene.create(*given, **options))
    assert len(sent(registry)) == 2 * 2 + 3 + more


def test_not_overwriting_costs_one_more_look(registry: FakeRegistry) -> None:
    scene, given = Scene.of(registry), fill(registry, 2)
    published(scene.create(*given, no_overwrite=True))
    assert len(sent(registry)) == 2 * 2 + 3 + 1


@pytest.mark.parametrize(("attestations", "more"), [("keep", 2), ("require", 2), ("drop", 1)])
def test_a_buildx_image_costs_its_list_and_its_attestation(
    registry: FakeRegistry, attestations: str, more: int
) -> None:
    scene = Scene.of(registry)
    given = [] if attestations == "require" else fill(registry, 1)
    registry.put_buildx(REPOSITORY, "list", ["linux/arm64"])
    published(scene.create(*given, ":list", attestations=attestations))
    assert len(sent(registry)) == 2 * (len(given) + 1) + 3 + more


@pytest.mark.parametrize("redirected", [1, 2])
def test_a_redirect_costs_one_more(registry: FakeRegistry, redirected: int) -> None:
    scene, given = Scene.of(registry), fill(registry, 2)
    with BlobHost(registry) as host:
        registry.faults.add(redirect(host.url), path="/blobs/", times=redirected)
        published(scene.create(*given))
        assert len(sent(registry)) == 2 * 2 + 3
        assert len(host.find()) == redirected


def test_layers_cost_a_head_each_and_once(registry: FakeRegistry) -> None:
    scene = Scene.of(registry)
    registry.put_image(REPOSITORY, "a", "linux/amd64", layers=3)
    registry.put_image(REPOSITORY, "b", "linux/arm64", layers=2)
    registry.put(REPOSITORY, "again", images.image("linux/amd64", layers=3))
    published(scene.create(":a", ":b", ":again", depth="blobs"))
    assert registry.count("HEAD") == 5
    # The third name costs its manifest, and nothing that the first one had.
    assert len(sent(registry)) == 2 * 2 + 3 + 5 + 1


def test_an_unchanged_rerun_writes_nothing_and_looks_once(registry: FakeRegistry) -> None:
    scene, given = Scene.of(registry), fill(registry, 3)
    published(scene.create(*given, tags=["latest"]))
    registry.reset()
    assert scene.create(*given, tags=["latest"], no_overwrite=True).status == "unchanged"
    requests = sent(registry)
    assert len(requests) == len(set(requests)) == 2 * 3 + 2
    assert registry.count("PUT") == 0


def test_a_dry_run_costs_what_it_reads(registry: FakeRegistry) -> None:
    scene, given = Scene.of(registry), fill(registry, 3)
    assert scene.create(*given, dry_run=True).ok
    assert len(sent(registry)) == 2 * 3 + 1


def test_a_check_costs_two_an_image(registry: FakeRegistry) -> None:
    scene, given = Scene.of(registry), fill(registry, 3)
    assert scene.check(*given).ok
    assert len(sent(registry)) == 2 * 3


def test_a_failed_gate_costs_no_write_and_no_read_back(registry: FakeRegistry) -> None:
    scene, given = Scene.of(registry), fill(registry, 2)
    assert not scene.create(*given, ":nowhere").ok
    assert len(sent(registry)) == 2 * 2 + 1 + 1


def test_connections_are_used_again(registry: FakeRegistry) -> None:
    scene, given = Scene.of(registry), fill(registry, 8)
    published(scene.create(*given, concurrency=3))
    assert registry.used_connections <= 3


# With authentication.


def bearer() -> BearerAuth:
    return BearerAuth(users={"ci": "secret"})


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("anonymous", [False, True])
def test_bearer_costs_one_token_and_at_most_one_401_a_connection(count: int, anonymous: bool) -> None:
    auth = BearerAuth(users={"ci": "secret"}, anonymous={"pull", "push"}) if anonymous else bearer()
    with FakeRegistry(auth=auth) as registry:
        given = fill(registry, count)
        # The answers wait until all that can be asked at once has been asked, each on a connection of its own.
        meeting = threading.Barrier(count + 2)

        def meet(exchange: Any) -> Any:
            meeting.wait(10)
            return exchange.serve()

        registry.faults.add(meet, path="/v2/", times=count + 2, before_auth=True)
        scene = Scene.of(registry, {} if anonymous else environ_for(registry))
        published(scene.create(*given, tags=["latest"]))
        [token] = auth.requests
        assert token.status == 200
        assert token.user == ("" if anonymous else "ci")
        assert token.scopes == (f"repository:{REPOSITORY}:pull,push",)
        refused = [request.connection_id for request in registry.find() if request.status == 401]
        assert len(refused) == len(set(refused)) == count + 2
        requests = [request for request in sent(registry) if "/token" not in request]
        assert len(requests) == 2 * count + 3 + 3


@pytest.mark.parametrize(("verb", "scope"), [("check", "pull"), ("dry-run", "pull"), ("create", "pull,push")])
def test_a_run_asks_for_no_more_than_it_needs(verb: str, scope: str) -> None:
    with FakeRegistry(auth=bearer()) as registry:
        given = fill(registry, 2)
        scene = Scene.of(registry, environ_for(registry))
        result: Any = scene.check(*given) if verb == "check" else scene.create(*given, dry_run=verb == "dry-run")
        assert result.ok
        assert isinstance(registry.auth, BearerAuth)
        assert [token.scopes for token in registry.auth.requests] == [(f"repository:{REPOSITORY}:{scope}",)]


def test_one_token_serves_all_repositories_of_a_run() -> None:
    with FakeRegistry(auth=bearer()) as registry:
        [given] = fill(registry, 1)
        registry.put_image("team/other", "x", "linux/arm64")
        scene = Scene.of(registry, environ_for(registry))
        created = scene.create(given, registry.reference("team/other", "x"), allow=["other-repository"])
        published(created)
        assert isinstance(registry.auth, BearerAuth)
        [token] = registry.auth.requests
        assert sorted(token.scopes) == ["repository:team/other:pull", f"repository:{REPOSITORY}:pull,push"]


@pytest.mark.parametrize("auth", [BasicAuth(user="ci", password="secret"), bearer()], ids=["basic", "bearer"])
def test_one_at_a_time_one_401_is_enough(auth: Auth) -> None:
    with FakeRegistry(auth=auth) as registry:
        given = fill(registry, 2)
        published(Scene.of(registry, environ_for(registry)).create(*given, concurrency=1))
        assert len([request for request in registry.find() if request.status == 401]) == 1
        assert len([request for request in sent(registry) if "/token" not in request]) == 2 * 2 + 3


def test_a_token_that_expires_meanwhile_is_renewed_and_nothing_is_lost() -> None:
    auth = BearerAuth(users={"ci": "secret"}, uses=4)
    with FakeRegistry(auth=auth) as registry:
        given = fill(registry, 8)
        published(Scene.of(registry, environ_for(registry)).create(*given, concurrency=2))
        assert len(auth.requests) > 1
        assert len([request for request in sent(registry) if "/token" not in request]) == 2 * 8 + 3


def test_credentials_do_not_follow_a_redirect() -> None:
    with FakeRegistry(auth=bearer()) as registry, BlobHost(registry) as host:
        given = fill(registry, 2)
        registry.faults.add(redirect(host.url), path="/blobs/", times=FOREVER)
        published(Scene.of(registry, environ_for(registry)).create(*given))
        assert (len(host.find()), host.authorizations) == (2, [])


@pytest.mark.parametrize("allowed", [set(), {"pull"}])
def test_a_missing_permission_is_4_and_says_so(allowed: set[str]) -> None:
    auth = BearerAuth(users={"ci": "secret"}, permissions={REPOSITORY: allowed})
    with FakeRegistry(auth=auth) as registry:
        given = fill(registry, 2)
        created = Scene.of(registry, environ_for(registry)).create(*given)
        assert (created.exit_code, created.published) == (4, Published.NO)
        assert registry.manifest_puts == []
        assert "secret" not in str(created)
