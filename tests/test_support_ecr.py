"""The fronts are Amazon ECR to clients, and the proxy leads to them under the real names."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support import actions, images
from tests.support.connect_proxy import ConnectProxy
from tests.support.ecr_backend import Rate
from tests.support.ecr_world import EcrWorld
from tests.support.pushing import Client, basic_authorization
from tests.support.real import require_real
from tests.support.real_registry import RealRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates
    from tests.support.ecr_common import EcrFront
    from tests.support.tools import Tools

INVALID = ("DENIED", "Your Authorization Token is invalid.")
EXPIRED = ("DENIED", "Your authorization token has expired. Reauthenticate and try again.")
IMAGE = images.image("linux/amd64")
(LAYER,) = IMAGE.layers
DIGEST = images.digest_of(LAYER)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates for all hosts, made once."""
    return EcrWorld(tmp_path_factory.mktemp("authority")).certificates


@pytest.fixture
def world(tmp_path: Path, authority: Certificates) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path, certificates=authority) as made:
        made.aws.add_repository("web")
        made.aws.add_private_repository("web")
        yield made


@pytest.fixture
def http(world: EcrWorld) -> Iterator[httpx.Client]:
    """Return a client that follows nothing and knows no password."""
    context = ssl.create_default_context(cafile=str(world.ca_file))
    with httpx.Client(proxy=world.proxy.url, verify=context, trust_env=False) as client:
        yield client


def error_of(answer: httpx.Response) -> tuple[str, str]:
    (error,) = answer.json()["errors"]
    return error["code"], error["message"]


def bearer(world: EcrWorld) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.aws.token().authorization}"}


def basic(world: EcrWorld) -> dict[str, str]:
    return {"Authorization": f"Basic {world.aws.token('ecr').authorization}"}


def public(path: str, host: str = "public.ecr.aws") -> str:
    return f"https://{host}/v2/{path}"


def private(world: EcrWorld, path: str) -> str:
    return f"https://{world.private_host}/v2/{path}"


def upload(http: httpx.Client, base: str, headers: dict[str, str], data: bytes = LAYER) -> httpx.Response:
    opened = http.post(f"{base}/blobs/uploads/", headers=headers)
    assert opened.status_code == 202, opened.text
    return http.put(
        opened.headers["location"], params={"digest": images.digest_of(data)}, content=data, headers=headers
    )


def put(http: httpx.Client, base: str, reference: str, content: images.Content, headers: dict[str, str]) -> Any:
    return http.put(
        f"{base}/manifests/{reference}",
        content=content.manifest,
        headers={**headers, "Content-Type": content.media_type},
    )


def push(http: httpx.Client, base: str, tag: str, content: images.Content, headers: dict[str, str]) -> None:
    for part in images.walk(content):
        for data in part.blobs.values():
            assert upload(http, base, headers, data).status_code == 201
        assert put(http, base, part.digest, part, headers).status_code == 201
    assert put(http, base, tag, content, headers).status_code == 201


