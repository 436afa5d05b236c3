"""From a location to its store: what is shared, what is made only when it is needed, and what is closed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import InputError, UnreachableError
from manifestctl.model.location import LayoutLocation
from manifestctl.model.reference import Reference
from manifestctl.stores.layout import LayoutStore
from manifestctl.stores.locate import Stores
from manifestctl.stores.registry import RegistryStore
from manifestctl.transport.credentials import Chain, Credential
from manifestctl.transport.settings import TransportSettings
from tests.support import images
from tests.support.actions import status
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import basic_authorization
from tests.support.reach import Known
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from manifestctl.transport.credentials import CredentialSource
    from tests.support.certificates import Certificates

WEB, API = "team/web", "team/api"
CI = Credential("the test", "ci", "pass-word-of-ci")
IMAGE = images.image("linux/amd64")


def known(*credentials: Credential) -> Callable[[], CredentialSource]:
    return lambda: Chain([Known(credential) for credential in credentials])


def opened(world: World | None = None, settings: TransportSettings | None = None) -> Stores:
    return Stores(settings or TransportSettings(), known(), (world or World()).runtime)


def at(registry: FakeRegistry | str, repository: str = WEB) -> Reference:
    return Reference(registry if isinstance(registry, str) else registry.host, repository, "1")


def test_one_store_a_repository_and_one_a_directory(registry: FakeRegistry, tmp_path: Path) -> None:
    with opened() as stores:
        web = stores(at(registry))
        assert isinstance(web, RegistryStore)
        assert stores(at(registry).with_tag("2"), write=True) is web
        assert stores(at(registry, API)) is not web
        layout = stores(LayoutLocation(str(tmp_path)))
        assert isinstance(layout, LayoutStore)
        assert stores(LayoutLocation(str(tmp_path), "1")) is layout
        assert (web.name, layout.name) == (f"{registry.host}/{WEB}", f"oci:{tmp_path}")
    assert registry.connections == 0


def test_a_layout_needs_no_credentials_and_no_network(tmp_path: Path) -> None:
    def none() -> CredentialSource:
        pytest.fail("nobody asked")

    images.write_layout(tmp_path / "layout", {"1": IMAGE})
    with Stores(TransportSettings(), none, World({"HTTPS_PROXY": "socks5://x"}).runtime) as stores:
        location = LayoutLocation(str(tmp_path / "layout"), "1")
        stores.reach(location, 4)
        assert stores(location).read_manifest("1").raw == IMAGE.manifest


def test_repositories_of_a_registry_share_its_token_and_its_connection() -> None:
    auth = BearerAuth(users={"ci": CI.password})
    with FakeRegistry(auth=auth) as registry:
        registry.put(WEB, "1", IMAGE)
        registry.put(API, "1", IMAGE)
        made: list[int] = []

        def credentials() -> CredentialSource:
            made.append(1)
            return known(CI)()

        with Stores(TransportSettings(), credentials, World().runtime) as stores:
            opened_ = [stores(at(registry, WEB)), stores(at(registry, API), write=True)]
            for store in opened_:
                store.read_manifest("1")
            assert stores.meter.counts()["sent"] == registry.count() == 4
        assert made == [1]
        assert registry.used_connections == 1
    assert [request.scopes for request in auth.requests] == [
        (f"repository:{WEB}:pull", f"repository:{API}:pull,push"),
    ]


def test_a_source_that_is_no_chain_is_asked_once() -> None:
    source = Known(CI)
    with FakeRegistry(auth=BearerAuth(users={"ci": CI.password})) as registry:
        registry.put(WEB, "1", IMAGE)
        with Stores(TransportSettings(), lambda: source, World().runtime) as stores:
            stores(at(registry)).read_manifest("1")
            stores(at(registry)).read_manifest("1")
    assert source.asked == [WEB]


def test_several_registries_have_their_own_clients() -> None:
    with FakeRegistry() as one, FakeRegistry() as two:
        one.put(WEB, "1", IMAGE)
        two.put(WEB, "1", IMAGE)
        with opened() as stores:
            for registry in (one, two):
                stores(at(registry)).read_manifest("1")
        assert (one.count(), two.count()) == (1, 1)


def test_connections_are_closed_in_the_end(registry: FakeRegistry) -> None:
    registry.put(WEB, "1", IMAGE)
    with opened() as stores:
        store = stores(at(registry))
        store.read_manifest("1")
    with pytest.raises(RuntimeError, match="closed"):
        store.read_manifest("1")


def test_nothing_opened_nothing_closed() -> None:
    with opened() as stores:
        assert stores.meter.counts()["sent"] == 0


def test_settings_decide_how_often_and_how_long_is_tried(registry: FakeRegistry) -> None:
    registry.faults.add(status(503), times=FOREVER)
    world = World()
    with opened(world, TransportSettings(retries=3)) as stores, pytest.raises(UnreachableError):
        stores(at(registry)).read_manifest("1")
    assert registry.count() == 3
    assert len(world.slept) == 2


@pytest.mark.parametrize(
    ("name", "origin", "manifests", "blobs"),
    [
        ("registry.example", "https://registry.example", None, None),
        ("Registry.Example:5000", "https://registry.example:5000", None, None),
        ("localhost:5000", "http://localhost:5000", None, None),
        ("docker.io", "https://registry-1.docker.io", None, None),
        ("public.ecr.aws", "https://public.ecr.aws", 8.0, 8.0),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", None, 8.0, None),
    ],
)
def test_the_profile_decides_origin_and_pace(
    name: str, origin: str | None, manifests: float | None, blobs: float | None
) -> None:
    world = World()
    with opened(world) as stores:
        stores(at(name))
        client = stores.client(name)
    assert client.origin == (origin or f"https://{name}")
    for pacer, rate in ((client.manifest_pacer, manifests), (client.blob_pacer, blobs)):
        assert (pacer is None) == (rate is None)
        if pacer is not None and rate is not None:
            world.slept.clear()
            for _ in range(11):
                pacer.wait()
            assert world.slept == pytest.approx([1 / rate])


def test_a_registry_that_is_reached_early_is_connected_to_once(registry: FakeRegistry) -> None:
    registry.put(WEB, "1", IMAGE)
    with opened() as stores:
        stores.reach(at(registry), 1)
        stores(at(registry)).read_manifest("1")
    assert registry.connections == 1
    assert registry.count() == 1


@pytest.mark.parametrize(
    "use",
    [lambda stores: stores.reach(at("registry.invalid"), 4), lambda stores: stores(at("registry.invalid"))],
    ids=["reach", "open"],
)
def test_options_that_cannot_be_used_are_found_before_anything_is_sent(use: Callable[[Stores], object]) -> None:
    with opened(World({"HTTPS_PROXY": "socks5://127.0.0.1"})) as stores:
        with pytest.raises(InputError, match="HTTPS_PROXY"):
            use(stores)
        assert stores.meter.counts()["sent"] == 0


def test_the_files_of_docker_are_where_credentials_come_from(tmp_path: Path) -> None:
    auth = BearerAuth(users={"ci": CI.password})
    with FakeRegistry(auth=auth) as registry:
        registry.put(WEB, "1", IMAGE)
        encoded = basic_authorization("ci", CI.password).removeprefix("Basic ")
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": encoded}}}))
        world = World({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})
        with Stores.of_system(world.runtime) as stores:
            stores(at(registry)).read_manifest("1")
    assert [request.user for request in auth.requests] == ["ci"]


def test_a_file_of_credentials_may_be_named(tmp_path: Path) -> None:
    auth = BearerAuth(users={"ci": CI.password})
    with FakeRegistry(auth=auth) as registry:
        registry.put(WEB, "1", IMAGE)
        encoded = basic_authorization("ci", CI.password).removeprefix("Basic ")
        file = tmp_path / "auth.json"
        file.write_text(json.dumps({"auths": {registry.host: {"auth": encoded}}}))
        world = World({"HOME": str(tmp_path)})
        with Stores.of_system(world.runtime, TransportSettings(authfile=file)) as stores:
            stores(at(registry)).read_manifest("1")
    assert [request.user for request in auth.requests] == ["ci"]


def test_a_loopback_registry_is_on_tls_if_an_authority_is_named(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        registry.put(WEB, "1", IMAGE)
        with opened(settings=TransportSettings(ca_file=certificates.authority)) as stores:
            assert stores(at(registry)).read_manifest("1").raw == IMAGE.manifest
