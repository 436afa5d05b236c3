"""Where a registry leads: how far what the user said of it goes for other hosts, and what of it stays home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from manifestctl.errors import UnreachableError
from manifestctl.stores.base import Blob
from manifestctl.transport.away import as_at_home
from manifestctl.transport.connections import Connections
from manifestctl.transport.credentials import Credential
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import redirect, status
from tests.support.blob_host import BlobHost
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.reach import reach
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates

WEB = "team/web"
USER = Credential("the test's file", "ci", "pass-word-of-ci")


def place(directory: Path, host: str, certificates: Certificates, *, identity: bool = False) -> TransportSettings:
    """Settings with a directory of certs.d for a host; with ``identity`` a client certificate is in it too."""
    own = directory / host
    own.mkdir(parents=True)
    (own / "ca.crt").write_bytes(certificates.authority.read_bytes())
    if identity:
        (own / "me.cert").write_bytes(certificates.client.read_bytes())
        (own / "me.key").write_bytes(certificates.client_key.read_bytes())
    return TransportSettings(certs_dirs=(directory,), retries=1)


@pytest.fixture
def auth() -> BearerAuth:
    return BearerAuth(users={USER.username: USER.password})


@pytest.fixture
def registry(certificates: Certificates, auth: BearerAuth) -> Iterator[FakeRegistry]:
    """A registry that sends for tokens to another host, which has a certificate of the same authority."""
    tls = certificates.server_context()
    with FakeRegistry(tls=tls, auth=auth) as registry, FakeRegistry(tls=tls, auth=auth) as tokens:
        registry.put_image(WEB, "1")
        auth.realm = f"https://localhost:{tokens.port}/token"
        yield registry


def test_its_authorities_are_trusted_where_it_sends_for_tokens(
    registry: FakeRegistry, auth: BearerAuth, certificates: Certificates, tmp_path: Path
) -> None:
    settings = place(tmp_path, registry.host, certificates)
    with reach(registry, settings=settings, credentials=[USER]) as reached:
        reached.store(WEB).read_manifest("1")
    assert [(request.user, request.status) for request in auth.requests] == [(USER.username, 200)]


def test_its_authorities_are_trusted_where_it_redirects_to(certificates: Certificates, tmp_path: Path) -> None:
    tls = certificates.server_context()
    with FakeRegistry(tls=tls) as registry, BlobHost(registry, tls=tls) as other:
        registry.put_image(WEB, "1")
        registry.faults.add(redirect(other.url))
        with reach(registry, settings=place(tmp_path, registry.host, certificates)) as reached:
            reached.store(WEB).read_manifest("1")
        assert other.count() == 1


def test_its_client_certificate_stays_home(certificates: Certificates, tmp_path: Path) -> None:
    tls = certificates.server_context(ask_client=True)
    with FakeRegistry(tls=tls) as registry, BlobHost(registry, tls=tls) as other:
        registry.put_image(WEB, "1")
        registry.faults.add(redirect(other.url))
        settings = place(tmp_path, registry.host, certificates, identity=True)
        refused = pytest.raises(UnreachableError, match="did not accept this client")
        with reach(registry, settings=settings) as reached, refused:
            reached.store(WEB).read_manifest("1")
        assert (registry.count(), other.count()) == (1, 0)


def test_not_verifying_it_is_for_its_host_alone(registry: FakeRegistry, auth: BearerAuth) -> None:
    host = registry.host
    settings = TransportSettings(tls_skip_verify=(host,), retries=1)
    with reach(registry, settings=settings, credentials=[USER]) as reached:
        with pytest.raises(UnreachableError, match=r"the certificate of localhost:[0-9]+ is not trusted") as raised:
            reached.store(WEB).read_manifest("1")
        reached.check_quiet(raised.value)
    assert auth.requests == []
    tokens = str(auth.realm).split("/")[2]
    assert raised.value.hint.endswith(f"to leave this one unverified, pass --tls-skip-verify {tokens}.")
    settings = TransportSettings(tls_skip_verify=(host, tokens))
    with reach(registry, settings=settings, credentials=[USER]) as reached:
        reached.store(WEB).read_manifest("1")


def test_a_registry_that_is_verified_is_not_told_of_by_one_that_is_not(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        settings = TransportSettings(tls=("127.0.0.1",), tls_skip_verify=("localhost",), retries=1)
        with reach(registry, settings=settings) as reached:
            reached.connections.at_home("https://localhost")
            with pytest.raises(UnreachableError, match="is not trusted") as raised:
                reached.store(WEB).read_manifest("1")
    assert "--tls-skip-verify" not in raised.value.hint


def test_a_host_is_trusted_by_whatever_is_known_when_it_is_asked(certificates: Certificates, tmp_path: Path) -> None:
    tls = certificates.server_context(ask_client=True)
    with FakeRegistry(tls=tls) as other, FakeRegistry(tls=certificates.server_context()) as plain:
        settings = place(tmp_path, "registry.invalid", certificates)
        place(tmp_path, other.host, certificates, identity=True)
        made = Connections(settings, World().runtime)

        def asked(server: FakeRegistry) -> int:
            return made.client(httpx.URL(server.url)).get(f"{server.url}/v2/").status_code

        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            asked(plain)
        made.at_home("https://registry.invalid")
        assert asked(plain) == 200
        # What others lead to may turn out to be a registry of the run itself.
        with pytest.raises(httpx.TransportError):
            asked(other)
        made.at_home(other.url)
        made.at_home(other.url)
        assert asked(other) == 200
        made.close()


# A registry that believes that it is on plain HTTP.


@pytest.mark.parametrize(
    ("url", "home", "expected"),
    [
        ("http://r.example/a?b=1", "https://r.example/", "https://r.example/a?b=1"),
        ("http://r.example:80/a", "https://r.example/", "https://r.example/a"),
        ("http://r.example:443/a", "https://r.example/", "https://r.example/a"),
        ("http://R.example:8443/a", "https://r.example:8443/", "https://r.example:8443/a"),
        ("http://r.example/a", "https://r.example:8443/", "http://r.example/a"),
        ("http://r.example:8080/a", "https://r.example/", "http://r.example:8080/a"),
        ("http://cdn.example/a", "https://r.example/", "http://cdn.example/a"),
        ("ftp://r.example/a", "https://r.example/", "ftp://r.example/a"),
        # The user said that this registry is on plain HTTP; a redirect to TLS is meant.
        ("https://r.example/a", "http://r.example/", "https://r.example/a"),
        ("http://r.example/a", "http://r.example/", "http://r.example/a"),
    ],
)
def test_the_registrys_own_host_is_asked_by_https(url: str, home: str, expected: str) -> None:
    assert str(as_at_home(httpx.URL(url), httpx.URL(home))) == expected


def test_an_upload_goes_on_by_https(registry: FakeRegistry, certificates: Certificates) -> None:
    location = f"http://{registry.host}/v2/{WEB}/blobs/uploads/here?_state=1"
    registry.faults.add(status(202, headers={"Location": location}), method="POST")
    registry.faults.add(status(201), method="PUT")
    settings = TransportSettings(ca_file=certificates.authority)
    with reach(registry, settings=settings, credentials=[USER]) as reached:
        reached.store(WEB, write=True).write_blob(Blob.of(b"layer", "application/octet-stream"))
        reached.check_quiet()
    put = registry.find("PUT")[-1]
    assert (put.path, put.parameters[0], put.body) == (f"/v2/{WEB}/blobs/uploads/here", ("_state", "1"), b"layer")
    assert put.authorization is not None


def test_a_redirect_to_the_same_by_http_does_not_go_round_for_ever(
    registry: FakeRegistry, certificates: Certificates
) -> None:
    registry.faults.add(
        redirect(lambda request: f"http://{registry.host}{request.target}"), times=FOREVER, before_auth=True
    )
    settings, ended = TransportSettings(ca_file=certificates.authority), pytest.raises(UnreachableError, match="307")
    with reach(registry, settings=settings) as reached, ended:
        reached.store(WEB).read_manifest("1")
    assert registry.count() == 6


def test_the_next_step_is_the_proxys_header(registry: FakeRegistry, certificates: Certificates) -> None:
    registry.faults.add(
        status(202, headers={"Location": "http://registry.invalid/v2/upload?_state=secret"}), method="POST"
    )
    settings = TransportSettings(ca_file=certificates.authority, retries=1)
    with reach(registry, settings=settings, credentials=[USER]) as reached:
        with pytest.raises(UnreachableError, match="which is not https") as raised:
            reached.store(WEB, write=True).write_blob(Blob.of(b"layer", "application/octet-stream"))
        reached.check_quiet(raised.value, secrets=["_state=secret"])
    assert "X-Forwarded-Proto" in raised.value.hint
