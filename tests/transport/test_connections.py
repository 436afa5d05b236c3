"""Clients: one a registry, with its TLS, its proxy and its connections, which may be under way before there is a client."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import httpx
import pytest

from manifestctl.errors import InputError, UnreachableError
from manifestctl.events import Warned
from manifestctl.model.reference import Reference
from manifestctl.transport.connections import Connections
from manifestctl.transport.message import Request
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import hold, redirect, stall
from tests.support.blob_host import BlobHost
from tests.support.certificates import make_certificates
from tests.support.connect_proxy import ConnectProxy
from tests.support.fake_registry import FakeRegistry
from tests.support.http_message import Request as Received
from tests.support.http_message import Response as Answer
from tests.support.http_server import HttpServer
from tests.support.loopback import LoopbackServer, not_answering
from tests.support.reach import reach
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.certificates import Certificates

PATIENCE = 5.0
WEB = "team/web"


class Proxy(HttpServer):
    """Answers as the registry would for ``http://`` URLs; refuses CONNECT with a status."""

    def __init__(self, registry: FakeRegistry, connect: int = 502) -> None:
        super().__init__()
        self.registry = registry
        self.connect = connect

    def answer(self, request: Received) -> Answer:
        if request.method == "CONNECT":
            return Answer(self.connect, b"")
        parts = urlsplit(request.path)
        request.recorded.path = parts.path
        answer = self.registry.answer(request)
        request.recorded.path = f"{parts.scheme}://{parts.netloc}{parts.path}"
        return answer


def connections(world: World | None = None, **settings: object) -> Connections:
    return Connections(TransportSettings(**settings), (world or World()).runtime)  # type: ignore[arg-type]


@pytest.fixture
def filled(registry: FakeRegistry) -> FakeRegistry:
    registry.put_image(WEB, "1")
    return registry


# One client for each registry, and one for hosts that are reached alike.


def test_each_registry_has_one_client() -> None:
    made = connections()
    for origin in ("http://a.invalid", "http://a.invalid:8080", "http://b.invalid"):
        made.at_home(origin)
    urls = [
        "http://a.invalid/x",
        "http://a.invalid:80/y",
        "http://a.invalid:8080/",
        "http://b.invalid/",
        "http://A.invalid",
    ]
    clients = [made.client(httpx.URL(url)) for url in urls]
    made.close()
    assert clients[0] is clients[1] is clients[4]
    assert len(set(map(id, clients))) == 3


def test_hosts_to_which_registries_lead_share_what_is_the_same_for_them(
    certificates: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "own.invalid").mkdir()
    (tmp_path / "own.invalid" / "ca.crt").write_bytes(certificates.authority.read_bytes())
    proxied = World({"HTTPS_PROXY": "http://proxy.invalid:3128", "NO_PROXY": "direct.invalid,own.invalid"})
    made = connections(proxied, certs_dirs=(tmp_path,), tls_skip_verify=("open.invalid",))
    made.at_home("https://registry.invalid")
    hosts = [
        "http://a.invalid",
        "http://b.invalid:1",
        "https://a.invalid",
        "https://b.invalid",
        "https://direct.invalid",
    ]
    hosts += ["https://own.invalid", "https://open.invalid", "https://registry.invalid"]
    plain, other, secure, also, *apart = (made.client(httpx.URL(host)) for host in hosts)
    made.close()
    assert plain is other
    assert secure is also
    assert len({id(client) for client in (plain, secure, *apart)}) == 6


