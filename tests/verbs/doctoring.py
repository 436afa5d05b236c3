"""What the tests of `doctor` share: a run of it, and its checks by their names."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manifestctl.aws.settings import AwsSettings
from manifestctl.model.location import check_target, parse_location
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.doctor import Diagnosis, DoctorRequest, doctor
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manifestctl.verbs.doctor_checks import Check


@dataclass(frozen=True, slots=True)
class Examined:
    """A diagnosis, and the world in which it was made."""

    diagnosis: Diagnosis
    world: World

    def __getitem__(self, name: str) -> Check:
        """Return a check by its name."""
        (found,) = (check for check in self.diagnosis.checks if check.name == name)
        return found

    @property
    def names(self) -> list[str]:
        """The names of all checks, in order."""
        return [check.name for check in self.diagnosis.checks]

    def named(self, state: str) -> list[str]:
        """Return the names of the checks in a state, in order."""
        return [check.name for check in self.diagnosis.checks if check.state == state]

    @property
    def exit_code(self) -> int:
        """The exit code."""
        return self.diagnosis.exit_code

    @property
    def texts(self) -> list[str]:
        """All that is said."""
        return [text for check in self.diagnosis.checks for text in (check.seen, check.next_step, check.statement)]


def examine(
    target: str | None = None,
    *,
    registry: str = "",
    environ: Mapping[str, str] | None = None,
    settings: TransportSettings | None = None,
    aws: AwsSettings | None = None,
    world: World | None = None,
) -> Examined:
    """Run `doctor` with an environment, which is the process's too: boto3 reads that."""
    world = world or World(environ, now=time.time())
    location = check_target(parse_location(target)) if target is not None else None
    request = DoctorRequest(location, registry) if registry else DoctorRequest(location)
    settings = settings or TransportSettings(retries=2)
    with _environment(world.environ), Stores.of_system(world.runtime, settings, aws or AwsSettings()) as stores:
        examined = Examined(doctor(request, stores, world.runtime), world)
    _check_lines(examined)
    return examined


def _check_lines(examined: Examined) -> None:
    """Fail unless every check is of a shape that can be relied on."""
    for check in examined.diagnosis.checks:
        assert check.seen
        assert (check.exit_code != 0) == (check.state == "failed"), check
        assert not any(text != text.strip() or "\n" in text for text in (check.seen, check.next_step)), check
        assert "manifestctl doctor" not in check.next_step
    assert len(set(examined.names)) == len(examined.names)


@contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(
        {name: before[name] for name in before if name.startswith(("PATH", "COV", "PYTEST"))} | dict(environ)
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
