"""The real programs start, and take what the builders make."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX
from tests.support import images
from tests.support.certificates import make_certificates
from tests.support.pushing import Client, basic_authorization
from tests.support.real import available, require_real
from tests.support.real_registry import PASSWORD, USER, RealRegistry
from tests.support.token_server import TokenServer
from tests.support.tools import isolated_tools

if TYPE_CHECKING:
    from pathlib import Path


def test_a_program_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available("no-such-program") == "no-such-program is not installed"
    monkeypatch.delenv("MANIFESTCTL_E2E", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require_real("no-such-program")
    monkeypatch.setenv("MANIFESTCTL_E2E", "required")
    with pytest.raises(pytest.fail.Exception, match="MANIFESTCTL_E2E=required"):
        require_real("no-such-program")


def test_the_real_registry_takes_what_the_builders_make(tmp_path: Path) -> None:
    require_real("docker-registry")
    arm64 = images.image("linux/arm64", docker=True)
    with RealRegistry(tmp_path) as real, Client(real.url) as client:
        for made in (images.buildx_index([images.image("linux/amd64")]), images.index([arm64], docker=True)):
            client.push("a/b", "v1", made)
            accept = f"{OCI_INDEX}, {DOCKER_LIST}"
            got = client.request("GET", "/v2/a/b/manifests/v1", Accept=accept)
            assert (got.body, got.headers["content-type"]) == (made.manifest, made.media_type)


def test_the_real_registry_with_a_password_over_tls(tmp_path: Path) -> None:
    require_real("docker-registry")
    certificates = make_certificates(tmp_path / "certificates")
    trusting = certificates.client_context()
    with RealRegistry(tmp_path / "registry", certificates=certificates, basic=True) as real:
        for authorization, status in ((None, 401), (basic_authorization(USER, PASSWORD), 200)):
            with Client(real.url, context=trusting, authorization=authorization) as client:
                assert client.request("GET", "/v2/").status == status


def test_the_real_registry_with_tokens(tmp_path: Path) -> None:
    require_real("docker-registry")
    certificates = make_certificates(tmp_path / "certificates")
    with (
        TokenServer(certificates, {"ci": "secret"}) as tokens,
        RealRegistry(tmp_path / "registry", tokens=tokens) as real,
        Client(tokens.url) as asking,
        Client(real.url) as anonymous,
    ):
        challenge = anonymous.request("GET", "/v2/a/manifests/v1").headers["www-authenticate"]
        assert f'realm="{tokens.realm}"' in challenge
        answer = asking.request(
            "GET", "/token?scope=repository:a:pull,push", Authorization=basic_authorization("ci", "secret")
        )
        token = json.loads(answer.body)["token"]
        with Client(real.url, authorization=f"Bearer {token}") as client:
            made = images.image()
            client.push("a", "v1", made)
            assert client.request("HEAD", "/v2/a/manifests/v1", Accept=made.media_type).status == 200


def test_the_tools_make_and_read_images(tmp_path: Path) -> None:
    require_real("docker-registry", "skopeo", "podman", "buildah")
    with (
        isolated_tools(tmp_path / "tools") as tools,
        RealRegistry(tmp_path / "registry", basic=True) as real,
    ):
        tools.login(real.host, USER, PASSWORD)
        digest = tools.build_and_push(real.reference("a/b", "arm64"), arch="arm64", form="docker", labels={"a": "b"})
        raw = tools.skopeo_raw(real.reference("a/b", "arm64"))
        assert images.digest_of(raw.encode()) == digest
        images.write_layout(tmp_path / "layout", {"v1": images.index([images.image("linux/arm64")])})
        tools.skopeo_copy(f"oci:{tmp_path / 'layout'}:v1", f"docker://{real.reference('a/b', 'v1')}", "--all")
        (entry,) = tools.podman_manifest(real.reference("a/b", "v1"))["manifests"]
        assert entry["platform"]["architecture"] == "arm64"