class TestPublicTokens:
    @pytest.mark.parametrize("host", ["public.ecr.aws", "ecr-public.aws.com"])
    @pytest.mark.parametrize("path", ["", "acme/web/manifests/1"])
    def test_the_challenge(self, http: httpx.Client, host: str, path: str) -> None:
        answer = http.get(public(path, host))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            f'Bearer realm="https://{host}/token/",service="public.ecr.aws",scope="aws"'
        )
        assert error_of(answer) == ("DENIED", "Not Authorized")
        assert http.head(public(path, host)).status_code == 401

    @pytest.mark.parametrize(
        "authorization",
        [basic_authorization("AWS", "anything"), "Bearer anything", "Bearer", "Negotiate abc"],
    )
    def test_what_is_not_a_token(self, http: httpx.Client, authorization: str) -> None:
        answer = http.get(public(""), headers={"Authorization": authorization})
        assert (answer.status_code, error_of(answer)) == (400, INVALID)
        assert "www-authenticate" not in answer.headers

    def test_basic_is_refused_even_with_the_password(self, world: EcrWorld, http: httpx.Client) -> None:
        right = basic_authorization("AWS", world.aws.token().password)
        answer = http.get(public(""), headers={"Authorization": right})
        assert (answer.status_code, error_of(answer)) == (400, INVALID)

    def test_the_authorization_token_is_a_bearer_token(self, world: EcrWorld, http: httpx.Client) -> None:
        headers = bearer(world)
        assert http.get(public(""), headers=headers).status_code == 200
        private_token = {"Authorization": f"Bearer {world.aws.token('ecr').authorization}"}
        assert error_of(http.get(public(""), headers=private_token)) == INVALID
        world.aws.revoke_tokens()
        assert error_of(http.get(public(""), headers=headers)) == INVALID
        headers = bearer(world)
        world.aws.expire_tokens()
        answer = http.get(public(""), headers=headers)
        assert (answer.status_code, error_of(answer)) == (403, EXPIRED)
        assert "www-authenticate" not in answer.headers

    def test_the_token_endpoint(self, world: EcrWorld, http: httpx.Client) -> None:
        url = "https://public.ecr.aws/token/?service=public.ecr.aws&scope=aws"
        token = world.aws.token()
        given = http.get(url, auth=("AWS", token.password)).json()["token"]
        headers = {"Authorization": f"Bearer {given}"}
        assert http.post(public("acme/web/blobs/uploads/"), headers=headers).status_code == 202
        for user, password in (("AWS", "wrong"), ("aws", token.password), ("AWS", "")):
            answer = http.get(url, auth=(user, password))
            assert (answer.status_code, error_of(answer)) == (400, INVALID)
        assert http.post(url).status_code == 405
        world.aws.expire_tokens()
        assert error_of(http.get(url, auth=("AWS", token.password))) == EXPIRED
        assert error_of(http.get(public(""), headers=headers)) == EXPIRED
        assert (world.public.granted_tokens, world.public.anonymous_tokens) == (1, 0)
        assert given in world.secrets

    def test_an_anonymous_token_reads_but_does_not_look(self, world: EcrWorld, http: httpx.Client) -> None:
        world.registry.put("acme/web", "1", IMAGE)
        headers = {"Authorization": f"Bearer {http.get('https://public.ecr.aws/token/').json()['token']}"}
        blob = public(f"acme/web/blobs/{DIGEST}")
        for method, url, status in (
            ("GET", public(""), 200),
            ("GET", public("acme/web/manifests/1"), 200),
            ("HEAD", public("acme/web/manifests/1"), 200),
            ("GET", blob, 307),
            ("HEAD", blob, 401),
            ("POST", public("acme/web/blobs/uploads/"), 401),
            ("PUT", public("acme/web/manifests/1"), 401),
        ):
            assert http.request(method, url, headers=headers).status_code == status, (method, url)
        assert http.head(blob, headers=bearer(world)).status_code == 200
        assert world.public.anonymous_tokens == 1


class TestPublicRepositories:
    @pytest.mark.parametrize(
        ("path", "name", "registry"),
        [("acme/nothing", "nothing", "acme"), ("other/web", "web", "other"), ("waiting/web", "web", "waiting")],
    )
    def test_one_that_is_not_there(
        self, world: EcrWorld, http: httpx.Client, path: str, name: str, registry: str
    ) -> None:
        world.aws.add_alias("waiting", status="PENDING")
        for method, rest in (("POST", "blobs/uploads/"), ("GET", "manifests/1"), ("GET", "tags/list")):
            answer = http.request(method, public(f"{path}/{rest}"), headers=bearer(world))
            text = f"The repository with name '{name}' does not exist in the registry with id '{registry}'"
            assert (answer.status_code, error_of(answer)) == (404, ("NAME_UNKNOWN", text))

    def test_every_active_alias_leads_there(self, world: EcrWorld, http: httpx.Client) -> None:
        world.aws.add_alias("a1b2c3d4")
        world.registry.put("acme/web", "1", IMAGE)
        assert http.get(public("a1b2c3d4/web/manifests/1"), headers=bearer(world)).content == IMAGE.manifest

    def test_somebody_elses_is_read_only(self, world: EcrWorld, http: httpx.Client) -> None:
        world.aws.add_alias("docker", account="210987654321")
        world.aws.add_repository("library/alpine", account="210987654321")
        world.registry.put("docker/library/alpine", "3", IMAGE)
        base, headers = public("docker/library/alpine"), bearer(world)
        assert http.get(f"{base}/manifests/3", headers=headers).status_code == 200
        answer = http.post(f"{base}/blobs/uploads/", headers=headers)
        assert answer.status_code == 403
        assert error_of(answer)[1] == (
            "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr-public:InitiateLayerUpload on"
            " resource: arn:aws:ecr-public::210987654321:repository/library/alpine because no resource-based policy"
            " allows the ecr-public:InitiateLayerUpload action"
        )

    def test_one_just_created_takes_its_time(self, world: EcrWorld, http: httpx.Client) -> None:
        world.public.just_created_lag = 2
        world.aws.registry.add("new", by_api=True)
        statuses = [
            http.post(public(f"acme/{name}/blobs/uploads/"), headers=bearer(world)).status_code
            for name in ("new", "web", "new", "new")
        ]
        assert statuses == [404, 202, 404, 202]


