"""TLS contexts, shown by handshakes in memory: who is trusted, who is shown a client certificate, what is refused."""

from __future__ import annotations

import os
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from manifestctl.errors import InputError
from manifestctl.transport.certs_d import HostCertificates, certs_directories, host_certificates
from manifestctl.transport.settings import TransportSettings
from manifestctl.transport.tls import TlsContexts, advice, load_system_store, no_tls_context, ssl_context
from tests.support.certificates import Certificates, make_certificates
from tests.support.privileges import unprivileged
from tests.transport.runtimes import World

HOST = "localhost:5000"


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("other"))


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """Shake hands without a socket; returns the server's side, or raises what the client found wrong."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return theirs


def trusts(context: ssl.SSLContext, certificates: Certificates, name: str = "localhost") -> bool:
    try:
        handshake(context, certificates.server_context(), name)
    except ssl.SSLCertVerificationError:
        return False
    return True


def world(tmp_path: Path, **environ: str) -> World:
    """A world whose system store is empty, unless the environment says otherwise."""
    (tmp_path / "empty").mkdir(exist_ok=True)
    return World({"SSL_CERT_DIR": str(tmp_path / "empty"), **environ})


def made(tmp_path: Path, settings: TransportSettings, host: str = HOST, *, identity: bool = True) -> ssl.SSLContext:
    return TlsContexts(settings, world(tmp_path).runtime).context(host, identity=identity)


def link(directory: Path, name: str, path: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(path.read_bytes())
    return directory / name


def rehashed(directory: Path, certificates: Certificates) -> Path:
    """A directory of certificates with the name that OpenSSL looks for."""
    arguments = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(certificates.authority)]
    try:
        name = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        pytest.skip("needs the openssl program")
    return link(directory, f"{name}.0", certificates.authority).parent


# Whom we trust.


def test_nobody_unless_told(tmp_path: Path, ours: Certificates) -> None:
    assert not trusts(made(tmp_path, TransportSettings()), ours)


def test_ca_file(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    context = made(tmp_path, TransportSettings(ca_file=ours.authority))
    assert trusts(context, ours)
    assert not trusts(context, other)
    assert not trusts(context, ours, name="registry.example")


def test_ca_file_stands_beside_the_systems_store(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    runtime = world(tmp_path, SSL_CERT_FILE=str(other.authority)).runtime
    context = ssl_context(HOST, TransportSettings(ca_file=ours.authority), runtime)
    assert trusts(context, ours)
    assert trusts(context, other)


def test_a_servers_own_certificate_may_be_named(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    context = made(tmp_path, TransportSettings(ca_file=ours.server))
    assert trusts(context, ours)
    assert not trusts(context, other)


def test_certs_d_is_for_its_host_alone(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    link(tmp_path / "a" / HOST, "ca.crt", ours.authority)
    link(tmp_path / "b" / HOST, "more.crt", other.authority)
    settings = TransportSettings(certs_dirs=(tmp_path / "a", tmp_path / "b", tmp_path / "none"))
    context = made(tmp_path, settings)
    assert trusts(context, ours)
    assert trusts(context, other)
    assert not trusts(made(tmp_path, settings, "localhost:5001"), ours)


def test_more_authorities_may_be_trusted_than_a_hosts_own(
    tmp_path: Path, ours: Certificates, other: Certificates
) -> None:
    link(tmp_path / HOST, "ca.crt", ours.authority)
    contexts = TlsContexts(TransportSettings(certs_dirs=(tmp_path,)), world(tmp_path).runtime)
    context = contexts.context(HOST, identity=False, more=(other.authority, other.authority))
    assert trusts(context, ours)
    assert trusts(context, other)
    assert not trusts(contexts.context(HOST), other)
    own = contexts.context(HOST, identity=False, more=(tmp_path / HOST / "ca.crt",))
    assert own is contexts.context(HOST, identity=False)


def test_skipping_verification_warns_once_for_each_host(tmp_path: Path, ours: Certificates) -> None:
    here = world(tmp_path)
    contexts = TlsContexts(TransportSettings(tls_skip_verify=("localhost", "other.example")), here.runtime)
    for host in (HOST, HOST, "other.example", "third.example"):
        contexts.context(host)
    assert trusts(contexts.context(HOST), ours, name="any.example")
    assert not trusts(contexts.context("third.example"), ours)
    assert here.warnings == [
        f"the TLS certificate of {host} is not verified (--tls-skip-verify)" for host in (HOST, "other.example")
    ]


def test_the_defaults_are_safe(tmp_path: Path) -> None:
    context = made(tmp_path, TransportSettings())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_context_for_plain_http_trusts_nobody(ours: Certificates) -> None:
    assert not trusts(no_tls_context(), ours)


# What we share.


def test_one_context_for_all_to_whom_nothing_special_applies(tmp_path: Path, ours: Certificates) -> None:
    link(tmp_path / "special.example", "ca.crt", ours.authority)
    settings = TransportSettings(certs_dirs=(tmp_path,), tls_skip_verify=("unsafe.example",))
    contexts = TlsContexts(settings, world(tmp_path).runtime)
    assert contexts.context("a.example") is contexts.context("b.example:5000")
    assert contexts.context("special.example") is contexts.context("special.example")
    different = {id(contexts.context(f"{name}.example")) for name in ("a", "special", "unsafe")}
    assert len(different) == 3


# Who we are.


def shown(context: ssl.SSLContext, server: Certificates) -> bool:
    """Tell if a server that asks for client certificates is shown one of its authority."""
    asking = server.server_context()
    asking.verify_mode = ssl.CERT_OPTIONAL
    asking.load_verify_locations(server.authority)
    return bool(handshake(context, asking).getpeercert())


def test_client_certificate(tmp_path: Path, ours: Certificates) -> None:
    settings = TransportSettings(ca_file=ours.authority, client_cert=ours.client, client_key=ours.client_key)
    assert shown(made(tmp_path, settings), ours)
    assert not shown(made(tmp_path, settings, identity=False), ours)
    assert not shown(made(tmp_path, TransportSettings(ca_file=ours.authority)), ours)


def test_certificate_and_key_in_one_file(tmp_path: Path, ours: Certificates) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(ours.client.read_bytes() + ours.client_key.read_bytes())
    assert shown(made(tmp_path, TransportSettings(ca_file=ours.authority, client_cert=both)), ours)


def test_client_certificate_of_certs_d(tmp_path: Path, ours: Certificates) -> None:
    directory = tmp_path / HOST
    link(directory, "ca.crt", ours.authority)
    link(directory, "me.cert", ours.client)
    link(directory, "me.key", ours.client_key)
    settings = TransportSettings(certs_dirs=(tmp_path,))
    assert shown(made(tmp_path, settings), ours)
    assert not shown(made(tmp_path, settings, identity=False), ours)


def test_the_option_goes_before_certs_d(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    directory = tmp_path / HOST
    link(directory, "me.cert", other.client)
    link(directory, "me.key", other.client_key)
    settings = TransportSettings(
        certs_dirs=(tmp_path,), ca_file=ours.authority, client_cert=ours.client, client_key=ours.client_key
    )
    assert shown(made(tmp_path, settings), ours)


# The system's store.


def store(environ: dict[str, str], directories: tuple[str, ...] = (), files: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_system_store(context, environ, directories, files)
    return context


@pytest.fixture
def bare_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenSSL that knows no place for certificates, as that of some Python builds."""
    nowhere = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "/none/cert.pem", "SSL_CERT_DIR", "/none/certs")  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)