class Everywhere(HttpServer):
    """A server at all addresses of this machine."""

    def _listening(self) -> socket.socket:
        return socket.create_server(("0.0.0.0", 0), backlog=256)

    def answer(self, request: Received) -> Answer:
        return Answer(200, request.headers["host"].encode())


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8 is this machine on Linux alone")
def test_a_registry_that_leads_to_ever_new_hosts_keeps_few_connections_open(registry: FakeRegistry) -> None:
    with Everywhere() as server, reach(registry, settings=TransportSettings(concurrency=3)) as reached:
        for number in range(1, 25):
            place = f"127.0.1.{number}:{server.port}"
            registry.faults.add(redirect(f"http://{place}"))
            assert reached.client.send(Request("GET", "/v2/web/blobs/x", WEB)).body.decode() == place
        assert server.connections == 24
        client = reached.connections.client(httpx.URL(server.url))
        assert len(client._transport._pool.connections) <= 3  # type: ignore[attr-defined]


def test_of_many_threads_one_makes_the_client() -> None:
    made, together = connections(), threading.Barrier(8, timeout=PATIENCE)

    def client(_: int) -> httpx.Client:
        together.wait()
        return made.client(httpx.URL("https://a.invalid/"))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(client, range(8))))) == 1
    made.close()


def test_after_it_is_closed_nothing_is_open(filled: FakeRegistry) -> None:
    with reach(filled) as reached:
        reached.store(WEB).read_manifest("1")
        client = reached.connections.client(httpx.URL(filled.url))
        assert filled.open_connections == 1
    assert client.is_closed
    reached.connections.close()


def test_times_and_connections_are_as_the_settings_say() -> None:
    made = connections(connect_timeout=3.0, read_timeout=7.0, concurrency=9)
    timeout = made.client(httpx.URL("http://a.invalid/")).timeout
    made.close()
    assert (timeout.connect, timeout.read, timeout.write, timeout.pool) == (3.0, 7.0, 7.0, None)


def test_a_registry_that_does_not_answer_in_time(registry: FakeRegistry) -> None:
    registry.faults.add(stall())
    with reach(registry, settings=TransportSettings(read_timeout=0.05, retries=1)) as reached:
        with pytest.raises(UnreachableError, match="did not answer in time") as raised:
            reached.store(WEB).read_manifest("1")
        registry.release()
    assert "--timeout" in raised.value.hint


def test_many_requests_at_once_have_a_connection_each(filled: FakeRegistry) -> None:
    together = threading.Barrier(4, timeout=PATIENCE)
    filled.faults.add(hold(together.wait), times=4)
    with reach(filled) as reached, ThreadPoolExecutor(4) as pool:
        store = reached.store(WEB)
        list(pool.map(store.read_manifest, ["1"] * 4))
        list(pool.map(store.read_manifest, ["1"] * 20))
    assert filled.connections == 4


# TLS.


