"""The main job on real parts: a real registry, images made by real tools, the command in a process of its own, and other
tools that read what it published."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX
from tests.support import images
from tests.support.images import digest_of
from tests.support.pushing import Client
from tests.support.real import require_real
from tests.support.real_registry import PASSWORD, USER, RealRegistry
from tests.support.running import Ran, run_process
from tests.support.token_server import TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates
    from tests.support.tools import Tools

ARCHITECTURES = ("amd64", "arm64")
CHILDREN = (":1-amd64", ":1-arm64")
REQUIRED = ("--require", "linux/amd64,linux/arm64", "--exact", "--check", "blobs")


def create(target: str, *arguments: str, **environ: str) -> Ran:
    ran = run_process("create", target, *arguments, environ=environ)
    assert ran.status == 0, ran.err
    return ran


def check_published(ran: Ran, reference: str, raw: str, media_type: str = OCI_INDEX) -> Any:
    """Fail unless a reader got the bytes whose digest the command printed; returns the list."""
    digest = digest_of(raw.encode())
    assert ran.text == f"{reference.rpartition(':')[0]}@{digest}\n"
    document = json.loads(raw)
    assert document["mediaType"] == media_type
    return document


def tags(registry: RealRegistry, authfile: Path, *options: str) -> Ran:
    return run_process("tags", f"{registry.host}/team/web", *options, "--authfile", str(authfile))


def platforms(document: Any) -> list[str]:
    return [entry["platform"]["architecture"] for entry in document["manifests"]]


def copied(tools: Tools, tmp_path: Path, reference: str, *options: str) -> str:
    """Copy a list with all its images into a layout, as a reader that checks every digest; returns the list's digest."""
    tools.skopeo_copy(f"docker://{reference}", f"oci:{tmp_path / 'copy'}:copy", "--all", *options)
    index = json.loads((tmp_path / "copy" / "index.json").read_bytes())
    digest: str = index["manifests"][0]["digest"]
    return digest


@pytest.fixture(scope="module")
def built(tools: Tools, real_registry: RealRegistry) -> dict[str, dict[str, str]]:
    """Build and push the images of both forms; returns their digests by repository and architecture."""
    return {
        form: {
            arch: tools.build_and_push(
                real_registry.reference(f"built/{form}", f"1-{arch}"), arch=arch, form=form, labels={"made": form}
            )
            for arch in ARCHITECTURES
        }
        for form in ("oci", "docker")
    }


@pytest.mark.parametrize(("form", "media_type"), [("oci", OCI_INDEX), ("docker", DOCKER_LIST)])
def test_images_made_by_buildah(
    tools: Tools, real_registry: RealRegistry, built: dict[str, Any], form: str, media_type: str
) -> None:
    reference = real_registry.reference(f"built/{form}", "1")
    ran = create(reference, *CHILDREN, *REQUIRED)
    document = check_published(ran, reference, tools.skopeo_raw(reference), media_type)
    assert [entry["digest"] for entry in document["manifests"]] == list(built[form].values())
    assert platforms(document) == list(ARCHITECTURES)
    # Podman reads the same; it adds nothing of its own to a list from a registry.
    assert platforms(tools.podman_manifest(reference)) == list(ARCHITECTURES)
    # A client takes the image of its platform.
    for arch, digest in built[form].items():
        chosen = tools.skopeo("--override-arch", arch, "inspect", "--tls-verify=false", f"docker://{reference}").stdout
        assert json.loads(chosen)["Architecture"] == arch
        narrowed = run_process("inspect", reference, "--platform", f"linux/{arch}", "--digest")
        assert narrowed.text == f"{digest}\n"


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_a_list_with_all_its_images_can_be_copied(
    tools: Tools, real_registry: RealRegistry, built: dict[str, Any], tmp_path: Path, form: str
) -> None:
    assert built[form]
    reference = real_registry.reference(f"built/{form}", "2")
    ran = create(reference, *CHILDREN)
    digest = copied(tools, tmp_path, reference)
    if form == "oci":
        # A layout is OCI's, so a Docker list is changed on the way; this one is not.
        assert ran.text.strip().endswith(f"@{digest}")
    again = run_process("inspect", f"oci:{tmp_path / 'copy'}:copy", "--output", "json").document
    assert [image["platform"] for image in again["images"]] == ["linux/amd64", "linux/arm64"]


def test_both_forms_in_one_list(tools: Tools, real_registry: RealRegistry, built: dict[str, Any]) -> None:
    assert built
    mixed = real_registry.reference("built/mixed", "1")
    for form, arch in (("oci", "amd64"), ("docker", "arm64")):
        source = f"docker://{real_registry.reference(f'built/{form}', f'1-{arch}')}"
        tools.skopeo_copy(source, f"docker://{real_registry.reference('built/mixed', f'1-{arch}')}")
    ran = create(mixed, *CHILDREN)
    document = check_published(ran, mixed, tools.skopeo_raw(mixed))
    assert len({entry["mediaType"] for entry in document["manifests"]}) == 2


