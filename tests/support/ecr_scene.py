"""Amazon's registries and a run that reaches them: its environment, its stores, and clocks that only jump.

::

    with ecr_scene(tmp_path, certificates, monkeypatch) as scene, scene.stores() as stores:
        read(stores, at(PUBLIC))
        assert scene.calls == ["GetAuthorizationToken"]
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING

from manifestctl.aws.settings import AwsSettings
from manifestctl.events import Warned
from manifestctl.model.reference import Reference
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from tests.support import images
from tests.support.aws_run import become
from tests.support.certificates import make_certificates
from tests.support.ecr_front import HOSTS
from tests.support.ecr_private import hosts_of
from tests.support.ecr_world import EcrWorld
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from manifestctl.aws.settings import Use
    from manifestctl.errors import ManifestctlError
    from tests.support.certificates import Certificates

PRIVATE = (("123456789012", "eu-west-1"), ("210987654321", "eu-west-1"), ("123456789012", "us-west-2"))
ONE, TWO, FAR = (hosts_of(account, region)[0] for account, region in PRIVATE)
PUBLIC, DUAL_STACK = HOSTS[:2]
IMAGE = images.image("linux/amd64")


def scene_certificates(directory: Path) -> Certificates:
    """Make the certificates of a scene, which several may share."""
    hosts = (*HOSTS, *hosts_of("123456789012"), *hosts_of("123456789012", "us-west-2"), TWO)
    return make_certificates(directory, hosts=hosts)


class EcrScene:
    """Amazon's registries with a repository ``web`` and ``api`` in each, and the world of a run that reaches them."""

    def __init__(self, ecr: EcrWorld, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ecr, self.world, self.monkeypatch = ecr, world, monkeypatch
        for name in ("web", "api"):
            ecr.aws.add_repository(name)
            ecr.registry.put(f"acme/{name}", "1", IMAGE)
            ecr.private_registry.put(name, "1", IMAGE)
            for account, region in PRIVATE:
                ecr.aws.add_private_repository(name, account=account, region=region)
        ecr.proxy.places[f"{TWO}:443"] = ecr.proxy.places[f"{ONE}:443"]
        self.be(ecr.environ)

    def be(self, environ: dict[str, str]) -> None:
        """Be somebody else."""
        become(self.world, self.monkeypatch, environ)

    def stores(self, use: Use = "auto", *, cached: bool = True, create: bool = False) -> Stores:
        """Return the stores of a new run."""
        settings = AwsSettings(use, token_cache=cached, create_repositories=create)
        return Stores.of_system(self.world.runtime, TransportSettings(ca_file=self.ecr.ca_file), settings)

    def log_in(self, host: str, *, password: str = "", **more: object) -> None:
        """Write Docker's configuration, with a log-in if there is a password."""
        auth = base64.b64encode(f"AWS:{password}".encode()).decode()
        document = ({"auths": {host: {"auth": auth}}} if password else {}) | more
        (self.ecr.home / ".docker").mkdir(exist_ok=True)
        (self.ecr.home / ".docker/config.json").write_text(json.dumps(document))

    def helper(self, script: str) -> None:
        """Install a credential helper ``x``."""
        path = self.ecr.home / "docker-credential-x"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.world.environ["PATH"] = f"{self.ecr.home}:/usr/bin:/bin"

    @property
    def calls(self) -> list[str]:
        """The operations of AWS's APIs that were called."""
        return self.ecr.aws.operations

    @property
    def warnings(self) -> list[str]:
        """The texts of all warnings."""
        return [event.message for event in self.world.heard(Warned)]

    def schemes(self) -> set[str]:
        """Return how requests to ``/v2/`` of ECR Public were authorized."""
        found = self.ecr.public.find(path_regex="^/v2/")
        return {request.authorization.partition(" ")[0] if request.authorization else "" for request in found}

    def check_quiet(self, *errors: ManifestctlError) -> None:
        """Assert that no secret is in an event or an error."""
        shown = [repr(self.world.events), *(f"{error!r} {error.hint}" for error in errors)]
        assert [text for text in shown for secret in (*self.ecr.secrets, "stale-password") if secret in text] == []


@contextlib.contextmanager
def ecr_scene(directory: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrScene]:
    """Start everything; in the end wait for what works ahead."""
    world = World(now=time.time())
    with EcrWorld(
        directory,
        regions=("eu-west-1", "us-west-2"),
        clock=lambda: world.now,
        monotonic=world.runtime.monotonic,
        certificates=certificates,
    ) as ecr:
        yield EcrScene(ecr, world, monkeypatch)
        settle()


def settle() -> None:
    """Wait for the threads that work ahead."""
    for thread in threading.enumerate():
        if thread.name == "manifestctl-ahead":
            thread.join(20)
            assert not thread.is_alive()


def at(host: str, name: str = "web", tag: str = "1") -> Reference:
    """Return a repository's image, under the alias ``acme`` if it is in ECR Public."""
    return Reference(host, f"acme/{name}" if host in HOSTS else name, tag)


def read(stores: Stores, *references: Reference) -> None:
    """Read images, all of which are `IMAGE`."""
    for reference in references:
        assert stores(reference).read_manifest(reference.tag or "").raw == IMAGE.manifest


def write(stores: Stores, reference: Reference) -> None:
    """Write the image ``1`` of a repository as ``2``."""
    content = stores(reference, write=True).read_manifest("1")
    stores(reference, write=True).write_manifest(content, "2")
