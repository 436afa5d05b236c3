"""The common options: on the command line before and after the command, and in variables."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from manifestctl.cli import quantities
from manifestctl.cli.options import Common, settings
from manifestctl.errors import InputError
from tests.support import images
from tests.support.fake_auth import BasicAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.running import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """Return a layout with one image, tagged 1."""
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64")})
    return f"oci:{tmp_path / 'layout'}"


def kind_of(out: bytes) -> str:
    """Tell by its beginning which kind of output it is."""
    return {b"{": "json", b"s": "digest", b"1": "text"}[out[:1]]


@pytest.mark.parametrize(
    ("before", "after", "variable", "wanted"),
    [
        (None, None, None, "text"),
        ("digest", None, None, "digest"),
        (None, "digest", None, "digest"),
        (None, None, "digest", "digest"),
        (None, None, "", "text"),
        # What stands on the command line outranks a variable, wherever it stands.
        ("digest", None, "json", "digest"),
        (None, "digest", "json", "digest"),
        # After the command is nearer.
        ("digest", "json", None, "json"),
        ("digest", "text", "json", "text"),
    ],
)
def test_output(layout: str, before: str | None, after: str | None, variable: str | None, wanted: str) -> None:
    early = ["--output", before] if before else []
    late = ["--output", after] if after else []
    environ = {"MANIFESTCTL_OUTPUT": variable} if variable is not None else {}
    ran = run(*early, "tags", layout, *late, environ=environ)
    assert (ran.status, kind_of(ran.out)) == (0, wanted)


@pytest.mark.parametrize(
    "arguments", [["-q", "create"], ["--quiet", "create"], ["create", "-q"], ["create", "--quiet"]]
)
def test_quiet_before_and_after_the_command(layout: str, arguments: list[str]) -> None:
    command, *rest = (argument for argument in arguments if argument == "create" or argument.startswith("-"))
    assert run(command, *rest, f"{layout}:list", ":1").err == ""


@pytest.mark.parametrize(("value", "quiet"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_quiet_by_variable(layout: str, value: str, quiet: bool) -> None:
    ran = run("create", f"{layout}:list", ":1", environ={"MANIFESTCTL_QUIET": value})
    assert (ran.err == "") == quiet


@pytest.mark.parametrize("arguments", [["-v", "tags"], ["tags", "-v"]])
def test_verbose_before_and_after_the_command(registry: FakeRegistry, arguments: list[str]) -> None:
    registry.put_image("web", "1")
    assert "http: GET" in run(*arguments, registry.reference("web")).err


def test_every_option_has_a_variable(layout: str) -> None:
    bad = {
        "output": "xml",
        "quiet": "perhaps",
        "verbose": "perhaps",
        "log_format": "xml",
        "concurrency": "many",
        "retries": "0",
        "timeout": "soon",
        "retry_deadline": "soon",
        "plain_http": "http://x",
        "tls": "a b/c",
        "tls_skip_verify": "?",
        "allow": "nonsense",
        "deny": "label-differs nonsense",
        "client_key": "/nonexistent",
        "ca_file": None,
        "client_cert": None,
        "authfile": None,
        "aws": "perhaps",
        "no_token_cache": "perhaps",
        "profile": None,
    }
    assert {field.name for field in fields(Common)} == bad.keys()
    for name, value in bad.items():
        if value is not None:
            ran = run("create", f"{layout}:list", ":1", environ={f"MANIFESTCTL_{name.upper()}": value})
            assert ran.status == 2, name
            assert "nothing was published" in ran.err, name


def test_a_bad_variable_is_named(layout: str) -> None:
    ran = run("tags", layout, environ={"MANIFESTCTL_RETRIES": "many"})
    assert ran.status == 2
    assert "'many' is not a whole number (from the variable MANIFESTCTL_RETRIES)" in ran.err
    ran = run("tags", layout, "--retries", "many")
    assert "MANIFESTCTL_RETRIES" not in ran.err


def test_several_values_of_a_variable_are_divided_at_spaces(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(b'{"imageLayoutVersion": 2, "imageLayoutVersion ": 1}')
    ran = run("validate", bad, environ={"MANIFESTCTL_ALLOW": "schema-type schema-const"})
    assert ran.status == 0


@pytest.mark.parametrize("by_variable", [True, False])
@pytest.mark.parametrize("name", ["ca_file", "client_cert", "authfile"])
def test_files_that_cannot_be_used(tmp_path: Path, name: str, by_variable: bool) -> None:
    path = str(tmp_path / "absent.pem")
    environ = {f"MANIFESTCTL_{name.upper()}": path} if by_variable else {}
    extra = [] if by_variable else [f"--{name.replace('_', '-')}", path]
    with FakeRegistry(auth=BasicAuth()) as registry:
        if name != "authfile":
            extra += ["--tls", registry.host]
        ran = run("create", registry.reference("web", "1"), ":a", *extra, environ=environ)
    assert ran.status == 2
    assert "absent.pem" in ran.err
    assert "nothing was published" in ran.err


@pytest.mark.parametrize(("number", "status"), [("0", 2), ("1", 0), ("100", 0), ("101", 2), ("-1", 2), ("1.5", 2)])
def test_retries(layout: str, number: str, status: int) -> None:
    ran = run("tags", layout, "--retries", number)
    assert ran.status == status
    assert "Traceback" not in ran.err


def test_settings_of_the_transport() -> None:
    made = settings(Common(timeout="3s", retries=2, retry_deadline="1m", plain_http=["a.example.com"]), {"HOME": "/h"})
    assert (made.connect_timeout, made.read_timeout, made.retries, made.retry_deadline) == (3.0, 3.0, 2, 60.0)
    assert made.plain_http == ("a.example.com",)
    assert str(made.certs_dirs[0]).startswith("/h/")
    patient = settings(Common(timeout="2m"), {})
    assert (patient.connect_timeout, patient.read_timeout) == (10.0, 120.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h30m5s", 5405),
        ("2.5", 2.5),
        ("7", 7),
        ("0.2s", 0.2),
        (" 3s ", 3),
        ("1000h", 3.6e6),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert quantities.duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "h",
        "-1s",
        "1d",
        "1h30",
        "5m30",
        "30m1h",
        "1 h",
        "\u0661s",
        "1e3",
        "nan",
        "inf",
        "1001h",
        "9" * 5000,
        "9" * 5000 + "h",
    ],
)
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="duration"):
        quantities.duration(text)


def test_platforms_with_commas_each_once() -> None:
    found = quantities.platforms(["linux/amd64, linux/arm64", "linux/amd64,", "linux/arm/v7"], "--require")
    assert [str(platform) for platform in found] == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    assert quantities.platforms([], "--require") == ()


@pytest.mark.parametrize("texts", [[""], [","], [" , "], ["linux/amd64", ""]])
def test_platforms_that_are_empty_do_not_switch_a_check_off(texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"--require '.*' names no platform"):
        quantities.platforms(texts, "--require")


@pytest.mark.parametrize(("text", "wanted"), [("a=b", ("a", "b")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c"))])
def test_pairs(text: str, wanted: tuple[str, str]) -> None:
    assert quantities.pair(text, "--annotation") == wanted


@pytest.mark.parametrize("text", ["", "a", "=b"])
def test_pairs_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"--annotation '.*' is not KEY=VALUE"):
        quantities.pair(text, "--annotation")
