"""Start-up is a feature: what each command imports, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from manifestctl.cli.app import COMMANDS
from tests.support import images
from tests.support.actions import status
from tests.support.archives import legacy_save, saved, write_archive
from tests.support.ecr_world import EcrWorld
from tests.support.fake_engine import FakeEngine
from tests.support.running import LIMIT, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

# The command line ends by os._exit; what was imported is written down just before that.
PROGRAM = """
import json, os, sys

leave, log = os._exit, sys.argv.pop(1)
# What measures coverage is there already.
before = set(sys.modules)

def note(code):
    with open(log, "w") as file:
        json.dump(sorted(set(sys.modules) - before), file)
    leave(code)

os._exit = note
from manifestctl.cli.main import main
main()
"""

HTTP = {"httpx", "httpcore", "h11", "certifi", "ssl", "_ssl", "http.client", "urllib.request", "email", "anyio"}
SCHEMAS = {"jsonschema", "referencing", "rpds", "urllib.request"}
NEVER = {"boto3", "botocore", "rich", "yaml", "pydantic", "click", "asyncio", "unittest", "pygments", "isal", "zstd"}
LIBRARY = {"manifestctl.verbs", "manifestctl.stores", "manifestctl.transport", "manifestctl.validation"}


def imported(tmp_path: Path, *arguments: str, expected: int = 0, environ: dict[str, str] | None = None) -> set[str]:
    """Run a command line and return what was imported in the end."""
    log = tmp_path / "modules.json"
    command = [sys.executable, "-c", PROGRAM, str(log), *arguments]
    ran = subprocess.run(command, env=environment(environ), capture_output=True, timeout=LIMIT, check=False)
    assert ran.returncode == expected, ran.stderr.decode()
    return set(json.loads(log.read_bytes()))


def commands(modules: set[str]) -> set[str]:
    """Return the commands whose modules are among these."""
    names = {"checking", "session", *COMMANDS}
    return {name for name in names if f"manifestctl.cli.{name}" in modules}


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """Return a layout with the images amd64 and arm64."""
    tagged = {name: images.image(f"linux/{name}") for name in ("amd64", "arm64")}
    images.write_layout(tmp_path / "layout", tagged)
    return f"oci:{tmp_path / 'layout'}"


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (("--version",), set()),
        (("--output", "json", "--version"), set()),
        (("completion", "bash"), {"completion"}),
    ],
)
def test_what_needs_no_library(tmp_path: Path, arguments: tuple[str, ...], own: set[str]) -> None:
    modules = imported(tmp_path, *arguments)
    assert modules & (HTTP | SCHEMAS | NEVER | LIBRARY | {"tenacity", "random", "concurrent.futures"}) == set()
    assert commands(modules) == own


def test_help_imports_the_commands_and_nothing_that_they_use(tmp_path: Path) -> None:
    modules = imported(tmp_path, "--help")
    assert modules & (HTTP | SCHEMAS | NEVER | LIBRARY | {"tenacity"}) == set()


def test_a_schema_is_printed_without_a_validator(tmp_path: Path) -> None:
    modules = imported(tmp_path, "schema", "oci-index")
    assert modules & (HTTP | SCHEMAS | NEVER | {"tenacity", "manifestctl.verbs", "manifestctl.stores"}) == set()
    assert commands(modules) == {"schema", "session"}


def test_a_file_is_validated_without_stores_and_http(tmp_path: Path) -> None:
    path = tmp_path / "layout.json"
    path.write_text('{"imageLayoutVersion":"1.0.0"}')
    modules = imported(tmp_path, "validate", str(path))
    assert "jsonschema" in modules
    assert modules & (HTTP - {"urllib.request"} | NEVER | {"tenacity", "manifestctl.stores.layout"}) == set()
    assert commands(modules) == {"validate", "session"}


@pytest.mark.parametrize("command", ["tags", "inspect", "create", "check"])
def test_a_layout_needs_no_http(tmp_path: Path, layout: str, command: str) -> None:
    arguments = {"tags": (layout,), "inspect": (f"{layout}:amd64",)}.get(command, (f"{layout}:1", ":amd64", ":arm64"))
    modules = imported(tmp_path, command, *arguments)
    assert modules & (HTTP - {"urllib.request"} | NEVER | {"tenacity", "manifestctl.stores.registry"}) == set()
    assert not modules & {"manifestctl.transport.client", "manifestctl.transport.auth", "manifestctl.transport.tls"}
    assert commands(modules) == {command, "session"} | ({"checking"} if command in ("create", "check") else set())
    assert ("jsonschema" in modules) == (command in ("create", "check"))


@pytest.mark.parametrize("command", ["tags", "inspect", "create", "check"])
def test_a_registry_needs_nothing_for_what_did_not_happen(tmp_path: Path, registry: FakeRegistry, command: str) -> None:
    registry.put_image("web", "amd64")
    arguments = {
        "tags": (registry.reference("web"),),
        "inspect": (registry.reference("web", "amd64"),),
    }.get(command, (registry.reference("web", "1"), ":amd64"))
    modules = imported(tmp_path, command, *arguments)
    assert "httpx" in modules
    # Retries, layouts, credential helpers and certificates that nobody asked for.
    unused = {"tenacity", "manifestctl.stores.layout", "manifestctl.transport.credential_helpers"}
    assert modules & (NEVER | unused) == set()
    assert {name for name in modules if name.startswith("manifestctl.aws.")} <= {"manifestctl.aws.settings"}
    assert ("jsonschema" in modules) == (command in ("create", "check"))


def at_amazon(world: EcrWorld, host: str) -> tuple[str, str]:
    """Lay out the images amd64 and arm64 in a repository of Amazon's each; returns both repositories."""
    repositories = (
        [f"{host}/acme/{name}" for name in ("web", "api")] if host == world.host else [f"{host}/web", f"{host}/api"]
    )
    for name, arch in (("web", "amd64"), ("api", "arm64")):
        world.aws.add_repository(name)
        world.aws.add_private_repository(name)
        world.registry.put_image(f"acme/{name}", arch, f"linux/{arch}")
        world.private_registry.put_image(name, arch, f"linux/{arch}")
    return repositories[0], repositories[1]


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
def test_amazons_registries_cost_one_call_and_then_none(tmp_path: Path, private: bool) -> None:
    with EcrWorld(tmp_path) as world:
        web, api = at_amazon(world, world.private_host if private else world.host)
        given = ("create", f"{web}:1", ":amd64", f"{api}:arm64", "--copy", "--ca-file", str(world.ca_file))
        cold = imported(tmp_path, *given, environ=world.environ)
        assert cold & NEVER == {"boto3", "botocore"}
        assert world.aws.operations == ["GetAuthorizationToken"]
        warm = imported(tmp_path, *given, "--tag", "2", environ=world.environ)
        assert warm & (NEVER | {"dateutil", "urllib3", "jmespath", "tenacity"}) == set()
        assert world.aws.operations == ["GetAuthorizationToken"]
        assert set((world.private_registry if private else world.registry).tags(web.partition("/")[2])) >= {"1", "2"}


