"""A server of streams, each on a thread of its own, whose life is that of a ``with`` block."""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

PATIENCE = 5.0
"""Seconds in which a thread must end when the server is closed."""


class LoopbackServer:
    """Gives every connection that is made to it a thread, in which a subclass serves it; a context manager."""

    def __init__(self) -> None:
        """Make a server that is not listening yet."""
        self.connections = 0
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._closing = False

    def serve(self, connection: socket.socket, number: int) -> None:
        """Serve a connection to its end. What then is in its place in ``_open`` is closed."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        assert self._listener is not None, "the server is not started: use it in a with block"
        port: int = self._listener.getsockname()[1]
        return port

    def drop_connections(self) -> None:
        """Close all open connections, idle ones too, as a server does that was restarted; it goes on listening."""
        with self._lock:
            connections = list(self._open.values())
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start(self) -> Self:
        """Listen, on a free port, and accept connections."""
        self._listener = self._listening()
        self._spawn(self._accept)
        return self

    def close(self) -> None:
        """Close all connections and wait for the threads."""
        with self._lock:
            self._closing = True
        self.drop_connections()
        if self._listener is not None:
            # A thread that waits in accept is not woken by a close on every system.
            with contextlib.suppress(OSError):
                self._wake()
        for thread in list(self._threads):
            thread.join(PATIENCE)
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the server."""
        self.close()

    def _listening(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0), backlog=256)

    def _wake(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass

    def _spawn(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True, name=type(self).__name__)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        for number in itertools.count(1):
            connection, _ = self._listener.accept()
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self.connections += 1
                self._open[number] = connection
            self._spawn(functools.partial(self._served, connection, number))

    def _served(self, connection: socket.socket, number: int) -> None:
        # The other side may go away, and then nobody is left to answer.
        with contextlib.suppress(OSError), self._held(connection, number):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(connection, number)

    @contextlib.contextmanager
    def _held(self, connection: socket.socket, number: int) -> Iterator[None]:
        """Let a connection be closed with the server, and close it when the block ends."""
        with self._lock:
            self._open[number] = connection
        try:
            if self._closing:
                raise OSError("the server is closing")
            yield
        finally:
            with self._lock:
                held = self._open.pop(number)
            with contextlib.suppress(OSError):
                held.close()


@contextlib.contextmanager
def not_answering(host: str, port: int = 0) -> Iterator[socket.socket]:
    """Give a server whose queue is full, so that further connections are not answered."""
    with socket.create_server((host, port), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server
        for filler in fillers:
            filler.close()
