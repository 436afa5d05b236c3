"""Content digests. OCI image-spec "Digests"."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Self

from manifestctl.errors import InputError, IntegrityError
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from hashlib import _Hash

_GRAMMAR = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """``algorithm:encoded``, e.g. ``sha256:`` and 64 lower-case hexadecimal digits.

    Any registered or unknown algorithm that fits the grammar is a value; only those of which `verifiable` is
    true can be computed here.
    """

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a digest; raises `InputError` if it is malformed."""
        if len(text) > _MAX_LENGTH or not _GRAMMAR.fullmatch(text):
            raise InputError(
                f"'{escape(text, 120)}' is not a digest", hint="A digest is written sha256:<64 hex digits>."
            )
        algorithm, _, encoded = text.partition(":")
        length = _HEX_LENGTHS.get(algorithm)
        if length is not None and not re.fullmatch(rf"[a-f0-9]{{{length}}}", encoded):
            raise InputError(
                f"'{escape(text, 160)}' is not a {algorithm} digest",
                hint=f"{algorithm}: is followed by {length} lower-case hex digits; this has {len(encoded)} characters.",
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Compute the digest of bytes."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @property
    def verifiable(self) -> bool:
        """Tell whether content can be checked against this digest."""
        return self.algorithm in _HEX_LENGTHS

    @property
    def short(self) -> str:
        """The algorithm and the first 12 characters, for people."""
        return f"{self.algorithm}:{self.encoded[:12]}"

    def hasher(self) -> _Hash:
        """Return a fresh `hashlib` object of this digest's algorithm; raises `IntegrityError` if there is none."""
        if not self.verifiable:
            raise IntegrityError(
                f"digest {self} cannot be checked: the algorithm {self.algorithm} is not known here",
                hint=f"Content is used only if it was checked; name it by one of {', '.join(_HEX_LENGTHS)}.",
            )
        return hashlib.new(self.algorithm)

    def matches(self, data: bytes) -> bool:
        """Tell whether the bytes hash to this digest; raises `IntegrityError` if that cannot be told."""
        hasher = self.hasher()
        hasher.update(data)
        return hmac.compare_digest(hasher.hexdigest(), self.encoded)

    def __str__(self) -> str:
        """Return ``algorithm:encoded``."""
        return f"{self.algorithm}:{self.encoded}"
