"""TCP connections that are opened while Python still imports the HTTP library.

A round trip to a registry takes about as long as that import, so the first connections are under way before there is
anybody to use them. A connection that could not be opened this way is opened in the ordinary way when it is needed,
which is also where its error is reported.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx
    from httpcore import NetworkBackend, NetworkStream


class EarlySockets:
    """Sockets to one host that are connecting; each is taken once."""

    def __init__(self, host: str, port: int, count: int) -> None:
        """Begin to connect ``count`` sockets, in a thread, for the host's name may have to be looked up."""
        self._sockets: list[socket.socket] = []
        self._closed = False
        self._lock = threading.Lock()
        self._started = threading.Thread(target=self._connect, args=(host, port, count), daemon=True)
        self._started.start()

    def take(self, timeout: float) -> socket.socket | None:
        """Return a socket once it is connected; None if there is none left or it failed.

        Raises `TimeoutError` if it is not connected after ``timeout`` more seconds: the host does not answer.
        """
        self._started.join(timeout)
        with self._lock:
            if not self._sockets:
                return None
            taken = self._sockets.pop(0)
        _, writable, _ = select.select([], [taken], [], timeout)
        if writable and taken.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            taken.setblocking(True)
            return taken
        taken.close()
        if not writable:
            raise TimeoutError("timed out")
        return None

    def close(self) -> None:
        """Close what nobody took."""
        with self._lock:
            self._closed = True
            left, self._sockets = self._sockets, []
        for unused in left:
            unused.close()

    def _connect(self, host: str, port: int, count: int) -> None:
        with contextlib.suppress(OSError, UnicodeError):
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            for _ in range(count):
                connecting = socket.socket(family, kind, protocol)
                connecting.setblocking(False)
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connecting.connect_ex(address)
                with self._lock:
                    if self._closed:
                        connecting.close()
                        return
                    self._sockets.append(connecting)


def adopt(client: httpx.Client, early: EarlySockets) -> None:
    """Let a client take its first connections from ``early``.

    Neither httpx nor httpcore has a public place for a socket that is open already; where their inside is not as it is
    known to be, nothing is adopted and nothing is lost but time.
    """
    try:
        from httpcore import ConnectTimeout, SyncBackend
        from httpcore._backends.sync import SyncStream

        pool: Any = client._transport._pool  # type: ignore[attr-defined]  # noqa: SLF001 - see the docstring
        ordinary: NetworkBackend = pool._network_backend  # noqa: SLF001 - see the docstring
    except (ImportError, AttributeError):
        early.close()
        return

    class Backend(SyncBackend):
        def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> NetworkStream:
            try:
                taken = early.take(timeout or 10.0)
            except TimeoutError as error:
                raise ConnectTimeout(str(error)) from error
            if taken is not None:
                return SyncStream(taken)
            return ordinary.connect_tcp(host, port, timeout, local_address, socket_options)

    pool._network_backend = Backend()  # noqa: SLF001 - see the docstring
