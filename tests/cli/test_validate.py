"""`manifestctl validate`: files, stdin, layouts, references, and all their findings in one run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.support import archives, images
from tests.support.actions import error
from tests.support.faults import FOREVER
from tests.support.running import run

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.compression import Format
    from tests.support.fake_registry import FakeRegistry

GOOD = b'{"imageLayoutVersion":"1.0.0"}'
BAD = b'{"imageLayoutVersion":"2.0.0"}'


def test_a_file(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_bytes(GOOD)
    ran = run("validate", good)
    assert (ran.status, ran.text, ran.err) == (0, f"{good}: oci-layout: valid\n", "")


def test_findings_have_a_pointer_a_reason_and_a_rule(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(BAD)
    ran = run("validate", bad)
    assert ran.status == 1
    first, second = ran.text.splitlines()[:2]
    assert first == f"{bad}: oci-layout: 1 error"
    assert second.startswith("  error: /imageLayoutVersion: ")
    assert second.endswith(" [schema-const]")


def test_stdin() -> None:
    assert run("validate", "-", stdin=GOOD).text == "stdin: oci-layout: valid\n"
    assert run("validate", "-", stdin=b"").status == 1


def test_warnings_do_not_fail(fixtures: Path) -> None:
    path = fixtures / "documents" / "good" / "oci-index.alias-platforms.json"
    ran = run("validate", path)
    assert ran.status == 0
    assert "valid with" in ran.text
    assert "  warning: /manifests/" in ran.text
    assert "    hint: " in ran.text
    denied = run("validate", path, "--deny", "architecture-unknown")
    assert denied.status == 1
    assert "  error: /manifests/" in denied.text


def test_allow_lets_an_error_pass(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(BAD)
    ran = run("validate", bad, "--allow", "schema-const")
    assert ran.status == 0
    assert "valid with 1 warning" in ran.text


def test_several_files_are_all_judged_even_if_one_cannot_be_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(GOOD)
    bad.write_bytes(BAD)
    ran = run("validate", bad, tmp_path / "absent.json", good)
    # What could not be checked outranks what was found.
    assert ran.status == 2
    assert f"{bad}: oci-layout: 1 error" in ran.text
    assert f"{good}: oci-layout: valid" in ran.text
    first, second = ran.err.splitlines()
    assert first == f"error: cannot read the document {tmp_path / 'absent.json'}: No such file or directory"
    assert (
        second
        == "  hint: Name a file that exists, or a reference with its registry, e.g. registry.example.com/web:1.4."
    )
    document = run("validate", bad, tmp_path / "absent.json", good, "--output", "json").document
    assert [item["ok"] for item in document["documents"]] == [False, True]
    assert "absent.json" in document["error"]["message"]


def test_output_json(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(GOOD)
    bad.write_bytes(BAD)
    ran = run("validate", good, bad, "--output", "json")
    document = ran.document
    assert ran.status == document["exit_code"] == 1
    assert [(item["name"], item["kind"], item["ok"]) for item in document["documents"]] == [
        (str(good), "oci-layout", True),
        (str(bad), "oci-layout", False),
    ]
    (finding,) = document["findings"]
    assert (finding["image"], finding["where"]) == (str(bad), "/imageLayoutVersion")


def test_output_digest_leaves_the_findings_on_stderr(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(BAD)
    ran = run("validate", bad, "--output", "digest")
    assert (ran.status, ran.out) == (1, b"")
    assert "[schema-const]" in ran.err


def test_the_kind_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(b"{}")
    assert run("validate", path).status == 1
    assert "kind-unknown" in run("validate", path).text
    assert f"{path}: oci-index: 2 errors" in run("validate", path, "--as", "oci-index").text
    ran = run("validate", path, "--as", "oci-indx")
    assert ran.status == 2
    assert "'oci-indx' is not a kind of document" in ran.err
    assert "oci-index" in ran.err


def test_results_are_no_kind_of_document(tmp_path: Path) -> None:
    assert run("validate", tmp_path / "x", "--as", "create-result").status == 2


@pytest.mark.parametrize("prefix", ["", "oci:"])
def test_a_layout(tmp_path: Path, prefix: str) -> None:
    built = images.buildx_index([images.image("linux/amd64"), images.image("linux/arm64")])
    images.write_layout(tmp_path / "layout", {"1": built})
    ran = run("validate", f"{prefix}{tmp_path / 'layout'}")
    assert ran.status == 0
    kinds = [line.rsplit(": ", 2)[1] for line in ran.text.splitlines()]
    assert kinds[:3] == ["oci-layout", "oci-index", "oci-index"]
    assert kinds.count("oci-manifest") == 4
    assert kinds.count("oci-config") >= 2


def test_a_layout_of_another_version_is_told_once(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"1": images.image("linux/amd64"), "2": images.image("linux/arm64")})
    (tmp_path / "oci-layout").write_bytes(BAD)
    ran = run("validate", tmp_path)
    assert ran.status == 1
    assert ran.text.count("  error: ") == 1
    assert '  error: /imageLayoutVersion: imageLayoutVersion is "2.0.0", but must be "1.0.0"' in ran.text
    assert ran.text.splitlines()[-1].endswith(": oci-index: valid")
    ran = run("validate", f"oci:{tmp_path}:1")
    assert (ran.status, ran.text) == (1, "")
    assert "the layout is of version '2.0.0'" in ran.err


@pytest.mark.parametrize(
    ("scheme", "name", "kinds"),
    [
        ("oci-archive", "", ["oci-index", "oci-manifest", "oci-config"]),
        ("oci-archive", ":1", ["oci-index", "oci-manifest", "oci-config"]),
        ("oci-archive", ":2", ["oci-manifest", "oci-config"]),
        ("docker-archive", "", ["docker-manifest", "oci-config"]),
    ],
)
def test_an_image_in_an_archive(tmp_path: Path, scheme: str, name: str, kinds: list[str]) -> None:
    image = images.image("linux/amd64", docker=scheme == "docker-archive")
    contents: dict[str, images.Content] = {"1": images.index([image])}
    if name:
        contents["2"] = image
    members = archives.oci_archive(contents) if scheme == "oci-archive" else archives.legacy_save(archives.saved(image))
    path = archives.write_archive(tmp_path / "image.tar", members)
    ran = run("validate", f"{scheme}:{path}{name}")
    assert ran.status == 0, ran.err
    assert [line.rsplit(": ", 2)[1] for line in ran.text.splitlines()] == kinds
    assert ran.text.startswith(f"{scheme}:{path}@sha256:")


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
def test_an_archive_that_is_taken_for_a_document(tmp_path: Path, kind: Format) -> None:
    members = archives.legacy_save(archives.saved(images.image()))
    path = archives.write_archive(tmp_path / "image.tar", members, kind)
    ran = run("validate", path)
    assert ran.status == 1
    hint = f"To validate an archive, write docker-archive:{path} or oci-archive:{path}."
    assert ran.text.splitlines()[2:] == [f"    hint: {hint}"]
    assert "docker-archive:FILE or oci-archive:FILE." in run("validate", "-", stdin=path.read_bytes()).text
    # Most are so large that they are not read to their end.
    with path.open("ab") as file:
        file.truncate(65 << 20)
    ran = run("validate", path)
    assert (ran.status, ran.text) == (2, "")
    assert ran.err.splitlines()[1] == f"  hint: {hint}"


@pytest.mark.parametrize("data", [b"\xff{}", b"{", b'{"a":1,"a":1}', b"[" + b"," * 1_000_001])
def test_what_cannot_be_decoded_has_a_next_step(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(data)
    ran = run("validate", path)
    assert ran.status == 1
    assert re.fullmatch(r"    hint: [A-Z].{10,}\.", ran.text.splitlines()[2])


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    ran = run("validate", f"oci-archive:{tmp_path / 'nowhere.tar'}")
    assert (ran.status, ran.text) == (3, "")
    assert f"oci-archive:{tmp_path / 'nowhere.tar'} does not exist" in ran.err


def test_an_archive_of_several_images_needs_a_name(tmp_path: Path) -> None:
    contents = {name: images.image("linux/amd64", seed=name) for name in ("1", "2")}
    path = archives.write_archive(tmp_path / "two.tar", archives.oci_archive(contents))
    ran = run("validate", f"oci-archive:{path}")
    assert (ran.status, ran.text) == (2, "")
    assert "1, 2" in ran.err


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("how", ["{}", "oci:{}"])
def test_a_layout_with_a_link_out_of_it(tmp_path: Path, name: str, how: str) -> None:
    images.write_layout(tmp_path / "layout", {"1": images.image()})
    path = tmp_path / "layout" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to("../elsewhere")
    ran = run("validate", how.format(tmp_path / "layout"))
    # It is refused as all commands refuse it.
    assert ran.status == run("tags", f"oci:{tmp_path / 'layout'}").status != 0
    assert f"{name}: it is a link that leads out of the layout" in ran.err
    assert "hint: " in ran.err
    # One that stays inside is no fault.
    path.unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "layout" / "kept")
    path.symlink_to("kept")
    assert run("validate", how.format(tmp_path / "layout")).status == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("validate --as oci-", ["oci-index", "oci-manifest", "oci-descriptor", "oci-config", "oci-layout"]),
        ("schema create", ["create-result"]),
        ("schema docker-manifest-", ["docker-manifest-list"]),
        ("check --allow platform-d", ["platform-duplicate"]),
        ("tags --deny json-too", ["json-too-deep", "json-too-large", "json-too-many-values"]),
    ],
)
def test_words_that_a_shell_completes(words: str, found: list[str]) -> None:
    line = f"manifestctl {words}"
    variables = {"_MANIFESTCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    ran = run(environ=variables)
    assert (ran.status, ran.text.split()) == (0, found)


def test_a_directory_that_is_no_layout(tmp_path: Path) -> None:
    ran = run("validate", tmp_path)
    assert ran.status == 2
    assert "is not an OCI layout: it has no file oci-layout" in ran.err


def test_a_reference(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put("web", "1", images.index([image]))
    ran = run("validate", registry.reference("web", "1"))
    assert ran.status == 0
    kinds = [line.rsplit(": ", 2)[1] for line in ran.text.splitlines()]
    assert kinds == ["oci-index", "oci-manifest", "oci-config"]
    assert ran.text.splitlines()[1].startswith(f"{registry.reference('web')}@{image.digest}: ")


def test_several_references_share_their_connections_and_counts(registry: FakeRegistry) -> None:
    for tag in ("1", "2"):
        registry.put_image("web", tag, seed=tag)
    ran = run("validate", *(registry.reference("web", tag) for tag in ("1", "2")), "--output", "json")
    assert ran.document["requests"]["sent"] == len(registry.requests) == 4


def test_references_that_cannot_be_read_leave_the_others_judged(registry: FakeRegistry) -> None:
    registry.put_image("web", "1")
    registry.faults.add(error(403, "DENIED", "no"), path="/manifests/2", times=FOREVER)
    ran = run("validate", *(registry.reference("web", tag) for tag in ("gone", "2", "1")))
    # Denied outranks not found.
    assert ran.status == 4
    assert ran.text.count(": valid\n") == 2
    assert ran.err.count("error: ") == 2


def test_a_reference_without_a_tag(registry: FakeRegistry) -> None:
    registry.put_image("web", "latest")
    ran = run("validate", registry.reference("web"))
    assert ran.status == 0
    assert f"no tag given: using {registry.reference('web')}:latest" in ran.err


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("{directory}", "a layout"),
        ("oci:{directory}:1", "a layout"),
        ("oci-archive:x.tar", "an archive"),
        ("docker-daemon:web", "an image in an engine"),
        ("{host}/web:1", "a reference"),
    ],
)
def test_as_is_for_files(registry: FakeRegistry, tmp_path: Path, name: str, what: str) -> None:
    images.write_layout(tmp_path / "layout", {})
    ran = run("validate", name.format(directory=tmp_path / "layout", host=registry.host), "--as", "oci-index")
    assert ran.status == 2
    assert f"--as is for files, and this is {what}\n" in ran.err
    assert registry.requests == []


@pytest.mark.parametrize("name", ["list", "a/b", "./registry.example.com/x", "/registry.example.com/x"])
def test_words_that_could_be_short_references_are_files(name: str) -> None:
    ran = run("validate", name)
    assert ran.status == 2
    assert "cannot read the document" in ran.err


def test_a_file_name_cannot_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a\n::error::b\x1b[2J"
    path.write_bytes(GOOD)
    ran = run("validate", path)
    assert (ran.status, ran.text.count("\n")) == (0, 1)
    assert "\x1b" not in ran.text


def test_results_are_valid_documents_of_their_own(tmp_path: Path) -> None:
    ran = run("validate", tmp_path / "absent", "--output", "json")
    assert ran.document["documents"] == []
    assert json.loads(ran.out)["ok"] is False
