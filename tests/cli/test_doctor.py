"""`manifestctl doctor`."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
import typer

from manifestctl.cli import doctor as cli
from manifestctl.cli.options import Common, with_defaults
from manifestctl.cli.session import Session
from manifestctl.verbs.doctor import Diagnosis, DoctorRequest
from manifestctl.verbs.doctor_checks import Check
from tests.support import images
from tests.support.actions import proxy_page, status
from tests.support.ecr_world import EcrWorld
from tests.support.faults import FOREVER
from tests.support.running import Ran, run, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

WEB = "public.ecr.aws/acme/web"


@pytest.fixture
def ecr(tmp_path: Path) -> Iterator[EcrWorld]:
    """Return AWS with the repository acme/web in ECR Public."""
    with EcrWorld(tmp_path) as world:
        world.aws.add_repository("web")
        yield world


def at(ecr: EcrWorld, *arguments: str, environ: dict[str, str] | None = None) -> Ran:
    ran = run("doctor", *arguments, "--ca-file", ecr.ca_file, environ=environ or ecr.environ)
    assert not [secret for secret in ecr.secrets if secret in ran.text + ran.err]
    return ran


def test_a_table(registry: FakeRegistry) -> None:
    ran = run("doctor", registry.reference("web", "1"))
    assert (ran.status, ran.err) == (0, "")
    lines = ran.text.splitlines()
    assert lines[0] == f"✔ proxy        none: {registry.host} is asked directly"
    assert lines[1] == "– dns          127.0.0.1 is an address already"  # noqa: RUF001 - it is a dash
    assert lines[-4] == (
        f"✔ repository   {registry.reference('web')} takes uploads: one was opened and cancelled (no credentials)"
    )
    assert lines[-3:-1] == [
        "✔ tag          1 is not there yet",
        "✔ layers       it can be asked which layers are there",
    ]
    assert lines[-1] == (
        f"{registry.reference('web', '1')}: 0 failures, 0 warnings; nothing that can be tried without writing stands in "
        "the way; not tried: sending a layer, writing a manifest"
    )


def test_an_address_of_ipv6_has_its_brackets() -> None:
    ran = run("doctor", "[::1]:1/web:1", "--retries", "1")
    assert ran.status == 5
    assert "– dns          [::1] is an address already\n" in ran.text  # noqa: RUF001 - it is a dash
    assert "\\x3a" not in ran.text


def test_a_tag_that_may_not_be_moved_is_in_the_verdict(ecr: EcrWorld) -> None:
    ecr.aws.add_private_repository("web", mutability="IMMUTABLE")
    ecr.private_registry.put_image("web", "1")
    ran = at(ecr, f"{ecr.private_host}/web:1")
    assert ran.status == 0
    assert ran.text.splitlines()[-1] == (
        f"{ecr.private_host}/web:1: 0 failures, 1 warning; nothing but what the tag holds already can be pushed there; "
        "not tried: UploadLayerPart, CompleteLayerUpload, PutImage"
    )
    assert (
        at(ecr, f"{ecr.private_host}/web:2")
        .text.splitlines()[-1]
        .endswith(
            "; nothing that can be tried without writing stands in the way; not tried: UploadLayerPart, "
            "CompleteLayerUpload, PutImage"
        )
    )


def test_the_next_step_stands_below(registry: FakeRegistry) -> None:
    registry.create_on_push = False
    ran = run("doctor", registry.reference("web", "1"))
    assert ran.status == 3
    lines = ran.text.splitlines()
    (at_failure,) = (number for number, line in enumerate(lines) if line.startswith("✘"))
    assert lines[at_failure].startswith("✘ repository   ")
    assert lines[at_failure + 1].startswith("               → Check its name; ")
    assert lines[-1].endswith(": 1 failure, 0 warnings; a push would be stopped")


def test_a_statement_ready_to_be_copied(ecr: EcrWorld) -> None:
    ecr.aws.deny("sts:GetServiceBearerToken")
    ran = at(ecr, f"{WEB}:1")
    assert ran.status == 4
    lines = ran.text.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.lstrip().startswith("{"))
    assert json.loads(lines[place]) == {"Effect": "Allow", "Action": "sts:GetServiceBearerToken", "Resource": "*"}
    assert lines[place - 1].endswith("add this statement to its IAM policy:")
    assert lines[place - 2].startswith("✘ get-service-bearer-token  AWS said AccessDeniedException")
    assert lines[place].index("{") == lines[place - 1].index("→")


def test_output_json(ecr: EcrWorld) -> None:
    ecr.aws.deny("ecr-public:GetAuthorizationToken")
    ran = at(ecr, f"{WEB}:1", "--output", "json")
    assert (ran.status, ran.err) == (4, "")
    document = ran.document
    assert (document["target"], document["exit_code"], document["ok"]) == (f"{WEB}:1", 4, False)
    assert (document["error"], document["findings"]) == (None, [])
    checks = {check["name"]: check for check in document["checks"]}
    assert checks["clock"] == {
        "name": "clock",
        "state": "ok",
        "seen": "matches the registry's",
        "next_step": "",
        "exit_code": 0,
    }
    denied = checks["get-authorization-token"]
    assert (denied["state"], denied["exit_code"]) == ("failed", 4)
    assert denied["statement"] == {"Effect": "Allow", "Action": "ecr-public:GetAuthorizationToken", "Resource": "*"}
    # The first answer of the registry; AWS's own are not counted there.
    assert document["requests"]["sent"] == len(ecr.public.requests) == 1


def test_output_json_of_a_success(registry: FakeRegistry) -> None:
    document = run("doctor", registry.reference("web", "1"), "--output", "json").document
    assert (document["ok"], document["exit_code"]) == (True, 0)
    assert [check["name"] for check in document["checks"]][:3] == ["proxy", "dns", "tcp"]
    assert document["requests"]["sent"] == 5
    assert document["untried"] == ["sending a layer", "writing a manifest"]


def test_output_digest_is_nothing(registry: FakeRegistry) -> None:
    ran = run("doctor", registry.reference("web", "1"), "--output", "digest")
    assert (ran.status, ran.out) == (0, b"")


def test_without_a_target(ecr: EcrWorld) -> None:
    ran = at(ecr)
    assert ran.status == 0
    assert ran.err == ""
    assert ran.text.splitlines()[-1] == (
        "public.ecr.aws: 0 failures, 0 warnings; nothing stands in the way so far; name a repository to try it"
    )


@pytest.mark.parametrize("name", ["localhost:{port}", "127.0.0.1:{port}"])
def test_a_registry_alone(registry: FakeRegistry, name: str) -> None:
    target = name.format(port=registry.port)
    ran = run("doctor", target, "--output", "json")
    assert ran.document["target"] == target
    assert ran.document["checks"][-1]["name"] == "login"
    assert registry.count("POST") == 0


@pytest.mark.parametrize(
    ("text", "registry", "target"),
    [
        ("registry.example.com", "registry.example.com", None),
        ("registry:5000", "registry", None),
        ("[::1]:5000", "[::1]", None),
        ("docker.io", "docker.io", None),
        ("web", "", "docker.io/library/web"),
        ("web:1.4", "", "docker.io/library/web:1.4"),
        ("localhost/web", "", "localhost/web"),
        ("registry.example.com/web", "", "registry.example.com/web"),
    ],
)
def test_what_is_taken_for_a_registry(text: str, registry: str, target: str | None) -> None:
    request = cli._request(Session("doctor", Common(quiet=True)), text)
    assert (str(request.target) if request.target else None) == target
    assert request.target is not None or request.registry.partition(":50")[0] == registry


def test_no_tag_means_latest_and_that_is_said(registry: FakeRegistry) -> None:
    ran = run("doctor", registry.reference("web"))
    assert ran.err == f"no tag given: using {registry.reference('web')}:latest\n"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("docker-archive:image.tar", "an archive cannot be used here"),
        ("docker-daemon:web:1", "an engine cannot be used here"),
        ("registry.example.com/Web:1", "must be lower-case"),
        ("public.ecr.aws/web:1", "there is no alias"),
    ],
)
def test_what_cannot_be_a_target(target: str, words: str) -> None:
    ran = run("doctor", target)
    assert (ran.status, ran.out) == (2, b"")
    assert words in ran.err
    assert "  hint: " in ran.err
    assert run("doctor", target, "--output", "json").document["exit_code"] == 2


def test_a_layout(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64")})
    ran = run("doctor", f"oci:{tmp_path}/layout")
    assert (ran.status, ran.err) == (0, "")
    assert ran.text.splitlines()[:2] == [
        f"✔ layout    {tmp_path}/layout is an OCI layout",
        "✔ writable  it can be written",
    ]
    assert ran.text.splitlines()[-1].endswith("; nothing that can be tried without writing stands in the way")


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {}, (2, "10s")),
        (("--timeout", "60s", "--retries", "5"), {}, (5, "60s")),
        ((), {"MANIFESTCTL_TIMEOUT": "1m", "MANIFESTCTL_RETRIES": "1"}, (1, "1m")),
        (("--retries", "3"), {"MANIFESTCTL_TIMEOUT": "1m"}, (3, "1m")),
    ],
)
def test_patience_is_short_unless_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environ: dict[str, str],
    expected: tuple[int, str],
) -> None:
    seen: list[Common] = []

    @with_defaults(retries=2, timeout="10s")
    def command(ctx: typer.Context, *, common: Common) -> None:
        del ctx
        seen.append(common)

    app = typer.Typer()
    app.command()(command)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    assert [(common.retries, common.timeout) for common in seen] == [expected]


def test_the_help_shows_how_patient_it_is() -> None:
    told = " ".join(run("doctor", "--help").text.split())
    assert "[default: 10s]" in told
    assert "[default: 2; 1<=x<=100]" in told
    assert "[default: 60s]" in run("tags", "--help").text


def test_two_tries(registry: FakeRegistry) -> None:
    registry.faults.add(status(503, retry_after=0), path=r"/v2/$", times=FOREVER)
    ran = run("doctor", registry.reference("web", "1"))
    assert ran.status == 5
    (said,) = ran.err.splitlines()
    assert said.startswith(f"retry: asking {registry.host} failed: the registry said 503; ")
    assert said.endswith("(try 1 of 2)")


def test_what_is_not_needed_is_not_imported(registry: FakeRegistry) -> None:
    ran = run_process("doctor", registry.reference("web", "1"), python=("-X", "importtime"))
    assert ran.status == 0
    imported = {line.rpartition("|")[2].strip() for line in ran.err.splitlines()}
    assert "httpx" in imported
    assert imported & {"boto3", "botocore", "rich", "jsonschema", "tenacity", "manifestctl.stores.layout"} == set()


def test_what_a_registry_says_stays_on_its_line(registry: FakeRegistry) -> None:
    text = b'{"errors":[{"code":"DENIED","message":"no\\n::error::forged\\u202e"}]}'
    registry.faults.add(status(403, text, content_type="application/json"), path=r"/v2/$")
    ran = run("doctor", registry.reference("web", "1"))
    assert ran.status == 4
    (line,) = (line for line in ran.text.splitlines() if "forged" in line)
    assert line.startswith("✘ registry ")
    assert "\u202e" not in ran.text


def test_a_page_in_the_registrys_place(registry: FakeRegistry) -> None:
    registry.faults.add(proxy_page(), path=r"/v2/$")
    ran = run("doctor", registry.reference("web", "1"))
    assert ran.status == 5
    (line,) = (line for line in ran.text.splitlines() if line.startswith("✘"))
    assert "does not answer as a registry: 200, with an HTML page" in line


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", "✔✘!–"), ("ascii", "+x!-"), ("latin-1", "+x!-")],  # noqa: RUF001 - it is a dash
)
def test_marks_that_can_be_shown(monkeypatch: pytest.MonkeyPatch, encoding: str, marks: str) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    lines = cli._lines(Session("doctor", Common()), diagnosis())
    assert "".join(line[0] for line in lines if line[0] != " ")[:4] == marks
    assert ("→" if encoding == "utf-8" else "->") in lines[2]


def test_the_output_of_a_process_in_another_locale(registry: FakeRegistry) -> None:
    ran = run_process("doctor", registry.reference("web", "1"), environ={"PYTHONIOENCODING": "ascii"})
    assert ran.status == 0
    assert ran.out.startswith(b"+ proxy")
    assert ran.out.isascii()


class Terminal(io.TextIOWrapper):
    """A stdout on a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], coloured: bool) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal(io.BytesIO(), encoding="utf-8"))
    lines = cli._lines(Session("doctor", Common(), environ), diagnosis())
    assert lines[0] == ("\x1b[32m✔\x1b[0m proxy       none" if coloured else "✔ proxy       none")
    assert lines[1].startswith("\x1b[31m✘\x1b[0m") == coloured
    # What is below is as far to the right as without it.
    assert lines[2] == "              → Do this."


def diagnosis() -> Diagnosis:
    """Return a diagnosis with a check in each state."""
    checks = (
        Check("proxy", "ok", "none"),
        Check("repository", "failed", "it is not there", "Do this.", exit_code=3),
        Check("tls", "warning", "it is not verified"),
        Check("clock", "skipped", "needs TLS"),
    )
    return Diagnosis(DoctorRequest(registry="registry.example"), checks)


def test_help_names_the_target() -> None:
    ran = run("doctor", "--help")
    assert ran.status == 0
    assert "[TARGET]" in ran.text
    assert "without writing" in ran.text
