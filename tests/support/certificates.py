"""Certificates of an authority made for one test run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate, a server's certificate and key, a client's certificate and key."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def server_context(self, *, ask_client: bool = False) -> ssl.SSLContext:
        """Return a server's TLS context; with ``ask_client`` only this authority's clients are let in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authority)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's TLS context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_certificates(
    directory: Path, *, hosts: tuple[str, ...] = HOSTS, not_after: datetime | None = None
) -> Certificates:
    """Make an authority and its certificates for these hosts in a directory; ``not_after`` in the past: expired."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    server = authority.issue_cert(*hosts, not_after=not_after)
    client = authority.issue_cert("client@example.test")
    made = Certificates(*(directory / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")))
    authority.cert_pem.write_to_path(made.authority)
    for issued, certificate, key in ((server, made.server, made.server_key), (client, made.client, made.client_key)):
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
    return made