def test_the_environment_of_the_process_changes_nothing(
    filled: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password pass-word\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with reach(filled) as reached:
        reached.store(WEB).read_manifest("1")
    assert filled.requests[0].authorization is None


def test_a_registry_with_a_certificate_of_ones_own(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        registry.put_image(WEB, "1")
        with reach(registry, settings=TransportSettings(ca_file=certificates.authority)) as reached:
            reached.store(WEB).read_manifest("1")
            assert reached.retried == 0


def failing(
    registry: HttpServer | str, settings: TransportSettings | None = None, world: World | None = None
) -> UnreachableError:
    with reach(registry, settings=settings, world=world) as reached:
        with pytest.raises(UnreachableError) as raised:
            reached.store(WEB).read_manifest("1")
        assert reached.retried == (4 if raised.value.transient else 0)
    assert raised.value.message.startswith(f"reading {reached.host}/{WEB}:1 failed: ")
    return raised.value


def test_a_certificate_that_is_not_trusted_is_not_tried_again(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        problem = failing(registry, TransportSettings(tls=("127.0.0.1",)))
        assert registry.count() == 0
        assert registry.connections == 1
        assert f"the certificate of {registry.host} is not trusted" in problem.message
    assert "--ca-file" in problem.hint


def test_a_certificate_for_another_name_says_so(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, hosts=("registry.example",))
    with FakeRegistry(tls=made.server_context()) as registry:
        problem = failing(registry, TransportSettings(ca_file=made.authority))
    assert "not trusted" in problem.message
    assert "as its certificate has it" in problem.hint


def test_a_certificate_that_expired_says_so(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with FakeRegistry(tls=made.server_context()) as registry:
        problem = failing(registry, TransportSettings(ca_file=made.authority))
    assert "certificate has expired" in problem.message
    assert "clock" in problem.hint


def test_a_certificate_may_be_left_unverified_and_that_is_said(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        registry.put_image(WEB, "1")
        with reach(registry, settings=TransportSettings(tls_skip_verify=("127.0.0.1",))) as reached:
            reached.store(WEB).read_manifest("1")
            assert [event.message for event in reached.world.heard(Warned)] == [
                f"the TLS certificate of {registry.host} is not verified (--tls-skip-verify)"
            ]


@pytest.mark.parametrize("shown", [True, False])
def test_a_registry_may_want_a_client_certificate(certificates: Certificates, shown: bool) -> None:
    with FakeRegistry(tls=certificates.server_context(ask_client=True)) as registry:
        registry.put_image(WEB, "1")
        pair = {"client_cert": certificates.client, "client_key": certificates.client_key} if shown else {}
        settings = TransportSettings(ca_file=certificates.authority, **pair)  # type: ignore[arg-type]
        if shown:
            with reach(registry, settings=settings) as reached:
                reached.store(WEB).read_manifest("1")
        else:
            problem = failing(registry, settings)
            assert "did not accept this client" in problem.message
            assert "--client-cert" in problem.hint


def test_hosts_that_redirects_lead_to_are_shown_no_client_certificate(certificates: Certificates) -> None:
    tls = certificates.server_context(ask_client=True)
    with FakeRegistry(tls=tls) as registry, BlobHost(registry, tls=tls) as other:
        registry.put_image(WEB, "1")
        registry.faults.add(redirect(other.url), times=None)
        settings = TransportSettings(
            ca_file=certificates.authority, client_cert=certificates.client, client_key=certificates.client_key
        )
        refused = pytest.raises(UnreachableError, match="did not accept this client")
        with reach(registry, settings=settings) as reached, refused:
            reached.store(WEB).read_manifest("1")
        assert registry.count() == 1
        assert other.count() == 0


def test_options_that_cannot_be_used_are_found_when_the_registry_is_named(tmp_path: Path) -> None:
    made = connections(ca_file=tmp_path / "absent.pem")
    with pytest.raises(InputError, match="--ca-file"):
        made.at_home("https://registry.invalid")


# Plain HTTP and TLS taken for each other.


PLAIN = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request"


class Answering(LoopbackServer):
    """Answers whatever comes first with the same bytes, and hangs up."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    def serve(self, connection: socket.socket, number: int) -> None:
        connection.recv(64 * 1024)
        connection.sendall(self.answer)


def test_tls_spoken_to_a_registry_on_plain_http() -> None:
    with Answering(PLAIN) as server:
        host = f"127.0.0.1:{server.port}"
        problem = failing(f"https://{host}", TransportSettings(tls=("127.0.0.1",)))
    assert f"{host} does not speak TLS on this port" in problem.message
    assert f"--plain-http {host}" in problem.hint


def test_tls_spoken_to_a_registry_on_plain_http_that_hangs_up(registry: FakeRegistry) -> None:
    problem = failing(f"https://{registry.host}", TransportSettings(tls=("127.0.0.1",)))
    assert f"{registry.host} broke off when TLS was to begin" in problem.message
    assert f"--plain-http {registry.host}" in problem.hint


def test_plain_http_spoken_to_a_registry_on_tls(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        problem = failing(f"http://{registry.host}")
        assert f"--tls {registry.host}" in problem.hint


@pytest.mark.parametrize("host", ["registry.invalid", "registry.invalid:5000"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_does_not_exist(host: str, scheme: str) -> None:
    problem = failing(f"{scheme}://{host}")
    assert f"the host name of {host} is not known" in problem.message
    assert problem.transient


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    problem = failing(f"http://127.0.0.1:{port}")
    assert f"no connection to 127.0.0.1:{port}" in problem.message
    assert not problem.outcome_unknown


def test_a_host_whose_name_cannot_be(registry: FakeRegistry) -> None:
    with reach(registry) as reached, pytest.raises(UnreachableError, match="not a URL that can be asked"):
        reached.client.send(Request("GET", f"http://{'a' * 64}.invalid/"))


# Proxies.


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_requests_go_through_the_proxy_that_the_environment_names(filled: FakeRegistry, variable: str) -> None:
    with Proxy(filled) as proxy:
        world = World({variable: proxy.url})
        with reach("http://registry.invalid", world=world) as reached:
            reached.store(WEB).read_manifest("1")
        assert [recorded.path for recorded in proxy.requests] == ["http://registry.invalid/v2/team/web/manifests/1"]
        assert filled.count() == 0


def test_the_password_of_a_proxy_goes_to_the_proxy_alone(filled: FakeRegistry) -> None:
    with Proxy(filled) as proxy:
        world = World({"HTTP_PROXY": f"http://user:proxy-pass-word@{proxy.host}"})
        with reach("http://registry.invalid", world=world) as reached:
            reached.store(WEB).read_manifest("1")
            reached.check_quiet(secrets=["proxy-pass-word"])
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")
        assert proxy.requests[0].authorization is None


@pytest.mark.parametrize("excluded", ["registry.invalid", ".invalid", "*"])
def test_hosts_may_be_left_out(filled: FakeRegistry, excluded: str) -> None:
    with Proxy(filled) as proxy:
        problem = failing("http://registry.invalid", world=World({"HTTP_PROXY": proxy.url, "NO_PROXY": excluded}))
        assert proxy.count() == 0
    assert "is not known" in problem.message


@pytest.mark.parametrize(("status", "transient"), [(502, True), (503, True), (403, False), (407, False)])
def test_a_proxy_that_does_not_connect(filled: FakeRegistry, status: int, transient: bool) -> None:
    with Proxy(filled, connect=status) as proxy:
        problem = failing("https://registry.invalid", world=World({"HTTPS_PROXY": proxy.url}))
        assert proxy.find("CONNECT")[0].path == "registry.invalid:443"
    assert f"the proxy did not connect to registry.invalid: {status}" in problem.message
    assert "HTTPS_PROXY" in problem.hint
    assert problem.transient is transient


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def through(proxy: str, scheme: str = "https", **settings: object) -> tuple[UnreachableError, str]:
    """Ask a registry through a proxy that cannot be connected to; returns the error and ``place (VARIABLE)``."""
    variable = f"{scheme.upper()}_PROXY"
    world = World({variable: proxy})
    with reach(f"{scheme}://registry.invalid", settings=TransportSettings(**settings), world=world) as reached:  # type: ignore[arg-type]
        with pytest.raises(UnreachableError) as raised:
            reached.store(WEB).read_manifest("1")
        reached.check_quiet(raised.value, secrets=["proxy-pass-word"])
    return raised.value, f"{proxy.rpartition('@')[2].rpartition('/')[2]} ({variable})"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_whose_name_is_not_known(scheme: str) -> None:
    problem, proxy = through("http://user:proxy-pass-word@proxy.invalid:3128", scheme)
    assert problem.message.endswith(f": the proxy {proxy} cannot be reached: its host name is not known")
    assert problem.hint == (
        f"Check {scheme.upper()}_PROXY, and that the proxy is up; NO_PROXY=registry.invalid would go without it."
    )
    assert problem.transient


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_takes_no_connections(scheme: str) -> None:
    problem, proxy = through(f"http://user:proxy-pass-word@127.0.0.1:{closed_port()}", scheme)
    assert f"the proxy {proxy} cannot be reached: [Errno 111] Connection refused" in problem.message
    assert problem.transient


def test_a_proxy_that_does_not_answer() -> None:
    with not_answering("127.0.0.1") as deaf:
        place = f"127.0.0.1:{deaf.getsockname()[1]}"
        problem, proxy = through(f"http://{place}", connect_timeout=0.02, retries=1)
    assert f"the proxy {proxy} cannot be reached: it did not accept a connection in time" in problem.message


@pytest.mark.parametrize(
    ("answer", "words", "transient"),
    [(PLAIN, "does not speak TLS on this port", False), (b"", "broke off when TLS was to begin", True)],
)
def test_a_proxy_that_does_not_speak_tls(answer: bytes, words: str, transient: bool) -> None:
    with Answering(answer) as plain:
        problem, proxy = through(f"https://127.0.0.1:{plain.port}")
    assert f"the proxy {proxy} {words}" in problem.message
    assert "Write http:// instead of https:// in HTTPS_PROXY" in problem.hint
    assert problem.transient is transient


def test_a_proxy_whose_certificate_is_not_trusted(certificates: Certificates) -> None:
    with HttpServer(tls=certificates.server_context()) as secure:
        problem, proxy = through(secure.url)
    assert f"the proxy {proxy} cannot be used: its certificate is not trusted: " in problem.message
    assert "--ca-file" in problem.hint
    assert not problem.transient


def test_the_authorities_of_a_registry_are_not_for_its_proxy(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "registry.invalid").mkdir()
    (tmp_path / "registry.invalid" / "ca.crt").write_bytes(certificates.authority.read_bytes())
    with HttpServer(tls=certificates.server_context()) as secure:
        problem, _ = through(secure.url, certs_dirs=(tmp_path,))
    assert "its certificate is not trusted" in problem.message


def test_what_is_wrong_behind_the_proxy_is_not_the_proxys_fault(certificates: Certificates) -> None:
    with (
        FakeRegistry(tls=certificates.server_context()) as registry,
        ConnectProxy({"registry.invalid:443": ("127.0.0.1", registry.port)}) as proxy,
    ):
        problem = failing("https://registry.invalid", world=World({"HTTPS_PROXY": proxy.url}))
    assert "the certificate of registry.invalid is not trusted" in problem.message


@pytest.mark.parametrize(
    ("excluded", "warnings"),
    [
        ("<local>", ["NO_PROXY: passed over '<local>': not a host name, an address or a CIDR block"]),
        ("example.invalid", []),
        # Who goes without the proxy anyway does not miss what was passed over.
        ("<local>,registry.invalid", []),
    ],
)
def test_entries_that_are_passed_over_are_said_once(excluded: str, warnings: list[str]) -> None:
    world = World({"HTTP_PROXY": "http://proxy.invalid:1", "NO_PROXY": excluded})
    made = connections(world)
    made.begin("http://registry.invalid", 1)
    made.at_home("http://registry.invalid")
    made.client(httpx.URL("http://registry.invalid:5000"))
    made.close()
    assert [event.message for event in world.heard(Warned)] == warnings


def test_a_proxy_variable_that_cannot_be_used_is_named() -> None:
    made = connections(World({"HTTPS_PROXY": "socks5://user:secret@127.0.0.1:1080"}))
    with pytest.raises(InputError, match="HTTPS_PROXY") as raised:
        made.at_home("https://registry.invalid")
    assert "secret" not in raised.value.message
    with pytest.raises(InputError, match="HTTPS_PROXY"):
        made.begin("https://registry.invalid", 4)


# Connections that are under way before there is a client.


@pytest.mark.parametrize(("count", "concurrency", "opened"), [(1, 16, 1), (3, 16, 3), (9, 2, 2)])
def test_connections_that_began_early_are_used(filled: FakeRegistry, count: int, concurrency: int, opened: int) -> None:
    made = connections(concurrency=concurrency)
    made.begin(filled.url, count)
    made.begin(filled.url, count)
    made.at_home(filled.url)
    client = made.client(httpx.URL(filled.url))
    for _ in range(3):
        assert client.get(f"{filled.url}/v2/").status_code == 200
    while filled.connections < opened:
        threading.Event().wait(0.001)
    made.close()
    assert filled.connections == opened
    assert filled.used_connections == 1


def test_more_connections_than_began_early_are_made_as_they_are_needed(filled: FakeRegistry) -> None:
    together = threading.Barrier(3, timeout=PATIENCE)
    filled.faults.add(hold(together.wait), times=3)
    made = connections()
    made.begin(filled.url, 1)
    made.at_home(filled.url)
    client = made.client(httpx.URL(filled.url))
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(client.get, [f"{filled.url}/v2/"] * 3))
    made.close()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert filled.connections == 3


def test_an_early_connection_may_be_secured(certificates: Certificates) -> None:
    with FakeRegistry(tls=certificates.server_context()) as registry:
        made = connections(ca_file=certificates.authority)
        made.begin(registry.url, 1)
        made.at_home(registry.url)
        assert made.client(httpx.URL(registry.url)).get(f"{registry.url}/v2/").status_code == 200
        made.close()
        assert registry.connections == 1


def test_an_early_connection_that_fails_is_reported_when_it_is_needed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    made = connections()
    made.begin(origin, 2)
    made.at_home(origin)
    with pytest.raises(httpx.ConnectError):
        made.client(httpx.URL(origin)).get(f"{origin}/v2/")
    made.close()


def test_a_host_behind_a_proxy_is_not_connected_to(filled: FakeRegistry) -> None:
    with Proxy(filled) as proxy:
        made = connections(World({"HTTP_PROXY": proxy.url}))
        made.begin("http://registry.invalid", 4)
        made.at_home("http://registry.invalid")
        made.close()
        assert proxy.connections == 0


@pytest.mark.parametrize("origin", ["https://not a host", "http://"])
def test_what_is_no_host_is_not_connected_to(origin: str) -> None:
    made = connections()
    made.begin(origin, 4)
    made.close()


def test_the_reference_decides_the_origin(filled: FakeRegistry) -> None:
    reference = Reference.parse(f"{filled.host}/{WEB}:1")
    with reach(filled) as reached:
        assert reached.store(WEB).name == reference.store


def test_plain_http_makes_no_use_of_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *args, **options: loaded.append(args))
    made = connections()
    made.at_home("http://registry.invalid")
    made.close()
    assert loaded == []


class Held:
    """A way to a server that is open only once ``go`` is set; ``begun`` is set when somebody waits for it."""

    def __init__(self, port: int) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self._to = port
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._listener.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        with self._listener.accept()[0] as near:
            self.begun.set()
            self.go.wait(PATIENCE)
            with socket.create_connection(("127.0.0.1", self._to)) as far:
                back = threading.Thread(target=pump, args=(far, near), daemon=True)
                back.start()
                pump(near, far)
                back.join(PATIENCE)


def pump(source: socket.socket, target: socket.socket) -> None:
    source.settimeout(PATIENCE)
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_connection_that_opens_after_the_end_of_the_run_is_closed(certificates: Certificates) -> None:
    settings = TransportSettings(ca_file=certificates.authority)
    with FakeRegistry(tls=certificates.server_context()) as registry, Held(registry.port) as held:
        registry.put_image(WEB, "1")
        with reach(f"https://localhost:{held.port}", settings=settings) as reached, ThreadPoolExecutor(1) as pool:
            tags = pool.submit(reached.store(WEB).tags)
            assert held.begun.wait(PATIENCE)
            reached.connections.close()
            held.go.set()
            with pytest.raises(RuntimeError, match="the connections of this run are closed"):
                tags.result(PATIENCE)
        # The server is told, which it is not of a connection that lies about.
        held._thread.join(PATIENCE)
        assert not held._thread.is_alive()
