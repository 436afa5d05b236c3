"""A token server for a real registry: signs JSON Web Tokens that distribution's ``auth: token`` accepts.

distribution, "Token Authentication Implementation": ES256, the signing certificate in the header's ``x5c``.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.fake_auth import BearerAuth, Scope
from tests.support.http_server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.certificates import Certificates
    from tests.support.http_message import Request, Response

ISSUER = "test token server"
SERVICE = "test registry"


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes the text of tokens with the key of a server's certificate, which must be an elliptic one on P-256."""

    certificates: Certificates
    lifetime: int = 300

    def __call__(self, user: str, granted: tuple[Scope, ...]) -> str:
        """Return a signed token for what is granted."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + self.lifetime,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [{"type": s.type, "name": s.name, "actions": sorted(s.actions)} for s in granted],
        }
        header = {"typ": "JWT", "alg": "ES256", "x5c": self._chain()}
        signed = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        return f"{signed}.{_encode(self._signature(signed.encode()))}"

    def _chain(self) -> list[str]:
        end = "-----END CERTIFICATE-----\n"
        pems = [part + end for part in self.certificates.server.read_text().replace("\r\n", "\n").split(end) if part]
        return [base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode() for pem in pems]

    def _signature(self, data: bytes) -> bytes:
        key = serialization.load_pem_private_key(self.certificates.server_key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        first, second = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")


class TokenServer(HttpServer):
    """Gives out signed tokens at ``/token``; ``auth`` is the `BearerAuth` that decides and records."""

    def __init__(self, certificates: Certificates, users: Mapping[str, str]) -> None:
        """Make a token server that is not listening yet; anonymous tokens may pull."""
        super().__init__()
        self.certificates = certificates
        self.auth = BearerAuth(users=dict(users), anonymous={"pull"}, service=SERVICE, mint=Signer(certificates))

    @property
    def realm(self) -> str:
        """The endpoint's URL."""
        return f"{self.url}/token"

    def answer(self, request: Request) -> Response:
        """Answer a token request."""
        return self.auth.token(request)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
