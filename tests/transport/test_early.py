from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from manifestctl.transport.early import EarlySockets, adopt
from tests.support.loopback import not_answering

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
    with not_answering("127.0.0.1") as server:
        yield server


def test_a_host_that_does_not_answer_is_waited_for_once(deaf: socket.socket) -> None:
    early = EarlySockets("127.0.0.1", port_of(deaf), 3)
    assert early.take(0.02) is None
    # Nothing is left for which another request could wait.
    assert early._sockets == []
    assert early.take(60) is None


def test_a_name_that_is_looked_up_for_long_is_not_waited_for(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up, found = threading.Event(), socket.getaddrinfo("127.0.0.1", port_of(listener), type=socket.SOCK_STREAM)

    def slow(*_: object, **__: object) -> object:
        looked_up.wait(5)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    early = EarlySockets("registry.invalid", port_of(listener), 2)
    assert early.take(0.02) is None
    looked_up.set()
    early._thread.join(5)
    # What comes too late is closed.
    assert early._sockets == []


BROADCAST = "127.255.255.255"
linux = pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8 is this machine on Linux alone")


@linux
def test_an_address_without_a_way_is_left_to_the_ordinary_way() -> None:
    early = EarlySockets(BROADCAST, 5000, 2)
    assert early.take(5) is None
    assert early._sockets == []


@linux
def test_what_stands_in_the_way_is_said_by_the_ordinary_way() -> None:
    early = EarlySockets(BROADCAST, 5000, 2)
    with httpx.Client(trust_env=False) as client:
        adopt(client, early)
        with pytest.raises(httpx.ConnectError, match="unreachable"):
            client.get(f"http://{BROADCAST}:5000/")


@linux
def test_the_second_address_is_tried_if_the_first_does_not_answer(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with not_answering("127.0.0.2", registry.port):
        places = [("127.0.0.2", registry.port), ("127.0.0.1", registry.port)]
        answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
        early = EarlySockets("registry.invalid", registry.port, 1)
        with httpx.Client(trust_env=False, timeout=httpx.Timeout(5, connect=0.1)) as client:
            adopt(client, early)
            assert client.get(f"http://registry.invalid:{registry.port}/v2/").status_code == 200


@contextlib.contextmanager
def descriptors_taken(count: int) -> Iterator[None]:
    """Let descriptors that are opened have at least this number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count + 512, hard)), hard))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while taken[-1] < count:
            taken.append(os.dup(taken[0]))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_may_have_many_files_open(listener: socket.socket) -> None:
    with descriptors_taken(1100):
        early = EarlySockets("127.0.0.1", port_of(listener), 1)
        taken = early.take(5)
        assert taken is not None
        assert taken.fileno() > 1024
        taken.close()


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
