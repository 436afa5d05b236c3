"""The command line at Amazon's registries: what is got ahead of its need prints nothing, delays nothing, is told once."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.actions import stall
from tests.support.ecr_world import EcrWorld
from tests.support.faults import FOREVER
from tests.support.running import LIMIT, Ran, run_process, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRACE = 20.0
"""Seconds: far below any timeout of a request, far above what a loaded machine takes."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path) as made:
        made.aws.add_repository("web")
        for arch in ("amd64", "arm64"):
            made.registry.put_image("acme/web", arch, f"linux/{arch}")
        yield made


def create(world: EcrWorld, *more: str, environ: dict[str, str] | None = None) -> Ran:
    given = (f"{world.host}/acme/web:1", ":amd64", ":arm64", "--ca-file", str(world.ca_file), *more)
    return run_process("create", *given, environ=environ or world.environ)


def push(world: EcrWorld, tmp_path: Path) -> Ran:
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64")})
    given = (f"oci:{tmp_path / 'layout'}:1", f"{world.host}/acme/web:2", "--ca-file", world.ca_file)
    return run_process("push", *given, environ=world.environ)


def stalled(world: EcrWorld) -> threading.Event:
    """Let AWS never answer; the event is set when it was asked."""
    asked = threading.Event()

    def action(exchange: Any) -> Any:
        asked.set()
        return stall()(exchange)

    world.aws.faults.add(action, times=FOREVER)
    return asked


def test_all_that_it_needs_are_credentials(world: EcrWorld) -> None:
    ran = create(world, "-v")
    assert ran.status == 0, ran.err
    assert ran.text.startswith(f"{world.host}/acme/web@sha256:")
    assert world.aws.operations == ["GetAuthorizationToken"]
    again = create(world, "-v")
    assert again.status == 0
    assert world.aws.operations == ["GetAuthorizationToken"]
    for text in (ran.text, ran.err, again.text, again.err):
        assert [secret for secret in world.secrets if secret in text] == []


@pytest.mark.parametrize("action", ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"])
def test_a_token_that_is_denied_is_told_once(world: EcrWorld, tmp_path: Path, action: str) -> None:
    world.aws.deny(action)
    ran = push(world, tmp_path)
    assert (ran.status, ran.out) == (4, b"")
    assert ran.err.count("AccessDeniedException") == 1
    assert "Traceback" not in ran.err
    assert f'"Action": "{action}"' in ran.err
    assert world.aws.operations == ["GetAuthorizationToken"]
    assert world.registry.tag("acme/web", "2") is None


def test_a_token_that_is_denied_is_asked_for_once_however_many_images_need_it(world: EcrWorld) -> None:
    world.aws.deny("sts:GetServiceBearerToken")
    ran = create(world)
    assert (ran.status, ran.out) == (4, b"")
    assert "Traceback" not in ran.err
    assert world.aws.operations == ["GetAuthorizationToken"]
    assert world.registry.tag("acme/web", "1") is None
    # Each image and the target is named, and what they lack is said once.
    assert ran.err.count("AccessDeniedException") == ran.err.count('"Action": "sts:GetServiceBearerToken"') == 1
    denied, step, end = ran.err.splitlines()
    assert denied.startswith(f"error: :amd64, :arm64, {world.host}/acme/web:1: getting a token for {world.host} ")
    assert denied.endswith(" [image-denied] [target-denied]")
    assert step.startswith("  hint: ")
    assert end.startswith("error: 3 errors; nothing was published: ")


def test_a_denial_of_one_image_among_several_comes_with_its_statement(world: EcrWorld) -> None:
    world.aws.deny("sts:GetServiceBearerToken")
    ran = create(world, "--output", "json")
    document = ran.document
    assert (ran.status, document["error"]) == (4, None)
    rules = [finding["rule"] for finding in document["findings"]]
    assert sorted(rules) == ["image-denied", "image-denied", "target-denied"]
    statement = {"Effect": "Allow", "Action": "sts:GetServiceBearerToken", "Resource": "*"}
    assert [finding["statement"] for finding in document["findings"]] == [statement] * 3


def test_what_boto3_logs_is_not_shown(world: EcrWorld) -> None:
    # It logs a warning, with a traceback, when a role cannot be assumed.
    (world.home / ".aws").mkdir()
    role = "role_arn = arn:aws:iam::123456789012:role/release\nsource_profile = keys\n"
    keys = f"aws_access_key_id = {world.aws.key.id}\naws_secret_access_key = {world.aws.key.secret}\n"
    (world.home / ".aws/config").write_text(f"[profile release]\n{role}[profile keys]\n{keys}")
    world.aws.deny("sts:AssumeRole")
    environ = world.environment(source=None) | {"AWS_CONFIG_FILE": str(world.home / ".aws/config")}
    ran = create(world, "--profile", "release", environ=environ)
    assert ran.status == 4
    assert "sts:AssumeRole" in ran.err
    assert "Traceback" not in ran.err
    assert "botocore" not in ran.err


@pytest.mark.parametrize(
    ("options", "environ", "status", "said"),
    [
        ((), {}, 0, ""),
        # It changes whose AWS credentials are used, but not that stored ones come first.
        ((), {"AWS_PROFILE": "nobody"}, 0, ""),
        ((), {"MANIFESTCTL_PROFILE": "nobody"}, 0, ""),
        (("--profile", "nobody"), {}, 2, "The config profile (nobody) could not be found"),
        (("--profile", "nobody"), {"MANIFESTCTL_AWS": "0"}, 2, "The config profile (nobody) could not be found"),
        (("--profile", "nobody", "--no-aws"), {}, 2, "invalid value for --profile: --no-aws leaves it nothing"),
        (("--profile", "", "--no-aws"), {}, 0, ""),
    ],
)
def test_a_profile_on_the_command_line_comes_before_what_is_stored(
    world: EcrWorld, options: tuple[str, ...], environ: dict[str, str], status: int, said: str
) -> None:
    auth = base64.b64encode(f"AWS:{world.aws.token('ecr-public').password}".encode()).decode()
    stored = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {world.host: {"auth": auth}}})}
    ran = create(world, *options, environ=world.environ | stored | environ)
    assert ran.status == status, ran.err
    assert said in ran.err
    assert world.aws.operations == []


