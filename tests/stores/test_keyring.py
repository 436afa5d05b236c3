"""Who opens Amazon's registries: stored log-ins and AWS credentials, against AWS and both registries on real sockets."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from manifestctl.aws.settings import AwsSettings
from manifestctl.errors import DeniedError, InputError, ManifestctlError
from manifestctl.events import Noted, Warned
from manifestctl.model.reference import Reference
from manifestctl.stores.ahead import Ahead
from manifestctl.stores.keyring import Keyring
from manifestctl.stores.locate import Stores
from manifestctl.transport.credentials import Chain, Credential
from manifestctl.transport.meter import Meter
from manifestctl.transport.retry import Retries
from manifestctl.transport.settings import TransportSettings
from tests.support import images
from tests.support.certificates import Certificates, make_certificates
from tests.support.ecr_front import HOSTS
from tests.support.ecr_private import hosts_of
from tests.support.ecr_world import EcrWorld
from tests.support.reach import Known
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.aws.settings import Use
    from manifestctl.transport.credentials import CredentialSource

PRIVATE = (("123456789012", "eu-west-1"), ("210987654321", "eu-west-1"), ("123456789012", "us-west-2"))
ONE, TWO, FAR = (hosts_of(account, region)[0] for account, region in PRIVATE)
PUBLIC, DUAL_STACK = "public.ecr.aws", "ecr-public.aws.com"
CI = Credential("the test", "ci", "pass-word-of-ci")
IMAGE = images.image("linux/amd64")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    hosts = (*HOSTS, *hosts_of("123456789012"), *hosts_of("123456789012", "us-west-2"), TWO)
    return make_certificates(tmp_path_factory.mktemp("certificates"), hosts=hosts)


class Scene:
    """Amazon's registries with a repository ``web`` and ``api`` in each, and the world of a run that reaches them."""

    def __init__(self, ecr: EcrWorld, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ecr, self.world, self.monkeypatch = ecr, world, monkeypatch
        for name in ("web", "api"):
            ecr.aws.add_repository(name)
            ecr.registry.put(f"acme/{name}", "1", IMAGE)
            ecr.private_registry.put(name, "1", IMAGE)
            for account, region in PRIVATE:
                ecr.aws.add_private_repository(name, account=account, region=region)
        ecr.proxy.places[f"{TWO}:443"] = ecr.proxy.places[f"{ONE}:443"]
        self.be(ecr.environ)

    def be(self, environ: dict[str, str]) -> None:
        """Be somebody else."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            self.monkeypatch.delenv(name)
        self.world.environ.clear()
        self.world.environ.update(environ)
        for name, value in environ.items():
            self.monkeypatch.setenv(name, value)

    def stores(self, use: Use = "auto", *, cached: bool = True, create: bool = False) -> Stores:
        """Return the stores of a new run."""
        settings = AwsSettings(use, token_cache=cached, create_repositories=create)
        return Stores.of_system(self.world.runtime, TransportSettings(ca_file=self.ecr.ca_file), settings)

    def log_in(self, host: str, *, password: str = "", user: str = "AWS", **more: object) -> None:
        """Write Docker's configuration."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        document = ({"auths": {host: {"auth": auth}}} if password else {}) | more
        (self.ecr.home / ".docker").mkdir(exist_ok=True)
        (self.ecr.home / ".docker/config.json").write_text(json.dumps(document))

    def helper(self, script: str) -> None:
        """Install a credential helper ``x``."""
        path = self.ecr.home / "docker-credential-x"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.world.environ["PATH"] = f"{self.ecr.home}:/usr/bin:/bin"

    @property
    def calls(self) -> list[str]:
        return self.ecr.aws.operations

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.world.heard(Warned)]

    def schemes(self) -> set[str]:
        """Return how requests to ``/v2/`` of ECR Public were authorized."""
        found = self.ecr.public.find(path_regex="^/v2/")
        return {request.authorization.partition(" ")[0] if request.authorization else "" for request in found}

    def check_quiet(self, *errors: ManifestctlError) -> None:
        shown = [repr(self.world.events), *(f"{error!r} {error.hint}" for error in errors)]
        assert [text for text in shown for secret in (*self.ecr.secrets, "stale-password") if secret in text] == []


