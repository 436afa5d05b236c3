"""The fake registry asks for credentials as real ones do."""

from __future__ import annotations

import json

import pytest

from tests.support import actions
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.pushing import Answer, Client, basic_authorization

REPOSITORY = "team/web"
MANIFEST = f"/v2/{REPOSITORY}/manifests/v1"


def test_basic_credentials() -> None:
    with FakeRegistry(auth=BasicAuth("ci", "secret")) as guarded:
        guarded.put_image(REPOSITORY, "v1")
        for authorization, status in (
            (None, 401),
            (basic_authorization("ci", "no"), 401),
            (basic_authorization("ci", "secret"), 200),
        ):
            with Client(guarded.url, authorization=authorization) as client:
                assert client.request("GET", MANIFEST).status == status
    assert guarded.find()[0].authorization is None


def ask(client: Client, *scopes: str, authorization: str = "", **form: str) -> Answer:
    headers = {"Authorization": authorization} if authorization else {}
    if form:
        body = "&".join(f"{key}={value}" for key, value in form.items()).encode()
        return client.request("POST", "/token", body, Content_Type="application/x-www-form-urlencoded", **headers)
    query = "&".join(f"scope={scope}" for scope in scopes)
    return client.request("GET", f"/token?service=fake.registry&{query}", **headers)


def read(client: Client, token: str, method: str = "GET", target: str = MANIFEST) -> Answer:
    return client.request(method, target, Authorization=f"Bearer {token}")


PULL, PUSH = f"repository:{REPOSITORY}:pull", f"repository:{REPOSITORY}:pull,push"


def test_bearer_challenge_token_and_use() -> None:
    auth = BearerAuth(users={"ci": "secret"})
    with FakeRegistry(auth=auth) as guarded, Client(guarded.url) as client:
        guarded.put_image(REPOSITORY, "v1")
        challenge = client.request("GET", MANIFEST).headers["www-authenticate"]
        assert challenge == f'Bearer realm="{guarded.url}/token",service="fake.registry",scope="{PULL}"'
        assert ask(client, PULL).status == 401
        assert ask(client, PULL, authorization=basic_authorization("ci", "wrong")).status == 401
        token = json.loads(ask(client, PULL, authorization=basic_authorization("ci", "secret")).body)["token"]
        assert read(client, token).status == 200
        lacking = read(client, token, "PUT")
        assert (lacking.status, 'error="insufficient_scope"' in lacking.headers["www-authenticate"]) == (401, True)
        auth.revoke_all()
        assert 'error="invalid_token"' in read(client, token).headers["www-authenticate"]
    assert [(made.user, made.status, made.scopes) for made in auth.requests] == [
        ("", 401, (PULL,)),
        ("ci", 401, (PULL,)),
        ("ci", 200, (PULL,)),
    ]
    assert {"secret", token} <= set(auth.secrets)


OTHER = "repository:team/other:pull"


@pytest.mark.parametrize(
    ("auth", "scopes", "status", "granted"),
    [
        (BearerAuth(), (PULL, OTHER), 200, [{"pull"}, {"pull"}]),
        (BearerAuth(first_scope_only=True), (OTHER, PULL), 200, [{"pull"}]),
        (BearerAuth(joint_status=403), (OTHER, PULL), 403, []),
        (BearerAuth(joint_status=401), (PULL,), 200, [{"pull"}]),
        (BearerAuth(permissions={REPOSITORY: {"pull"}}), (PUSH,), 200, [{"pull"}]),
        (BearerAuth(users={"a": "b"}, anonymous={"pull"}), (PUSH,), 200, [{"pull"}]),
    ],
)
def test_what_a_token_request_is_granted(
    auth: BearerAuth, scopes: tuple[str, ...], status: int, granted: list[set[str]]
) -> None:
    with FakeRegistry(auth=auth) as guarded, Client(guarded.url) as client:
        assert ask(client, *scopes).status == status
    assert [scope.actions for scope in auth.requests[0].granted] == granted


def test_tokens_wear_out_and_come_under_the_name_asked() -> None:
    auth = BearerAuth(uses=2, token_fields=("access_token",), expires_in=None)
    with FakeRegistry(auth=auth) as guarded, Client(guarded.url) as client:
        guarded.put_image(REPOSITORY, "v1")
        document = json.loads(ask(client, PULL).body)
        assert list(document) == ["access_token"]
        statuses = [read(client, document["access_token"]).status for _ in range(3)]
    assert statuses == [200, 200, 401]


def test_identity_tokens_are_posted() -> None:
    auth = BearerAuth(users={"ci": "pw"}, identity_tokens={"refresh": "ci"})
    form = {"grant_type": "refresh_token", "client_id": "me", "service": "s", "scope": PULL}
    with FakeRegistry(auth=auth) as guarded, Client(guarded.url) as client:
        assert ask(client, **form, refresh_token="refresh").status == 200
        assert ask(client, **form, refresh_token="no").status == 401
        auth.post_status = 405
        assert ask(client, **form, refresh_token="refresh").status == 405
    assert [(made.grant_type, made.status) for made in auth.requests] == [
        ("refresh_token", 200),
        ("refresh_token", 401),
        ("refresh_token", 405),
    ]


def test_ecr_public_refuses_without_a_challenge() -> None:
    auth = BearerAuth.ecr_public()
    with FakeRegistry(auth=auth) as guarded, Client(guarded.url) as client:
        guarded.put_image(REPOSITORY, "v1")
        first = client.request("GET", MANIFEST)
        assert first.headers["www-authenticate"].endswith('/token/",service="public.ecr.aws",scope="aws"')
        for authorization in ("Bearer stale", basic_authorization("AWS", "ecr-pass-word")):
            refused = client.request("GET", MANIFEST, Authorization=authorization)
            assert (refused.status, refused.headers.get("www-authenticate")) == (400, None)
        anonymous = json.loads(ask(client, "aws").body)["token"]
        member = json.loads(ask(client, "aws", authorization=basic_authorization("AWS", "ecr-pass-word")).body)["token"]
        assert read(client, anonymous).status == 200
        assert read(client, anonymous, "POST", f"/v2/{REPOSITORY}/blobs/uploads/").status == 401
        assert read(client, member, "POST", f"/v2/{REPOSITORY}/blobs/uploads/").status == 202


def test_a_fault_is_for_authorized_requests_unless_it_says_otherwise() -> None:
    with FakeRegistry(auth=BasicAuth("ci", "pw")) as guarded, Client(guarded.url) as client:
        later = guarded.faults.add(actions.status(503))
        assert client.request("GET", MANIFEST).status == 401
        assert client.request("GET", MANIFEST, Authorization=basic_authorization("ci", "pw")).status == 503
        guarded.faults.add(actions.status(502), before_auth=True)
        assert client.request("GET", MANIFEST).status == 502
    assert later.hits == 1
