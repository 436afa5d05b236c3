"""The steps on the way to a host, each by itself."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from manifestctl.errors import UnreachableError
from manifestctl.transport.probe import Address, Origin, connect, failed_step, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "127.0.0.1"


@pytest.fixture
def listening() -> Iterator[int]:
    """Return a port on which connections are taken."""
    with socket.create_server((HERE, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server((HERE, 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://registry.example", ("https", "registry.example", 443, "https://registry.example:443")),
        ("http://registry.example:5000", ("http", "registry.example", 5000, "http://registry.example:5000")),
        ("http://[::1]:5000", ("http", "::1", 5000, "http://[::1]:5000")),
        ("http://user:p%40ss@proxy.example:3128", ("http", "proxy.example", 3128, "http://proxy.example:3128")),
        ("http://user:p@ss@proxy.example/", ("http", "proxy.example", 80, "http://proxy.example:80")),
    ],
)
def test_an_origin(url: str, expected: tuple[str, str, int, str]) -> None:
    origin = Origin.parse(url)
    assert (origin.scheme, origin.host, origin.port, str(origin)) == expected
    assert origin.secure == url.startswith("https")


def test_a_name_is_looked_up() -> None:
    found = look_up("localhost", 5000, 5.0)
    assert {str(address) for address in found} <= {HERE, "::1"}
    assert {address.place[1] for address in found} == {5000}
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 70 + ".invalid"])
def test_a_name_that_is_not_known(name: str) -> None:
    with pytest.raises(UnreachableError, match=f"the host name {name} is not known") as caught:
        look_up(name, 443, 5.0)
    assert "spelling" in caught.value.hint


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", again)
    with pytest.raises(UnreachableError, match="no name server answers now") as caught:
        look_up("registry.example", 443, 5.0)
    assert "resolv.conf" in caught.value.hint


def test_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: ended.wait(10) and [])
    with pytest.raises(UnreachableError, match="no name server answers in 0 s"):
        look_up("registry.example", 443, 0.01)
    ended.set()


def test_a_connection(listening: int) -> None:
    connected = connect([_address(listening)], 5.0, time.monotonic)
    assert str(connected.address) == HERE
    assert 0 <= connected.seconds < 5
    assert connected.failures == ()


def test_the_first_address_that_takes_one(refusing: int, listening: int) -> None:
    connected = connect([_address(refusing), _address(listening)], 5.0, time.monotonic)
    assert connected.address == _address(listening)
    assert connected.failures == (f"{HERE}: Connection refused",)


def test_no_connection(refusing: int) -> None:
    with pytest.raises(UnreachableError) as caught:
        connect([_address(refusing), _address(refusing)], 5.0, time.monotonic)
    assert caught.value.message == (
        f"no connection to port {refusing}: {HERE}: Connection refused; {HERE}: Connection refused"
    )
    assert "HTTPS_PROXY" in caught.value.hint


def test_a_connection_that_is_not_taken_in_time(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    def hang(self: socket.socket, address: Any) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "connect", hang)
    with pytest.raises(UnreachableError, match=f"{HERE}: no answer in 7 s"):
        connect([_address(listening)], 7.0, time.monotonic)


@pytest.mark.parametrize(
    ("cause", "scheme", "proxied", "step"),
    [
        (httpx.ProxyError("502"), "https", True, "proxy"),
        (httpx.ConnectError("refused"), "https", True, "proxy"),
        (httpx.ConnectTimeout("timed out"), "https", False, "tls"),
        (httpx.ConnectError("broken"), "http", False, "registry"),
        (httpx.ReadTimeout("timed out"), "https", False, "registry"),
        (ssl.SSLError("alert"), "https", True, "tls"),
    ],
)
def test_the_step_at_which_it_failed(cause: Exception, scheme: str, proxied: bool, step: str) -> None:
    error = UnreachableError("it failed")
    error.__cause__ = httpx.ReadError("closed") if isinstance(cause, ssl.SSLError) else cause
    if error.__cause__ is not cause:
        error.__cause__.__cause__ = cause
    assert failed_step(error, Origin(scheme, "registry.example", 443), proxied=proxied) == step


def test_a_failure_without_a_known_cause_is_the_answers() -> None:
    origin = Origin("https", "registry.example", 443)
    assert failed_step(UnreachableError("503"), origin, proxied=True) == "registry"


def test_causes_that_lead_in_a_circle_end() -> None:
    first, second = UnreachableError("first"), UnreachableError("second")
    first.__cause__, second.__cause__ = second, first
    assert failed_step(first, Origin("https", "registry.example", 443), proxied=False) == "registry"


def _address(port: int) -> Address:
    return Address(socket.AF_INET, (HERE, port))
