"""What the user said about how to reach registries: `TransportSettings`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import InputError
from manifestctl.text import escape
from manifestctl.transport.addresses import is_loopback, join_host, split_host
from manifestctl.transport.certs_d import host_certificates
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

Scheme = Literal["http", "https"]

_HOST_OPTIONS = {"plain_http": "--plain-http", "tls": "--tls", "tls_skip_verify": "--tls-skip-verify"}


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How registries are reached; making one checks the hosts and numbers and raises `InputError`.

    ``plain_http``, ``tls`` and ``tls_skip_verify`` hold hosts as in references, ``host[:port]``: one with a port
    means that port alone, one without means the host on every port; where both kinds fit, the one with the port
    decides. A registry whose API is on another host (``docker.io``) may be named by either. ``certs_dirs`` are the
    ``certs.d`` directories that apply. Times are in seconds; ``retries`` counts all tries, the first one too.
    """

    plain_http: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()
    tls_skip_verify: tuple[str, ...] = ()
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    certs_dirs: tuple[Path, ...] = ()
    authfile: Path | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: int = 5
    retry_deadline: float = 300.0
    concurrency: int = 16

    def __post_init__(self) -> None:
        """Check what was given; hosts become those that are spoken to, in lower case."""
        for name, option in _HOST_OPTIONS.items():
            hosts = tuple(_host(text, option) for text in getattr(self, name))
            object.__setattr__(self, name, hosts)
        for host in self.plain_http:
            for other in ("tls", "tls_skip_verify"):
                if host in getattr(self, other):
                    raise InputError(f"--plain-http and {_HOST_OPTIONS[other]} are both given for {escape(host)}")
        if self.client_key is not None and self.client_cert is None:
            raise InputError("--client-key is given without --client-cert", hint="Name that key's certificate too.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not 0 < value < float("inf"):
                raise InputError(f"{field.name.replace('_', ' ')} must be more than 0, not {value}")

    def scheme(self, host: str) -> Scheme:
        """Return how to speak to ``host[:port]``. Raises `InputError` for a ``certs.d`` directory that cannot be read.

        ``--plain-http``, ``--tls`` and ``--tls-skip-verify`` decide where they name the host. Otherwise
        ``localhost``, 127.0.0.0/8 and ::1 are plain HTTP unless there is a ``--ca-file`` or a ``certs.d`` entry for
        them, and all else is TLS.
        """
        for match in (names_exactly, names_without_port):
            if match(self.plain_http, host):
                return "http"
            if match(self.tls, host) or match(self.tls_skip_verify, host):
                return "https"
        split = split_host(host)
        local = split is not None and is_loopback(split[0])
        return "http" if local and self.ca_file is None and not host_certificates(host, self.certs_dirs) else "https"

    def skips_verification(self, host: str) -> bool:
        """Tell if the user asked that the certificate of ``host[:port]`` be not verified."""
        return names_exactly(self.tls_skip_verify, host) or names_without_port(self.tls_skip_verify, host)


def names_exactly(hosts: tuple[str, ...], host: str) -> bool:
    """Tell if the hosts that a user gave hold this one as it is written, port included."""
    split = split_host(host)
    return split is not None and _spoken_to(*split) in hosts


def names_without_port(hosts: tuple[str, ...], host: str) -> bool:
    """Tell if the hosts that a user gave hold this one for all its ports."""
    split = split_host(host)
    return split is not None and _spoken_to(split[0], None) in hosts


def _spoken_to(name: str, port: int | None) -> str:
    from manifestctl.transport.profiles import profile_for

    return join_host(profile_for(name).host(name), port)


def _host(text: str, option: str) -> str:
    split = split_host(text)
    if split is None:
        raise InputError(
            f"{option} '{escape(text, 200)}': that is not a host",
            hint="Write host or host:port, without a scheme and without a path.",
        )
    return _spoken_to(*split)
