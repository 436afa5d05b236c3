"""Servers that say again what they were shown: passwords and tokens, in every way of writing them, in no message."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestctl.errors import ManifestctlError
from manifestctl.stores.base import Blob
from manifestctl.transport.credentials import Credential
from manifestctl.transport.message import Authorization, Request
from manifestctl.transport.profiles import Profile
from manifestctl.transport.secrets import Secrets
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import status
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Response
from tests.support.loopback import LoopbackServer
from tests.support.reach import Reach, reach

if TYPE_CHECKING:
    import socket

    from tests.support.faults import Action, Exchange

PASSWORD = 'hunter2/Sup3r&"S=cret+ö'
USER = Credential("the test's file", "alice", PASSWORD)
IDENTITY = Credential("the test's file", identity_token="identity/REFRESH=0987654321")
STRAIGHT = Credential("the test's file", registry_token="opaque.TOKEN.value-1234567890abcdef")
WEB = "team/web"
ONCE = TransportSettings(retries=1)


def knowing(*credentials: Credential, value: str = "") -> Secrets:
    secrets = Secrets()
    for credential in credentials:
        secrets.learn(Authorization(value, credential.source, credential))
    return secrets


SPELLINGS = [
    PASSWORD,
    "hunter2%2FSup3r%26%22S%3Dcret%2B%C3%B6",
    "hunter2/Sup3r%26%22S%3Dcret%2B%C3%B6",
    "hunter2%2fSup3r%26%22S%3dcret%2b%c3%b6",
    r"hunter2/Sup3r&\"S=cret+\u00f6",
    r"hunter2\/Sup3r&\"S=cret+\u00f6",
    r"hunter2/Sup3r\u0026\"S=cret+ö",
    b64encode(PASSWORD.encode()).decode(),
    b64encode(PASSWORD.encode()).decode().rstrip("="),
    b64encode(f"alice:{PASSWORD}".encode()).decode(),
]


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_a_secret_is_hidden_however_it_is_written(spelled: str) -> None:
    hidden = knowing(USER).hide(f"no such user 'alice' with '{spelled}' here".encode()).decode()
    assert hidden.replace("=", "") == "no such user 'alice' with '…' here"


@given(st.text(min_size=4, max_size=30))
def test_any_secret_is_hidden_in_json_and_in_urls(secret: str) -> None:
    secrets = knowing(Credential("the test's file", "alice", secret))
    for said in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        assert secrets.hidden(f"<{said}>") == "<…>"


def test_words_are_left_alone() -> None:
    said = b"requested access to the resource is denied: pin 123 for alice"
    assert Secrets().hide(said) == said
    assert knowing(Credential("the test's file", "alice", "123"), USER).hide(said) == said
    nobody = Secrets()
    nobody.learn(None)
    nobody.learn(Authorization("", "nobody"))
    assert nobody.hide(said) == said


def test_a_secret_is_hidden_before_anything_is_cut_off() -> None:
    assert knowing(STRAIGHT).outside(f"got {STRAIGHT.registry_token}\n", 12) == "got …\\n"


def test_causes_are_hushed_too_and_a_circle_ends() -> None:
    inner, outer = OSError(5, f"read {PASSWORD}"), ValueError(f"got {PASSWORD}", 7)
    outer.__cause__, inner.__cause__ = inner, outer
    knowing(USER).hush(outer)
    assert (outer.args, inner.args) == (("got …", 7), (5, "read …"))


# What servers repeat.


def echo(code: int = 403, *, form: str = "{}", kind: str = "application/json") -> Action:
    """Answer with an error that repeats what was sent: the Authorization header's value without its scheme, the body."""

    def action(exchange: Exchange) -> Response:
        scheme, _, value = (exchange.request.headers.get("authorization") or " ").partition(" ")
        del scheme
        said = form.format(value or exchange.request.body.decode())
        body = json.dumps({"errors": [{"code": "DENIED", "message": said, "detail": said}]})
        return Response(code, (body if "json" in kind else said).encode(), {"Content-Type": kind})

    return action


def failing(reached: Reach) -> ManifestctlError:
    with pytest.raises(ManifestctlError) as raised:
        reached.store(WEB).read_manifest("1")
    return raised.value


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_registry_repeats_what_basic_carries(kind: str) -> None:
    with FakeRegistry(auth=BasicAuth("alice", PASSWORD)) as registry:
        registry.faults.add(echo(form="got {}", kind=kind), times=FOREVER)
        with reach(registry, credentials=[USER], settings=ONCE) as reached:
            error = failing(reached)
            reached.check_quiet(error)
    assert "got …" in error.message


@pytest.mark.parametrize(
    ("credential", "profile"),
    [(USER, Profile()), (IDENTITY, Profile()), (STRAIGHT, Profile()), (USER, Profile(password_as_bearer=True))],
)
def test_a_registry_repeats_a_token(credential: Credential, profile: Profile) -> None:
    auth = BearerAuth(users={"alice": PASSWORD}, identity_tokens={IDENTITY.identity_token: "alice"})
    with FakeRegistry(auth=auth) as registry:
        registry.faults.add(
            echo(form="token {} lacks scope"), path="/manifests/", after=1, times=FOREVER, before_auth=True
        )
        with reach(registry, credentials=[credential], profile=profile, settings=ONCE) as reached:
            error = failing(reached)
            reached.check_quiet(error, secrets=auth.secrets)
    assert "token … lacks scope" in error.message


