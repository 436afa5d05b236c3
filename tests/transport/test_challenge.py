"""Challenges as registries really write them, realms that must not be asked, and scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestctl.errors import DeniedError
from manifestctl.transport import challenge
from manifestctl.transport.challenge import Challenge, Scope, check_realm, choose, merge, parse

HUB = 'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:library/web:pull"'


def bearer(**params: str) -> Challenge:
    return Challenge("bearer", params)


def basic(**params: str) -> Challenge:
    return Challenge("basic", params)


PARSED: dict[str, tuple[list[str], list[Challenge]]] = {
    "nothing": ([], []),
    "empty": ([""], []),
    "hub": (
        [HUB],
        [bearer(realm="https://auth.example/token", service="registry.example", scope="repository:library/web:pull")],
    ),
    "comma inside quotes": (
        ['Bearer scope="repository:a:pull,push",x=y'],
        [bearer(scope="repository:a:pull,push", x="y")],
    ),
    "unquoted": (
        ["Bearer realm=https://r.example/v2/token,service=r.example"],
        [bearer(realm="https://r.example/v2/token", service="r.example")],
    ),
    "no service": (['Bearer realm="https://r.example/v2/token"'], [bearer(realm="https://r.example/v2/token")]),
    "names in any case": (['bEARER Realm="x",SERVICE="Y"'], [bearer(realm="x", service="Y")]),
    "blanks around": (['  Bearer   realm = "x" ,  service="y"  '], [bearer(realm="x", service="y")]),
    "no comma between": (['Bearer realm="x" service="y"'], [bearer(realm="x", service="y")]),
    "empty list items": ([', ,Bearer realm="x",,service="y",'], [bearer(realm="x", service="y")]),
    "escapes": (['Bearer realm="a\\"b\\\\c\\d"'], [bearer(realm='a"b\\cd')]),
    "empty value": (['Bearer realm="",service='], [bearer(realm="", service="")]),
    "first of two equal names": (['Bearer realm="x",realm="y",REALM=z'], [bearer(realm="x")]),
    "two in one header": (['Basic realm="a, b", Bearer realm="x"'], [basic(realm="a, b"), bearer(realm="x")]),
    "two headers": (['Bearer realm="x"', "Basic"], [bearer(realm="x"), basic()]),
    "scheme alone, then another": (["Basic, Bearer realm=x"], [basic(), bearer(realm="x")]),
    "scheme alone": (["Negotiate"], [Challenge("negotiate")]),
    "base64 behind a scheme": (
        ['Negotiate YWJj==, Bearer realm="x"'],
        [Challenge("negotiate"), bearer(realm="x")],
    ),
    "no end of quotes": (['Bearer realm="https://x, service=y'], [bearer(realm="https://x, service=y")]),
    "ends in a backslash": (['Bearer realm="x\\'], [bearer(realm="x")]),
    "parameters of no scheme": (['realm="x", Bearer realm=y'], [bearer(realm="y")]),
    "garbage": (['"; drop table ()"', "\x00\x01", "é=ü", "=,=,="], [Challenge("drop"), Challenge("table")]),
    "error": (['Bearer realm="x",error="invalid_token"'], [bearer(realm="x", error="invalid_token")]),
    "too long": (['Bearer realm="' + "x" * challenge.MAX_LENGTH + '"'], []),
}


@pytest.mark.parametrize("case", PARSED.values(), ids=PARSED)
def test_parse(case: tuple[list[str], list[Challenge]]) -> None:
    headers, expected = case
    assert parse(headers) == expected


def test_numbers_are_capped() -> None:
    many = ", ".join(f"p{number}=v" for number in range(1000))
    assert len(parse([f"Bearer {many}"])[0].params) == challenge.MAX_PARAMS
    assert len(parse([", ".join(["Basic"] * 1000)])) == challenge.MAX_CHALLENGES
    assert len(parse([HUB] * 1000)) == challenge.MAX_HEADERS


@given(
    st.lists(st.text(alphabet=st.sampled_from('Baer =,"\\\tx:/.-\x00é') | st.characters(), max_size=200), max_size=5)
)
def test_any_text_is_parsed_without_an_error(headers: list[str]) -> None:
    for found in parse(headers):
        assert found.scheme == found.scheme.lower() != ""
        assert len(found.params) <= challenge.MAX_PARAMS
        assert found.scopes == tuple(found.params.get("scope", "").split())
    assert choose(parse(headers)) is None or choose(parse(headers)) in parse(headers)


TOKENS = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABC0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=12)


@given(
    st.lists(
        st.tuples(TOKENS, st.dictionaries(TOKENS.map(str.lower), st.text(max_size=30), min_size=1, max_size=5)),
        max_size=5,
    )
)
def test_what_is_written_well_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        scheme + " " + ", ".join(f"{name}={quoted(value)}" for name, value in params.items())
        for scheme, params in challenges
    )
    assert parse([header]) == [Challenge(scheme.lower(), params) for scheme, params in challenges]


@pytest.mark.parametrize(
    "text", ['Bearer a="' + "\\" * 16000, "B" + " " * 16000 + "=", "a " * 8000, ", " * 8000, "a=" * 8000]
)
def test_long_input_takes_linear_time(text: str) -> None:
    assert len(text) <= challenge.MAX_LENGTH
    parse([text] * challenge.MAX_HEADERS)


def test_fields() -> None:
    found = parse([HUB.replace(":pull", ":pull repository:other:pull") + ',error="insufficient_scope"'])[0]
    assert found.realm == "https://auth.example/token"
    assert found.service == "registry.example"
    assert found.scopes == ("repository:library/web:pull", "repository:other:pull")
    assert found.error == "insufficient_scope"
    empty = Challenge("basic")
    assert (empty.realm, empty.service, empty.scopes, empty.error) == ("", "", (), "")


@pytest.mark.parametrize(
    ("header", "scheme"),
    [
        ('Basic realm="r", Bearer realm="x"', "bearer"),
        ('Bearer realm="x", Basic realm="r"', "bearer"),
        ('Bearer service="no realm", Basic realm="r"', "basic"),
        ("Basic", "basic"),
        ('Digest realm="r"', None),
        ("Bearer", None),
        ("", None),
    ],
)
def test_choose(header: str, scheme: str | None) -> None:
    chosen = choose(parse([header]))
    assert (chosen.scheme if chosen else None) == scheme


@pytest.mark.parametrize(
    ("realm", "registry", "plain_http"),
    [
        ("https://auth.example/token", "registry.example", False),
        ("https://auth.example:8443/token?a=b&c=%20d", "registry.example", False),
        ("HTTPS://auth.example", "registry.example", False),
        ("https://registry.example/token", "registry.example:5000", True),
        ("http://auth.example/token", "registry.example", True),
        ("http://localhost:5001/token", "localhost:5000", True),
        ("http://127.0.0.1:5001/token", "localhost:5000", True),
        ("https://10.0.0.5:8443/token", "10.0.0.5", False),
        ("https://[fd00::5]/token", "[fd00::5]:5000", False),
        ("https://8.8.8.8/token", "registry.example", False),
    ],
)
def test_realms_that_may_be_asked(realm: str, registry: str, plain_http: bool) -> None:
    assert check_realm(realm, registry, plain_http=plain_http) == realm


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("http://auth.example/token", "not https"),
        ("HTTP://auth.example/token", "not https"),
        ("", "not a URL"),
        ("/service/token", "not a URL"),
        ("//auth.example/token", "not a URL"),
        ("ftp://auth.example/token", "not a URL"),
        ("file:///etc/passwd", "not a URL"),
        ("https:///token", "not a URL"),
        ("https://user:password@auth.example/token", "not a URL"),
        ("https://auth.example\\@127.0.0.1/", "not a URL"),
        ("https://auth.example/a\\b", "not a URL"),
        ("https://auth.example/a b", "not a URL"),
        ("https://auth.example/a\n", "not a URL"),
        ("https://auth.example#fragment", "not a URL"),
        ("https://%31%32%37.0.0.1/", "not a URL"),
        ("https://\uff11\uff12\uff17.0.0.1/", "not a URL"),
        ("https://127.0.0.1/token", "private network"),
        ("https://localhost/token", "private network"),
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("https://2852039166/latest", "private network"),
        ("https://0x7f.1/token", "private network"),
        ("https://[::1]/token", "private network"),
        ("https://[::ffff:10.0.0.1]/token", "private network"),
    ],
)
def test_realms_that_are_refused(realm: str, why: str) -> None:
    with pytest.raises(DeniedError, match=why) as caught:
        check_realm(realm, "registry.example", plain_http=False)
    assert "no credentials were sent" in caught.value.message
    assert "\n" not in caught.value.message
    assert "password" not in caught.value.message
    assert caught.value.hint


SCOPES = [
    ("repository:team/web:pull", Scope("team/web", frozenset({"pull"}))),
    ("repository:team/web:push,pull", Scope("team/web", frozenset({"pull", "push"}))),
    ("repository:host:5000/web:pull,", Scope("host:5000/web", frozenset({"pull"}))),
    ("repository:web:*", Scope("web", frozenset({"*"}))),
    ("aws", None),
    ("registry:catalog:*", None),
    ("repository:web", None),
    ("repository:web:", None),
    ("repository::pull", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "scope"), SCOPES)
def test_scopes_are_parsed(text: str, scope: Scope | None) -> None:
    assert Scope.parse(text) == scope


def test_scopes_are_written() -> None:
    assert str(Scope.pull("team/web")) == "repository:team/web:pull"
    assert str(Scope.push("team/web")) == "repository:team/web:pull,push"
    assert Scope.parse(str(Scope.push("team/web"))) == Scope.push("team/web")


@pytest.mark.parametrize(
    ("scope", "other", "enough"),
    [
        (Scope.push("a"), Scope.pull("a"), True),
        (Scope.pull("a"), Scope.pull("a"), True),
        (Scope.pull("a"), Scope.push("a"), False),
        (Scope.push("a"), Scope.pull("b"), False),
    ],
)
def test_includes(scope: Scope, other: Scope, enough: bool) -> None:
    assert scope.includes(other) is enough


def test_merge() -> None:
    merged = merge([Scope.pull("b"), Scope.pull("a"), Scope.push("b"), Scope.pull("a")])
    assert merged == (Scope.push("b"), Scope.pull("a"))
    assert merge([]) == ()
