"""Who opens Amazon's registries: stored log-ins and AWS credentials, against AWS and both registries on real sockets."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from manifestctl.aws.settings import AwsSettings
from manifestctl.errors import DeniedError, InputError
from manifestctl.events import Noted, Warned
from manifestctl.stores.ahead import Ahead
from manifestctl.stores.keyring import Keyring
from manifestctl.transport.credentials import Chain, Credential
from manifestctl.transport.meter import Meter
from manifestctl.transport.retry import Retries
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import respond
from tests.support.ecr_scene import (
    DUAL_STACK,
    FAR,
    IMAGE,
    ONE,
    PUBLIC,
    TWO,
    EcrScene,
    at,
    ecr_scene,
    read,
    scene_certificates,
    settle,
    write,
)
from tests.support.faults import FOREVER
from tests.support.http_message import registry_error
from tests.support.reach import Known
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.transport.credentials import CredentialSource
    from tests.support.certificates import Certificates

CI = Credential("the test", "ci", "pass-word-of-ci")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return scene_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def scene(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrScene]:
    with ecr_scene(tmp_path, certificates, monkeypatch) as made:
        yield made


# Which sources a registry has.


def keyring(aws: AwsSettings | None, stored: CredentialSource, environ: dict[str, str] | None = None) -> Keyring:
    world, settings = World(environ), TransportSettings()
    return Keyring(stored, Ahead(world.runtime), Retries(world.runtime, Meter(), tries=1, deadline=1), settings, aws)


@pytest.mark.parametrize(
    ("aws", "registry", "stored_alone"),
    [
        (None, PUBLIC, True),
        (AwsSettings("never"), PUBLIC, False),
        (AwsSettings(), PUBLIC, False),
        (AwsSettings(), DUAL_STACK, False),
        (AwsSettings(), ONE, False),
        (AwsSettings("always"), PUBLIC, False),
        (AwsSettings(), "registry.example", True),
        (AwsSettings("always"), "registry.example", True),
        (AwsSettings("always"), f"{PUBLIC}:8443", True),
    ],
)
def test_amazons_registries_have_sources_of_their_own(
    aws: AwsSettings | None, registry: str, stored_alone: bool
) -> None:
    stored = Chain([Known(CI)])
    keys = keyring(aws, stored)
    assert (keys.chain(registry) is stored) is stored_alone
    assert keys.chain(registry) is keys.chain(registry)
    assert keys.use == (aws.use if aws else "never")


def test_registries_of_amazons_share_a_chain() -> None:
    keys = keyring(AwsSettings(), Known(CI))
    assert keys.chain(PUBLIC) is keys.chain(ONE)
    assert keys.chain(PUBLIC).credential(PUBLIC, "acme/web") == CI


@pytest.mark.parametrize(
    ("aws", "environ", "there"),
    [
        (AwsSettings(), {"HOME": "/home/u"}, True),
        (AwsSettings(token_cache=False), {"HOME": "/home/u"}, False),
        (AwsSettings(), {}, False),
        (None, {"HOME": "/home/u"}, False),
    ],
)
def test_where_tokens_are_kept(aws: AwsSettings | None, environ: dict[str, str], there: bool) -> None:
    assert (keyring(aws, Known(CI), environ).token_cache() is not None) is there


@pytest.mark.parametrize(
    ("aws", "registry"),
    [
        (None, PUBLIC),
        (AwsSettings(), PUBLIC),
        (AwsSettings(create_repositories=True), "registry.example"),
    ],
)
def test_nobody_makes_a_repository_that_nobody_wants(aws: AwsSettings | None, registry: str) -> None:
    assert keyring(aws, Known(CI)).maker(at(registry)) is None


def test_a_repository_is_not_made_without_aws() -> None:
    make = keyring(AwsSettings("never", create_repositories=True), Known(CI)).maker(at(PUBLIC))
    assert make is not None
    with pytest.raises(InputError, match=r"public\.ecr\.aws/acme/web does not exist") as caught:
        make()
    assert "--no-aws" in caught.value.hint


def test_a_repository_is_made_when_a_write_finds_it_missing(scene: EcrScene) -> None:
    with scene.stores(create=True) as stores:
        content = stores(at(PUBLIC)).read_manifest("1")
        assert "new" not in scene.ecr.aws.registry.repositories
        store = stores(at(PUBLIC, "new"), write=True)
        scene.ecr.registry.put("acme/new", "0", IMAGE)
        store.write_manifest(content, "1")
    assert "new" in scene.ecr.aws.registry.repositories
    assert scene.ecr.registry.tag("acme/new", "1") is not None
    assert scene.calls.count("CreateRepository") == scene.calls.count("GetAuthorizationToken") == 1


# One call to AWS a run.


@pytest.mark.parametrize("early", [False, True])
def test_one_token_for_all_repositories_of_ecr_public(scene: EcrScene, early: bool) -> None:
    with scene.stores() as stores:
        for reference in (at(PUBLIC), at(DUAL_STACK, "api")) if early else ():
            stores.reach(reference, 2)
        read(stores, at(PUBLIC), at(PUBLIC, "api"), at(DUAL_STACK))
        write(stores, at(PUBLIC, "api"))
    assert scene.calls == ["GetAuthorizationToken"]
    assert scene.schemes() <= {"Bearer", ""}
    assert scene.ecr.registry.tag("acme/api", "2") is not None
    assert scene.warnings == []


def test_threads_share_it(scene: EcrScene) -> None:
    references = [at(host, name) for host in (PUBLIC, ONE) for name in ("web", "api")]
    with scene.stores() as stores:
        for reference in references:
            stores.reach(reference, 2)
            stores(reference)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda reference: read(stores, reference), references * 2))
    assert scene.calls == ["GetAuthorizationToken"] * 2


def test_a_copy_between_two_accounts_of_a_region_needs_one(scene: EcrScene) -> None:
    with scene.stores() as stores:
        stores.reach(at(ONE), 1)
        stores.reach(at(TWO), 1)
        read(stores, at(ONE), at(ONE, "api"))
        # The other account's registry knows whose token it is; what it lacks is a policy.
        with pytest.raises(DeniedError, match=r"arn:aws:ecr:eu-west-1:210987654321:repository/api"):
            read(stores, at(TWO, "api"))
    assert scene.calls == ["GetAuthorizationToken"]


def test_regions_have_their_own(scene: EcrScene) -> None:
    with scene.stores() as stores:
        read(stores, at(ONE), at(FAR))
    assert [(call.service, call.region) for call in scene.ecr.aws.calls] == [("ecr", "eu-west-1"), ("ecr", "us-west-2")]


def test_the_next_run_makes_no_call(scene: EcrScene) -> None:
    for _ in range(3):
        with scene.stores() as stores:
            stores.reach(at(PUBLIC), 1)
            read(stores, at(PUBLIC), at(ONE))
    assert scene.calls == ["GetAuthorizationToken"] * 2
    kept = list((scene.ecr.home / ".cache/manifestctl/tokens").iterdir())
    assert len(kept) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_without_the_cache_each_run_makes_one(scene: EcrScene) -> None:
    for _ in range(2):
        with scene.stores(cached=False) as stores:
            read(stores, at(PUBLIC))
    assert scene.calls == ["GetAuthorizationToken"] * 2
    assert not (scene.ecr.home / ".cache").exists()


def test_somebody_else_gets_a_token_of_their_own(scene: EcrScene) -> None:
    with scene.stores() as stores:
        read(stores, at(PUBLIC))
    scene.be(scene.ecr.environment(access_key=scene.ecr.aws.add_key()))
    with scene.stores() as stores:
        read(stores, at(PUBLIC))
    assert len({call.access_key for call in scene.ecr.aws.calls}) == 2


# Tokens that go bad.


@pytest.mark.parametrize("host", [PUBLIC, ONE])
@pytest.mark.parametrize("how", ["revoke_tokens", "expire_tokens"])
def test_a_kept_token_that_is_refused_is_renewed_once_and_replaced(scene: EcrScene, host: str, how: str) -> None:
    with scene.stores() as stores:
        read(stores, at(host))
    getattr(scene.ecr.aws, how)()
    with scene.stores() as stores:
        read(stores, at(host), at(host, "api"))
        write(stores, at(host))
    assert scene.calls == ["GetAuthorizationToken"] * 2
    with scene.stores() as stores:
        read(stores, at(host))
    assert scene.calls == ["GetAuthorizationToken"] * 2
    scene.check_quiet()


@pytest.mark.parametrize("host", [PUBLIC, ONE])
def test_a_token_that_expires_in_the_middle_of_a_run_is_renewed_again_and_again(scene: EcrScene, host: str) -> None:
    with scene.stores() as stores:
        for number in range(1, 5):
            read(stores, at(host), at(host, "api"))
            assert scene.calls == ["GetAuthorizationToken"] * number
            scene.ecr.aws.expire_tokens()
    assert scene.warnings == []


@pytest.mark.parametrize("host", [PUBLIC, ONE])
def test_threads_renew_it_once(scene: EcrScene, host: str) -> None:
    references = [at(host), at(host, "api")]
    with scene.stores() as stores:
        read(stores, *references)
        scene.ecr.aws.revoke_tokens()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda reference: read(stores, reference), references * 16))
    assert scene.calls == ["GetAuthorizationToken"] * 2


EXPIRED = "Your authorization token has expired. Reauthenticate and try again."
LACKING = "User: x is not authorized to perform: ecr:PutImage on resource: y because no identity-based policy allows it"
QUOTA = "Adding tag 't' exceeds the maximum allowed number of tags per image which is '1000'"


@pytest.mark.parametrize("host", [PUBLIC, ONE])
@pytest.mark.parametrize(
    ("text", "calls"), [(LACKING, 1), (QUOTA, 1), ("requested access to the resource is denied", 1), (EXPIRED, 2)]
)
def test_a_denial_that_stays_costs_one_token_at_most(scene: EcrScene, host: str, text: str, calls: int) -> None:
    front = scene.ecr.public if host == PUBLIC else scene.ecr.private
    front.faults.add(respond(lambda: registry_error(403, "DENIED", text)), method="PUT", times=FOREVER)
    with scene.stores() as stores:
        for _ in range(2):
            with pytest.raises(DeniedError):
                write(stores, at(host))
    assert scene.calls == ["GetAuthorizationToken"] * calls


def test_a_head_that_is_denied_without_a_word_costs_one_token(scene: EcrScene) -> None:
    scene.ecr.private.deny("BatchGetImage")
    with scene.stores() as stores:
        for _ in range(2):
            with pytest.raises(DeniedError, match="BatchGetImage"):
                stores(at(ONE)).resolve("1")
    # The run got the token itself, so it is a permission that is missing.
    assert scene.calls == ["GetAuthorizationToken"]


# Nobody, and somebody who may not.


def test_nobody_reads_what_all_may_read(scene: EcrScene) -> None:
    scene.be(scene.ecr.environment(source=None))
    with scene.stores() as stores:
        stores.reach(at(PUBLIC), 1)
        read(stores, at(PUBLIC), at(PUBLIC, "api"))
    assert scene.calls == []
    notes = [event.message for event in scene.world.heard(Noted)]
    assert notes == ["no AWS credentials were found for public.ecr.aws"]
    assert not (scene.ecr.home / ".cache").exists()


def test_nobody_does_not_read_a_private_registry(scene: EcrScene) -> None:
    scene.be(scene.ecr.environment(source=None))
    with scene.stores() as stores, pytest.raises(DeniedError):
        read(stores, at(ONE))
    assert scene.calls == []


@pytest.mark.parametrize("early", [False, True])
def test_whoever_is_denied_a_token_is_not_nobody(scene: EcrScene, early: bool) -> None:
    scene.ecr.aws.deny("sts:GetServiceBearerToken")
    with scene.stores() as stores:
        if early:
            stores.reach(at(PUBLIC), 1)
            settle()
        assert scene.world.events == []
        for name in ("web", "api"):
            with pytest.raises(DeniedError, match="sts:GetServiceBearerToken") as caught:
                read(stores, at(PUBLIC, name))
            scene.check_quiet(caught.value)
    assert scene.calls == ["GetAuthorizationToken"]
    assert scene.ecr.public.anonymous_tokens == 0


# Stored log-ins.


@pytest.mark.parametrize("host", [PUBLIC, ONE])
def test_a_stored_log_in_comes_first(scene: EcrScene, host: str) -> None:
    token = scene.ecr.aws.token("ecr-public" if host == PUBLIC else "ecr")
    scene.log_in(host, password=token.password)
    with scene.stores() as stores:
        stores.reach(at(host), 1)
        write(stores, at(host))
        settle()
    assert scene.calls == []
    assert scene.warnings == []


@pytest.mark.parametrize("host", [PUBLIC, ONE])
@pytest.mark.parametrize("early", [False, True])
def test_a_stored_log_in_that_is_refused_does_not_stand_in_the_way(scene: EcrScene, host: str, early: bool) -> None:
    scene.log_in(host, password="stale-password")
    with scene.stores() as stores:
        if early:
            stores.reach(at(host), 1)
        write(stores, at(host))
        read(stores, at(host, "api"))
    assert scene.calls == ["GetAuthorizationToken"]
    assert len(scene.warnings) == 1
    assert "config.json" in scene.warnings[0]
    assert "AWS credentials" in scene.warnings[0]
    scene.check_quiet()


@pytest.mark.parametrize("host", [PUBLIC, ONE])
def test_a_stored_log_in_that_is_refused_is_told_if_there_is_nothing_else(scene: EcrScene, host: str) -> None:
    scene.log_in(host, password="stale-password")
    scene.ecr.aws.deny("*:GetAuthorizationToken")
    with scene.stores() as stores, pytest.raises(DeniedError, match="GetAuthorizationToken") as caught:
        read(stores, at(host))
    (warning,) = scene.warnings
    assert warning.startswith(f"{host} refused the credentials (auths['{host}'] in ")
    scene.check_quiet(caught.value)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo the keychain is locked; exit 1", "the keychain is locked"),
        ("echo garbage", "not JSON"),
        ("exit 3", "status 3"),
        ("", "not JSON"),
        (None, "not installed"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_a_helper_that_fails_does_not_stand_in_the_way(
    scene: EcrScene, script: str | None, why: str, early: bool
) -> None:
    scene.log_in(PUBLIC, credHelpers={PUBLIC: "x"})
    if script is not None:
        scene.helper(script)
    with scene.stores() as stores:
        if early:
            stores.reach(at(PUBLIC), 1)
            settle()
            assert scene.warnings == []
        write(stores, at(PUBLIC))
        read(stores, at(PUBLIC, "api"))
    assert scene.calls == ["GetAuthorizationToken"]
    assert len(scene.warnings) == 1
    assert why in scene.warnings[0]
    assert scene.warnings[0].endswith("AWS credentials are tried instead")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 1}', '{"credHelpers": {"public.ecr.aws": "../x"}}'])
def test_a_configuration_that_is_broken_stays_an_error(scene: EcrScene, text: str, early: bool) -> None:
    scene.log_in(PUBLIC)
    path = scene.ecr.home / ".docker/config.json"
    path.write_text(text)
    with scene.stores() as stores:
        if early:
            stores.reach(at(PUBLIC), 1)
            settle()
        with pytest.raises(InputError, match=r"config\.json"):
            read(stores, at(PUBLIC))
    assert scene.calls == []
    assert path.read_text() == text


def test_aws_instead_of_what_is_stored(scene: EcrScene) -> None:
    scene.log_in(PUBLIC)
    (scene.ecr.home / ".docker/config.json").write_text("{ broken")
    with scene.stores("always") as stores:
        write(stores, at(PUBLIC))
    assert scene.calls == ["GetAuthorizationToken"]
    assert scene.warnings == []


def test_what_is_stored_instead_of_aws(scene: EcrScene) -> None:
    with scene.stores("never") as stores:
        stores.reach(at(PUBLIC), 1)
        read(stores, at(PUBLIC))
        with pytest.raises(DeniedError):
            write(stores, at(PUBLIC))
    assert scene.ecr.aws.count() == 0
    scene.log_in(PUBLIC, password=scene.ecr.aws.token().password)
    with scene.stores("never") as stores:
        write(stores, at(PUBLIC))
    assert scene.ecr.aws.count() == 0


# Ahead of the first request.


def test_a_token_is_got_before_it_is_needed(scene: EcrScene) -> None:
    with scene.stores() as stores:
        stores.reach(at(PUBLIC), 1)
        settle()
        assert scene.calls == ["GetAuthorizationToken"]
        assert scene.ecr.public.count() == 0
        read(stores, at(PUBLIC))
    assert scene.calls == ["GetAuthorizationToken"]


def test_a_run_that_needs_no_token_hears_nothing(scene: EcrScene) -> None:
    scene.be(scene.ecr.environment(source=None))
    scene.log_in(PUBLIC, credHelpers={PUBLIC: "x"})
    scene.world.environ["REGISTRY_AUTH_FILE"] = "/nonexistent/auth.json"
    with scene.stores() as stores:
        stores.reach(at(PUBLIC), 1)
        settle()
        assert scene.world.events == []
        read(stores, at(PUBLIC))
        assert len(scene.world.heard(Warned)) == 2
        assert len(scene.world.heard(Noted)) == 1


@pytest.mark.parametrize("host", ["registry.example", "localhost:1"])
def test_nothing_is_got_for_others(scene: EcrScene, host: str) -> None:
    with scene.stores() as stores:
        stores.keys.begin(host, "web")
        assert not [thread for thread in threading.enumerate() if thread.name == "manifestctl-ahead"]
    assert scene.ecr.aws.count() == 0


class Broken:
    """A helper that fails."""

    def credential(self, registry: str, repository: str) -> Credential | None:
        raise DeniedError("docker-credential-x failed")

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        raise AssertionError("it gave nothing")


def test_without_aws_a_helper_that_fails_does_not_stand_in_the_way_either() -> None:
    world = World()
    retries = Retries(world.runtime, Meter(), tries=1, deadline=1)
    stored = Chain([Broken(), Known(CI)])
    keys = Keyring(stored, Ahead(world.runtime), retries, TransportSettings(), AwsSettings("never"))
    assert keys.chain(PUBLIC).credential(PUBLIC, "acme/web") == CI
    assert world.heard(Warned) == [Warned("docker-credential-x failed; it is passed over")]
    with pytest.raises(DeniedError):
        keys.chain("registry.example").credential("registry.example", "web")
