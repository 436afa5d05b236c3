"""``certs.d``: directories in which Docker and the containers tools keep certificates for single registries.

``<certs.d>/<host[:port]>/`` holds ``*.crt`` (certificates of authorities to trust) and pairs ``NAME.cert`` and
``NAME.key`` (a client certificate); containers-certs.d(5), and Docker's "Verify repository client with certificates".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.files import reason
from manifestctl.text import escape
from manifestctl.transport.addresses import split_host
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SYSTEM_DIRECTORIES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


@dataclass(frozen=True, slots=True)
class HostCertificates:
    """What the directories hold for one host: certificates to trust, and client certificates with their keys."""

    authorities: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()

    def __bool__(self) -> bool:
        """Tell if there is anything."""
        return bool(self.authorities or self.pairs)


def home(environ: Mapping[str, str]) -> Path | None:
    """Return the user's home directory as the environment has it, or None."""
    value = environ.get("USERPROFILE" if os.name == "nt" else "HOME", "")
    return Path(value) if value else None


def certs_directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the ``certs.d`` directories that apply, whether they exist or not; the user's own before the system's."""
    base = home(environ)
    own = () if base is None else (base / ".config/containers/certs.d", base / ".config/docker/certs.d")
    return (*own, *SYSTEM_DIRECTORIES)


def host_certificates(host: str, directories: Iterable[Path]) -> HostCertificates:
    """Return all that the directories hold for ``host[:port]``, as it is written in references.

    Raises `InputError` for a directory that cannot be read, and for a client certificate without its key or the
    reverse.
    """
    if split_host(host) is None:
        return HostCertificates()
    authorities: list[Path] = []
    pairs: list[tuple[Path, Path]] = []
    for directory in directories:
        names = _names(directory / host)
        authorities += [name for name in names if name.suffix == ".crt"]
        pairs += [_pair(name) for name in names if name.suffix == ".cert"]
        for name in names:
            if name.suffix == ".key" and name.with_suffix(".cert") not in names:
                raise InputError(
                    f"{escape(str(name))} has no client certificate beside it",
                    hint=f"Put the certificate into {escape(name.stem)}.cert in the same directory.",
                )
    return HostCertificates(tuple(authorities), tuple(pairs))


def _names(directory: Path) -> list[Path]:
    try:
        return sorted(directory / name for name in os.listdir(directory))  # noqa: PTH208 - half the time of iterdir
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot read the certificates in {escape(str(directory))}: {reason(error)}") from error


def _pair(certificate: Path) -> tuple[Path, Path]:
    key = certificate.with_suffix(".key")
    if not key.exists():
        raise InputError(
            f"{escape(str(certificate))} has no key beside it",
            hint=f"Put its key into {escape(key.name)}; a certificate of an authority to trust must be named *.crt.",
        )
    return certificate, key
