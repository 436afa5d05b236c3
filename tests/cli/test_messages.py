"""Bad input, typed or sent: one clear error, the right exit code, no traceback, and that nothing was published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.model.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.support import images
from tests.support.actions import (
    close,
    content_type,
    error,
    gzip_bomb,
    hostile_error,
    huge,
    proxy_page,
    redirect,
    reset,
    status,
    truncated,
    unauthorized,
    wrong_bytes,
)
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = f"sha256:{'0' * 64}"


def check_failed(ran: Ran, code: int, *said: str) -> None:
    """Fail unless it ended with this status and these words, in few lines, with no traceback, and with a next step."""
    assert ran.status == code, ran
    assert ran.out == b""
    assert "Traceback" not in ran.err
    assert "bug in manifestctl" not in ran.err
    assert "nothing was published" in ran.err
    assert all(line.startswith(("error: ", "warning: ", "  hint: ")) for line in ran.err.splitlines()), ran.err
    assert all(len(line) < 2000 for line in ran.err.splitlines())
    assert ran.err.isprintable() or set(ran.err) - {"\n"} == {c for c in ran.err if c.isprintable()}
    for words in said:
        assert words in ran.err, ran.err


TYPED: dict[str, tuple[list[str], str]] = {
    # The target.
    "a URL": (["https://registry.example.com/web:1", ":a"], "it is a URL"),
    "a repository in capitals": (["registry.example.com/Web:1", ":a"], "must be lower-case"),
    "nothing": (["", ":a"], "it names no repository"),
    "a tag too many": (["127.0.0.1:1/web:1:2", ":a"], "is not a"),
    "a long tag": ([f"127.0.0.1:1/web:{'t' * 129}", ":a"], "is not a tag"),
    "an empty tag": (["127.0.0.1:1/web:", ":a"], "'' is not a tag"),
    "a digest as target": ([f"127.0.0.1:1/web@{NOWHERE}", ":a"], "the target of a list is a tag"),
    "a control character": (["registry.example.com/we\x1b[2Jb:1", ":a"], "\\x1b"),
    "a newline": (["127.0.0.1:1/web:1\n::error::x", ":a"], "\\n"),
    "a long name": ([f"registry.example.com/{'w' * 300}:1", ":a"], "longer than 255"),
    "not UTF-8": (["registry.example.com/\udcff:1", ":a"], "\\udcff"),
    "an archive": (["oci-archive:x.tar", ":a"], "cannot be used here"),
    "a layout without a name": (["oci:", ":a"], "names no directory"),
    "a layout with a bad tag": (["oci:x:-", ":a"], "'-' is not a tag"),
    "a bad port": (["registry.example.com:port/web:1", ":a"], "is not a host"),
    # The images.
    "an image with no name": (["127.0.0.1:1/web:1", ":"], "'' is not a tag"),
    "an image with a short digest": (["127.0.0.1:1/web:1", "@sha256:abc"], "is not a sha256 digest"),
    "an image in an engine": (["127.0.0.1:1/web:1", "docker-daemon:web"], "cannot be used here"),
    "an image of several words": (["127.0.0.1:1/web:1", "a b"], "is not an image reference"),
    # Platforms.
    "half a platform": (["oci:x:1", ":a", "--require", "linux"], "--require: 'linux'"),
    "no platform": (["oci:x:1", ":a", "--require", ""], "--require '' names no platform"),
    "a platform with too many parts": (["oci:x:1", ":a", "--require", "linux/arm64/v8/x"], "linux/arm64/v8/x"),
    "a platform with odd characters": (["oci:x:1", ":a", "--platform", "linux/am\n64"], "\\n"),
    "exactly nothing": (["oci:x:1", ":a", "--exact"], "--exact is given without --require"),
    "a declaration without a platform": (["oci:x:1", ":a", "--set-platform", ":a"], "is not IMAGE=PLATFORM"),
    "a declaration of no image": (["oci:x:1", ":a", "--set-platform", "=linux/arm64"], "is not IMAGE=PLATFORM"),
    "a declaration for another image": (
        ["oci:x:1", ":a", "--set-platform", ":b=linux/arm64"],
        "which is not one of the images",
    ),
    # Annotations.
    "an annotation without a value": (["oci:x:1", ":a", "--annotation", "key"], "is not KEY=VALUE"),
    "an annotation without a key": (["oci:x:1", ":a", "--annotation", "=v"], "is not KEY=VALUE"),
    "an annotation twice": (["oci:x:1", ":a", "--annotation", "k=1", "--annotation", "k=2"], "the same key twice"),
    "an entry's annotation without a key": (
        ["oci:x:1", ":a", "--entry-annotation", "linux/arm64=x"],
        "is not PLATFORM=KEY=VALUE",
    ),
    "an entry's annotation without a platform": (
        ["oci:x:1", ":a", "--entry-annotation", "=a=b"],
        "--entry-annotation: ",
    ),
    # The rest.
    "a further tag that is none": (["oci:x:1", ":a", "--tag", "a/b"], "--tag: 'a/b' is not a tag"),
    "an expectation that is none": (["oci:x:1", ":a", "--expect", "latest"], "--expect: 'latest' is not a"),
    "an expectation of nothing": (["oci:x:1", ":a", "--expect", ""], "'' is not a"),
    "guards that exclude each other": (["oci:x:1", ":a", "--no-overwrite", "--expect", NOWHERE], "are both given"),
    "a rule that is none": (["oci:x:1", ":a", "--allow", "image-mising"], "Did you mean image-missing?"),
    "a duration that is none": (["oci:x:1", ":a", "--timeout", "1 minute"], "--timeout: '1 minute' is not a duration"),
    "no time at all": (["oci:x:1", ":a", "--timeout", "0"], "--timeout must be more than 0"),
    "a host that is none": (["oci:x:1", ":a", "--plain-http", "http://x"], "that is not a host"),
    "a scheme both ways": (["oci:x:1", ":a", "--plain-http", "x.io", "--tls", "x.io"], "are both given for x.io"),
    # What Typer finds.
    "no images": (["oci:x:1"], "missing argument 'IMAGE...'"),
    "nothing at all": ([], "missing argument 'TARGET'"),
    "an option that is none": (
        ["oci:x:1", ":a", "--requires", "x"],
        "no such option: --requires\n  hint: Did you mean --quiet, --require, --retries?",
    ),
    "an option without its value": (["oci:x:1", ":a", "--require"], "--require"),
    "a format that is none": (["oci:x:1", ":a", "--format", "rkt"], "'rkt' is not one of"),
    "no retries": (["oci:x:1", ":a", "--retries", "0"], "0 is not in the range 1<=x<=100"),
    "a number that is none": (["oci:x:1", ":a", "--concurrency", "many"], "'many' is not a whole number"),
}


@pytest.mark.parametrize(("arguments", "said"), TYPED.values(), ids=TYPED)
def test_what_a_user_types(arguments: list[str], said: str) -> None:
    check_failed(run("create", *arguments), 2, said)


def test_a_variable_of_a_proxy_that_cannot_be_used() -> None:
    ran = run("create", "registry.example.com/web:1", ":a", environ={"HTTPS_PROXY": "nonsense://[::1"})
    check_failed(ran, 2, "HTTPS_PROXY")


@pytest.fixture
def target(registry: FakeRegistry) -> str:
    """Return a reference in a repository with the image amd64."""
    registry.put_image("web", "amd64")
    return registry.reference("web", "1")


def create(target: str, *arguments: str) -> Ran:
    return run("create", target, ":amd64", *arguments, "--retries", "1")


SENT: dict[str, tuple[Any, int, str]] = {
    "HTML of a proxy": (proxy_page(), 1, "[document-invalid]"),
    "HTML with 403": (proxy_page(403), 4, "an HTML page rather than a registry's answer"),
    "HTML with 502": (proxy_page(502), 5, "an HTML page rather than a registry's answer"),
    "a hostile message": (hostile_error(403), 4, "DENIED"),
    "a server that fails": (status(500, b"oops"), 5, "500"),
    "too many requests": (error(429, "TOOMANYREQUESTS", "slow down"), 5, "429"),
    "a wait past the deadline": (status(503, retry_after=9999), 5, "503"),
    "an empty body": (status(200, b"", content_type=OCI_MANIFEST), 1, "error: "),
    "half a body": (truncated(), 5, "error: "),
    "a connection that breaks": (reset(), 5, "broke"),
    "a connection that is closed": (close(), 5, "broke"),
    "a body without end": (huge(mebibytes=8), 1, "larger than"),
    "a packed body": (gzip_bomb(), 5, "packed as 'gzip'"),
    "a text that is no JSON": (status(200, b"{", content_type=OCI_MANIFEST), 1, "JSON"),
    "not UTF-8": (status(200, b'{"a":"\xff"}', content_type=OCI_MANIFEST), 1, "UTF-8"),
    "two equal keys": (status(200, b'{"a":1,"a":1}', content_type=OCI_MANIFEST), 1, "'a'"),
    "two keys that differ by case": (status(200, b'{"digest":1,"DIGEST":1}', content_type=OCI_MANIFEST), 1, "DIGEST"),
    "a number without end": (status(200, b'{"a":' + b"9" * 5000 + b"}", content_type=OCI_MANIFEST), 1, "digits"),
    "not a number": (status(200, b'{"a":NaN}', content_type=OCI_MANIFEST), 1, "NaN"),
    "deep nesting": (status(200, b"[" * 100_000, content_type=OCI_MANIFEST), 1, "nested"),
    "both kinds at once": (
        status(200, b'{"schemaVersion":2,"manifests":[],"layers":[]}', content_type=OCI_INDEX),
        1,
        "error: ",
    ),
    "a wrong Content-Type": (content_type(OCI_INDEX), 1, "error: "),
    "a redirect to nowhere": (redirect("http://127.0.0.1:1"), 5, "error: "),
    "redirects without end": (redirect(lambda request: request.path), 5, "redirect"),
    "a redirect into a network": (redirect("http://10.0.0.1"), 4, "private network"),
    "a redirect to a file": (redirect(lambda _: "file:///etc/passwd"), 5, "'file:///etc/passwd', which is not a URL"),
    "401 without a challenge": (unauthorized(None), 4, "401"),
    "401 with a strange challenge": (unauthorized("Digest realm=x"), 4, "401"),
    "a realm on another scheme": (unauthorized('Bearer realm="ftp://x/",service="s"'), 4, "error: "),
}


@pytest.mark.parametrize(("action", "code", "said"), SENT.values(), ids=SENT)
def test_what_a_registry_sends(registry: FakeRegistry, target: str, action: Any, code: int, said: str) -> None:
    registry.faults.add(action, path="/manifests/amd64", times=FOREVER)
    check_failed(create(target), code, said, ":amd64")
    assert registry.manifest_puts == []


CONFIGS: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"hello", "[config-unreadable]"),
    "a list": (b"[]", "[config-unreadable]"),
    "equal keys": (b'{"os":"linux","OS":"windows","architecture":"amd64"}', "OS"),
    "no platform": (b'{"rootfs":{"type":"layers","diff_ids":[]}}', "[platform-missing]"),
    "a platform of numbers": (b'{"os":1,"architecture":[]}', "[config-unreadable]"),
}


@pytest.mark.parametrize(("config", "said"), CONFIGS.values(), ids=CONFIGS)
def test_configs(registry: FakeRegistry, config: bytes, said: str) -> None:
    registry.put("web", "amd64", images.image(None, config=config))
    check_failed(create(registry.reference("web", "1")), 1, said)


def test_a_config_that_is_not_what_its_digest_says(registry: FakeRegistry, target: str) -> None:
    registry.faults.add(wrong_bytes(), path="/blobs/", times=FOREVER)
    check_failed(create(target), 6, "[image-integrity]")


def test_a_manifest_that_is_not_what_its_digest_says(registry: FakeRegistry, target: str) -> None:
    digest = registry.tag("web", "amd64")
    registry.faults.add(wrong_bytes(), path=f"/manifests/{digest}", times=FOREVER)
    check_failed(run("create", target, f"@{digest}", "--retries", "1"), 6, "[image-integrity]")


def test_an_image_that_is_none(registry: FakeRegistry) -> None:
    artifact = images.image("linux/amd64", manifest={"config": images.descriptor(b"{}", "application/x.wasm.v1+json")})
    registry.put("web", "amd64", artifact)
    check_failed(create(registry.reference("web", "1")), 1, "[not-an-image]")


def test_an_image_of_another_repository(registry: FakeRegistry, target: str) -> None:
    registry.put_image("other", "amd64")
    ran = run("create", target, registry.reference("other", "amd64"))
    check_failed(ran, 1, "[other-repository]", registry.reference("other", "amd64"))


def test_a_host_that_nobody_answers_for() -> None:
    check_failed(create("127.0.0.1:1/web:1"), 5, "no connection to 127.0.0.1:1", "[image-unreachable]")


def test_plain_http_where_tls_is_spoken(registry: FakeRegistry, target: str) -> None:
    ran = create(target, "--tls", registry.host)
    check_failed(ran, 5, f"--plain-http {registry.host}")


@pytest.mark.parametrize(
    "auth", [BasicAuth(), BearerAuth(users={"user": "right"}, anonymous=None)], ids=["basic", "bearer"]
)
@pytest.mark.parametrize("known", [True, False])
def test_wrong_and_absent_passwords(tmp_path: Path, auth: Any, known: bool) -> None:
    authfile = tmp_path / "auth.json"
    with FakeRegistry(auth=auth) as registry:
        registry.put_image("web", "amd64")
        auths = {registry.host: {"auth": "dXNlcjp3cm9uZy1wYXNzd29yZA=="}} if known else {}
        authfile.write_text(json.dumps({"auths": auths}))
        ran = create(registry.reference("web", "1"), "--authfile", str(authfile), "-v")
    lines = [line for line in ran.err.splitlines() if not line.startswith("http: ")]
    check_failed(
        Ran(ran.status, ran.out, "\n".join(lines)), 4, "[image-denied]", str(authfile) if known else "credentials"
    )
    for secret in ("wrong-password", "dXNlcjp3cm9uZy1wYXNzd29yZA==", *auth.secrets):
        assert secret not in ran.err


def test_401_for_ever(registry: FakeRegistry, target: str) -> None:
    challenge = f'Bearer realm="{registry.url}/token",service="s"'
    registry.faults.add(unauthorized(challenge), times=FOREVER, before_auth=True)
    check_failed(create(target), 4)
    assert len(registry.requests) < 40


@pytest.mark.parametrize("content", [b"not json", b'{"auths": []}', b'{"auths": {"127.0.0.1": {"auth": "%%%"}}}'])
def test_a_credentials_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "auth.json").write_bytes(content)
    with FakeRegistry(auth=BasicAuth()) as registry:
        registry.put_image("web", "amd64")
        ran = create(registry.reference("web", "1"), "--authfile", str(tmp_path / "auth.json"))
    assert ran.status in (2, 4)
    assert "auth.json" in ran.err or "credentials" in ran.err
    assert "Traceback" not in ran.err
    assert "nothing was published" in ran.err


LAYOUTS: dict[str, tuple[dict[str, bytes | None], int, str]] = {
    "no layout": ({"oci-layout": None}, 3, "it has no file oci-layout"),
    "no index": ({"index.json": None}, 1, "index.json"),
    "an index that is none": ({"index.json": b"[]"}, 1, "index.json"),
    "an index that is not JSON": ({"index.json": b"{"}, 1, "index.json"),
}


@pytest.mark.parametrize(("files", "code", "said"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path: Path, files: dict[str, bytes | None], code: int, said: str) -> None:
    layout = tmp_path / "layout"
    images.write_layout(layout, {"amd64": images.image("linux/amd64")})
    for name, content in files.items():
        (layout / name).unlink()
        if content is not None:
            (layout / name).write_bytes(content)
    ran = create(f"oci:{layout}:1")
    assert ran.status == code, ran
    assert said in ran.err
    assert "nothing was published" in ran.err
    assert "Traceback" not in ran.err


def test_a_layout_whose_image_was_changed(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    image = images.image("linux/amd64")
    images.write_layout(layout, {"amd64": image})
    (layout / "blobs" / "sha256" / image.config_digest.partition(":")[2]).write_bytes(b"{}")
    check_failed(create(f"oci:{layout}:1"), 6, "[image-integrity]")


def test_a_config_that_is_absent(registry: FakeRegistry) -> None:
    registry.put("web", "amd64", images.image("linux/amd64"), blobs=False)
    check_failed(create(registry.reference("web", "1")), 1, "[config-missing]")


def test_everything_at_once_is_said_at_once(registry: FakeRegistry) -> None:
    registry.put_image("web", "amd64")
    registry.put_image("web", "again", seed="other")
    registry.put("web", "odd", images.image(None, config=b"{}"))
    registry.put_raw_manifest("web", "broken", b"{", OCI_MANIFEST)
    registry.put_raw_manifest("web", "config", b'{"config":null}', OCI_CONFIG)
    target = registry.reference("web", "1")
    ran = run("create", target, ":amd64", ":again", ":odd", ":broken", ":config", ":gone", "--require", "linux/s390x")
    check_failed(ran, 1)
    rules = {"platform-duplicate", "platform-missing", "document-invalid", "image-missing", "platform-required"}
    found = {line.rpartition("[")[2].rstrip("]") for line in ran.err.splitlines() if line.startswith("error: ")}
    assert found >= rules, found
    for image in (":again", ":odd", ":broken", ":gone"):
        assert image in ran.err