class TestUploads:
    def test_all_at_once(self, world: EcrWorld, http: httpx.Client) -> None:
        opened = http.post(public("acme/web/blobs/uploads/"), headers=bearer(world))
        place = opened.headers["location"]
        assert re.fullmatch(r"https://public\.ecr\.aws/v2/acme/web/blobs/uploads/[0-9a-f-]{36}", place)
        stored = http.put(place, params={"digest": DIGEST}, content=LAYER, headers=bearer(world))
        assert (stored.status_code, stored.headers["location"]) == (201, public(f"acme/web/blobs/{DIGEST}"))
        assert world.registry.repository("acme/web").blobs == {DIGEST: LAYER}
        assert world.public.open_uploads == 0
        assert http.put(place, params={"digest": DIGEST}, content=LAYER, headers=bearer(world)).status_code == 404

    def test_in_one_part(self, world: EcrWorld, http: httpx.Client) -> None:
        headers = bearer(world)
        place = http.post(public("acme/web/blobs/uploads/"), headers=headers).headers["location"]
        part = http.patch(place, content=iter([LAYER[:3], LAYER[3:]]), headers=headers)
        assert (part.status_code, part.headers["range"]) == (202, f"0-{len(LAYER) - 1}")
        assert http.put(place, params={"digest": DIGEST}, headers=headers).status_code == 201
        assert world.public.chunked_uploads == 0

    def test_not_in_several_parts(self, world: EcrWorld, http: httpx.Client) -> None:
        headers = bearer(world)
        place = http.post(public("acme/web/blobs/uploads/"), headers=headers).headers["location"]
        statuses = [http.patch(place, content=piece, headers=headers).status_code for piece in (LAYER[:3], LAYER[3:])]
        assert statuses == [202, 400]
        assert world.public.chunked_uploads == 1

    def test_other_bytes_than_promised(self, world: EcrWorld, http: httpx.Client) -> None:
        place = http.post(public("acme/web/blobs/uploads/"), headers=bearer(world)).headers["location"]
        answer = http.put(place, params={"digest": DIGEST}, content=b"other", headers=bearer(world))
        assert (answer.status_code, error_of(answer)[0]) == (400, "DIGEST_INVALID")

    def test_one_that_is_cancelled(self, world: EcrWorld, http: httpx.Client) -> None:
        place = http.post(public("acme/web/blobs/uploads/"), headers=bearer(world)).headers["location"]
        assert http.get(place, headers=bearer(world)).status_code == 204
        assert http.delete(place, headers=bearer(world)).status_code == 204
        assert (world.public.open_uploads, world.public.cancelled_uploads) == (0, 1)

    def test_nothing_is_mounted(self, world: EcrWorld, http: httpx.Client) -> None:
        world.aws.add_repository("base")
        world.registry.put("acme/base", "1", IMAGE)
        query = {"mount": DIGEST, "from": "acme/base"}
        answer = http.post(public("acme/web/blobs/uploads/"), params=query, headers=bearer(world))
        assert (answer.status_code, world.public.mounts_tried) == (202, 1)
        assert world.registry.repository("acme/web").blobs == {}

    def test_a_layer_that_is_too_large(self, world: EcrWorld, http: httpx.Client) -> None:
        world.public.layer_limit = len(LAYER) - 1
        answer = upload(http, public("acme/web"), bearer(world))
        assert (answer.status_code, error_of(answer)[0]) == (403, "DENIED")
        assert f"exceeds the maximum allowed size of a layer which is '{len(LAYER) - 1}'" in error_of(answer)[1]


