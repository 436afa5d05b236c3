"""`logout`: what is stored for a registry, and tokens of it that are kept, are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.aws.hosts import ecr_host
from manifestctl.errors import DeniedError
from manifestctl.events import Warned
from manifestctl.files import reason
from manifestctl.text import escape
from manifestctl.transport.credential_writer import CredentialWriter
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.errors import ManifestctlError
    from manifestctl.runtime import Runtime


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """What was removed: credentials from ``places`` (in words), and so many kept ``tokens``, of all identities.

    ``helper`` is the helper program that is asked for the registry's credentials, if any: it may have its own.
    ``error`` is what kept something from being removed.
    """

    registry: str
    places: tuple[str, ...]
    tokens: int
    helper: str = ""
    error: ManifestctlError | None = None


def logout(registry: str, runtime: Runtime, authfile: Path | None = None) -> LoggedOut:
    """Remove the credentials of a registry from where `login` puts them, whatever form of its name they stand under.

    Raises `InputError` for a file that cannot be used, `DeniedError` for tokens that cannot be removed.
    """
    tokens = _forget_tokens(registry, runtime)
    writer = CredentialWriter.of_system(runtime, authfile)
    erased = writer.erase(registry)
    for place in writer.left_elsewhere(registry):
        runtime.observe(Warned(f"{place} still holds credentials for {registry}"))
    return LoggedOut(registry, erased.places, tokens, erased.helper, erased.error)


def _forget_tokens(registry: str, runtime: Runtime) -> int:
    host = ecr_host(registry)
    if host is None:
        return 0
    from manifestctl.aws.token_cache import cache_directory, forget_all

    directory = cache_directory(runtime.environ)
    try:
        return forget_all(host, directory) if directory is not None else 0
    except OSError as error:
        kept = f"the tokens for {registry} in {escape(str(directory))} cannot be removed: {reason(error)}"
        raise DeniedError(kept, hint="Check who may use that directory.") from error
