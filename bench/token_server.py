"""A small token server for docker-registry's "token" authentication, with one user, on loopback.

It answers GET and the OAuth2 form of POST alike, so that no client has to fall back from one to the other, and grants what
was asked for. Tokens are JWTs signed with ES256 (RFC 7518); the registry finds the key by the certificate in ``x5c``.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import secrets
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

USER = "bench"
PASSWORD = secrets.token_hex(12)
ISSUER = "bench-token-server"
SERVICE = "bench-registry"
LIFETIME = 300


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A key made for this run, and the self-signed certificate that the registry trusts."""

    def __init__(self) -> None:
        """Make the key and the certificate."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def write_certificate(self, path: Path) -> None:
        """Write the certificate as PEM, for the registry's ``rootcertbundle``."""
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def token(self, scopes: list[str]) -> str:
        """Return a token for scopes such as ``repository:web:pull,push``."""
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": USER,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + LIFETIME,
            "jti": secrets.token_hex(8),
            "access": [_grant(scope) for scope in scopes],
        }
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _grant(scope: str) -> dict[str, object]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


class TokenServer:
    """The server, in threads of this process. Use it as a context manager."""

    def __init__(self, signer: Signer) -> None:
        """Listen on a free port."""
        handler = type("Handler", (_Handler,), {"signer": signer})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        """Start answering."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="token-server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The default writes head and body apart, and the second waits for the first one's delayed ACK.
    wbufsize = -1
    disable_nagle_algorithm = True
    signer: Signer

    def do_GET(self) -> None:
        """Answer a query with Basic credentials, as the distribution token specification has it."""
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self._answer(query, allowed=self.headers.get("Authorization") == basic)

    def do_POST(self) -> None:
        """Answer a form with a password grant, as OAuth2 has it."""
        size = min(int(self.headers.get("Content-Length", "0")), 1 << 16)
        form = urllib.parse.parse_qs(self.rfile.read(size).decode())
        self._answer(form, allowed=(form.get("username"), form.get("password")) == ([USER], [PASSWORD]))

    def _answer(self, fields: dict[str, list[str]], *, allowed: bool) -> None:
        scopes = [scope for value in fields.get("scope", []) for scope in value.split(" ") if scope]
        document: dict[str, object] = {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]}
        if allowed:
            token = self.signer.token(scopes)
            document = {"token": token, "access_token": token, "expires_in": LIFETIME}
        body = json.dumps(document).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing."""
