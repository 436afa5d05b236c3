"""Which credentials gave way to which, said when it is known what came of it: `Replacements`."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.transport.credentials import Credential

REFUSED = "refused"
UNUSABLE = "cannot use"


@dataclass(slots=True)
class _Pending:
    """What a repository's requests were refused with, and what they carry now: nothing, with ``why``."""

    passed: list[tuple[Credential, str]] = field(default_factory=list)
    now: Credential | None = None
    why: str = ""


class Replacements:
    """Keeps, for one registry, what gave way until a request is answered; of a chain, only the end is in use."""

    def __init__(self, registry: str, warn: Callable[[str], None]) -> None:
        """Begin with nothing; ``warn`` says a thing once."""
        self._registry = registry
        self._warn = warn
        self._pending: dict[str, _Pending] = {}
        self._expected: dict[str, str] = {}

    def add(self, repository: str, refused: Credential, now: Credential | None, *, how: str, why: str = "") -> None:
        """Record that ``refused`` gave way to ``now``, or to nothing: ``why`` ends the sentence then."""
        pending = self._pending.setdefault(repository, _Pending())
        pending.passed.append((refused, how))
        pending.now, pending.why = now, why

    def expect(self, repository: str, kind: str) -> None:
        """Record the kind of request that was refused, and so which success shows that a replacement helps."""
        self._expected[repository] = kind

    def settle(self, repository: str, *, helped: bool, kind: str = "") -> None:
        """Say what was recorded: a request of this kind succeeded, or (not ``helped``) the last was refused too."""
        if helped and self._expected.get(repository, kind) != kind:
            return
        self._expected.pop(repository, None)
        pending = self._pending.pop(repository, None)
        if pending is None:
            return
        now = pending.now
        for passed, how in pending.passed:
            if now is not None and passed.cached:
                # The same identity either way. If the new token was refused too, it was not the old one's fault.
                if helped:
                    self._warn(
                        f"{self._registry} did not take a token from the cache; a new one was got, with {now.source}"
                    )
            elif now is None or now.source != passed.source:
                instead = f"used instead: {now.source}" if now is not None else pending.why
                self._warn(f"{self._registry} {how} the credentials ({passed.source}); {instead}")
