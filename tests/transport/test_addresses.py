"""Hosts are taken apart, and addresses are recognised in every spelling that a resolver would take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestctl.transport.addresses import forbidden_address, is_loopback, join_host, split_host

REGISTRY = "registry.example"

SPLIT = [
    ("registry.example", ("registry.example", None)),
    ("Registry.Example:5000", ("registry.example", 5000)),
    ("localhost", ("localhost", None)),
    ("my_registry:1", ("my_registry", 1)),
    ("registry.example.", ("registry.example.", None)),
    ("127.0.0.1:65535", ("127.0.0.1", 65535)),
    ("[::1]", ("::1", None)),
    ("[FD00::1]:443", ("fd00::1", 443)),
    ("::1", ("::1", None)),
    ("", None),
    (":5000", None),
    ("host:", None),
    ("host:0", None),
    ("host:65536", None),
    ("host:99999999999", None),
    ("host:5_0", None),
    ("host:\u0665", None),
    ("host:5000\n", None),
    ("host/path", None),
    ("https://host", None),
    ("user@host", None),
    ("-host", None),
    ("a..b", None),
    ("..", None),
    ("[1.2.3.4]", None),
    ("[::1", None),
    ("[::1]x", None),
    ("[zz::1]", None),
    ("1:2:3", None),
    ("ho st", None),
    ("é.example", None),
    ("a" * 256, None),
]


@pytest.mark.parametrize(("text", "expected"), SPLIT)
def test_split_host(text: str, expected: tuple[str, int | None] | None) -> None:
    assert split_host(text) == expected


@pytest.mark.parametrize(
    "text", [text for text, expected in SPLIT if expected and text == text.lower() and text != "::1"]
)
def test_join_is_the_reverse(text: str) -> None:
    split = split_host(text)
    assert split is not None
    assert join_host(*split) == text


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["local.host", "foo.localhost", "128.0.0.1", "10.0.0.1", "::2", "localhost.example", ""]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


FORBIDDEN = [
    "localhost",
    "LOCALHOST.",
    "app.localhost",
    "localhost:5000",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "00000177.1",
    "0",
    "0.0.0.0",
    "0x",
    "10.1.2.3",
    "167837955",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.257",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "100.64.0.1",
    "100.100.100.200",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "[::1]",
    "[::1]:5000",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::5]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:10.0.0.1]:443",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2001:0:1::1]",
    "[fe80::1]",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "127\uff0e0\uff0e0\uff0e1",
    "%31%32%37.0.0.1",
    " 127.0.0.1 ",
    "192.0.0.192",
    "192.0.0.9",
    "3221225664",
    "[::ffff:192.0.0.192]",
    "localhost.localdomain",
    "LocalHost6.LocalDomain6:443",
    "localhost4",
    "ip6-localhost",
    "ip6-loopback.",
]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_forbidden(host: str) -> None:
    assert forbidden_address(host, REGISTRY)


@pytest.mark.parametrize(
    "host",
    [
        REGISTRY,
        "auth.example",
        "8.8.8.8",
        "8.8.8.8:443",
        "134744072",
        "[2606:4700::1111]",
        "[64:ff9b::8.8.8.8]",
        "[2002:808:808::]",
        "[::ffff:8.8.8.8]",
        "localhost.example",
        "localdomain.example",
        "192.0.1.1",
        "10.0.0.1.example",
        "10.0.0.256",
        "256.0.0.1",
        "1.2.3.4.5",
        "127.0.0.09",
        "4294967296",
        "0x1ffffffff",
        "127..1",
        "deadbeef",
        "1::2::3",
        "",
    ],
)
def test_allowed(host: str) -> None:
    assert not forbidden_address(host, REGISTRY)


@pytest.mark.parametrize(
    ("host", "registry", "forbidden"),
    [
        ("10.0.0.5", "10.0.0.5", False),
        ("10.0.0.5:8443", "10.0.0.5:5000", False),
        ("167772165", "10.0.0.5", False),
        ("[fd00::5]", "[fd00:0::5]:5000", False),
        ("10.0.0.6", "10.0.0.5", True),
        ("127.0.0.1:9", "localhost:5000", False),
        ("localhost", "127.0.0.1:5000", False),
        ("127.8.8.8", "[::1]:5000", False),
        ("10.0.0.5", "localhost:5000", True),
        ("localhost", "10.0.0.5", True),
        ("ip6-localhost", "127.0.0.1:5000", False),
        ("169.254.169.254", "127.0.0.1", True),
    ],
)
def test_the_registrys_own_host_is_allowed(host: str, registry: str, forbidden: bool) -> None:
    assert forbidden_address(host, registry) is forbidden


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["{0}", "{0:#x}", "0{0:o}", "{1}.{2}", "{1}.{3}.{4}", "{1:#x}.{3}.{5}.0{6:o}"]),
)
def test_spellings_of_one_address_are_judged_alike(value: int, form: str) -> None:
    octets = value.to_bytes(4, "big")
    spelled = form.format(value, octets[0], value & 0xFFFFFF, octets[1], value & 0xFFFF, octets[2], octets[3])
    assert forbidden_address(spelled, REGISTRY) is forbidden_address(".".join(map(str, octets)), REGISTRY)


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert forbidden_address(text, REGISTRY) in (True, False)
    assert forbidden_address(REGISTRY, text) is False
    split = split_host(text)
    assert split is None or split_host(join_host(*split)) == split