def test_nobody_is_told_what_to_do(world: EcrWorld) -> None:
    ran = create(world, environ=world.environment(source=None))
    assert ran.status == 4
    assert ran.err.count("no AWS credentials were found for public.ecr.aws") == 1
    assert world.registry.tag("acme/web", "1") is None


def test_a_run_that_fails_before_it_needs_a_token_does_not_wait_for_one(world: EcrWorld) -> None:
    stalled(world)
    began = time.monotonic()
    target = f"{world.host}/acme/web:1"
    ran = run_process("push", f"oci:{world.home}/absent:1", target, "--ca-file", world.ca_file, environ=world.environ)
    assert ran.status == 3
    assert "absent" in ran.err
    assert time.monotonic() - began < GRACE
    world.aws.release()


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_does_not_wait_for_aws(world: EcrWorld, signum: int) -> None:
    asked = stalled(world)
    given = (f"{world.host}/acme/web:1", ":amd64", "--ca-file", str(world.ca_file))
    with start("create", *given, environ=world.environ) as process:
        assert asked.wait(LIMIT)
        # The run is at the place where it waits for the token, or about to be.
        began = time.monotonic()
        process.send_signal(signum)
        _, err = process.communicate(timeout=LIMIT)
        assert time.monotonic() - began < GRACE
    assert process.returncode == -signum
    assert b"Traceback" not in err
    world.aws.release()


def test_a_layout_is_pushed_with_one_call(world: EcrWorld, tmp_path: Path) -> None:
    ran = push(world, tmp_path)
    assert ran.status == 0, ran.err
    assert world.aws.operations == ["GetAuthorizationToken"]
    assert world.registry.tag("acme/web", "2") is not None


def warnings(ran: Ran) -> list[str]:
    return [line for line in ran.err.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("ends", ["revoke_tokens", "expire_tokens"])
def test_a_log_in_that_goes_bad_together_with_what_is_kept_is_replaced(
    world: EcrWorld, tmp_path: Path, private: bool, ends: str
) -> None:
    world.aws.add_private_repository("web")
    host, target = (world.private_host, "web:2") if private else (world.host, "acme/web:2")
    ca = ("--ca-file", world.ca_file)
    assert run_process("login", host, *ca, environ=world.environ).status == 0
    getattr(world.aws, ends)()
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64", layers=3)})
    ran = run_process("push", f"oci:{tmp_path / 'layout'}:1", f"{host}/{target}", *ca, environ=world.environ)
    assert ran.status == 0, ran.err
    [warning] = warnings(ran)
    assert warning.startswith(f"warning: {host} refused the credentials (auths['{host}'] in ")
    assert warning.endswith("; used instead: AWS credentials: environment variables")
    assert world.aws.operations == ["GetAuthorizationToken"] * 2


@pytest.mark.parametrize("private", [False, True])
def test_a_log_in_that_the_registry_cannot_use_gives_way(world: EcrWorld, tmp_path: Path, private: bool) -> None:
    world.aws.add_private_repository("web")
    host, target = (world.private_host, "web:2") if private else (world.host, "acme/web:2")
    (world.home / ".docker").mkdir()
    (world.home / ".docker/config.json").write_text(json.dumps({"auths": {host: {"identitytoken": "token-of-ci"}}}))
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64")})
    given = (f"oci:{tmp_path / 'layout'}:1", f"{host}/{target}", "--ca-file", world.ca_file)
    ran = run_process("push", *given, environ=world.environ)
    assert ran.status == 0, ran.err
    [warning] = warnings(ran)
    assert warning.startswith(f"warning: {host} cannot use the credentials (")
    assert warning.endswith("; used instead: AWS credentials: environment variables")


def test_a_missing_permission_to_look_for_layers_is_said_and_costs_no_token(world: EcrWorld, tmp_path: Path) -> None:
    world.aws.deny("ecr-public:BatchCheckLayerAvailability")
    ran = push(world, tmp_path)
    assert ran.status == 0, ran.err
    assert world.aws.operations == ["GetAuthorizationToken"]
    [warning] = warnings(ran)
    assert warning.endswith(
        "ecr-public:BatchCheckLayerAvailability seems to be missing (AWS credentials: environment variables)"
    )
    # Of a token that was kept it might be the fault; that it was not is not said.
    again = push(world, tmp_path)
    assert again.status == 0
    assert all("BatchCheckLayerAvailability seems to be missing" in line for line in warnings(again))
    assert world.aws.operations == ["GetAuthorizationToken"] * 2


def test_a_kept_token_that_goes_bad_is_replaced_and_that_is_said(world: EcrWorld, tmp_path: Path) -> None:
    assert push(world, tmp_path).status == 0
    world.aws.revoke_tokens()
    ran = push(world, tmp_path)
    assert ran.status == 0, ran.err
    with_what = "with AWS credentials: environment variables"
    assert warnings(ran) == [
        f"warning: {world.host} did not take a token from the cache; a new one was got, {with_what}"
    ]
