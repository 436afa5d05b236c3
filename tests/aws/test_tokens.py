"""Authorization tokens: what AWS gives, how long it is used, and what is kept of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from manifestctl.aws.calls import Endpoint
from manifestctl.aws.tokens import MARGIN, Token, as_json, endpoint_of, fetch_token, of_json
from manifestctl.errors import UnreachableError
from manifestctl.transport.credentials import Credential
from tests.support.actions import respond
from tests.support.aws_run import AwsRun, amazon
from tests.support.http_message import json_response

HOUR = 3600.0
PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
TOKEN = Token("AWS", "pass:word", "environment variables", 2e9, 1.9e9)


@pytest.mark.parametrize(
    ("name", "service", "region"),
    [
        ("public.ecr.aws", "ecr-public", "us-east-1"),
        ("ecr-public.aws.com", "ecr-public", "us-east-1"),
        (PRIVATE, "ecr", "eu-west-1"),
        ("210987654321.dkr.ecr.eu-west-1.amazonaws.com", "ecr", "eu-west-1"),
        ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "ecr", "us-west-2"),
    ],
)
def test_the_service_and_region_of_the_registry_give_it(run: AwsRun, name: str, service: str, region: str) -> None:
    run.set(AWS_REGION="ap-south-1")
    token = fetch_token(amazon(name), run.make())
    assert [(call.service, call.region, call.operation) for call in run.aws.calls] == [
        (service, region, "GetAuthorizationToken")
    ]
    assert (token.username, token.password) == ("AWS", run.aws.tokens[0].password)
    assert run.aws.is_valid(token.password, service)  # type: ignore[arg-type]
    assert token.origin == "environment variables"
    assert token.password not in repr(token)


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("public.ecr.aws", Endpoint("ecr-public", "us-east-1")),
        ("ecr-public.aws.com", Endpoint("ecr-public", "us-east-1", dual_stack=True)),
        (PRIVATE, Endpoint("ecr", "eu-west-1")),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Endpoint("ecr", "us-gov-west-1", fips=True)),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", Endpoint("ecr", "us-east-1", fips=True, dual_stack=True)),
    ],
)
def test_the_api_is_reached_in_the_way_that_the_registry_is(name: str, endpoint: Endpoint) -> None:
    assert endpoint_of(amazon(name)) == endpoint


@pytest.mark.parametrize(
    ("source", "lifetime", "fresh"),
    [
        ("keys", 12 * HOUR, 11 * HOUR),
        ("keys", 3 * HOUR, 2 * HOUR),
        ("keys", 0.5 * HOUR, -0.5 * HOUR),
        ("keys", 48 * HOUR, 11 * HOUR),
        ("container", 12 * HOUR, HOUR),
        ("instance", 12 * HOUR, HOUR),
        ("instance", 1.5 * HOUR, 0.5 * HOUR),
    ],
)
def test_how_long_it_is_used(run: AwsRun, source: Any, lifetime: float, fresh: float) -> None:
    run.be(run.aws.environ(source=source))
    run.aws.token_lifetime = lifetime
    token = fetch_token(amazon(), run.make())
    assert token.expires == pytest.approx(run.world.now + lifetime, abs=1)
    assert token.fresh_until == pytest.approx(run.world.now + fresh, abs=1)
    assert token.fresh_until <= token.expires - MARGIN


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def data(token: object, expires: object = 2e9) -> dict[str, Any]:
    return {"authorizationToken": token, "expiresAt": expires}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"authorizationData": None},
        {"authorizationData": {}},
        {"authorizationData": data("not base64 !")},
        {"authorizationData": data(encoded("AWS"))},
        {"authorizationData": data(encoded("AWS:"))},
        {"authorizationData": data(encoded(":secret-part"))},
        {"authorizationData": data(base64.b64encode(b"AWS:\xff\xfe").decode())},
        {"authorizationData": data("ü")},
        {"authorizationData": {"authorizationToken": encoded("AWS:secret-part")}},
    ],
)
def test_an_answer_without_a_token(run: AwsRun, answer: object) -> None:
    run.aws.faults.add(respond(lambda: json_response(answer)))
    with pytest.raises(UnreachableError, match=r"getting a token for public\.ecr\.aws failed.*no token") as caught:
        fetch_token(amazon(), run.make())
    assert not caught.value.transient
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "secret-part" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize("answer", [[], [data(encoded("AWS:p1")), data(encoded("AWS:p2"))]])
def test_private_ecr_gives_a_list(run: AwsRun, answer: list[object]) -> None:
    run.aws.faults.add(respond(lambda: json_response({"authorizationData": answer})))
    if not answer:
        with pytest.raises(UnreachableError, match="no token"):
            fetch_token(amazon(PRIVATE), run.make())
        return
    assert fetch_token(amazon(PRIVATE), run.make()).password == "p1"


def test_it_becomes_a_credential() -> None:
    assert TOKEN.credential() == Credential("AWS credentials: environment variables", "AWS", "pass:word")
    kept = TOKEN.credential(cached=True)
    assert kept.source == "AWS credentials: environment variables, from the token cache"
    assert kept.password == "pass:word"


def test_what_is_kept_is_read_again() -> None:
    assert of_json(json.loads(json.dumps(as_json(TOKEN)))) == TOKEN
    assert of_json(as_json(TOKEN) | {"expires": 2_000_000_000, "origin": "pröfile"}) is not None


NO_TEXTS: list[Any] = ["", None, 1, [], "a\nb", "a\0b", "pass wörd", "\ud800"]
NO_ORIGINS: list[Any] = [None, "a\r\n::error::b", "a\u202eb", "x" * 301]
NO_TIMES: list[Any] = [None, "1", True, [], {}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("username", "password") for value in NO_TEXTS],
        *[("origin", value) for value in NO_ORIGINS],
        *[(name, value) for name in ("expires", "fresh_until") for value in NO_TIMES],
    ],
)
def test_what_was_not_written_here_is_nothing(name: str, value: object) -> None:
    assert of_json(as_json(TOKEN) | {name: value}) is None


@pytest.mark.parametrize("document", [None, [], "text", 1, {}, [as_json(TOKEN)]])
def test_what_is_no_token_is_nothing(document: object) -> None:
    assert of_json(document) is None


@pytest.mark.parametrize("name", ["username", "password", "origin", "expires", "fresh_until"])
def test_what_lacks_something_is_nothing(name: str) -> None:
    assert of_json({key: value for key, value in as_json(TOKEN).items() if key != name}) is None
