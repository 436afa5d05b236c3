"""The authorization tokens that the fake AWS gives out and the fake registries accept."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["valid", "expired", "unknown"]
USER = "AWS"
HOURS_12 = 12 * 3600.0


@dataclass(slots=True, eq=False)
class IssuedToken:
    """One token: ``kind`` is ``ecr-public`` or ``ecr``, ``authorization`` what GetAuthorizationToken returned."""

    kind: str
    password: str = field(repr=False)
    principal: str
    account: str
    expires_at: float
    revoked: bool = False

    @property
    def authorization(self) -> str:
        """The base64 of ``AWS:password``."""
        return base64.b64encode(f"{USER}:{self.password}".encode()).decode()


class Tokens:
    """All tokens given out, by a clock of the test's choice."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none."""
        self.issued: list[IssuedToken] = []
        self.lifetime = HOURS_12
        self.clock = clock
        self._lock = threading.Lock()

    def issue(self, kind: str, principal: str, account: str) -> IssuedToken:
        """Make a token; its password has the looks and the size of a real one."""
        expires = self.clock() + self.lifetime
        content = {
            "payload": secrets.token_urlsafe(900),
            "datakey": secrets.token_urlsafe(120),
            "version": "3",
            "type": "DATA_KEY",
            "expiration": int(expires),
        }
        password = base64.b64encode(json.dumps(content).encode()).decode()
        token = IssuedToken(kind, password, principal, account, expires)
        with self._lock:
            self.issued.append(token)
        return token

    def find(self, password: str, kind: str) -> IssuedToken | None:
        """Return the token of this kind with this password, valid or not."""
        with self._lock:
            return next((token for token in self.issued if (token.password, token.kind) == (password, kind)), None)

    def by_authorization(self, authorization: str, kind: str) -> IssuedToken | None:
        """Return the token of this kind that was returned as this authorization token, valid or not."""
        with self._lock:
            held = list(self.issued)
        return next((token for token in held if (token.authorization, token.kind) == (authorization, kind)), None)

    def state(self, token: IssuedToken | None) -> State:
        """Tell whether a token may be used now."""
        if token is None or token.revoked:
            return "unknown"
        return "valid" if self.clock() < token.expires_at else "expired"

    def revoke_all(self) -> None:
        """Make all tokens given out so far unknown."""
        with self._lock:
            for token in self.issued:
                token.revoked = True

    def expire_all(self) -> None:
        """Make all tokens given out so far expired, by their time alone."""
        with self._lock:
            for token in self.issued:
                token.expires_at = min(token.expires_at, self.clock())
