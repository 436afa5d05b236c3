"""`doctor`: the way to a registry."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.doctor_network import NAMES
from tests.support.actions import error, header, proxy_page, redirect, reset, stall, status, unauthorized
from tests.support.certificates import Certificates, make_certificates
from tests.support.connect_proxy import ConnectProxy
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.verbs.doctoring import Examined, examine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.http_message import Response

HOST = "registry.test"
NOT_KNOWN = "no-such-host.invalid"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates for a host that only a proxy knows."""
    return make_certificates(tmp_path_factory.mktemp("named"), hosts=(HOST,))


@pytest.fixture
def behind(named: Certificates) -> Iterator[FakeRegistry]:
    """Return a registry that speaks TLS as `HOST`."""
    with FakeRegistry(tls=named.server_context()) as server:
        yield server


def needs(examined: Examined, what: str, *names: str) -> None:
    """Check that these checks were skipped, for want of this."""
    for name in names:
        assert (examined[name].state, examined[name].seen) == ("skipped", f"needs {what}")


def test_all_is_well(registry: FakeRegistry) -> None:
    registry.faults.add(header("Date", formatdate(time.time(), usegmt=True)), times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    pushing = ["credentials", "repository", "tag", "layers"]
    assert examined.names == [*NAMES, *pushing]
    assert examined.named("ok") == ["proxy", "tcp", "registry", "clock", *pushing]
    assert examined.exit_code == 0
    assert examined["dns"].seen == "127.0.0.1 is an address already"
    assert examined["tls"].seen == f"{registry.host} is asked by plain HTTP: nothing is encrypted"
    assert examined["clock"].seen == "matches the registry's"
    # The way, an upload, and its end; what a push asks before it sends anything; nothing is written.
    assert [(request.method, request.status) for request in registry.requests] == [
        ("GET", 200),
        ("POST", 202),
        ("DELETE", 204),
        ("GET", 404),
        ("HEAD", 404),
    ]


def test_a_host_by_its_name(registry: FakeRegistry) -> None:
    examined = examine(f"localhost:{registry.port}/web:1")
    assert examined["dns"].state == "ok"
    assert examined["dns"].seen.startswith("localhost is ")
    assert "127.0.0.1 takes connections" in examined["tcp"].seen
    # An address at which nobody listens comes before it on some systems.
    assert examined["tcp"].state in ("ok", "warning")


def test_an_address_that_fails_before_another(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [("127.0.0.2", registry.port), ("127.0.0.1", registry.port)]
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: answer)
    tcp = examine(f"{NOT_KNOWN}:{registry.port}/web:1", settings=plain(f"{NOT_KNOWN}:{registry.port}"))["tcp"]
    assert tcp.state == "warning"
    assert "but 127.0.0.2: Connection refused" in tcp.seen
    assert "DNS" in tcp.next_step


def test_many_addresses_are_not_all_shown(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", registry.port)) for number in range(1, 6)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: answer)
    dns = examine(f"{NOT_KNOWN}:{registry.port}/web:1", settings=plain(f"{NOT_KNOWN}:{registry.port}"))["dns"]
    assert dns.seen == f"{NOT_KNOWN} is 127.0.0.1, 127.0.0.2, 127.0.0.3 and 2 more"


def plain(host: str) -> TransportSettings:
    return TransportSettings(plain_http=(host,), retries=2)


def test_a_name_that_is_not_known() -> None:
    examined = examine(f"{NOT_KNOWN}/web:1")
    assert examined.named("failed") == ["dns"]
    assert examined["dns"].seen == f"the host name {NOT_KNOWN} is not known"
    assert examined["dns"].next_step
    needs(examined, "the host's address", "tcp", "tls", "registry", "clock")
    needs(examined, "an answer of the registry", "repository")
    assert examined["credentials"].seen == "none were found"
    assert examined.exit_code == 5


def test_nobody_listens(registry: FakeRegistry) -> None:
    target = registry.reference("web", "1")
    registry.close()
    examined = examine(target)
    assert examined.named("failed") == ["tcp"]
    assert "127.0.0.1: Connection refused" in examined["tcp"].seen
    needs(examined, "a connection", "tls", "registry", "clock")
    assert examined.exit_code == 5


# TLS


def test_a_certificate_that_is_trusted(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        examined = examine(registry.reference("web", "1"), settings=TransportSettings(ca_file=certificates.authority))
    assert examined["tls"].state == "ok"
    assert examined["tls"].seen.startswith("TLSv1.3; the certificate is trusted, until 3000-01-01 00:00 UTC, in ")
    assert examined.exit_code == 0


def test_an_authority_that_is_not_known(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        host = registry.host
        examined = examine(registry.reference("web", "1"), settings=TransportSettings(tls=(host,)))
    assert examined.named("failed") == ["tls"]
    assert examined["tls"].seen.startswith(f"the certificate of {host} is not trusted: ")
    assert "--ca-file" in examined["tls"].next_step
    needs(examined, "TLS", "registry", "clock")
    assert examined.exit_code == 5
    assert examined.world.slept == []


def test_a_certificate_that_is_not_looked_at(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        examined = examine(registry.reference("web", "1"), settings=TransportSettings(tls_skip_verify=(registry.host,)))
    assert examined.named("warning") == ["tls"]
    assert examined["tls"].seen == "the certificate is not verified (--tls-skip-verify)"
    assert examined.exit_code == 0


@pytest.mark.parametrize(
    ("days", "state", "words"),
    [(-1, "failed", "certificate has expired"), (3, "warning", "in 2 days"), (30, "ok", "in 29 days")],
)
def test_a_certificate_that_ends(tmp_path: Path, days: int, state: str, words: str) -> None:
    made = make_certificates(tmp_path, not_after=datetime.now(UTC) + timedelta(days=days))
    with FakeRegistry(tls=made.server_context()) as registry:
        tls = examine(registry.reference("web", "1"), settings=TransportSettings(ca_file=made.authority))["tls"]
    assert tls.state == state
    assert words in tls.seen
    assert bool(tls.next_step) == (state != "ok")


def test_a_registry_that_asks_for_a_client_certificate(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context(ask_client=True)) as registry:
        examined = examine(registry.reference("web", "1"), settings=TransportSettings(ca_file=certificates.authority))
    assert examined.named("failed") == ["tls"]
    assert "--client-cert" in examined["tls"].next_step


def test_a_port_without_tls(registry: FakeRegistry) -> None:
    examined = examine(registry.reference("web", "1"), settings=TransportSettings(tls=(registry.host,), retries=1))
    assert examined.named("failed") == ["tls"]
    assert f"--plain-http {registry.host}" in examined["tls"].next_step


def test_an_authority_file_that_cannot_be_read(registry: FakeRegistry, tmp_path: Path) -> None:
    examined = examine(registry.reference("web", "1"), settings=TransportSettings(ca_file=tmp_path / "none.pem"))
    assert examined.named("failed") == ["tls"]
    assert examined["tls"].seen == f"cannot read --ca-file {tmp_path}/none.pem: No such file or directory"
    assert examined.exit_code == 2


def test_a_connection_that_breaks_behind_tls(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        registry.faults.add(reset(), times=FOREVER)
        settings = TransportSettings(ca_file=certificates.authority, retries=1)
        examined = examine(registry.reference("web", "1"), settings=settings)
    assert examined.named("failed") == ["registry"]
    assert (examined["tls"].state, examined["tls"].seen) == ("ok", "the certificate is trusted")


# The first answer


@pytest.mark.parametrize(
    ("challenge", "state", "words"),
    [
        ('Basic realm="registry"', "ok", "asks for a user and a password"),
        ('Bearer realm="https://auth.example/token",service="x"', "ok", "asks for a token of auth.example"),
        (None, "warning", "does not say how to log in"),
    ],
)
def test_a_registry_that_asks_for_credentials(
    registry: FakeRegistry, challenge: str | None, state: str, words: str
) -> None:
    registry.faults.add(unauthorized(challenge), path=r"/v2/$", times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert examined["registry"].state == state
    assert examined["registry"].seen.startswith(f"{registry.host} answers 401")
    assert words in examined["registry"].seen
    assert (examined["credentials"].state, examined["credentials"].seen) == (
        "warning",
        "none were found, and the registry asks for some",
    )
    assert examined["credentials"].next_step == f"Log in: 'manifestctl login {registry.host}'."


@pytest.mark.parametrize(
    ("action", "state", "code", "words"),
    [
        (status(404, b"404 page not found\n"), "failed", 5, 'not answer as a registry: 404 "404 page not found"'),
        (status(400), "failed", 5, "not answer as a registry: 400"),
        (error(403, "DENIED", "not from here"), "failed", 4, '403 DENIED "not from here"'),
        (proxy_page(502), "failed", 5, "502"),
        (status(503), "failed", 5, "503"),
        (redirect("https://elsewhere.example"), "warning", 0, "it leads to https://elsewhere.example/v2/"),
        (reset(), "failed", 5, "broke"),
    ],
)
def test_what_is_no_registry(
    registry: FakeRegistry, action: Callable[..., Response], state: str, code: int, words: str
) -> None:
    registry.faults.add(action, path=r"/v2/$", times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert (examined["registry"].state, examined["registry"].exit_code) == (state, code)
    assert words in examined["registry"].seen
    assert examined["registry"].next_step
    assert (examined["repository"].state == "skipped") == (state == "failed")


def test_what_passes_is_tried_again(registry: FakeRegistry) -> None:
    registry.faults.add(status(503), path=r"/v2/$")
    registry.faults.add(status(503), method="POST")
    examined = examine(registry.reference("web", "1"))
    assert examined.exit_code == 0
    assert len(examined.world.slept) == 2


def test_a_registry_that_does_not_answer(registry: FakeRegistry) -> None:
    registry.faults.add(stall(), times=FOREVER)
    examined = examine(registry.reference("web", "1"), settings=TransportSettings(read_timeout=0.1, retries=1))
    assert examined.named("failed") == ["registry"]
    assert "did not answer in time" in examined["registry"].seen


# The clock


@pytest.mark.parametrize(
    ("seconds", "age", "state", "words"),
    [
        (0, "", "ok", "matches the registry's"),
        (200, "", "ok", "200 s behind the registry's"),
        (-200, "", "ok", "200 s ahead of the registry's"),
        (1200, "", "failed", "this machine's clock is 20 minutes behind the registry's"),
        (-1200, "", "failed", "this machine's clock is 20 minutes ahead of the registry's"),
        # The answer was kept for so long by something on the way.
        (-1200, "1200", "ok", "matches the registry's"),
        (-1200, "soon", "failed", "20 minutes ahead"),
    ],
)
def test_the_clock(registry: FakeRegistry, seconds: int, age: str, state: str, words: str) -> None:
    headers = {"Date": formatdate(round(time.time()) + seconds, usegmt=True)} | ({"Age": age} if age else {})
    registry.faults.add(status(200, headers=headers), path=r"/v2/$")
    examined = examine(registry.reference("web", "1"))
    assert examined["clock"].state == state
    assert words in examined["clock"].seen or (state == "ok" and " 199 s " in examined["clock"].seen)
    assert examined.exit_code == (4 if state == "failed" else 0)


@pytest.mark.parametrize("date", ["yesterday", "", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"])
def test_a_date_that_is_none(registry: FakeRegistry, date: str) -> None:
    registry.faults.add(header("Date", date), times=FOREVER)
    assert examine(registry.reference("web", "1"))["clock"].state == "skipped"


# Proxies


def test_through_a_proxy(behind: FakeRegistry, named: Certificates) -> None:
    with ConnectProxy({f"{HOST}:443": ("127.0.0.1", behind.port)}, user="user", password="s3cret-pw") as proxy:
        examined = examine(
            f"{HOST}/web:1",
            environ={"HTTPS_PROXY": proxy.url},
            settings=TransportSettings(ca_file=named.authority, retries=1),
        )
        shown = f"http://127.0.0.1:{proxy.port} (with a user and a password) takes connections"
    assert examined["proxy"].seen == shown
    assert examined["dns"].seen == examined["tcp"].seen == "not judged: the proxy connects to the registry"
    assert examined["tls"].state == examined["repository"].state == "ok"
    assert examined.exit_code == 0
    assert not [text for text in examined.texts if "s3cret-pw" in text]


def test_a_registry_that_is_excluded(registry: FakeRegistry) -> None:
    environ = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
    assert examine(registry.reference("web", "1"), environ=environ)["proxy"].seen == (
        f"none: {registry.host} is asked directly"
    )


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://user:s3cret-pw@127.0.0.1:1", 5, "http://127.0.0.1:1 (with a user and a password) cannot be reached"),
        ("http://proxy.invalid:3128", 5, "the host name proxy.invalid is not known"),
        ("socks5://127.0.0.1:1", 2, "HTTPS_PROXY names a SOCKS proxy"),
        ("http://s3cret-pw\\@x", 2, "HTTPS_PROXY is not the URL of a proxy"),
    ],
)
def test_a_proxy_that_is_of_no_use(url: str, code: int, words: str) -> None:
    examined = examine(f"{HOST}/web:1", environ={"HTTPS_PROXY": url})
    assert examined.named("failed") == ["proxy"]
    assert words in examined["proxy"].seen
    needs(examined, "a proxy that connects", "dns", "tcp", "tls", "registry", "clock")
    assert examined.exit_code == code
    assert not [text for text in examined.texts if "s3cret-pw" in text]


@pytest.mark.parametrize(
    ("user", "code", "words"), [("other", 407, "as USER:PASSWORD@HOST:PORT"), (None, 502, "Check HTTPS_PROXY")]
)
def test_a_proxy_that_refuses(user: str | None, code: int, words: str) -> None:
    with ConnectProxy({}, user=user) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        examined = examine(f"{HOST}/web:1", environ={"HTTPS_PROXY": url}, settings=TransportSettings(retries=1))
    assert examined.named("failed") == ["proxy"]
    assert f"the proxy did not connect to {HOST}: {code}" in examined["proxy"].seen
    assert words in examined["proxy"].next_step
    needs(examined, "a proxy that connects", "dns", "tcp", "tls", "registry", "clock")
    assert examined.exit_code == 5


def test_tls_behind_a_proxy(behind: FakeRegistry) -> None:
    with ConnectProxy({f"{HOST}:443": ("127.0.0.1", behind.port)}) as proxy:
        examined = examine(f"{HOST}/web:1", environ={"HTTPS_PROXY": proxy.url})
    assert examined.named("failed") == ["tls"]
    assert examined["proxy"].state == "ok"


def test_a_proxy_that_answers_in_the_registrys_place() -> None:
    with ConnectProxy({}) as proxy:
        examined = examine(
            f"{HOST}/web:1", environ={"HTTP_PROXY": proxy.url}, settings=TransportSettings(plain_http=(HOST,))
        )
    assert examined.named("failed") == ["registry"]
    assert "or a proxy in its place" in examined["registry"].next_step
