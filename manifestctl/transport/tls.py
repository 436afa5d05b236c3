"""TLS: which certificates are trusted, and which client certificate is shown.

The system's store is used in its directory form where there is one (files named by hash, read only when a certificate
needs them): that takes a third of a millisecond, where reading all certificates of a bundle takes thirty to fifty. What
``--ca-file`` and ``certs.d`` name is trusted besides the system's store, not in its place, because registries
redirect to hosts with public certificates.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from manifestctl.errors import InputError
from manifestctl.events import Warned
from manifestctl.files import read_regular
from manifestctl.text import escape
from manifestctl.transport.certs_d import host_certificates
from manifestctl.values import dataclass

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from manifestctl.runtime import Runtime
    from manifestctl.transport.settings import TransportSettings

_FILE_LIMIT = 16 * 1024 * 1024
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
# Where Linux distributions and BSDs keep the hashed directory, and the bundle. Python's own OpenSSL may know neither.
STORE_DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted/pem/directory-hash")
STORE_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    # What it is in messages: the option, the variable, or words.
    name: str

    def __str__(self) -> str:
        return f"{self.name} {escape(str(self.path))}"


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a context is made from; equal recipes make equal contexts."""

    verify: bool = True
    authorities: tuple[_File, ...] = ()
    certificate: _File | None = None
    key: _File | None = None


class TlsContexts:
    """The SSLContexts of a run: one for all hosts to which nothing special applies. May be shared by threads."""

    def __init__(self, settings: TransportSettings, runtime: Runtime) -> None:
        """Keep the settings; nothing is read yet."""
        self._settings = settings
        self._runtime = runtime
        self._contexts: dict[_Recipe, ssl.SSLContext] = {}
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def context(self, host: str, *, identity: bool = True, more: tuple[Path, ...] = ()) -> ssl.SSLContext:
        """Return the context for ``host[:port]``.

        ``identity`` is False for a host that is no registry of the run: it is not shown our client certificate.
        ``more`` are files of authorities that are trusted besides the host's own. Raises `InputError`, with the option,
        variable or file, for certificates and keys that cannot be used.
        """
        recipe = _recipe(host, self._settings, identity=identity, more=more)
        with self._lock:
            if not recipe.verify and host not in self._warned:
                self._warned.add(host)
                message = f"the TLS certificate of {escape(host)} is not verified (--tls-skip-verify)"
                self._runtime.observe(Warned(message))
            if recipe not in self._contexts:
                self._contexts[recipe] = _make(recipe, self._runtime.environ)
            return self._contexts[recipe]


def ssl_context(host: str, settings: TransportSettings, runtime: Runtime) -> ssl.SSLContext:
    """Return a new context for ``host[:port]``; see `TlsContexts`, which shares them."""
    return TlsContexts(settings, runtime).context(host)


