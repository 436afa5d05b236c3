from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from manifestctl.transport.early import EarlySockets, adopt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fake_registry import FakeRegistry


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that accepts at the kernel's leisure and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return port_of(server)


def test_each_socket_is_taken_once_and_is_connected(listener: socket.socket) -> None:
    early = EarlySockets("127.0.0.1", port_of(listener), 2)
    first, second, third = early.take(5), early.take(5), early.take(5)
    assert first is not None
    assert second is not None
    assert third is None
    assert first is not second
    assert first.getpeername() == second.getpeername() == listener.getsockname()
    assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert first.getblocking()
    first.close()
    second.close()


def test_what_cannot_be_connected_is_left_to_the_ordinary_way() -> None:
    early = EarlySockets("127.0.0.1", closed_port(), 1)
    assert early.take(5) is None


def test_a_name_that_is_not_known_is_left_to_the_ordinary_way() -> None:
    early = EarlySockets("registry.invalid", 443, 1)
    assert early.take(5) is None


def test_a_name_that_is_none_is_left_to_the_ordinary_way() -> None:
    early = EarlySockets("x" * 300 + ".invalid", 443, 1)
    assert early.take(5) is None


def test_closing_closes_what_nobody_took(listener: socket.socket) -> None:
    early = EarlySockets("127.0.0.1", port_of(listener), 2)
    taken = early.take(5)
    assert taken is not None
    early.close()
    assert early.take(5) is None
    # The one that was taken is the taker's.
    assert taken.fileno() >= 0
    taken.close()


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A server whose queue is full, so that further connections are not answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server
        for filler in fillers:
            filler.close()


def test_a_host_that_does_not_answer_is_waited_for_once(deaf: socket.socket) -> None:
    early = EarlySockets("127.0.0.1", port_of(deaf), 1)
    with pytest.raises(TimeoutError):
        early.take(0.02)


def test_a_client_says_that_the_host_does_not_answer(deaf: socket.socket) -> None:
    early = EarlySockets("127.0.0.1", port_of(deaf), 1)
    with httpx.Client(trust_env=False, timeout=0.02) as client:
        adopt(client, early)
        with pytest.raises(httpx.ConnectTimeout):
            client.get(f"http://127.0.0.1:{port_of(deaf)}/")


def test_a_client_uses_the_early_sockets_first(registry: FakeRegistry) -> None:
    early = EarlySockets("127.0.0.1", registry.port, 1)
    with httpx.Client(trust_env=False) as client:
        adopt(client, early)
        assert client.get(f"{registry.url}/v2/").status_code == 200
    assert registry.connections == 1
    early.close()


def test_a_client_connects_by_itself_when_there_are_none_left(registry: FakeRegistry) -> None:
    early = EarlySockets("127.0.0.1", closed_port(), 1)
    with httpx.Client(trust_env=False) as client:
        adopt(client, early)
        assert client.get(f"{registry.url}/v2/").status_code == 200
    assert registry.connections == 1


def test_a_client_that_is_built_otherwise_loses_nothing(listener: socket.socket) -> None:
    early = EarlySockets("127.0.0.1", port_of(listener), 1)
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(204))) as client:
        adopt(client, early)
        assert client.get("http://registry.test/").status_code == 204
    assert early.take(0) is None