@pytest.mark.usefixtures("bare_openssl")
def test_the_first_hashed_directory_is_used_and_no_certificate_is_read(
    tmp_path: Path, ours: Certificates, other: Certificates
) -> None:
    link(tmp_path / "unhashed", "ca.pem", other.authority)
    places = (str(tmp_path / "none"), str(tmp_path / "unhashed"), str(rehashed(tmp_path / "hashed", ours)))
    context = store({}, places, (str(other.authority),))
    assert context.cert_store_stats()["x509"] == 0
    assert trusts(context, ours)
    assert not trusts(context, other)


@pytest.mark.usefixtures("bare_openssl")
def test_without_a_hashed_directory_the_first_bundle_is_used(
    tmp_path: Path, ours: Certificates, other: Certificates
) -> None:
    files = (str(tmp_path), str(tmp_path / "none.pem"), str(ours.authority), str(other.authority))
    context = store({}, (str(tmp_path),), files)
    assert trusts(context, ours)
    assert not trusts(context, other)


@pytest.mark.usefixtures("bare_openssl")
def test_with_nothing_at_all_certifi_is_used() -> None:
    assert store({}).cert_store_stats()["x509_ca"] > 50


@pytest.mark.usefixtures("bare_openssl")
def test_a_broken_bundle_of_the_system(tmp_path: Path) -> None:
    broken = tmp_path / "bundle.crt"
    broken.write_text("nothing")
    with pytest.raises(InputError, match=f"the system's certificates {broken} holds no certificate"):
        store({}, (), (str(broken),))