class TestManifests:
    def test_an_image_and_what_aws_then_knows(self, world: EcrWorld, http: httpx.Client) -> None:
        base, headers = public("acme/web"), bearer(world)
        push(http, base, "1", IMAGE, headers)
        put(http, base, "latest", IMAGE, headers)
        other = images.image("linux/amd64", seed="other")
        push(http, base, "latest", other, headers)
        known = world.aws.registry.repositories["web"].images
        assert {digest: image.tags for digest, image in known.items()} == {
            IMAGE.digest: ["1"],
            other.digest: ["latest"],
        }
        got = http.get(f"{base}/manifests/1", headers=headers)
        assert (got.content, got.headers["content-type"]) == (IMAGE.manifest, IMAGE.media_type)
        assert got.headers["docker-content-digest"] == IMAGE.digest
        head = http.head(f"{base}/manifests/1", headers=headers)
        assert int(head.headers["content-length"]) == len(IMAGE.manifest)
        absent = http.get(f"{base}/manifests/2", headers=headers)
        assert (absent.status_code, error_of(absent)) == (404, ("MANIFEST_UNKNOWN", "Requested image not found"))

    @pytest.mark.parametrize("status", [404, 400])
    def test_children_and_layers_that_are_not_there(self, world: EcrWorld, http: httpx.Client, status: int) -> None:
        world.public.missing_status = status
        there, absent, gone = (images.image("linux/amd64", seed=seed) for seed in ("there", "absent", "gone"))
        world.registry.put("acme/web", None, there)
        answer = put(http, public("acme/web"), "1", images.index([there, absent, gone, absent]), bearer(world))
        assert answer.status_code == status
        assert error_of(answer) == (
            "MANIFEST_BLOB_UNKNOWN",
            (
                f"Images with digests '[{absent.digest}, {gone.digest}]' required for pushing image into repository with"
                " name 'web' in the registry with id 'acme' do not exist"
            ),
        )
        answer = put(http, public("acme/web"), "1", IMAGE, bearer(world))
        assert error_of(answer)[1].startswith(f"Layers with digests '[{IMAGE.config_digest}, {DIGEST}]' required")

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"layers": 7}', b'{"manifests": [{}]}', b'{"layers": [7]}'])
    def test_what_is_no_manifest(self, world: EcrWorld, http: httpx.Client, body: bytes) -> None:
        answer = http.put(public("acme/web/manifests/1"), content=body, headers=bearer(world))
        text = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
        assert (answer.status_code, error_of(answer)) == (405, ("UNSUPPORTED", text))

    def test_one_that_is_too_large(self, world: EcrWorld, http: httpx.Client) -> None:
        headers = bearer(world)
        url = public("acme/web/manifests/1")
        just = http.put(url, content=b"{" + b" " * (4 * 1024 * 1024 - 2) + b"}", headers=headers)
        assert just.status_code == 400  # from the backend: no media type
        over = http.put(url, content=b"{" + b" " * (4 * 1024 * 1024 - 1) + b"}", headers=headers)
        assert (over.status_code, "length less than or equal to 4194304" in error_of(over)[1]) == (405, True)

    def test_quotas(self, world: EcrWorld, http: httpx.Client) -> None:
        base, headers = public("acme/web"), bearer(world)
        world.public.tags_limit = 2
        for tag in ("1", "2"):
            push(http, base, tag, IMAGE, headers)
        assert put(http, base, "2", IMAGE, headers).status_code == 201
        answer = put(http, base, "3", IMAGE, headers)
        assert (answer.status_code, error_of(answer)) == (
            403,
            (
                "DENIED",
                (
                    "Adding tag '3' to an image in the repository with name 'web' in registry with id 'acme' exceeds the"
                    " maximum allowed number of tags per image which is '2'"
                ),
            ),
        )
        world.public.images_limit = 1
        other = images.image("linux/amd64", seed="other")
        world.registry.put("acme/web", None, other)
        answer = put(http, base, other.digest, other, headers)
        assert error_of(answer)[1] == (
            "The repository with name 'web' in registry with id 'acme' already has the maximum allowed number of"
            " images which is '1'"
        )


class TestReads:
    def test_blobs_are_elsewhere(self, world: EcrWorld, http: httpx.Client) -> None:
        world.registry.put("acme/web", "1", IMAGE)
        world.private_registry.put("web", "1", IMAGE)
        for url, headers in ((public(""), bearer(world)), (private(world, ""), basic(world))):
            name = "acme/web" if "public" in url else "web"
            answer = http.get(f"{url}{name}/blobs/{DIGEST}", headers=headers)
            place = answer.headers["location"]
            assert (answer.status_code, urlsplit(place).hostname != urlsplit(url).hostname) == (307, True)
            assert http.get(place).content == LAYER
            assert http.get(place, headers=headers).status_code == 400
            assert http.get(re.sub(r"Signature=.*", "Signature=forged", place)).status_code == 403
            assert http.get(f"{url}{name}/blobs/{images.digest_of(b'other')}", headers=headers).status_code == 404
        world.public.redirects = False
        assert http.get(public(f"acme/web/blobs/{DIGEST}"), headers=bearer(world)).content == LAYER

    def test_tags(self, world: EcrWorld, http: httpx.Client) -> None:
        url, headers = public("acme/web/tags/list"), bearer(world)
        assert http.get(url, headers=headers).json() == {"name": "acme/web", "tags": []}
        for tag in ("1", "2", "3"):
            world.registry.put("acme/web", tag, IMAGE)
        first = http.get(url, params={"n": 2}, headers=headers)
        assert first.json()["tags"] == ["1", "2"]
        link = re.fullmatch(r"<(/v2/acme/web/tags/list\?.+)>; rel=\"next\"", first.headers["link"])
        assert link is not None
        assert http.get(f"https://public.ecr.aws{link[1]}", headers=headers).json()["tags"] == ["3"]
        assert http.get(url, params={"n": 1000}, headers=headers).status_code == 200
        assert http.get(url, params={"n": 1001}, headers=headers).status_code == 400

    def test_other_paths(self, world: EcrWorld, http: httpx.Client) -> None:
        for method, path, status in (
            ("GET", "acme/web/nonsense", 404),
            ("DELETE", "acme/web/manifests/1", 405),
            ("DELETE", f"acme/web/blobs/{DIGEST}", 405),
            ("GET", "acme/web/blobs/uploads/", 405),
            ("GET", "acme/web/blobs/uploads/unknown", 404),
        ):
            assert http.request(method, public(path), headers=bearer(world)).status_code == status, path

    def test_the_date_is_that_of_aws(self, world: EcrWorld, http: httpx.Client) -> None:
        world.aws.clock = lambda: 0.0
        assert http.get(public("")).headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


