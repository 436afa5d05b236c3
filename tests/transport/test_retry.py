"""Retries: what is tried again and how long is waited, by a clock that jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    IntegrityError,
    InterruptedRun,
    ManifestctlError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import Retried
from manifestctl.transport.meter import Meter
from manifestctl.transport.retry import Retries, retry_after
from tests.support.world import EPOCH, World

NOW = datetime.fromtimestamp(EPOCH, UTC)


class Operation:
    """Fails with these errors, one a call, then returns ``"done"``; each call takes ``seconds``."""

    def __init__(self, world: World, *errors: ManifestctlError, seconds: float = 0.0) -> None:
        self.world = world
        self.errors = list(errors)
        self.seconds = seconds
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.world.advance(self.seconds)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def passing(message: str = "busy", *, after: float | None = None, unknown: bool = False) -> UnreachableError:
    return UnreachableError(message, transient=True, retry_after=after, outcome_unknown=unknown)


def retries(world: World, *, tries: int = 5, deadline: float = 300.0, meter: Meter | None = None) -> Retries:
    return Retries(world.runtime, meter or Meter(), tries=tries, deadline=deadline)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("1.5", None),
        ("-1", None),
        ("+3", None),
        ("٣", None),
        ("²", None),
        ("soon", None),
        ("7 seconds", None),
        ("9" * 400, 999999999999.0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0.0),
        (format_datetime((NOW + timedelta(seconds=30)).replace(tzinfo=None)), 30.0),
        ((NOW + timedelta(seconds=30)).strftime("%a %b %d %H:%M:%S %Y"), 30.0),
        ((NOW + timedelta(seconds=30)).strftime("%A, %d-%b-%y %H:%M:%S GMT"), 30.0),
        ("Tue, 99 Nov 2023 22:13:50 GMT", None),
        ("Tue, 14 Nov 99999 22:13:50 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, EPOCH) == seconds


def test_a_date_without_a_zone_is_in_gmt_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after((NOW + timedelta(seconds=30)).strftime("%a %b %d %H:%M:%S %Y"), EPOCH) == 30.0
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_success_at_once_waits_for_nothing() -> None:
    world, meter = World(), Meter()
    operation = Operation(world)
    assert retries(world, meter=meter).run("GET it", operation) == "done"
    assert (operation.calls, world.slept, world.events) == (1, [], [])
    assert meter.counts()["retried"] == 0


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("not passing"),
        DeniedError("denied"),
        NotFoundError("not there"),
        ConflictError("immutable"),
        IntegrityError("wrong bytes"),
        InterruptedRun(15),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("before", [0, 2])
def test_only_what_passes_is_tried_again(error: ManifestctlError, before: int) -> None:
    world = World()
    operation = Operation(world, *(passing() for _ in range(before)), error)
    with pytest.raises(type(error)) as raised:
        retries(world).run("GET it", operation)
    assert raised.value is error
    assert operation.calls == before + 1
    assert len(world.slept) == before


@pytest.mark.parametrize("failures", [1, 2, 4])
def test_it_is_tried_again_until_it_works(failures: int) -> None:
    world, meter = World(), Meter()
    operation = Operation(world, *(passing(f"busy {number}") for number in range(failures)))
    assert retries(world, meter=meter).run("GET manifest of r/a:1", operation) == "done"
    assert operation.calls == failures + 1
    assert meter.counts()["retried"] == failures
    heard = world.heard(Retried)
    assert [(event.operation, event.reason, event.attempt, event.attempts) for event in heard] == [
        ("GET manifest of r/a:1", f"busy {number}", number + 1, 5) for number in range(failures)
    ]
    assert [event.delay for event in heard] == world.slept


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_after_so_many_tries_the_last_error_is_raised(tries: int) -> None:
    world = World()
    operation = Operation(world, *(passing(f"busy {number}") for number in range(10)))
    with pytest.raises(UnreachableError, match=f"busy {tries - 1}"):
        retries(world, tries=tries).run("GET it", operation)
    assert operation.calls == tries
    assert len(world.slept) == tries - 1


@pytest.mark.parametrize(
    ("chance", "slept"),
    [
        (0.0, [0.0] * 7),
        (0.5, [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]),
        (0.999999, [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]),
    ],
)
def test_the_wait_is_drawn_from_all_of_a_growing_span(chance: float, slept: list[float]) -> None:
    world = World(chance=lambda: chance)
    with pytest.raises(UnreachableError):
        retries(world, tries=8).run("GET it", Operation(world, *(passing() for _ in range(8))))
    assert world.slept == pytest.approx(slept, rel=1e-4)


@pytest.mark.parametrize(("after", "slept"), [(0.0, 1.0), (0.2, 1.0), (7.0, 7.0), (200.0, 200.0)])
def test_the_server_may_ask_for_a_longer_wait_not_for_a_shorter_one(after: float, slept: float) -> None:
    world = World(chance=lambda: 0.999999)
    retries(world).run("GET it", Operation(world, passing(after=after)))
    assert world.slept == pytest.approx([slept], rel=1e-4)


@pytest.mark.parametrize("before", [0, 1])
def test_a_wait_past_the_deadline_fails_at_once_and_says_so(before: int) -> None:
    world = World(chance=lambda: 0.0)
    operation = Operation(world, *(passing() for _ in range(before)), passing("429", after=301.0))
    with pytest.raises(UnreachableError) as raised:
        retries(world).run("GET it", operation)
    assert operation.calls == before + 1
    assert world.slept == [0.0] * before
    assert str(raised.value) == "429; it asks to wait 301 s, which is past the deadline of 300 s"


def test_the_deadline_is_over_all_tries() -> None:
    world = World(chance=lambda: 0.0)
    operation = Operation(world, *(passing() for _ in range(10)), seconds=40.0)
    with pytest.raises(UnreachableError, match=r"^busy$"):
        retries(world, tries=10, deadline=100.0).run("GET it", operation)
    assert operation.calls == 3


def test_an_unknown_outcome_stays_unknown() -> None:
    world = World()
    operation = Operation(world, passing("reset", unknown=True), passing("refused"), UnreachableError("no TLS"))
    with pytest.raises(UnreachableError, match="no TLS") as raised:
        retries(world).run("PUT it", operation)
    assert raised.value.outcome_unknown


def test_an_outcome_that_was_never_unknown_is_known() -> None:
    world = World()
    with pytest.raises(UnreachableError) as raised:
        retries(world, tries=2).run("PUT it", Operation(world, passing("refused"), passing("refused")))
    assert not raised.value.outcome_unknown


def test_a_cancelled_run_does_not_go_on_waiting() -> None:
    world = World()

    def fail() -> str:
        world.cancel.set(2)
        raise passing()

    with pytest.raises(InterruptedRun) as raised:
        retries(world).run("GET it", fail)
    assert raised.value.exit_code == 130


def test_what_names_the_operation_is_made_harmless() -> None:
    world = World()
    retries(world).run("GET a\n::add-mask::b", Operation(world, passing()))
    assert world.heard(Retried)[0].operation == "GET a\\n::add-mask::b"