def test_python_knows_where_its_own_openssl_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: Certificates, other: Certificates
) -> None:
    hashed = str(rehashed(tmp_path / "hashed", ours))
    paths = ssl.DefaultVerifyPaths(None, None, "", str(other.authority), "", hashed)  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    alone = store({})
    assert (trusts(alone, ours), trusts(alone, other)) == (True, False)
    # Each variable stands in for its own half, as in OpenSSL.
    (tmp_path / "empty").mkdir()
    file_kept = store({"SSL_CERT_DIR": str(tmp_path / "empty")})
    assert (trusts(file_kept, ours), trusts(file_kept, other)) == (False, True)
    directory_kept = store({"SSL_CERT_FILE": str(ours.server)})
    assert (trusts(directory_kept, ours), trusts(directory_kept, other)) == (True, False)


@pytest.mark.usefixtures("bare_openssl")
def test_ssl_cert_file_and_dir(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    hashed = rehashed(tmp_path / "hashed", other)
    places = os.pathsep.join([str(tmp_path / "none"), str(hashed)])
    by_file = store({"SSL_CERT_FILE": str(ours.authority)})
    by_directory = store({"SSL_CERT_DIR": places, "SSL_CERT_FILE": ""})
    by_both = store({"SSL_CERT_FILE": str(ours.authority), "SSL_CERT_DIR": places})
    assert [(trusts(context, ours), trusts(context, other)) for context in (by_file, by_directory, by_both)] == [
        (True, False),
        (False, True),
        (True, True),
    ]


def test_the_machines_own_store_can_be_loaded() -> None:
    # Which form it has differs; that nothing is raised and the context still verifies does not.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_system_store(context, {})
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"SSL_CERT_FILE": "/none/ca.pem"}, "cannot read SSL_CERT_FILE /none/ca.pem: No such file"),
        ({"SSL_CERT_FILE": "/"}, "cannot read SSL_CERT_FILE /: it is not a regular file"),
        ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE .* holds no certificate"),
        ({"SSL_CERT_DIR": "/none/certs"}, "SSL_CERT_DIR /none/certs: there is no such directory"),
    ],
)
def test_variables_that_cannot_be_used(environ: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        ssl_context(HOST, TransportSettings(), World(environ).runtime)


# Files that cannot be used.


def test_ca_files_that_cannot_be_used(tmp_path: Path, ours: Certificates) -> None:
    der = tmp_path / "ca.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(ours.authority.read_text()))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    empty = tmp_path / "empty.pem"
    empty.touch()
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(ours.authority.read_text().replace("M", "N"))
    for path, why in {
        tmp_path / "none": "cannot read --ca-file .*: No such file",
        tmp_path: "not a regular file",
        fifo: "not a regular file",
        Path("nul\0"): "not a path",
        empty: "holds no certificate",
        der: "holds no certificate",
        damaged: "holds no certificate",
        ours.server_key: "holds no certificate",
    }.items():
        with pytest.raises(InputError, match=why) as caught:
            made(tmp_path, TransportSettings(ca_file=path))
        assert "--ca-file" in caught.value.message
        assert "\n" not in caught.value.message


def test_client_certificates_that_cannot_be_used(tmp_path: Path, ours: Certificates, other: Certificates) -> None:
    for certificate, key, why in (
        (tmp_path / "none", ours.client_key, "cannot read --client-cert .*: No such file"),
        (ours.client, tmp_path / "none", "cannot read --client-key .*: No such file"),
        (ours.client, tmp_path, "cannot read --client-key .*: it is not a regular file"),
        (ours.client, other.client_key, "the key does not belong to the certificate"),
        (ours.client_key, ours.client_key, "--client-cert .* with --client-key .*: "),
        (ours.client, ours.client, "--client-cert .* with --client-key .*: "),
        (ours.client, None, "--client-cert .*: "),
    ):
        with pytest.raises(InputError, match=why):
            made(tmp_path, TransportSettings(client_cert=certificate, client_key=key))


def test_an_encrypted_key_is_not_asked_a_passphrase_for(tmp_path: Path, ours: Certificates) -> None:
    key = serialization.load_pem_private_key(ours.client_key.read_bytes(), None)
    encrypted = tmp_path / "key.pem"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(InputError, match="the key is encrypted"):
        made(tmp_path, TransportSettings(client_cert=ours.client, client_key=encrypted))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("bad.crt", "certificate file .*bad.crt holds no certificate"),
        ("bad.cert", "client certificate .*bad.cert with client key"),
    ],
)
def test_files_of_certs_d_that_cannot_be_used(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / HOST).mkdir()
    (tmp_path / HOST / name).write_text("nothing")
    if name.endswith(".cert"):
        (tmp_path / HOST / "bad.key").write_text("nothing")
    with pytest.raises(InputError, match=why):
        made(tmp_path, TransportSettings(certs_dirs=(tmp_path,)))