class TestPermissions:
    @pytest.mark.parametrize(
        ("action", "method", "path", "body"),
        [
            ("InitiateLayerUpload", "POST", "blobs/uploads/", b""),
            ("BatchCheckLayerAvailability", "HEAD", f"blobs/{DIGEST}", b""),
            ("PutImage", "PUT", "manifests/1", b"{}"),
            ("UploadLayerPart", "PATCH", "blobs/uploads/x", b"part"),
            ("UploadLayerPart", "PUT", "blobs/uploads/x", b"whole"),
            ("CompleteLayerUpload", "PUT", "blobs/uploads/x", b""),
            ("BatchGetImage", "GET", "manifests/1", b""),
            ("GetDownloadUrlForLayer", "GET", f"blobs/{DIGEST}", b""),
            ("ListImages", "GET", "tags/list", b""),
        ],
    )
    def test_a_denied_action(
        self, world: EcrWorld, http: httpx.Client, action: str, method: str, path: str, body: bytes
    ) -> None:
        reads = action in ("BatchGetImage", "GetDownloadUrlForLayer", "ListImages")
        asked: list[tuple[EcrFront, str, dict[str, str], str]] = [
            (world.private, private(world, "web/"), basic(world), ":eu-west-1:")
        ]
        if not reads:
            asked.append((world.public, public("acme/web/"), bearer(world), "::"))
        for front, base, headers, where in asked:
            denial = front.deny(action)
            answer = http.request(method, base + path, content=body, headers=headers)
            assert (answer.status_code, denial.hits) == (403, 1)
            name = f"{front.service}:{action}"
            text = (
                f"User: {world.aws.key.principal} is not authorized to perform: {name} on resource:"
                f" arn:aws:{front.service}{where}123456789012:repository/web because no identity-based policy allows the"
                f" {name} action"
            )
            assert (answer.content == b"") if method == "HEAD" else (error_of(answer) == ("DENIED", text))
            assert "www-authenticate" not in answer.headers

    def test_an_explicit_denial_of_the_full_name(self, world: EcrWorld, http: httpx.Client) -> None:
        world.public.deny("ecr-public:PutImage", explicit=True)
        answer = put(http, public("acme/web"), "1", IMAGE, bearer(world))
        assert error_of(answer)[1].endswith("repository/web with an explicit deny in an identity-based policy")


class TestRates:
    def test_a_bucket(self) -> None:
        now = [0.0]
        rate = Rate(10, 10, lambda: now[0])
        assert [rate.take() for _ in range(11)] == [True] * 10 + [False]
        now[0] = 0.1
        assert [rate.take(), rate.take()] == [True, False]
        now[0] = 60
        assert sum(rate.take() for _ in range(20)) == 10
        assert rate.violations == 1 + 1 + 10

    def test_manifests_and_blobs_each_have_theirs(self, tmp_path: Path, authority: Certificates) -> None:
        now = [0.0]
        with EcrWorld(tmp_path, certificates=authority, monotonic=lambda: now[0]) as made:
            made.aws.add_repository("web")
            made.registry.put("acme/web", None, IMAGE)
            context = ssl.create_default_context(cafile=str(made.ca_file))
            with httpx.Client(proxy=made.proxy.url, verify=context, trust_env=False) as http:
                base, headers = public("acme/web"), bearer(made)
                for write in (
                    lambda: put(http, base, "1", IMAGE, headers),
                    lambda: upload(http, base, headers),
                ):
                    assert [write().status_code for _ in range(10)] == [201] * 10
                    refused = write()
                    assert (refused.status_code, error_of(refused)) == (429, ("TOOMANYREQUESTS", "Rate exceeded"))
                now[0] += 0.1
                assert [put(http, base, "1", IMAGE, headers).status_code for _ in range(2)] == [201, 429]
                assert made.public.rate_violations == 3
                made.public.rates.clear()
                assert put(http, base, "1", IMAGE, headers).status_code == 201


