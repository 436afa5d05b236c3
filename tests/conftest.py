"""What all tests share: no connection leaves this machine, and nobody's own configuration is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.certificates import Certificates, make_certificates
from tests.support.fake_registry import FakeRegistry
from tests.support.network_guard import guard_network
from tests.support.real import require_real
from tests.support.real_registry import RealRegistry
from tests.support.tools import Tools, isolated_tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# How long an example takes depends on what else the machine does; that is nothing a test should fail by.
settings.register_profile("manifestctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("manifestctl")
# A thread that still looks for credentials when its test is over sees the environment around all tests.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[list[str]]:
    blocked, undo = guard_network()
    yield blocked
    undo()


@pytest.fixture(autouse=True)
def _stays_on_loopback(network: list[str]) -> Iterator[None]:
    before = len(network)
    yield
    assert network[before:] == [], "the test tried to leave this machine"


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in (
        "DOCKER_AUTH_CONFIG",
        "DOCKER_CONFIG",
        "REGISTRY_AUTH_FILE",
        "XDG_RUNTIME_DIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "GITHUB_OUTPUT",
        "GITHUB_STEP_SUMMARY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # boto3 would look for the role of this machine.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """Return an empty fake registry without authentication."""
    with FakeRegistry() as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return an authority, a server certificate for loopback, and a client certificate."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def real_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """Return a CNCF Distribution registry on plain HTTP, without authentication, shared by a worker's tests."""
    require_real("docker-registry")
    with RealRegistry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """Return skopeo, podman and buildah with storage and configuration of their own."""
    require_real("skopeo", "podman", "buildah")
    with isolated_tools(tmp_path_factory.mktemp("tools")) as found:
        yield found


@pytest.fixture
def fixtures(request: pytest.FixtureRequest) -> Path:
    """Return the directory of fixtures."""
    return request.config.rootpath / "fixtures"
