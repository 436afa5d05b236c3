"""Settings: which hosts are spoken to in plain HTTP, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifestctl.errors import InputError
from manifestctl.transport.settings import TransportSettings

CA = Path("ca.pem")

SCHEMES: list[tuple[dict[str, Any], str, str]] = [
    # Nothing said: loopback is plain HTTP, all else is TLS.
    ({}, "localhost", "http"),
    ({}, "localhost:5000", "http"),
    ({}, "LOCALHOST:5000", "http"),
    ({}, "127.0.0.1:5000", "http"),
    ({}, "127.1.2.3", "http"),
    ({}, "[::1]:5000", "http"),
    ({}, "[::1]", "http"),
    ({}, "registry.example", "https"),
    ({}, "registry.example:80", "https"),
    ({}, "10.0.0.1:5000", "https"),
    ({}, "192.168.0.1", "https"),
    ({}, "foo.localhost", "https"),
    ({}, "localhost.example", "https"),
    ({}, "128.0.0.1", "https"),
    ({}, "[::2]:5000", "https"),
    ({}, "not a host", "https"),
    # Hosts that were named.
    ({"plain_http": ("registry.example",)}, "registry.example", "http"),
    ({"plain_http": ("registry.example",)}, "registry.example:5000", "http"),
    ({"plain_http": ("Registry.Example",)}, "registry.example:5000", "http"),
    ({"plain_http": ("registry.example:5000",)}, "registry.example:5000", "http"),
    ({"plain_http": ("registry.example:5000",)}, "REGISTRY.example:5000", "http"),
    ({"plain_http": ("registry.example:5000",)}, "registry.example", "https"),
    ({"plain_http": ("registry.example:5000",)}, "registry.example:5001", "https"),
    ({"plain_http": ("registry.example",)}, "sub.registry.example", "https"),
    ({"plain_http": ("[fd00::1]:5000",)}, "[fd00::1]:5000", "http"),
    ({"plain_http": ("fd00::1",)}, "[fd00::1]:5000", "http"),
    ({"tls": ("localhost",)}, "localhost:5000", "https"),
    ({"tls": ("localhost:5000",)}, "localhost:5000", "https"),
    ({"tls": ("localhost:5000",)}, "localhost:5001", "http"),
    ({"tls": ("localhost",)}, "127.0.0.1", "http"),
    ({"tls_skip_verify": ("localhost:5000",)}, "localhost:5000", "https"),
    # A registry may be named as it is in references, or as its API is.
    ({"plain_http": ("docker.io",)}, "registry-1.docker.io", "http"),
    ({"plain_http": ("index.docker.io",)}, "registry-1.docker.io", "http"),
    ({"plain_http": ("Docker.IO:5000",)}, "registry-1.docker.io:5000", "http"),
    ({"plain_http": ("docker.io:5000",)}, "registry-1.docker.io", "https"),
    ({"plain_http": ("registry-1.docker.io",)}, "docker.io", "http"),
    ({"plain_http": ("docker.io",)}, "auth.docker.io", "https"),
    # The one with the port decides.
    ({"plain_http": ("registry.example",), "tls": ("registry.example:443",)}, "registry.example:443", "https"),
    ({"plain_http": ("registry.example",), "tls": ("registry.example:443",)}, "registry.example:80", "http"),
    ({"plain_http": ("localhost:80",), "tls": ("localhost",)}, "localhost:80", "http"),
    # A CA file means TLS, but --plain-http beats it.
    ({"ca_file": CA}, "localhost:5000", "https"),
    ({"ca_file": CA, "plain_http": ("localhost",)}, "localhost:5000", "http"),
    ({"ca_file": CA, "plain_http": ("registry.example",)}, "registry.example", "http"),
]


@pytest.mark.parametrize(("options", "host", "scheme"), SCHEMES)
def test_scheme(options: dict[str, Any], host: str, scheme: str) -> None:
    assert TransportSettings(**options).scheme(host) == scheme


@pytest.mark.parametrize(
    ("directory", "file", "scheme"),
    [
        ("localhost:5000", "ca.crt", "https"),
        ("localhost:5000", "client.cert", "https"),
        ("localhost:5000", "README", "http"),
        ("localhost", "ca.crt", "http"),
        ("other:5000", "ca.crt", "http"),
    ],
)
def test_certs_d_means_tls(tmp_path: Path, directory: str, file: str, scheme: str) -> None:
    (tmp_path / directory).mkdir()
    (tmp_path / directory / file).touch()
    (tmp_path / directory / "client.key").touch() if file == "client.cert" else None
    settings = TransportSettings(certs_dirs=(tmp_path / "none", tmp_path))
    assert settings.scheme("localhost:5000") == scheme
    plain = TransportSettings(certs_dirs=(tmp_path,), plain_http=("localhost",))
    assert plain.scheme("localhost:5000") == "http"


@pytest.mark.parametrize(
    ("hosts", "host", "skips"),
    [
        ((), "registry.example", False),
        (("registry.example",), "registry.example", True),
        (("registry.example",), "registry.example:5000", True),
        (("registry.example:5000",), "registry.example:5000", True),
        (("registry.example:5000",), "registry.example", False),
        (("registry.example",), "cdn.example", False),
        (("docker.io",), "registry-1.docker.io", True),
        (("docker.io",), "auth.docker.io", False),
    ],
)
def test_skips_verification(hosts: tuple[str, ...], host: str, skips: bool) -> None:
    assert TransportSettings(tls_skip_verify=hosts).skips_verification(host) is skips


@pytest.mark.parametrize("option", ["plain_http", "tls", "tls_skip_verify"])
@pytest.mark.parametrize(
    "text",
    ["", "http://registry.example", "registry.example/path", "a:0", "a:x", "*", "*.example", "a b", "a\n::error::b"],
)
def test_hosts_that_are_none(option: str, text: str) -> None:
    options: dict[str, Any] = {option: (text,)}
    with pytest.raises(InputError, match="that is not a host") as caught:
        TransportSettings(**options)
    assert f"--{option.replace('_', '-')} " in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("other", ["tls", "tls_skip_verify"])
def test_contradictions(other: str) -> None:
    options: dict[str, Any] = {other: ("a.example",)}
    with pytest.raises(InputError, match="--plain-http and --tls"):
        TransportSettings(plain_http=("A.example",), **options)


def test_a_key_without_a_certificate() -> None:
    with pytest.raises(InputError, match="--client-key is given without --client-cert"):
        TransportSettings(client_key=Path("key.pem"))


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout", "retries", "retry_deadline", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_numbers_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name.replace("_", " ")):
        TransportSettings(**{name: value})  # type: ignore[arg-type]


def test_defaults() -> None:
    settings = TransportSettings()
    assert (settings.connect_timeout, settings.read_timeout) == (10.0, 60.0)
    assert (settings.retries, settings.retry_deadline, settings.concurrency) == (5, 300.0, 16)