class TestPrivate:
    def test_the_challenge(self, world: EcrWorld, http: httpx.Client) -> None:
        answer = http.get(private(world, ""))
        assert (answer.status_code, answer.text) == (401, "Not Authorized\n")
        assert answer.headers["www-authenticate"] == (
            f'Basic realm="https://{world.private_host}/",service="ecr.amazonaws.com"'
        )

    def test_the_password_with_every_request(self, world: EcrWorld, http: httpx.Client) -> None:
        url, token = private(world, ""), world.aws.token("ecr")
        assert http.get(url, auth=("AWS", token.password)).status_code == 200
        for authorization in (
            f"Bearer {token.authorization}",
            basic_authorization("aws", token.password),
            basic_authorization("AWS", world.aws.token().password),
            "Basic ***",
        ):
            answer = http.get(url, headers={"Authorization": authorization})
            assert (answer.status_code, error_of(answer)) == (400, INVALID)
            assert http.head(url, headers={"Authorization": authorization}).content == b""
        world.aws.expire_tokens()
        answer = http.get(url, auth=("AWS", token.password))
        assert (answer.status_code, error_of(answer), "www-authenticate" in answer.headers) == (403, EXPIRED, False)

    def test_region_and_account_are_in_the_name(self, tmp_path: Path) -> None:
        more = "210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn"
        with EcrWorld(tmp_path, regions=("eu-west-1", "us-east-1"), more_hosts=(more,)) as made:
            made.aws.add_private_repository("web", region="us-east-1")
            context = ssl.create_default_context(cafile=str(made.ca_file))
            with httpx.Client(proxy=made.proxy.url, verify=context, trust_env=False) as http:
                statuses = {
                    host: http.post(f"https://{host}/v2/web/blobs/uploads/", headers=basic(made)).status_code
                    for host in made.hosts
                    if "dkr" in host
                }
        assert {host for host, status in statuses.items() if status == 202} == {
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            "123456789012.dkr-ecr.us-east-1.on.aws",
            "123456789012.dkr-ecr-fips.us-east-1.on.aws",
        }
        assert {status for status in statuses.values() if status != 202} == {404}
        assert more in statuses

    def test_one_that_is_not_there(self, world: EcrWorld, http: httpx.Client) -> None:
        answer = http.post(private(world, "other/blobs/uploads/"), headers=basic(world))
        text = "The repository with name 'other' does not exist in the registry with id '123456789012'"
        assert (answer.status_code, error_of(answer)) == (404, ("NAME_UNKNOWN", text))

    def test_immutable_tags(self, world: EcrWorld, http: httpx.Client) -> None:
        world.aws.add_private_repository("fixed", mutability="IMMUTABLE_WITH_EXCLUSION", exclusions=["latest*"])
        base, headers = private(world, "fixed"), basic(world)
        for tag in ("1", "latest"):
            push(http, base, tag, IMAGE, headers)
        again = put(http, base, "1", IMAGE, headers)
        text = (
            "The image tag '1' already exists in the 'fixed' repository and cannot be overwritten because the"
            " repository is immutable."
        )
        assert (again.status_code, error_of(again)) == (400, ("TAG_INVALID", text))
        assert put(http, base, "latest", IMAGE, headers).status_code == 201
        assert put(http, base, IMAGE.digest, IMAGE, headers).status_code == 201
        push(http, private(world, "web"), "1", IMAGE, headers)
        assert put(http, private(world, "web"), "1", IMAGE, headers).status_code == 201

    def test_a_blob_is_mounted_if_a_manifest_names_it(self, world: EcrWorld, http: httpx.Client) -> None:
        headers, loose = basic(world), b"named by nothing"
        base = private(world, "base")
        world.aws.add_private_repository("base")

        def mount(digest: str, source: str = "base") -> int:
            url = private(world, "web/blobs/uploads/")
            return http.post(url, params={"mount": digest, "from": source}, headers=headers).status_code

        upload(http, base, headers, loose)
        push(http, base, "1", images.index([IMAGE]), headers)
        by_digest = images.image("linux/arm64", seed="by digest")
        for data in by_digest.blobs.values():
            upload(http, base, headers, data)
        put(http, base, by_digest.digest, by_digest, headers)
        assert mount(images.digest_of(loose)) == 202
        assert mount(DIGEST, "elsewhere") == 202
        assert mount(DIGEST) == 201
        assert mount(by_digest.config_digest) == 201
        assert http.head(private(world, f"web/blobs/{DIGEST}"), headers=headers).status_code == 200
        world.private.blob_mounting = False
        assert mount(DIGEST) == 202
        assert world.private.mounts_tried == 5