@pytest.fixture
def scene(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    world = World(now=time.time())
    with EcrWorld(
        tmp_path,
        regions=("eu-west-1", "us-west-2"),
        clock=lambda: world.now,
        monotonic=world.runtime.monotonic,
        certificates=certificates,
    ) as ecr:
        yield Scene(ecr, world, monkeypatch)
        settle()


def settle() -> None:
    """Wait for the threads that work ahead."""
    for thread in threading.enumerate():
        if thread.name == "manifestctl-ahead":
            thread.join(20)
            assert not thread.is_alive()


def at(host: str, name: str = "web", tag: str = "1") -> Reference:
    return Reference(host, f"acme/{name}" if host in HOSTS else name, tag)


def read(stores: Stores, *references: Reference) -> None:
    for reference in references:
        assert stores(reference).read_manifest(reference.tag or "").raw == IMAGE.manifest


def write(stores: Stores, reference: Reference) -> None:
    content = stores(reference, write=True).read_manifest("1")
    stores(reference, write=True).write_manifest(content, "2")


# Which sources a registry has.


def keyring(aws: AwsSettings | None, stored: CredentialSource, environ: dict[str, str] | None = None) -> Keyring:
    world, settings = World(environ), TransportSettings()
    return Keyring(stored, Ahead(world.runtime), Retries(world.runtime, Meter(), tries=1, deadline=1), settings, aws)


@pytest.mark.parametrize(
    ("aws", "registry", "stored_alone"),
    [
        (None, PUBLIC, True),
        (AwsSettings("never"), PUBLIC, True),
        (AwsSettings(), PUBLIC, False),
        (AwsSettings(), DUAL_STACK, False),
        (AwsSettings(), ONE, False),
        (AwsSettings("always"), PUBLIC, False),
        (AwsSettings(), "registry.example", True),
        (AwsSettings("always"), "registry.example", True),
        (AwsSettings("always"), f"{PUBLIC}:8443", True),
    ],
)
def test_aws_is_for_amazons_registries_alone(aws: AwsSettings | None, registry: str, stored_alone: bool) -> None:
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


def test_a_repository_is_made_when_a_write_finds_it_missing(scene: Scene) -> None:
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
def test_one_token_for_all_repositories_of_ecr_public(scene: Scene, early: bool) -> None:
    with scene.stores() as stores:
        for reference in (at(PUBLIC), at(DUAL_STACK, "api")) if early else ():
            stores.reach(reference, 2)
        read(stores, at(PUBLIC), at(PUBLIC, "api"), at(DUAL_STACK))
        write(stores, at(PUBLIC, "api"))
    assert scene.calls == ["GetAuthorizationToken"]
    assert scene.schemes() <= {"Bearer", ""}
    assert scene.ecr.registry.tag("acme/api", "2") is not None
    assert scene.warnings == []


def test_threads_share_it(scene: Scene) -> None:
    references = [at(host, name) for host in (PUBLIC, ONE) for name in ("web", "api")]
    with scene.stores() as stores:
        for reference in references:
            stores.reach(reference, 2)
            stores(reference)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda reference: read(stores, reference), references * 2))
    assert scene.calls == ["GetAuthorizationToken"] * 2


def test_a_copy_between_two_accounts_of_a_region_needs_one(scene: Scene) -> None:
    with scene.stores() as stores:
        stores.reach(at(ONE), 1)
        stores.reach(at(TWO), 1)
        read(stores, at(ONE), at(ONE, "api"))
        # The other account's registry knows whose token it is; what it lacks is a policy.
        with pytest.raises(DeniedError, match=r"arn:aws:ecr:eu-west-1:210987654321:repository/api"):
            read(stores, at(TWO, "api"))
    assert scene.calls == ["GetAuthorizationToken"]


def test_regions_have_their_own(scene: Scene) -> None:
    with scene.stores() as stores:
        read(stores, at(ONE), at(FAR))
    assert [(call.service, call.region) for call in scene.ecr.aws.calls] == [("ecr", "eu-west-1"), ("ecr", "us-west-2")]


def test_the_next_run_makes_no_call(scene: Scene) -> None:
    for _ in range(3):
        with scene.stores() as stores:
            stores.reach(at(PUBLIC), 1)
            read(stores, at(PUBLIC), at(ONE))
    assert scene.calls == ["GetAuthorizationToken"] * 2
    kept = list((scene.ecr.home / ".cache/manifestctl/tokens").iterdir())
    assert len(kept) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_without_the_cache_each_run_makes_one(scene: Scene) -> None:
    for _ in range(2):
        with scene.stores(cached=False) as stores:
            read(stores, at(PUBLIC))
    assert scene.calls == ["GetAuthorizationToken"] * 2
    assert not (scene.ecr.home / ".cache").exists()


def test_somebody_else_gets_a_token_of_their_own(scene: Scene) -> None:
    with scene.stores() as stores:
        read(stores, at(PUBLIC))
    scene.be(scene.ecr.environment(access_key=scene.ecr.aws.add_key()))
    with scene.stores() as stores:
        read(stores, at(PUBLIC))
    assert len({call.access_key for call in scene.ecr.aws.calls}) == 2


