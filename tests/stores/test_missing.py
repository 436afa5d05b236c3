"""A repository that is missing when it is written: made if that is wanted, waited for, or said to be missing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError, InterruptedRun, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.events import Noted
from manifestctl.stores.missing import MissingRepository
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "public.ecr.aws/acme/web"
UNKNOWN = "writing failed: 404 NAME_UNKNOWN"


class Registry:
    """Takes what is written after ``absent`` refusals; ``None`` refuses for ever. Counts what is asked of it."""

    def __init__(self, absent: int | None = 0, error: ManifestctlError | None = None) -> None:
        self.absent = absent
        self.error = error
        self.writes = self.made = 0
        self._lock = threading.Lock()

    def write(self) -> str:
        with self._lock:
            self.writes += 1
            if self.absent is None or self.writes <= self.absent:
                raise NotFoundError(UNKNOWN, repository_unknown=True)
            return "written"

    def make(self) -> None:
        with self._lock:
            self.made += 1
            if self.error is not None:
                raise self.error
            self.absent = self.writes


def missing(world: World, make: Callable[[], None] | None, lag: float = 10.0) -> MissingRepository:
    return MissingRepository(NAME, make, lag, world.runtime)


def test_one_that_is_there_is_written() -> None:
    world, registry = World(), Registry()
    assert missing(world, registry.make).writing(registry.write) == "written"
    assert (registry.made, registry.writes, world.slept, world.events) == (0, 1, [], [])


def test_one_that_is_made_is_written_at_once() -> None:
    world, registry = World(), Registry(absent=None)
    assert missing(world, registry.make).writing(registry.write) == "written"
    assert (registry.made, registry.writes, world.slept, world.events) == (1, 2, [], [])


def test_one_that_is_made_may_take_its_time_to_appear() -> None:
    world, registry = World(), Registry(absent=4)
    making = missing(world, lambda: None)
    assert making.writing(registry.write) == "written"
    assert world.slept == [0.5, 1.0, 2.0]
    assert registry.writes == 5


@pytest.mark.parametrize("wanted", [True, False])
def test_one_that_does_not_appear_is_missing_in_the_end(wanted: bool) -> None:
    world, registry = World(), Registry(absent=None)
    with pytest.raises(NotFoundError, match="NAME_UNKNOWN"):
        missing(world, (lambda: None) if wanted else None).writing(registry.write)
    assert world.slept == [0.5, 1.0, 2.0, 4.0, 2.5]


def test_one_that_somebody_else_has_made_is_waited_for_and_that_is_said_once() -> None:
    world, registry = World(), Registry(absent=2)
    waiting = missing(world, None)
    assert waiting.writing(registry.write) == "written"
    registry.absent = registry.writes + 1
    assert waiting.writing(registry.write) == "written"
    assert world.slept == [0.5, 1.0, 0.5]
    notes = [event.message for event in world.heard(Noted)]
    assert len(notes) == 1
    assert notes[0].startswith(f"{NAME} is said not to exist; ")


@pytest.mark.parametrize(
    ("error", "lag", "wanted"),
    [
        (NotFoundError("reading failed: 404 MANIFEST_UNKNOWN"), 10.0, True),
        (DeniedError("no"), 10.0, True),
        (UnreachableError("503", transient=True), 10.0, True),
        (NotFoundError(UNKNOWN, repository_unknown=True), 0.0, False),
    ],
)
def test_what_it_cannot_help_is_raised_at_once(error: ManifestctlError, lag: float, wanted: bool) -> None:
    world, registry = World(), Registry()

    def write() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        missing(world, registry.make if wanted else None, lag).writing(write)
    assert caught.value is error
    assert (registry.made, world.slept, world.events) == (0, [], [])


def test_a_registry_without_lag_is_made_and_asked_once_more() -> None:
    world, registry = World(), Registry(absent=None)
    assert missing(world, registry.make, lag=0.0).writing(registry.write) == "written"
    never = Registry(absent=None)
    with pytest.raises(NotFoundError):
        missing(world, lambda: None, lag=0.0).writing(never.write)
    assert never.writes == 2
    assert world.slept == []


def test_many_writes_make_it_once() -> None:
    world, registry = World(), Registry(absent=None)
    making = missing(world, registry.make)
    together = threading.Barrier(6)

    def write(_: int) -> str:
        together.wait(10)
        return making.writing(registry.write)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write, range(6))) == ["written"] * 6
    assert registry.made == 1


def test_a_repository_that_cannot_be_made_is_tried_once() -> None:
    world, registry = World(), Registry(absent=None, error=DeniedError("not allowed", statement='{"a": 1}'))
    making = missing(world, registry.make)
    for _ in range(3):
        with pytest.raises(DeniedError, match=r"not allowed$") as caught:
            making.writing(registry.write)
        assert caught.value.statement
        # As `publish` does, which knows what the tag holds.
        caught.value.message += "; it is as it was"
    assert (registry.made, world.slept) == (1, [])


def test_an_interruption_ends_the_waiting() -> None:
    world, registry = World(), Registry(absent=None)
    world.cancel.set(2)
    with pytest.raises(InterruptedRun):
        missing(world, None).writing(registry.write)
    assert registry.writes == 1


def test_a_name_is_shown_safely() -> None:
    world, registry = World(), Registry(absent=1)
    MissingRepository("evil\n::error::\x1b[2J", None, 5.0, world.runtime).writing(registry.write)
    message = world.heard(Noted)[0].message
    assert message.isprintable()
    assert "\n" not in message
