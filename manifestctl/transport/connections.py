"""One `httpx.Client` for each registry, and one for all other hosts that are reached alike.

A client is a pool of connections with its TLS, its proxy, and no cookies. A pool keeps few connections that nobody uses
open, so a registry that leads to ever new hosts does not use up the files that a process may have open.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifestctl import __version__

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import httpx

    from manifestctl.runtime import Runtime
    from manifestctl.transport.early import EarlySockets
    from manifestctl.transport.proxies import Proxy
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
        self._homes: tuple[str, ...] = ()
        # What certs.d has registries of this run trust, they are trusted with at the hosts to which they lead too.
        self._authorities: tuple[Path, ...] = ()
        self._early: dict[str, EarlySockets] = {}
        self._contexts: TlsContexts | None = None
        self._clients: dict[tuple[object, ...], httpx.Client] = {}
        self._away: dict[tuple[object, ...], httpx.Client] = {}
        self._passed_over = False
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

        The hosts that it leads to, by a token realm or a redirect, are not at home: they are verified by its
        authorities too, but shown no client certificate. Raises as `client` does.
        """
        import httpx

        url = httpx.URL(origin)
        self._move_in(url)
        client = self.client(url)
        if origin in self._early:
            from manifestctl.transport.early import adopt

            adopt(client, self._early[origin])

    def client(self, url: httpx.URL) -> httpx.Client:
        """Return the client that asks a URL. Raises `InputError` for TLS files or proxies that cannot be used."""
        host = _netloc(url)
        with self._lock:
            if self._closed:
                raise RuntimeError(_OVER)
            # A host that is asked before all registries are known may later be trusted by more authorities.
            trust = () if host in self._homes else self._authorities
            key = (url.scheme, host, host in self._homes, trust)
            if key not in self._clients:
                self._clients[key] = self._make(url)
            return self._clients[key]

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
            clients, self._clients = set(self._clients.values()), {}
        for client in clients:
            client.close()
        for early in self._early.values():
            early.close()

    def _move_in(self, url: httpx.URL) -> None:
        from manifestctl.transport.certs_d import host_certificates

        host = _netloc(url)
        with self._lock:
            if host not in self._homes:
                self._homes += (host,)
                if url.scheme == "https":
                    self._authorities += host_certificates(host, self._settings.certs_dirs).authorities

    def _make(self, url: httpx.URL) -> httpx.Client:
        proxy, context = self._proxy(url), self._context(url)
        if _netloc(url) in self._homes:
            return self._built(proxy, context)
        alike = (proxy, context)
        if alike not in self._away:
            self._away[alike] = self._built(proxy, context)
        return self._away[alike]

    def _built(self, proxy: Proxy | None, context: ssl.SSLContext | None) -> httpx.Client:
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        from manifestctl.transport.sending import Transport
        from manifestctl.transport.tls import no_tls_context
        from manifestctl.transport.way import Way

        def watch(request: httpx.Request) -> None:
            Way(proxy, lambda: self._advice(request.url)).watch(request)

        return httpx.Client(
            transport=Transport(
                verify=context or no_tls_context(),
                proxy=self._reached(proxy) if proxy is not None else None,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=self._settings.concurrency),
            ),
            trust_env=False,
            timeout=httpx.Timeout(self._settings.read_timeout, connect=self._settings.connect_timeout, pool=None),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"},
            # Registries set session cookies; one that is sent back binds a request to a session it should not have.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            event_hooks={"request": [watch]},
        )

    def _proxy(self, url: httpx.URL) -> Proxy | None:
        from manifestctl.events import Warned
        from manifestctl.transport.proxies import named_proxy, passed_over

        port = url.port or (443 if url.scheme == "https" else 80)
        proxy = named_proxy(url.scheme, url.host, port, self._runtime.environ)
        told = passed_over(self._runtime.environ) if proxy is not None and not self._passed_over else ""
        if told:
            self._passed_over = True
            self._runtime.observe(Warned(told))
        return proxy

    def _reached(self, proxy: Proxy) -> httpx.Proxy:
        import httpx

        # The connection to the proxy itself is verified as any other; left to httpx it would be by its own authorities.
        target = httpx.URL(proxy.url)
        context = self._tls().context(_netloc(target), identity=False) if target.scheme == "https" else None
        return httpx.Proxy(proxy.url, ssl_context=context)

    def _context(self, url: httpx.URL) -> ssl.SSLContext | None:
        host = _netloc(url)
        if url.scheme != "https":
            return None
        if host in self._homes:
            return self._tls().context(host)
        return self._tls().context(host, identity=False, more=self._authorities)

    def _advice(self, url: httpx.URL) -> str:
        from manifestctl.transport.tls import advice

        host = _netloc(url)
        homes = () if host in self._homes else self._homes
        return advice(host, homes, self._settings) if url.scheme == "https" else ""

    def _tls(self) -> TlsContexts:
        from manifestctl.transport.tls import TlsContexts

        if self._contexts is None:
            self._contexts = TlsContexts(self._settings, self._runtime)
        return self._contexts


def _netloc(url: httpx.URL) -> str:
    return url.netloc.decode("ascii")