def test_the_fixtures_images(tools: Tools, real_registry: RealRegistry, fixtures: Path, tmp_path: Path) -> None:
    layout = fixtures / "images" / "hello"
    for arch in ARCHITECTURES:
        target = f"docker://{real_registry.reference('hello', f'1.4-{arch}')}"
        tools.skopeo_copy(f"oci:{layout}:1.4-{arch}", target)
    reference = real_registry.reference("hello", "1.4")
    digest_file, report = tmp_path / "digest", tmp_path / "report.json"
    children = tuple(f":1.4-{arch}" for arch in ARCHITECTURES)
    files = ("--digest-file", str(digest_file), "--report", str(report))
    ran = create(reference, *children, *REQUIRED, "--tag", "latest", *files)
    check_published(ran, reference, tools.skopeo_raw(reference))
    digest = digest_file.read_text().strip()
    assert tools.skopeo_raw(real_registry.reference("hello", "latest")) == tools.skopeo_raw(reference)
    assert json.loads(report.read_bytes())["digest"] == digest == copied(tools, tmp_path, reference)
    # The list that a layout gets of the same images has the same bytes.
    (tmp_path / "layout").mkdir()
    for arch in ARCHITECTURES:
        tools.skopeo_copy(f"oci:{layout}:1.4-{arch}", f"oci:{tmp_path / 'layout'}:1.4-{arch}")
    local = create(f"oci:{tmp_path / 'layout'}:1.4", *children, "--output", "digest")
    assert local.text.strip() == digest


def test_an_index_as_buildx_makes_it(tools: Tools, real_registry: RealRegistry, tmp_path: Path) -> None:
    made = images.buildx_index([images.image(f"linux/{arch}", seed="buildx") for arch in ARCHITECTURES])
    with Client(real_registry.url) as client:
        client.push("buildx", "built", made)
    reference = real_registry.reference("buildx", "1")
    ran = create(reference, ":built", *REQUIRED, "--attestations", "require")
    document = check_published(ran, reference, tools.skopeo_raw(reference))
    assert [entry["digest"] for entry in document["manifests"]] == [child.digest for child in made.children]
    assert platforms(document) == ["amd64", "arm64", "unknown", "unknown"]
    assert ran.text.strip().endswith(copied(tools, tmp_path, reference))
    dropped = create(real_registry.reference("buildx", "2"), ":built", "--attestations", "drop")
    assert platforms(json.loads(tools.skopeo_raw(dropped.text.strip()))) == ["amd64", "arm64"]


def test_doing_it_again_writes_nothing(real_registry: RealRegistry) -> None:
    with Client(real_registry.url) as client:
        for arch in ARCHITECTURES:
            client.push("again", f"1-{arch}", images.image(f"linux/{arch}"))
    reference = real_registry.reference("again", "1")
    first = create(reference, *CHILDREN, "--output", "json").document
    again = create(reference, *CHILDREN, "--output", "json").document
    assert (first["status"], again["status"]) == ("created", "unchanged")
    assert first["digest"] == again["digest"]
    assert again["requests"]["bytes_out"] == 0


def test_what_is_absent_is_said_and_nothing_is_published(real_registry: RealRegistry) -> None:
    with Client(real_registry.url) as client:
        client.push("absent", "1-amd64", images.image("linux/amd64"))
    reference = real_registry.reference("absent", "1")
    ran = run_process("create", reference, *CHILDREN)
    assert ran.status == 1
    assert "[image-missing]" in ran.err
    assert run_process("inspect", reference).status == 3
    assert run_process("tags", real_registry.reference("absent", "").rstrip(":")).text.startswith("1-amd64  sha256:")
    assert run_process("tags", real_registry.reference("nothing", "").rstrip(":")).status == 3


@pytest.fixture
def locked(
    tmp_path: Path, certificates: Certificates, request: pytest.FixtureRequest
) -> Iterator[tuple[RealRegistry, Path]]:
    """Return a registry over TLS that asks for a password, or for tokens, and the credentials that it takes."""
    require_real("docker-registry")
    users = {USER: PASSWORD}
    with TokenServer(certificates, users) as server:
        kind = {"basic": {"basic": True}, "token": {"tokens": server}}[request.param]
        tls = {"certificates": certificates} if request.param == "basic" else {}
        with RealRegistry(tmp_path / "registry", **tls, **kind) as registry:  # type: ignore[arg-type]
            authfile = tmp_path / "auth.json"
            auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            authfile.write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
            yield registry, authfile


@pytest.mark.parametrize("locked", ["basic", "token"], indirect=True)
def test_a_registry_that_asks_who_is_there(
    tools: Tools, locked: tuple[RealRegistry, Path], certificates: Certificates
) -> None:
    registry, authfile = locked
    tls = registry.url.startswith("https")
    layout = registry.directory / "layout"
    images.write_layout(layout, {f"1-{arch}": images.image(f"linux/{arch}") for arch in ARCHITECTURES})
    for arch in ARCHITECTURES:
        target = f"docker://{registry.reference('team/web', f'1-{arch}')}"
        tools.skopeo_copy(f"oci:{layout}:1-{arch}", target, "--dest-authfile", str(authfile))
    reference = registry.reference("team/web", "1")
    options = ("--ca-file", str(certificates.authority)) if tls else ()
    ran = create(reference, *CHILDREN, *options, "--authfile", str(authfile))
    raw = tools.skopeo_raw(reference, "--authfile", str(authfile))
    check_published(ran, reference, raw)
    assert PASSWORD not in ran.err

    # Without credentials nothing new can be published there, though one of the two lets anybody read.
    refused = run_process("create", registry.reference("team/web", "2"), *CHILDREN, *options, "-v")
    assert refused.status == 4
    assert "nothing was published" in refused.err
    assert "2" not in [line.split()[0] for line in tags(registry, authfile, *options).text.splitlines()]
    if tls:
        unknown = run_process("create", reference, *CHILDREN, "--tls", registry.host, "--authfile", str(authfile))
        assert unknown.status == 5
        assert "--ca-file" in unknown.err