def test_nobody_at_amazons_registries_imports_no_boto3_if_aws_is_not_to_be_asked(tmp_path: Path) -> None:
    with EcrWorld(tmp_path) as world:
        web, _ = at_amazon(world, world.host)
        given = ("inspect", f"{web}:amd64", "--no-aws", "--ca-file", str(world.ca_file))
        modules = imported(tmp_path, *given, environ=world.environ)
        assert modules & NEVER == set()
        assert world.aws.count() == 0


def test_a_command_line_that_is_wrong_asks_nobody(tmp_path: Path) -> None:
    with EcrWorld(tmp_path) as world:
        web, _ = at_amazon(world, world.host)
        modules = imported(tmp_path, "create", f"{web}:1", "--from", ":x", expected=2, environ=world.environ)
        assert modules & NEVER == set()
        assert world.aws.count() == world.public.count() == 0


IMAGE = images.image("linux/amd64")
SAVED = legacy_save(saved(IMAGE, "web:1"))
OTHERS = {"push": {"copy", "tag", "images"}, "copy": {"push", "tag", "images"}, "tag": {"push", "copy", "images"}}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("push", ("{layout}:amd64", "oci:{path}/new:1")),
        ("copy", ("{layout}:amd64", "oci:{path}/new:1")),
        ("tag", ("{layout}:amd64", "2")),
        ("images", ("{layout}",)),
    ],
)
def test_what_moves_between_layouts_needs_no_http(
    tmp_path: Path, layout: str, command: str, arguments: tuple[str, ...]
) -> None:
    modules = imported(tmp_path, command, *(text.format(layout=layout, path=tmp_path) for text in arguments))
    unused = {"tenacity", "manifestctl.stores.registry", "manifestctl.stores.engine", "manifestctl.stores.archive"}
    assert modules & (HTTP | SCHEMAS | NEVER | unused) == set()
    assert commands(modules) & OTHERS.get(command, set()) == set()