def no_tls_context() -> ssl.SSLContext:
    """Return a context that trusts nobody, for clients that speak plain HTTP: it costs next to nothing."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def advice(host: str, leading: tuple[str, ...], settings: TransportSettings) -> str:
    """Return what to try if the certificate of ``host[:port]`` is not trusted; empty if there is nothing special.

    ``leading`` are the registries of the run by which it may have been named, if it is none of them itself.
    """
    found: list[str] = []
    unread = [path for name in (host, *leading) for path in host_certificates(name, settings.certs_dirs).unread]
    if unread:
        places = ", ".join(escape(str(path)) for path in dict.fromkeys(unread))
        found.append(f"You have no permission to read {places}, where its authority may be.")
    if not settings.skips_verification(host) and any(settings.skips_verification(name) for name in leading):
        skip = f"--tls-skip-verify {escape(host)}"
        found.append(f"--tls-skip-verify is for the hosts it names alone; to leave this one unverified, pass {skip}.")
    return " ".join(found)


def _recipe(host: str, settings: TransportSettings, *, identity: bool, more: tuple[Path, ...]) -> _Recipe:
    found = host_certificates(host, settings.certs_dirs)
    authorities = [_File(path, "certificate file") for path in dict.fromkeys((*found.authorities, *more))]
    if settings.ca_file is not None:
        authorities.append(_File(settings.ca_file, "--ca-file"))
    certificate = key = None
    if identity and settings.client_cert is not None:
        certificate = _File(settings.client_cert, "--client-cert")
        key = _File(settings.client_key, "--client-key") if settings.client_key else None
    elif identity and found.pairs:
        certificate = _File(found.pairs[0][0], "client certificate")
        key = _File(found.pairs[0][1], "client key")
    return _Recipe(not settings.skips_verification(host), tuple(authorities), certificate, key)


def _make(recipe: _Recipe, environ: Mapping[str, str]) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python leaves this to the system's configuration, which on Debian says it to OpenSSL alone.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    if recipe.verify:
        load_system_store(context, environ)
        for file in recipe.authorities:
            _load_authorities(context, file)
        if recipe.authorities:
            # What the user names is trusted as it is, also a certificate that is no authority's (as in Go).
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if recipe.certificate is not None:
        _load_client(context, recipe.certificate, recipe.key)
    return context


def load_system_store(
    context: ssl.SSLContext,
    environ: Mapping[str, str],
    directories: tuple[str, ...] = STORE_DIRECTORIES,
    files: tuple[str, ...] = STORE_FILES,
) -> None:
    """Let a context trust what the system trusts.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` stand in for OpenSSL's own file and its own directories, each for itself,
    as in OpenSSL. Without them: the first hashed directory, else the first bundle, else (Windows) the system's own
    store, else certifi's. Raises `InputError` for variables that name nothing usable.
    """
    import ssl

    if environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR"):
        _load_named_store(context, environ)
        return
    paths = ssl.get_default_verify_paths()
    for directory in (paths.openssl_capath, *directories):
        if _is_hashed(directory):
            context.load_verify_locations(capath=directory)
            return
    for file in (paths.openssl_cafile, *files):
        if os.path.isfile(file):  # noqa: PTH113 - unlike Path.is_file it never raises
            _load_authorities(context, _File(Path(file), "the system's certificates"))
            return
    if os.name == "nt":  # pragma: no cover - Windows alone
        context.load_default_certs()
        return
    import certifi

    context.load_verify_locations(cafile=certifi.where())


def _load_named_store(context: ssl.SSLContext, environ: Mapping[str, str]) -> None:
    import ssl

    own = ssl.get_default_verify_paths()
    file, directories = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file:
        _load_authorities(context, _File(Path(file), "SSL_CERT_FILE"))
    elif os.path.isfile(own.openssl_cafile):  # noqa: PTH113 - unlike Path.is_file it never raises
        _load_authorities(context, _File(Path(own.openssl_cafile), "the system's certificates"))
    names = (directories or own.openssl_capath).split(os.pathsep)
    existing = [name for name in names if os.path.isdir(name)]  # noqa: PTH112 - as above
    if directories and not existing:
        raise InputError(
            f"SSL_CERT_DIR {escape(directories)}: there is no such directory",
            hint="Name a directory of certificates prepared by 'openssl rehash', or unset the variable.",
        )
    for directory in existing:
        context.load_verify_locations(capath=directory)


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def _load_authorities(context: ssl.SSLContext, file: _File) -> None:
    import ssl

    # A FIFO, a directory or a missing file is told apart here; OpenSSL would wait, or say the same of each.
    read_regular(file.path, _FILE_LIMIT, file.name)
    try:
        context.load_verify_locations(cafile=file.path)
    except ssl.SSLError as error:
        raise InputError(
            f"{file} holds no certificate that can be used: {_said(error)}", hint="Certificates must be in PEM form."
        ) from error


def _load_client(context: ssl.SSLContext, certificate: _File, key: _File | None) -> None:
    import ssl

    read_regular(certificate.path, _FILE_LIMIT, certificate.name)
    if key is not None:
        read_regular(key.path, _FILE_LIMIT, key.name)
    pair = f"{certificate} with {key}" if key else f"{certificate}"

    def passphrase() -> NoReturn:
        # OpenSSL would ask for it on the terminal.
        raise InputError(f"{pair}: the key is encrypted", hint="Give a key without a passphrase.")

    try:
        context.load_cert_chain(certificate.path, key.path if key else None, password=passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise InputError(f"{pair}: the key does not belong to the certificate") from error
        raise InputError(f"{pair}: {_said(error)}", hint="Certificate and key must be in PEM form.") from error


def _said(error: ssl.SSLError) -> str:
    return escape((error.reason or error.strerror or "unknown error").replace("_", " ").lower(), 200)