class TestProxy:
    def connect(self, proxy: ConnectProxy, text: str) -> str:
        """Send the head of a request; return the head of the answer."""
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(f"{text}\r\n\r\n".encode())
            with connection.makefile("rb") as stream:
                return b"".join(iter(stream.readline, b"\r\n")).decode()

    def test_places(self) -> None:
        with ConnectProxy({"known.example:443": ("127.0.0.1", 9)}, unknown_status=403) as proxy:
            assert self.connect(proxy, "CONNECT other.example:443 HTTP/1.1").startswith("HTTP/1.1 403 ")
            assert self.connect(proxy, "CONNECT known.example:80 HTTP/1.1").startswith("HTTP/1.1 403 ")
            assert self.connect(proxy, "GET http://known.example/ HTTP/1.1").startswith("HTTP/1.1 405 ")
            assert [(made.target, made.status) for made in proxy.connects] == [
                ("other.example:443", 403),
                ("known.example:80", 403),
                ("GET http://known.example/ HTTP/1.1", 405),
            ]
            assert proxy.targets == []

    def test_a_password(self, tmp_path: Path, authority: Certificates) -> None:
        with EcrWorld(tmp_path, certificates=authority, proxy_user="ci", proxy_password="pass-word") as made:
            assert "Proxy-Authenticate: Basic" in self.connect(made.proxy, "CONNECT public.ecr.aws:443 HTTP/1.1")
            context = ssl.create_default_context(cafile=str(made.ca_file))
            with httpx.Client(proxy=made.proxy.url, verify=context, trust_env=False) as http:
                assert http.get(public("")).status_code == 401
            assert [connect.status for connect in made.proxy.connects] == [407, 200]
            assert made.environ["HTTPS_PROXY"] == made.proxy.url

    def test_a_tunnel_carries_both_ways_until_both_have_closed(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            with ConnectProxy({"echo.example:7": address}) as proxy:
                client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
                with client, client.makefile("rb") as stream:
                    client.sendall(b"CONNECT echo.example:7 HTTP/1.1\r\n\r\nearly")
                    peer, _ = server.accept()
                    with peer, peer.makefile("rb") as heard:
                        assert b"".join(iter(stream.readline, b"\r\n")).startswith(b"HTTP/1.1 200 ")
                        client.sendall(b" and late")
                        client.shutdown(socket.SHUT_WR)
                        assert heard.read() == b"early and late"
                        peer.sendall(b"answer")
                    assert stream.read() == b"answer"

    def test_closing_ends_tunnels(self, world: EcrWorld, http: httpx.Client) -> None:
        assert http.get(public("")).status_code == 401
        began = time.monotonic()
        world.proxy.close()
        assert time.monotonic() - began < 20
        with pytest.raises(httpx.TransportError):
            http.get(public(""))


class TestWorld:
    def test_the_environment(self, world: EcrWorld) -> None:
        environ = world.environ
        assert environ["HOME"] == str(world.home)
        assert not {"SSL_CERT_FILE", "AWS_REGION"} & set(environ)
        assert {world.aws.key.secret, world.aws.token().password} <= set(world.secrets)
        none = world.environment(source=None)
        assert set(environ) - set(none) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert (world.alias, world.account, world.host) == ("acme", "123456789012", "public.ecr.aws")

    def test_faults_are_for_what_was_authorised(self, world: EcrWorld, http: httpx.Client) -> None:
        world.public.faults.add(actions.error(503, "UNAVAILABLE", "later"), path="/manifests/")
        assert http.get(public("acme/web/manifests/1")).status_code == 401
        statuses = [http.get(public("acme/web/manifests/1"), headers=bearer(world)).status_code for _ in range(2)]
        assert statuses == [503, 404]


@pytest.fixture(scope="module", params=["fake", "real"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    if request.param == "fake":
        yield None
        return
    require_real("docker-registry")
    with RealRegistry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry.url


@pytest.fixture
def both(tmp_path: Path, authority: Certificates, backend: str | None) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path / "world", certificates=authority, backend=backend) as made:
        made.aws.add_repository("web")
        made.aws.add_private_repository("web")
        made.aws.add_private_repository("copy")
        yield made


@pytest.fixture
def skopeo(both: EcrWorld, tools: Tools) -> Callable[..., Any]:
    def run(*arguments: str, text: str | None = None, check: bool = True) -> Any:
        environ = {"HTTPS_PROXY": both.proxy.url, "SSL_CERT_FILE": str(both.ca_file)}
        environ["REGISTRY_AUTH_FILE"] = str(both.directory / "auth.json")
        return tools.run("skopeo", *arguments, text=text, environ=environ, check=check)

    return run


class TestRealClients:
    def test_skopeo_and_ecr_public(self, both: EcrWorld, skopeo: Callable[..., Any], tmp_path: Path) -> None:
        made = images.index([images.image("linux/amd64"), images.image("linux/arm64")])
        images.write_layout(tmp_path / "layout", {"1": made})
        source, target = f"oci:{tmp_path}/layout:1", f"docker://{both.host}/acme/web:1"
        refused = skopeo("copy", "--all", source, target, check=False)
        assert (refused.returncode, "unauthorized" in refused.stderr) == (1, True)
        login = ("login", "--username", "AWS", "--password-stdin", both.host)
        assert skopeo(*login, text="wrong", check=False).returncode == 1
        skopeo(*login, text=both.aws.token().password)
        skopeo("copy", "--all", source, target)
        assert skopeo("inspect", "--raw", target).stdout.encode() == made.manifest
        skopeo("logout", both.host)
        skopeo("copy", "--all", target, f"oci:{tmp_path}/back:1")
        assert made.digest in json.dumps(json.loads((tmp_path / "back" / "index.json").read_text()))
        known = both.aws.registry.repositories["web"].images
        assert {digest: image.tags for digest, image in known.items()} == {
            child.digest: ([] if child is not made else ["1"]) for child in images.walk(made)
        }
        absent = skopeo("copy", source, f"docker://{both.host}/acme/absent:1", check=False)
        assert absent.returncode == 1

    def test_skopeo_and_ecr(self, both: EcrWorld, skopeo: Callable[..., Any], tmp_path: Path) -> None:
        made = images.index([images.image("linux/amd64"), images.image("linux/arm64")])
        images.write_layout(tmp_path / "layout", {"1": made})
        base = f"docker://{both.private_host}"
        login = ("login", "--username", "AWS", "--password-stdin", both.private_host)
        assert skopeo(*login, text=both.aws.token("ecr-public").password, check=False).returncode == 1
        skopeo(*login, text=both.aws.token("ecr").password)
        skopeo("copy", "--all", f"oci:{tmp_path}/layout:1", f"{base}/web:1")
        skopeo("copy", "--all", f"{base}/web:1", f"{base}/copy:1")
        assert skopeo("inspect", "--raw", f"{base}/copy:1").stdout.encode() == made.manifest
        assert json.loads(skopeo("list-tags", f"{base}/copy").stdout)["Tags"] == ["1"]

    def test_crane(self, both: EcrWorld, tools: Tools, tmp_path: Path) -> None:
        if shutil.which("crane") is None:
            pytest.skip("crane is not installed")
        made = images.index([images.image("linux/amd64")])
        images.write_layout(tmp_path / "layout", {"1": made})
        environ = {"HTTPS_PROXY": both.proxy.url, "SSL_CERT_FILE": str(both.ca_file), "HOME": str(both.home)}
        target = f"{both.host}/acme/web:1"
        tools.run("crane", "auth", "login", both.host, "-u", "AWS", "-p", both.aws.token().password, environ=environ)
        tools.run("crane", "push", "--index", str(tmp_path / "layout"), target, environ=environ)
        pushed = json.loads(tools.run("crane", "manifest", target, environ=environ).stdout)
        assert [entry["digest"] for entry in pushed["manifests"]] == [made.digest]


def test_a_front_serves_a_plain_client_too(certificates: Certificates, tmp_path: Path) -> None:
    """Without the proxy, under its address: no other host for blobs, uploads at the address."""
    with EcrWorld(tmp_path, certificates=certificates) as made:
        made.aws.add_repository("web")
        with Client(
            made.public.url, context=certificates.client_context(), authorization=bearer(made)["Authorization"]
        ) as client:
            client.push("acme/web", "1", IMAGE)
            assert client.request("GET", f"/v2/acme/web/blobs/{DIGEST}").body == LAYER
        assert made.registry.tag("acme/web", "1") == IMAGE.digest
