"""What is done once: by one of many threads, with one outcome for all, and an error that nobody can change for others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from manifestctl.errors import DeniedError
from manifestctl.once import Once

PATIENCE = 10


def test_threads_share_one_call() -> None:
    once = Once()
    calls: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        calls.append("slow")
        begun.set()
        assert go_on.wait(PATIENCE)
        return "result"

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(once.get, "key", slow) for _ in range(4)]
        assert begun.wait(PATIENCE)
        # Another key does not wait for it.
        assert once.get("other", lambda: "at once") == "at once"
        go_on.set()
    assert [future.result() for future in futures] == ["result"] * 4
    assert calls == ["slow"]


def test_nothing_is_remembered_too() -> None:
    once = Once()
    calls: list[str] = []
    for _ in range(2):
        once.get("key", lambda: calls.append("called"))
    assert calls == ["called"]


def failing(calls: list[str]) -> NoReturn:
    calls.append("called")
    raise DeniedError("no", hint="ask", statement="{}") from KeyError("the cause")


def test_an_error_is_remembered_and_nobody_who_adds_to_it_changes_it_for_others() -> None:
    once = Once()
    calls: list[str] = []
    for _ in range(3):
        with pytest.raises(DeniedError) as caught:
            once.get("key", lambda: failing(calls))
        error = caught.value
        assert (error.message, error.hint, error.statement) == ("no", "ask", "{}")
        assert isinstance(error.__cause__, KeyError)
        # As verbs do that know more of what was done.
        error.message += "; nothing was stored"
        error.hint = ""
    assert calls == ["called"]


def test_threads_get_an_error_of_their_own() -> None:
    once, together = Once(), threading.Barrier(4)
    calls: list[str] = []

    def ask(_: int) -> DeniedError:
        together.wait(PATIENCE)
        with pytest.raises(DeniedError) as caught:
            once.get("key", lambda: failing(calls))
        return caught.value

    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(ask, range(4)))
    assert len({id(error) for error in errors}) == 4
    assert calls == ["called"]


def test_a_bug_is_not_remembered() -> None:
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.get("key", lambda: 1 // 0)
    assert once.get("key", lambda: 1) == 1


def test_what_is_remembered_can_be_changed() -> None:
    once = Once()
    given: list[int | None] = []

    def step(held: int | None) -> int:
        given.append(held)
        return (held or 0) + 1

    assert [once.change("key", step) for _ in range(3)] == [1, 2, 3]
    assert given == [None, 1, 2]
    assert once.get("key", lambda: 0) == 3


def test_an_error_in_the_place_of_a_change_stays() -> None:
    once = Once()
    calls: list[str] = []
    assert once.get("key", lambda: 1) == 1
    for _ in range(2):
        with pytest.raises(DeniedError):
            once.change("key", lambda _: failing(calls))
    with pytest.raises(DeniedError):
        once.get("key", lambda: 1)
    assert calls == ["called"]


def test_a_bug_in_the_place_of_a_change_leaves_what_was_there() -> None:
    once = Once()
    assert once.get("key", lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        once.change("key", lambda held: (held or 0) // 0)
    assert once.get("key", lambda: 2) == 1
