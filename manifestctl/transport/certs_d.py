"""``certs.d``: directories in which Docker and the containers tools keep certificates for single registries.

``<certs.d>/<host[:port]>/`` holds ``*.crt`` (certificates of authorities to trust) and pairs ``NAME.cert`` and
``NAME.key`` (a client certificate); containers-certs.d(5), and Docker's "Verify repository client with certificates".
A registry that has its API on another host than that of its references (``docker.io``) may have its directory under
either name.
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
    """What the directories hold for one host: certificates to trust, and client certificates with their keys.

    ``unread`` are directories that may be there, but are closed to this user.
    """

    authorities: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()
    unread: tuple[Path, ...] = ()

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
    """Return all that the directories hold for ``host[:port]``, as it is written in references or as it is spoken to.

    One that the user may not read is passed over, as the containers tools do. Raises `InputError` for one that cannot
    be read for another reason, and for a client certificate without its key or the reverse.
    """
    if split_host(host) is None:
        return HostCertificates()
    authorities: list[Path] = []
    pairs: list[tuple[Path, Path]] = []
    unread: list[Path] = []
    for directory in (base / name for base in directories for name in _spellings(host)):
        names = _names(directory)
        if names is None:
            unread.append(directory)
            continue
        authorities += [name for name in names if name.suffix == ".crt"]
        pairs += [_pair(name) for name in names if name.suffix == ".cert"]
        for name in names:
            if name.suffix == ".key" and name.with_suffix(".cert") not in names:
                raise InputError(
                    f"{escape(str(name))} has no client certificate beside it",
                    hint=f"Put the certificate into {escape(name.stem)}.cert in the same directory.",
                )
    return HostCertificates(tuple(authorities), tuple(pairs), tuple(unread))


def _spellings(host: str) -> list[str]:
    from manifestctl.transport.profiles import profile_for

    # Some of the keys of credential files are URLs, which name no directory.
    keys = [key for key in profile_for(host).keys(host) if split_host(key) is not None]
    return list(dict.fromkeys((host, *keys)))


def _names(directory: Path) -> list[Path] | None:
    try:
        return sorted(directory / name for name in os.listdir(directory))  # noqa: PTH208 - half the time of iterdir
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        return None
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
