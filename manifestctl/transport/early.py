"""TCP connections that are opened while Python still imports the HTTP library.

A round trip to a registry takes about as long as that import, so the first connections are under way before there is
anybody to use them. A connection that could not be opened this way is opened in the ordinary way when it is needed,
which is also where its error is reported.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx
    from httpcore import NetworkBackend, NetworkStream

# A packet that was lost on the way is sent again after a second; what answers later than that is not worth a wait.
_PATIENCE = 1.0
_UNDER_WAY = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK})
# It has no bound on the number of a descriptor, and takes none for itself.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class EarlySockets:
    """Sockets to one host that are connecting; each is taken once.

    They are a bet on the first of the host's addresses. Where it is lost, all addresses are tried in the ordinary way.
    """

    def __init__(self, host: str, port: int, count: int) -> None:
        """Begin to connect ``count`` sockets, in a thread, for the host's name may have to be looked up."""
        self._sockets: list[socket.socket] = []
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._connect, args=(host, port, count), daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> socket.socket | None:
        """Return a socket that is connected; None if there is none left, or the next one is not connected soon.

        ``timeout`` is how long the ordinary way waits for one address; a quarter of it, a second at most, is how long
        the host's name and the connection are waited for here. What is not there by then, nobody waits for again.
        """
        patience = min(timeout / 4, _PATIENCE)
        self._thread.join(patience)
        with self._lock:
            taken = self._sockets.pop(0) if self._sockets else None
        late = self._thread.is_alive() if taken is None else not _answered(taken, patience)
        if late:
            self.close()
        if taken is not None and not late and _is_connected(taken):
            taken.setblocking(True)
            return taken
        if taken is not None:
            taken.close()
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
                under_way = connecting.connect_ex(address) in _UNDER_WAY
                with self._lock:
                    if self._closed or not under_way:
                        connecting.close()
                        return
                    self._sockets.append(connecting)


def _answered(connecting: socket.socket, timeout: float) -> bool:
    """Wait until a connection is made or refused; returns whether it was."""
    with _Selector() as selector:
        selector.register(connecting, selectors.EVENT_WRITE)
        return bool(selector.select(timeout))


def _is_connected(answered: socket.socket) -> bool:
    # Having no error to report is not enough: a socket for which nothing is under way has none.
    try:
        answered.getpeername()
    except OSError:
        return False
    return True


def adopt(client: httpx.Client, early: EarlySockets) -> None:
    """Let a client take its first connections from ``early``.

    Neither httpx nor httpcore has a public place for a socket that is open already; where their inside is not as it is
    known to be, nothing is adopted and nothing is lost but time.
    """
    try:
        from httpcore import SyncBackend
        from httpcore._backends.sync import SyncStream

        from manifestctl.transport.sending import PatientStream

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
            taken = early.take(timeout or 10.0)
            if taken is not None:
                return PatientStream(SyncStream(taken))
            return ordinary.connect_tcp(host, port, timeout, local_address, socket_options)

    pool._network_backend = Backend()  # noqa: SLF001 - see the docstring
