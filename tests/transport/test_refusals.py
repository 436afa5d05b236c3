"""What a registry refuses for good is not told as what may pass: each has the exit code and the next step it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.stores.base import Blob, Content, OnlyIf
from manifestctl.transport.failures import failure
from tests.support import images
from tests.support.actions import PROXY_PAGE, error, status
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.known_errors import DISALLOWED, DOCKERS, OCI, SEVERITY, UPPER_LIMIT, response
from tests.support.reach import reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.faults import Action

HOST = "registry.example"
LARGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"

MANIFEST: Mapping[str, Any] = {}
CONDITIONAL: Mapping[str, Any] = {"sends": {"If-None-Match": "*"}}
BLOB: Mapping[str, Any] = {"path": "blobs/uploads/1?digest=x"}
STREAM: Mapping[str, Any] = {"path": "blobs/uploads/1", "method": "PATCH", "length": None}
CLOSING: Mapping[str, Any] = {"path": "blobs/uploads/1?digest=x", "length": 0}
START: Mapping[str, Any] = {"path": "blobs/uploads/", "method": "POST"}
GET: Mapping[str, Any] = {"method": "GET"}


def error_of(code: int, *said: str, **asked: Any) -> ManifestctlError:
    answered = response(code, *said, **({"registry": HOST} | asked))
    assert answered.request is not None
    return failure(answered, "writing r/web:1", writing=answered.request.writes)


@pytest.mark.parametrize(
    ("code", "said", "asked", "kind", "hint"),
    [
        # 412: a condition, a rule, or a quota.
        (412, ("PRECONDITION_FAILED", "no"), CONDITIONAL, ConflictError, "Somebody else wrote the tag in between"),
        (412, ("PRECONDITION_FAILED", "no"), {"sends": {"if-match": '"x"'}}, ConflictError, "Somebody else wrote"),
        (412, ("PRECONDITION_FAILED", "no"), MANIFEST, DeniedError, "A rule of the registry forbids this"),
        (
            412,
            ("PRECONDITION_FAILED", "no"),
            {**CONDITIONAL, **BLOB},
            DeniedError,
            "A rule of the registry forbids this",
        ),
        (412, ("PRECONDITION", UPPER_LIMIT), MANIFEST, DeniedError, "A quota or limit of the registry is reached"),
        (412, ("PRECONDITION", UPPER_LIMIT), CONDITIONAL, DeniedError, "A quota or limit of the registry is reached"),
        (412, ("PRECONDITION", UPPER_LIMIT), BLOB, DeniedError, "A quota or limit of the registry is reached"),
        (412, ("PRECONDITION", "'web:1' configured as immutable."), MANIFEST, ConflictError, "The tag is immutable"),
        (412, ("PROJECTPOLICYVIOLATION", SEVERITY), GET, DeniedError, "A rule of the registry forbids this"),
        # What stands in the way.
        (409, ("CONFLICT", "no"), MANIFEST, ConflictError, "unlock it, publish under a new tag, or run this again"),
        (423, ("LOCKED", "no"), MANIFEST, ConflictError, "The tag is locked, or somebody else is writing it"),
        (409, ("CONFLICT", "another upload is under way"), BLOB, UnreachableError, "see its answer"),
        (409, ("CONFLICT", "no"), GET, UnreachableError, "see its answer"),
        # Locked, or read-only.
        (405, ("REGISTRY_DISALLOWED_OPERATION", DISALLOWED), MANIFEST, DeniedError, "is locked (unlock it, or publish"),
        (
            405,
            ("UNSUPPORTED", "no"),
            START,
            DeniedError,
            "the registry itself is read-only, a mirror or a pull-through",
        ),
        (405, ("UNSUPPORTED", "no"), BLOB, UnreachableError, "see its answer"),
        # What the registry calls invalid.
        (400, ("MANIFEST_INVALID", "manifest invalid"), MANIFEST, DocumentError, "'manifestctl validate' checks"),
        (422, ("manifest_unverified", "no"), MANIFEST, DocumentError, "calls this document invalid"),
        (400, ("MANIFEST_INVALID", "manifest invalid"), GET, UnreachableError, "see its answer"),
        (500, ("MANIFEST_INVALID", "manifest invalid"), MANIFEST, UnreachableError, "running again later is safe"),
        (415, ("MANIFEST_INVALID", "no"), {"sends": {"Content-Type": DOCKERS}}, DocumentError, "(--format oci)"),
        (415, ("MANIFEST_INVALID", "no"), {"sends": {"content-type": OCI}}, DocumentError, "try --format docker"),
        (415, ("UNSUPPORTED", "no"), {"sends": {"Content-Type": DOCKERS}}, DocumentError, "(--format oci)"),
        (415, ("UNSUPPORTED", "no"), STREAM, UnreachableError, "see its answer"),
        # What else it says of a manifest with a code of its own, and what says nothing.
        (400, ("TAG_INVALID", "no"), MANIFEST, DeniedError, "does not take this manifest: its words say why"),
        (400, ("UNSUPPORTED", "no"), MANIFEST, DeniedError, "does not take this manifest: its words say why"),
        (400, ("UNSUPPORTED", "no"), STREAM, UnreachableError, "see its answer"),
        (400, ("UNKNOWN", "unknown error"), MANIFEST, UnreachableError, "see its answer"),
        (400, ("DIGEST_INVALID", "no"), MANIFEST, UnreachableError, "see its answer"),
        (400, ("", ""), MANIFEST, UnreachableError, "see its answer"),
        # Others go before.
        (409, ("DENIED", "no"), MANIFEST, ConflictError, "The tag is locked"),
        (400, ("DENIED", "no"), MANIFEST, DeniedError, "lack this permission"),
        (404, ("MANIFEST_UNKNOWN", "no"), MANIFEST, NotFoundError, ""),
        (400, ("MANIFEST_BLOB_UNKNOWN", "no"), MANIFEST, MissingContentError, "push that first"),
        (429, ("TOOMANYREQUESTS", "no"), MANIFEST, UnreachableError, "wait a little"),
    ],
)
def test_each_refusal_has_its_kind_and_its_next_step(
    code: int, said: tuple[str, str], asked: Mapping[str, Any], kind: type[ManifestctlError], hint: str
) -> None:
    problem = error_of(code, *said, **asked)
    assert type(problem) is kind
    assert hint in problem.hint
    assert said[1] in problem.message


@pytest.mark.parametrize("code", [400, 409, 412, 415, 423])
@pytest.mark.parametrize("asked", [MANIFEST, CONDITIONAL, BLOB], ids=["manifest", "conditional", "blob"])
def test_a_web_servers_page_is_no_word_of_the_registry(code: int, asked: Mapping[str, Any]) -> None:
    problem = error_of(code, **({"body": PROXY_PAGE} | dict(asked)))
    assert isinstance(problem, UnreachableError)
    assert "A proxy or another web server answered" in problem.hint


@pytest.mark.parametrize(
    ("asked", "kind", "hint"),
    [
        (
            BLOB,
            DeniedError,
            "Nothing as large as this (976.6 KiB) is accepted in one request: raise the limit of the pro",
        ),
        (
            MANIFEST,
            DeniedError,
            "No manifest as large as this (976.6 KiB) is accepted: put fewer images or annotations",
        ),
        # What may yet be taken in another way is no refusal for good.
        (STREAM, UnreachableError, "Nothing so large is accepted in one request"),
        (CLOSING, UnreachableError, "Nothing so large is accepted in one request"),
    ],
    ids=["blob", "manifest", "stream", "closing"],
)
@pytest.mark.parametrize(
    "answered",
    [
        {"code": 413, "body": LARGE},
        {"code": 413, "body": b""},
        {"code": 413, "said": ("MANIFEST_INVALID", "too large")},
        {"code": 400, "said": ("MANIFEST_INVALID", "manifest invalid"), "detail": "http: request body too large"},
    ],
    ids=["page", "empty", "code", "detail"],
)
def test_what_is_too_large_names_the_limit_of_a_proxy(
    answered: dict[str, Any], asked: Mapping[str, Any], kind: type[ManifestctlError], hint: str
) -> None:
    answered = dict(answered)
    problem = error_of(answered.pop("code"), *answered.pop("said", ()), **(answered | dict(asked)))
    assert type(problem) is kind
    assert problem.hint.startswith(hint)
    assert "client_max_body_size" in problem.hint
    assert not getattr(problem, "transient", False)


@pytest.mark.parametrize(
    "text",
    [
        UPPER_LIMIT,
        "Quota exceeded when processing the request of adding 1.3 MiB",
        "the storage limit has been reached",
        "registry contains 1 repositories, limit is 1",
    ],
)
@pytest.mark.parametrize("code", [400, 403, 412, 413, 507])
def test_a_quota_is_one_by_whatever_status_it_is_told(text: str, code: int) -> None:
    problem = error_of(code, "DENIED", text, **BLOB)
    assert isinstance(problem, DeniedError)
    assert "A quota or limit of the registry is reached" in problem.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("permission_denied: write_package", "'permissions: packages: write'"),
        ("permission_denied: create_package", "'permissions: packages: write'"),
        ("installation not allowed to Write organization package", "'permissions: packages: write'"),
        (
            'denied on resource "projects/p" (or it may not exist)',
            "the repository may not exist, its name may be missp",
        ),
    ],
)
@pytest.mark.parametrize("by_token", [False, True])
def test_who_lacks_a_right_is_not_sent_to_log_in_again(text: str, hint: str, by_token: bool) -> None:
    problem = error_of(403, "DENIED", text, by_token=by_token)
    assert isinstance(problem, DeniedError)
    assert hint in problem.hint
    assert "log in" not in problem.hint.lower()


# On sockets.

IMAGE = images.image(docker=True)
CONTENT = Content.of(IMAGE.manifest, IMAGE.media_type)
LAYER = Blob.of(b"a layer" * 1000, "application/octet-stream")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


@pytest.mark.parametrize(
    ("action", "kind", "hint"),
    [
        (
            error(415, "MANIFEST_INVALID", "manifest invalid", detail={"mediaType": DOCKERS}),
            DocumentError,
            "format oci",
        ),
        (error(400, "MANIFEST_INVALID", "invalid", detail="request body too large"), DeniedError, "put fewer images"),
        (status(413, LARGE, content_type="text/html"), DeniedError, "client_max_body_size"),
        (error(412, "PRECONDITION", UPPER_LIMIT), DeniedError, "A quota or limit"),
        (error(409, "CONFLICT", "locked"), ConflictError, "unlock it"),
    ],
)
def test_a_manifest_that_is_refused(
    registry: FakeRegistry, action: Action, kind: type[ManifestctlError], hint: str
) -> None:
    registry.faults.add(action, method="PUT", times=FOREVER)
    with reach(registry) as reached, pytest.raises(kind) as raised:
        reached.store("team/web", write=True).write_manifest(CONTENT, "1")
    assert hint in raised.value.hint
    assert registry.count("PUT") == 1


@pytest.mark.parametrize(
    ("only_if", "kind"), [(OnlyIf(None), ConflictError), (OnlyIf(CONTENT.digest), ConflictError), (None, DeniedError)]
)
def test_a_precondition_is_ours_only_if_one_was_sent(
    registry: FakeRegistry, only_if: OnlyIf | None, kind: type[ManifestctlError]
) -> None:
    registry.faults.add(error(412, "PRECONDITION_FAILED", "no"), method="PUT", times=FOREVER)
    with reach(registry) as reached, pytest.raises(kind) as raised:
        reached.store("team/web", write=True).write_manifest(CONTENT, "1", only_if)
    assert ("Somebody else" in raised.value.hint) is (kind is ConflictError)


def test_a_layer_that_a_proxy_does_not_let_through(registry: FakeRegistry) -> None:
    registry.faults.add(status(413, LARGE, content_type="text/html"), method="PUT", path="/blobs/", times=FOREVER)
    with reach(registry) as reached, pytest.raises(DeniedError) as raised:
        reached.store("team/web", write=True).write_blob(LAYER)
    assert "as large as this (6.8 KiB)" in raised.value.hint
    assert "client_max_body_size" in raised.value.hint
    assert registry.count("PUT") == 1