@pytest.mark.parametrize("command", ["push", "copy", "tag"])
def test_what_goes_to_a_registry_needs_no_compressor(
    tmp_path: Path, registry: FakeRegistry, layout: str, command: str
) -> None:
    registry.put_image("web", "1")
    source = registry.reference("web", "1") if command == "tag" else f"{layout}:amd64"
    modules = imported(tmp_path, command, source, "2" if command == "tag" else registry.reference("web", "2"))
    assert "httpx" in modules
    unused = {"tenacity", "manifestctl.stores.engine", "manifestctl.transport.credential_helpers"}
    assert modules & (SCHEMAS - {"urllib.request"} | NEVER | unused) == set()
    assert ("manifestctl.stores.layout" in modules) == (command != "tag")


def test_layers_that_are_to_be_compressed_need_a_compressor_alone(tmp_path: Path, registry: FakeRegistry) -> None:
    archive = write_archive(tmp_path / "image.tar", SAVED)
    given = ("push", str(archive), registry.reference("web", "1"))
    modules = imported(tmp_path, *given)
    unused = {"manifestctl.stores.engine", "manifestctl.stores.layout", "compression.zstd", "backports.zstd"}
    assert modules & (NEVER | SCHEMAS - {"urllib.request"} | unused) == {"isal"}
    # Nothing is compressed, and nothing is imported for it, if the registry has the image.
    assert modules - imported(tmp_path, *given) >= {"isal"}


def test_an_engine_is_asked_by_http_alone(tmp_path: Path) -> None:
    with FakeEngine() as engine:
        engine.add(IMAGE, "web:1")
        modules = imported(tmp_path, "images", environ={"DOCKER_HOST": engine.address})
    unused = {"tenacity", "manifestctl.stores.registry", "manifestctl.stores.layout"}
    assert modules & (NEVER | SCHEMAS - {"urllib.request"} | unused) == set()


def test_retries_are_imported_when_something_fails(tmp_path: Path, registry: FakeRegistry) -> None:
    registry.put_image("web", "1")
    registry.faults.add(status(503, retry_after=0), path="/manifests/1")
    assert "tenacity" in imported(tmp_path, "inspect", registry.reference("web", "1"))


def test_completing_a_command_line_is_quick_too(tmp_path: Path) -> None:
    log = tmp_path / "modules.json"
    words = {"_MANIFESTCTL_COMPLETE": "complete_bash", "COMP_WORDS": "manifestctl cr", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", PROGRAM, str(log)]
    ran = subprocess.run(command, env=environment(words), capture_output=True, timeout=LIMIT, check=False)
    assert (ran.returncode, ran.stdout) == (0, b"create\n")
    assert set(json.loads(log.read_bytes())) & (HTTP | SCHEMAS | LIBRARY | {"tenacity"}) == set()
