"""One `httpx.Client` for each origin: its pool of connections, its TLS, its proxy, and no cookies."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifestctl import __version__

if TYPE_CHECKING:
    import ssl

    import httpx

    from manifestctl.runtime import Runtime
    from manifestctl.transport.early import EarlySockets
    from manifestctl.transport.settings import TransportSettings
    from manifestctl.transport.tls import TlsContexts

_OVER = "the connections of this run are closed"
USER_AGENT = f"manifestctl/{__version__}"


class Connections:
    """Makes and keeps the clients of a run. `httpx.Client` may be shared by threads; making one is guarded here."""

    def __init__(self, settings: TransportSettings, runtime: Runtime) -> None:
        """Keep the settings; no client is made yet."""
        self._settings = settings
        self._runtime = runtime
        self._homes: set[str] = set()
        self._early: dict[str, EarlySockets] = {}
        self._contexts: TlsContexts | None = None
        self._clients: dict[tuple[str, str, int | None], httpx.Client] = {}
        self._closed = False
        self._lock = threading.Lock()

    def begin(self, origin: str, count: int) -> None:
        """Begin to open connections to an origin, for ``count`` requests that will be sent at first.

        Raises `InputError` for proxies that cannot be used; one that can be used is left to connect by itself.
        """
        from manifestctl.transport.addresses import split_host
        from manifestctl.transport.early import EarlySockets
        from manifestctl.transport.proxies import proxy_for

        scheme, _, netloc = origin.partition("://")
        host, port = split_host(netloc) or ("", None)
        port = port or (443 if scheme == "https" else 80)
        if host and origin not in self._early and proxy_for(scheme, host, port, self._runtime.environ) is None:
            self._early[origin] = EarlySockets(host, port, min(count, self._settings.concurrency))

    def at_home(self, origin: str) -> None:
        """Say that an origin is a registry of this run, and make its client now, before many threads want it at once.

        Hosts that redirects lead to are not at home and are shown no client certificate. Raises as `client` does.
        """
        import httpx

        url = httpx.URL(origin)
        self._homes.add(url.netloc.decode("ascii"))
        client = self.client(url)
        if origin in self._early:
            from manifestctl.transport.early import adopt

            adopt(client, self._early[origin])

    def client(self, url: httpx.URL) -> httpx.Client:
        """Return the client for a URL's origin. Raises `InputError` for TLS files or proxies that cannot be used."""
        origin = (url.scheme, url.host, url.port)
        with self._lock:
            if self._closed:
                raise RuntimeError(_OVER)
            if origin not in self._clients:
                self._clients[origin] = self._make(url)
            return self._clients[origin]

    def check_open(self, response: httpx.Response) -> None:
        """Raise `RuntimeError` for an answer that comes after the end of the run, and close its connection.

        It was being opened when all were closed, and would go back to a pool that nobody closes any more.
        """
        if self._closed:
            response.extensions["network_stream"].close()
            raise RuntimeError(_OVER)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._closed = True
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
        for early in self._early.values():
            early.close()

    def _make(self, url: httpx.URL) -> httpx.Client:
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        return httpx.Client(
            verify=self._context(url.scheme, url.netloc.decode("ascii")),
            proxy=self._proxy(url),
            trust_env=False,
            timeout=httpx.Timeout(self._settings.read_timeout, connect=self._settings.connect_timeout, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=self._settings.concurrency),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"},
            # Registries set session cookies; one that is sent back binds a request to a session it should not have.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def _proxy(self, url: httpx.URL) -> httpx.Proxy | None:
        import httpx

        from manifestctl.transport.proxies import proxy_for

        port = url.port or (443 if url.scheme == "https" else 80)
        proxy = proxy_for(url.scheme, url.host, port, self._runtime.environ)
        if proxy is None:
            return None
        # The connection to the proxy itself is verified as any other; left to httpx it would be by its own authorities.
        target = httpx.URL(proxy)
        context = self._context("https", target.netloc.decode("ascii")) if target.scheme == "https" else None
        return httpx.Proxy(proxy, ssl_context=context)

    def _context(self, scheme: str, host: str) -> ssl.SSLContext:
        from manifestctl.transport.tls import TlsContexts, no_tls_context

        if scheme != "https":
            return no_tls_context()
        if self._contexts is None:
            self._contexts = TlsContexts(self._settings, self._runtime)
        return self._contexts.context(host, identity=host in self._homes)
