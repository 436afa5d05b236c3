"""Proxies from the environment: which is taken, for whom it is not, and what is refused."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestctl.errors import InputError
from manifestctl.transport.proxies import Proxy, named_proxy, passed_over, proxy_for

HOST = "registry.example"
PROXY = "http://proxy.example:3128"

CHOSEN: list[tuple[dict[str, str], str, str | None]] = [
    ({}, "https", None),
    ({"HTTPS_PROXY": PROXY}, "https", PROXY),
    ({"https_proxy": PROXY}, "https", PROXY),
    ({"HTTPS_PROXY": PROXY}, "http", None),
    ({"HTTP_PROXY": PROXY}, "http", PROXY),
    ({"http_proxy": PROXY}, "https", None),
    ({"ALL_PROXY": PROXY}, "https", PROXY),
    ({"all_proxy": PROXY}, "http", PROXY),
    ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "https", "http://lower:1"),
    ({"https_proxy": "", "HTTPS_PROXY": "http://upper:1"}, "https", "http://upper:1"),
    ({"HTTPS_PROXY": "http://own:1", "all_proxy": "http://all:1"}, "https", "http://own:1"),
    ({"HTTPS_PROXY": "", "ALL_PROXY": "http://all:1"}, "https", "http://all:1"),
    ({"HTTPS_PROXY": "  "}, "https", None),
    ({"HTTPS_PROXY": "proxy.example:3128"}, "https", PROXY),
    ({"HTTPS_PROXY": "proxy.example"}, "https", "http://proxy.example"),
    ({"HTTPS_PROXY": f" {PROXY}/ "}, "https", PROXY),
    ({"HTTPS_PROXY": "HTTPS://Proxy.Example:3128"}, "https", "https://proxy.example:3128"),
    ({"HTTPS_PROXY": "http://user:pa%40ss@proxy.example:3128"}, "https", "http://user:pa%40ss@proxy.example:3128"),
    ({"HTTPS_PROXY": "user:p@ss@proxy.example"}, "https", "http://user:p@ss@proxy.example"),
    ({"HTTPS_PROXY": "http://@proxy.example"}, "https", "http://@proxy.example"),
    ({"HTTPS_PROXY": "http://[::1]:3128"}, "https", "http://[::1]:3128"),
    ({"HTTPS_PROXY": "http://10.0.0.1"}, "https", "http://10.0.0.1"),
]


@pytest.mark.parametrize(("environ", "scheme", "expected"), CHOSEN)
def test_which_proxy(environ: dict[str, str], scheme: str, expected: str | None) -> None:
    chosen = proxy_for(scheme, HOST, 443, environ)
    assert chosen == expected
    if chosen is not None:
        httpx.Proxy(chosen)


NO_PROXY: list[tuple[str, str, int, bool]] = [
    # NO_PROXY, host, port, whether it is asked directly
    ("", HOST, 443, False),
    ("*", HOST, 443, True),
    ("other.example,*", HOST, 443, True),
    (HOST, HOST, 443, True),
    (HOST.upper(), HOST, 443, True),
    (HOST, "REGISTRY.Example.", 443, True),
    (f"{HOST}.", HOST, 443, True),
    ("example", HOST, 443, True),
    (".example", HOST, 443, True),
    ("*.example", HOST, 443, True),
    (f".{HOST}", HOST, 443, True),
    (f"*.{HOST}", f"a.b.{HOST}", 443, True),
    ("ry.example", HOST, 443, False),
    (f"x{HOST}", HOST, 443, False),
    (f"{HOST}.evil", HOST, 443, False),
    (f"{HOST}:443", HOST, 443, True),
    (f"{HOST}:443", HOST, 5000, False),
    ("example:443", HOST, 443, True),
    (f"https://{HOST}", HOST, 443, True),
    (f"http://{HOST}:80/", HOST, 443, False),
    (f"a.example, {HOST} ,b.example", HOST, 443, True),
    (f"a.example {HOST}", HOST, 443, True),
    (",,  ,", HOST, 443, False),
    ("10.0.0.1", "10.0.0.1", 443, True),
    ("10.0.0.1", "10.0.0.10", 443, False),
    ("0.1", "10.0.0.1", 443, False),
    ("10.0.0.1:5000", "10.0.0.1", 5000, True),
    ("10.0.0.1:5000", "10.0.0.1", 443, False),
    ("10.0.0.0/8", "10.200.0.1", 443, True),
    ("10.1.2.3/8", "10.200.0.1", 443, True),
    ("10.0.0.0/8", "11.0.0.1", 443, False),
    ("10.0.0.0/8", HOST, 443, False),
    ("10.0.0.0/8", "fd00::1", 443, False),
    ("fd00::/8", "fd00::1", 443, True),
    ("fd00::1", "fd00::1", 443, True),
    ("fd00:0:0::1", "fd00::1", 443, True),
    ("[fd00::1]", "fd00::1", 443, True),
    ("[fd00::1]:5000", "[fd00::1]", 5000, True),
    ("[fd00::1]:5000", "fd00::1", 443, False),
    (HOST, "10.0.0.1", 443, False),
]

PASSED_OVER = [
    "10.0.0.0/99",
    "192.168.*",
    "10.0.*",
    "<local>",
    "*.example.*",
    "localhost;127.0.0.1",
    ".",
    "example/path",
    "host:port",
    "https://",
    "https://10.0.0.0/8",
    "bad\x1b[2J",
]


@pytest.mark.parametrize("entry", PASSED_OVER)
def test_what_another_program_understands_is_passed_over(entry: str) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": f"{entry},{HOST}"}
    assert proxy_for("https", HOST, 443, environ) is None
    assert proxy_for("https", "other.example", 443, environ) == PROXY
    said = passed_over(environ)
    assert said.startswith("NO_PROXY: passed over '")
    assert HOST not in said
    assert said.isprintable()


@pytest.mark.parametrize("value", ["", " , ", *(value for value, *_ in NO_PROXY)])
def test_nothing_is_said_of_what_is_understood(value: str) -> None:
    assert passed_over({"NO_PROXY": value}) == ""


def test_many_entries_that_are_passed_over_are_one_warning() -> None:
    assert passed_over({"no_proxy": "<a>,<b> example,<c>,<d>,<e>"}) == (
        "no_proxy: passed over '<a>', '<b>', '<c>' and 2 more: not a host name, an address or a CIDR block"
    )
    assert passed_over({"NO_PROXY": "https://user:pass-word@<local>"}).count("pass-word") == 0


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("http://user:pass-word@proxy.example:3128", "proxy.example:3128"),
        ("proxy.example", "proxy.example:80"),
        ("https://proxy.example/", "proxy.example:443"),
        ("http://[fd00::1]:3128", "[fd00::1]:3128"),
    ],
)
def test_a_proxy_is_named_without_its_user(value: str, place: str) -> None:
    found = named_proxy("https", HOST, 443, {"HTTPS_PROXY": value})
    assert isinstance(found, Proxy)
    assert str(found) == f"{place} (HTTPS_PROXY)"
    assert "pass-word" not in repr(found)


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(("value", "host", "port", "direct"), NO_PROXY)
def test_no_proxy(name: str, value: str, host: str, port: int, direct: bool) -> None:
    assert (proxy_for("https", host, port, {"HTTPS_PROXY": PROXY, name: value}) is None) is direct


def test_no_proxy_in_lower_case_goes_first() -> None:
    environ = {"HTTPS_PROXY": PROXY, "no_proxy": "other.example", "NO_PROXY": HOST}
    assert proxy_for("https", HOST, 443, environ) == PROXY


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_this_machine_is_never_asked_through_a_proxy(host: str) -> None:
    assert proxy_for("http", host, 5000, {"ALL_PROXY": PROXY, "HTTP_PROXY": "http://bad:port"}) is None


SECRET = "hunter2"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (f"socks5://user:{SECRET}@proxy:1080", "SOCKS"),
        ("socks5h://proxy", "SOCKS"),
        ("SOCKS4://proxy", "SOCKS"),
        (f"ftp://user:{SECRET}@proxy", "not the URL of a proxy"),
        (f"http://user:{SECRET}@proxy:port", "not the URL of a proxy"),
        (f"http://user:{SECRET}@proxy:99999", "not the URL of a proxy"),
        (f"http://user:{SECRET}#x@proxy", "not the URL of a proxy"),
        (f"http://user:{SECRET}/x@proxy", "not the URL of a proxy"),
        (f"user:{SECRET}@", "not the URL of a proxy"),
        ("http://", "not the URL of a proxy"),
        ("http://a b", "not the URL of a proxy"),
        ("http://proxy/path", "not the URL of a proxy"),
        ("http://::1", "not the URL of a proxy"),
        ("http://fd00::1", "not the URL of a proxy"),
        ("::1", "not the URL of a proxy"),
        ("http://proxy\x00", "not the URL of a proxy"),
        ("http://pröxy", "not the URL of a proxy"),
        ("[", "not the URL of a proxy"),
    ],
)
def test_values_that_cannot_be_used(variable: str, value: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        proxy_for("https", HOST, 443, {variable: value})
    assert caught.value.message.startswith(variable)
    assert SECRET not in caught.value.message + caught.value.hint
    assert caught.value.exit_code == 2


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_taken_is_fit_for_httpx(proxy: str, no_proxy: str) -> None:
    try:
        chosen = proxy_for("https", HOST, 443, {"HTTPS_PROXY": proxy, "NO_PROXY": no_proxy})
    except InputError:
        return
    if chosen is not None:
        httpx.Proxy(chosen)


@given(st.text(alphabet="abAB019-_.%:@[]/?#!$&'()*+,;=é \\\x00\n", max_size=40))
def test_whatever_host_and_user_are_taken_are_fit_for_httpx(text: str) -> None:
    for value in (text, f"http://{text}", f"http://{text}@proxy.example:1"):
        try:
            chosen = proxy_for("https", HOST, 443, {"HTTPS_PROXY": value})
        except InputError:
            continue
        assert chosen is None or httpx.Proxy(chosen).url.host
