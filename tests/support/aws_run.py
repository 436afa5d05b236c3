"""A run as the room `aws` sees it: a fake AWS, a world, and an environment that the library and boto3 both read.

::

    with running_aws(monkeypatch, tmp_path) as run:
        run.be(run.aws.environ(source="container"))
        token = fetch_token(host, run.make())
        assert run.aws.operations == ["GetAuthorizationToken"]
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifestctl.aws.calls import Aws, Timeouts
from manifestctl.aws.hosts import PUBLIC_HOST, ecr_host
from manifestctl.aws.settings import AwsSettings
from manifestctl.transport.meter import Meter
from manifestctl.transport.retry import Retries
from tests.support.aws import FakeAws
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pytest

    from manifestctl.aws.hosts import EcrHost
    from manifestctl.errors import ManifestctlError


@dataclass
class AwsRun:
    """``world`` begins at the real time, by which signatures are judged; the tokens of ``aws`` expire by its clock."""

    aws: FakeAws
    world: World
    home: Path
    monkeypatch: pytest.MonkeyPatch
    meter: Meter = field(default_factory=Meter)

    def be(self, environ: Mapping[str, str] | None = None, /, **more: str) -> None:
        """Be somebody: with this environment, by default that of the fake's first key, and ``more``, and no other."""
        chosen = self.aws.environ() if environ is None else environ
        become(self.world, self.monkeypatch, {"HOME": str(self.home), **chosen, **more})

    def set(self, **variables: str) -> None:
        """Set variables beside those that are there."""
        self.world.environ.update(variables)
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def without_keys(self) -> dict[str, str]:
        """Return the environment of somebody with no key; all files of AWS's are below the home."""
        return {name: value for name, value in self.aws.environ().items() if "ENDPOINT" in name or "METADATA" in name}

    def profiles(self, config: str = "", credentials: str = "") -> None:
        """Be somebody with these files of AWS's, in which ``KEYS`` stands for the fake's first key."""
        keys = f"aws_access_key_id = {self.aws.key.id}\naws_secret_access_key = {self.aws.key.secret}\n"
        (self.home / ".aws").mkdir(exist_ok=True)
        for name, text in (("config", config), ("credentials", credentials)):
            if text:
                (self.home / ".aws" / name).write_text(text.replace("KEYS\n", keys))
        self.be(self.without_keys())

    def make(self, *, tries: int = 5, timeouts: Timeouts | None = None, profile: str = "") -> Aws:
        """Return AWS's APIs as a new run has them."""
        retries = Retries(self.world.runtime, self.meter, tries=tries, deadline=300)
        return Aws(AwsSettings(profile=profile), timeouts or Timeouts(5, 5), self.world.runtime, retries)

    def check_quiet(self, *errors: ManifestctlError) -> None:
        """Assert that no secret is in an event, or in an error or its causes."""
        shown = [*map(repr, self.world.events)]
        for error in errors:
            cause: BaseException | None = error
            while cause is not None:
                shown += [str(cause), repr(cause), getattr(cause, "hint", "")]
                cause = cause.__cause__
        for secret in self.aws.secrets:
            assert [text for text in shown if secret in text or json.dumps(secret)[1:-1] in text] == []


def amazon(registry: str = PUBLIC_HOST) -> EcrHost:
    """Return what stands behind a registry of Amazon's."""
    host = ecr_host(registry)
    assert host is not None, f"{registry} is not Amazon's"
    return host


def become(world: World, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
    """Give the library this environment and no other; the process too, where boto3 looks."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    world.environ.clear()
    world.environ.update(environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@contextlib.contextmanager
def running_aws(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Iterator[AwsRun]:
    """Start a fake AWS and be the holder of its first key, with a home in a directory."""
    world, home = World(now=time.time()), directory / "home"
    home.mkdir()
    with FakeAws(clock=lambda: world.now) as aws:
        run = AwsRun(aws, world, home, monkeypatch)
        run.be()
        yield run