@pytest.mark.parametrize("credential", [USER, IDENTITY])
def test_a_token_service_repeats_what_it_got(credential: Credential) -> None:
    auth = BearerAuth(users={"alice": PASSWORD}, identity_tokens={IDENTITY.identity_token: "alice"})
    with FakeRegistry(auth=auth) as registry:
        registry.faults.add(echo(401, form="bad credentials {}"), path="/token", times=FOREVER)
        with reach(registry, credentials=[credential], settings=ONCE) as reached:
            error = failing(reached)
            reached.check_quiet(error)
    assert "bad credentials" in error.message


def test_a_token_service_repeats_the_password_itself() -> None:
    said = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": f"bad credentials alice:{PASSWORD}"}]})
    with FakeRegistry(auth=BearerAuth(users={"alice": "another"})) as registry:
        registry.faults.add(status(401, said.encode(), content_type="application/json"), path="/token", times=FOREVER)
        with reach(registry, credentials=[USER], settings=ONCE) as reached:
            error = failing(reached)
            reached.check_quiet(error)
    assert 'said 401 UNAUTHORIZED "bad credentials alice:…"' in error.message


def test_a_warning_and_a_path_repeat_it() -> None:
    straight = STRAIGHT.registry_token
    with FakeRegistry(auth=BearerAuth()) as registry:
        moved = {"Location": f"/v2/{straight}/x", "Warning": f'299 - "saw {straight}"'}
        registry.faults.add(status(307, headers=moved), path="/manifests/", after=1, before_auth=True)
        warned = status(200, headers={"Warning": f'299 - "{straight}"'})
        registry.faults.add(warned, path=straight, before_auth=True)
        with reach(registry, credentials=[STRAIGHT], settings=ONCE) as reached:
            response = reached.client.send(Request("GET", f"/v2/{WEB}/manifests/1", WEB))
            reached.check_quiet()
        assert response.headers["warning"] == '299 - "..."'
        assert registry.requests[-1].path == f"/v2/{straight}/x"


@pytest.mark.parametrize(
    "location", ["mailto:{0}", "ftp://cdn.example/{0}", "http://a:99999/{0}", "http://127.0.0.1:port/{0}"]
)
def test_a_location_that_leads_nowhere_repeats_it(location: str) -> None:
    leads = location.format(STRAIGHT.registry_token)
    with FakeRegistry(auth=BearerAuth()) as registry:
        action = status(307, headers={"Location": leads})
        registry.faults.add(action, path="/manifests/", after=1, before_auth=True)
        with reach(registry, credentials=[STRAIGHT], settings=ONCE) as reached:
            reached.check_quiet(failing(reached))


def test_a_packing_that_nobody_knows_repeats_it() -> None:
    with FakeRegistry(auth=BearerAuth()) as registry:
        packed = status(200, headers={"Content-Encoding": STRAIGHT.registry_token})
        registry.faults.add(packed, after=1, before_auth=True)
        with reach(registry, credentials=[STRAIGHT], settings=ONCE) as reached:
            reached.check_quiet(failing(reached))


class Babble(LoopbackServer):
    """Answers, in a line that is no answer, with the Authorization header that it was sent."""

    def serve(self, connection: socket.socket, number: int) -> None:
        del number
        with connection.makefile("rb") as reader:
            while (line := reader.readline().strip()) and not line.lower().startswith(b"authorization:"):
                pass
            connection.sendall((line or b"none") + b" is what I got\r\n\r\n")


def test_an_answer_that_is_none_repeats_it() -> None:
    with Babble() as server, reach(f"http://127.0.0.1:{server.port}", credentials=[STRAIGHT], settings=ONCE) as reached:
        reached.authorizer.hear(['Bearer realm="http://127.0.0.1/token"'])
        error = failing(reached)
        reached.check_quiet(error)
    assert "broke" in error.message


def test_parts_of_a_signed_url_are_not_shown() -> None:
    signed = "X-Amz-Signature=abcdef0123456789"
    with FakeRegistry() as registry:
        location = f"/v2/{WEB}/blobs/uploads/1?_state=SECRETSTATE&{signed}"
        registry.faults.add(status(202, headers={"Location": location}), method="POST")
        registry.faults.add(
            status(400, f"failed for {location} and http://h/a%3F{signed} and _state=SECRETSTATE".encode()),
            method="PUT",
            times=FOREVER,
        )
        with reach(registry, settings=ONCE) as reached:
            with pytest.raises(ManifestctlError) as raised:
                reached.store(WEB, write=True).write_blob(Blob.of(b"layer", "application/octet-stream"))
            reached.check_quiet(raised.value, secrets=["SECRETSTATE", "abcdef0123456789"])
    assert "failed for" in raised.value.message
