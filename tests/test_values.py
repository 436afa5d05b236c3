from __future__ import annotations

import dataclasses
import inspect
from dataclasses import field, replace

import pytest

from manifestctl.values import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A point."""

    x: int
    y: int = 0
    name: str = field(default="", compare=False)
    secret: str = field(default="", repr=False)
    words: dict[str, str] = field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    x: int
    y: int = 0
    name: str = field(default="", compare=False)
    secret: str = field(default="", repr=False)
    words: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class Counter:
    count: int = 0


@dataclass(frozen=True, slots=True)
class Loud:
    x: int

    def __repr__(self) -> str:
        return "LOUD"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


@dataclass(frozen=True, slots=True, order=True)
class Ordered:
    x: int


@dataclass
class Bare:
    x: int


ARGUMENTS = [(1,), (1, 2), (1, 2, "n"), (1, 2, "n", "s"), (1, 2, "n", "s", {"a": "b"})]


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_it_shows_itself_as_the_standard_one(arguments: tuple[int]) -> None:
    assert repr(Point(*arguments)) == repr(Standard(*arguments)).replace("Standard", "Point")


@pytest.mark.parametrize("left", ARGUMENTS)
@pytest.mark.parametrize("right", ARGUMENTS)
def test_it_compares_and_hashes_as_the_standard_one(left: tuple[int], right: tuple[int]) -> None:
    equal = Standard(*left) == Standard(*right)
    assert (Point(*left) == Point(*right)) is equal
    assert (hash(Point(*left)) == hash(Point(*right))) is (hash(Standard(*left)) == hash(Standard(*right)))


def test_another_class_is_never_equal() -> None:
    assert Point(1) != Standard(1)  # type: ignore[comparison-overlap]
    assert Counter(1) != Bare(1)  # type: ignore[comparison-overlap]


def test_it_is_a_dataclass_with_slots_and_frozen() -> None:
    point = Point(1, 2)
    assert dataclasses.is_dataclass(point)
    assert not hasattr(point, "__dict__")
    assert replace(point, y=3) == Point(1, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    assert list(inspect.signature(Point).parameters) == ["x", "y", "name", "secret", "words"]


def test_what_can_change_has_no_hash() -> None:
    counter = Counter(1)
    counter.count += 1
    assert counter == Counter(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)


def test_what_a_class_defines_itself_stays() -> None:
    assert repr(Loud(1)) == "LOUD"
    assert Loud(1) == Loud(2)
    assert hash(Loud(3)) == 7


def test_order_and_bare_use() -> None:
    assert sorted([Ordered(2), Ordered(1)]) == [Ordered(1), Ordered(2)]
    assert Bare(1) == Bare(1)
    assert repr(Bare(1)) == "Bare(x=1)"