# Tokens that go bad.


@pytest.mark.parametrize("host", [PUBLIC, ONE])
@pytest.mark.parametrize("how", ["revoke_tokens", "expire_tokens"])
def test_a_kept_token_that_is_refused_is_renewed_once_and_replaced(scene: Scene, host: str, how: str) -> None:
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
def test_a_token_that_expires_in_the_middle_of_a_run_is_renewed_again_and_again(scene: Scene, host: str) -> None:
    with scene.stores() as stores:
        for number in range(1, 5):
            read(stores, at(host), at(host, "api"))
            assert scene.calls == ["GetAuthorizationToken"] * number
            scene.ecr.aws.expire_tokens()
    assert scene.warnings == []


@pytest.mark.parametrize("host", [PUBLIC, ONE])
def test_a_permission_that_is_missing_renews_nothing(scene: Scene, host: str) -> None:
    front = scene.ecr.public if host == PUBLIC else scene.ecr.private
    front.deny("PutImage")
    with scene.stores() as stores, pytest.raises(DeniedError, match="PutImage"):
        write(stores, at(host))
    assert scene.calls == ["GetAuthorizationToken"]


# Nobody, and somebody who may not.


def test_nobody_reads_what_all_may_read(scene: Scene) -> None:
    scene.be(scene.ecr.environment(source=None))
    with scene.stores() as stores:
        stores.reach(at(PUBLIC), 1)
        read(stores, at(PUBLIC), at(PUBLIC, "api"))
    assert scene.calls == []
    notes = [event.message for event in scene.world.heard(Noted)]
    assert notes == ["no AWS credentials were found for public.ecr.aws; it is asked without any"]
    assert not (scene.ecr.home / ".cache").exists()


def test_nobody_does_not_read_a_private_registry(scene: Scene) -> None:
    scene.be(scene.ecr.environment(source=None))
    with scene.stores() as stores, pytest.raises(DeniedError):
        read(stores, at(ONE))
    assert scene.calls == []


@pytest.mark.parametrize("early", [False, True])
def test_whoever_is_denied_a_token_is_not_nobody(scene: Scene, early: bool) -> None:
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
def test_a_stored_log_in_comes_first(scene: Scene, host: str) -> None:
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
def test_a_stored_log_in_that_is_refused_does_not_stand_in_the_way(scene: Scene, host: str, early: bool) -> None:
    scene.log_in(host, password="stale-password")
    with scene.stores() as stores:
        if early:
            stores.reach(at(host), 1)
        write(stores, at(host))
    assert scene.calls == ["GetAuthorizationToken"]
    assert len(scene.warnings) == 1
    assert "config.json" in scene.warnings[0]
    assert "AWS credentials" in scene.warnings[0]
    scene.check_quiet()


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
def test_a_helper_that_fails_does_not_stand_in_the_way(scene: Scene, script: str | None, why: str, early: bool) -> None:
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
    assert len(set(scene.warnings)) == 1
    assert why in scene.warnings[0]
    assert scene.warnings[0].endswith("AWS credentials are tried instead")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 1}', '{"credHelpers": {"public.ecr.aws": "../x"}}'])
def test_a_configuration_that_is_broken_stays_an_error(scene: Scene, text: str, early: bool) -> None:
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


def test_aws_instead_of_what_is_stored(scene: Scene) -> None:
    scene.log_in(PUBLIC)
    (scene.ecr.home / ".docker/config.json").write_text("{ broken")
    with scene.stores("always") as stores:
        write(stores, at(PUBLIC))
    assert scene.calls == ["GetAuthorizationToken"]
    assert scene.warnings == []


def test_what_is_stored_instead_of_aws(scene: Scene) -> None:
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


def test_a_token_is_got_before_it_is_needed(scene: Scene) -> None:
    with scene.stores() as stores:
        stores.reach(at(PUBLIC), 1)
        settle()
        assert scene.calls == ["GetAuthorizationToken"]
        assert scene.ecr.public.count() == 0
        read(stores, at(PUBLIC))
    assert scene.calls == ["GetAuthorizationToken"]


def test_a_run_that_needs_no_token_hears_nothing(scene: Scene) -> None:
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
def test_nothing_is_got_for_others(scene: Scene, host: str) -> None:
    with scene.stores() as stores:
        stores.keys.begin(host, "web")
        assert not [thread for thread in threading.enumerate() if thread.name == "manifestctl-ahead"]
    assert scene.ecr.aws.count() == 0