# certs.d itself.


def test_certs_d_contents(tmp_path: Path) -> None:
    directory = tmp_path / HOST
    directory.mkdir()
    for name in ("b.crt", "a.crt", "a.cert", "a.key", "notes.txt", "c.pem"):
        (directory / name).touch()
    found = host_certificates(HOST, [tmp_path / "none", tmp_path])
    assert found == HostCertificates(
        (directory / "a.crt", directory / "b.crt"), ((directory / "a.cert", directory / "a.key"),)
    )
    assert found
    assert not host_certificates("localhost", [tmp_path])


def test_a_file_in_place_of_the_directory_is_none(tmp_path: Path) -> None:
    (tmp_path / HOST).touch()
    assert not host_certificates(HOST, [tmp_path])


@pytest.mark.parametrize("host", ["..", ".", "", "a/b", "/etc", "nul\0", "../localhost"])
def test_what_is_no_host_has_no_directory(tmp_path: Path, host: str) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "ca.crt").touch()
    assert not host_certificates(host, [tmp_path / "certs"])


@pytest.mark.parametrize(
    ("name", "why"), [("a.cert", "a.cert has no key beside it"), ("a.key", "a.key has no client certificate beside it")]
)
def test_half_a_pair(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / HOST).mkdir()
    (tmp_path / HOST / name).touch()
    with pytest.raises(InputError, match=why):
        host_certificates(HOST, [tmp_path])


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / HOST).symlink_to(tmp_path / HOST)
    with pytest.raises(InputError, match="cannot read the certificates in"):
        host_certificates(HOST, [tmp_path])


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_a_directory_by_the_registrys_name_in_references(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "ca.crt").touch()
    for host in ("registry-1.docker.io", "docker.io"):
        assert host_certificates(host, [tmp_path]).authorities == (tmp_path / name / "ca.crt",)
    assert not host_certificates("auth.docker.io", [tmp_path])


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_directory_that_is_closed_to_the_user_is_passed_over(ours: Certificates) -> None:
    # Not below pytest's own directory, which nobody may enter.
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        closed, read = Path(made, "docker"), Path(made, "containers")
        link(closed / "certs.d" / HOST, "ca.crt", ours.authority)
        authority = link(read / HOST, "ca.crt", ours.authority)
        closed.chmod(0o700)
        directories = (closed / "certs.d", read)
        settings = TransportSettings(certs_dirs=directories)
        if os.geteuid() != 0:
            closed.chmod(0o000)
        try:
            with unprivileged():
                found = host_certificates(HOST, directories)
                said = [advice(host, leading, settings) for host, leading in ((HOST, ()), ("other", (HOST,)))]
        finally:
            closed.chmod(0o700)
        assert found == HostCertificates((authority,), (), (closed / "certs.d" / HOST,))
        assert said[0] == f"You have no permission to read {closed}/certs.d/{HOST}, where its authority may be."
        assert said[1].startswith(f"You have no permission to read {closed}/certs.d/other, {closed}/certs.d/{HOST},")
        assert advice(HOST, (), settings) == ""


def test_certs_directories() -> None:
    system = certs_directories({})
    assert all(path.is_absolute() for path in system)
    assert certs_directories({"HOME": "/home/ci"}) == (
        Path("/home/ci/.config/containers/certs.d"),
        Path("/home/ci/.config/docker/certs.d"),
        *system,
    )
