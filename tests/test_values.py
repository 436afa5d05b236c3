from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    x: int
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Prepared:
    x: int
    doubled: int = field(init=False)
    seen: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.doubled = 2 * self.x


def test_what_is_left_out_has_its_default_which_is_shared_by_nobody() -> None:
    assert (Point(1).y, Point(1).words) == (0, {})
    assert Point(1).words is not Point(1).words
    assert Named(x=1).words is not Named(x=1).words
    assert Point(1, words={"a": "b"}, y=3) == Point(1, 3, "", "", {"a": "b"})


def test_what_is_not_given_is_made_afterwards() -> None:
    prepared = Prepared(4)
    assert (prepared.doubled, prepared.seen) == (8, [])
    assert prepared.seen is not Prepared(4).seen


@pytest.mark.parametrize(
    ("kind", "arguments", "given", "words"),
    [
        (Point, (), {}, "lacks the argument 'x'"),
        (Point, (1, 2, "n", "s", {}, 6), {}, "takes 5 positional arguments, not 6"),
        (Point, (1,), {"z": 2}, "takes no argument 'z'"),
        (Point, (1,), {"x": 2}, "takes no argument 'x', or it is given twice"),
        (Named, (1,), {}, "takes 0 positional arguments, not 1"),
        (Prepared, (1,), {"doubled": 2}, "takes no argument 'doubled'"),
    ],
)
def test_wrong_arguments_are_named(kind: Any, arguments: tuple[Any, ...], given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        kind(*arguments, **given)


def test_nothing_of_a_frozen_one_can_be_deleted() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x' cannot be set or deleted"):
        del point.x
    assert point.x == 1


@pytest.mark.parametrize("value", [Point(1, 2, "n", "s", {"a": "b"}), Counter(3), Ordered(4), Prepared(5)])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_it_can_be_copied(value: object, copied: Callable[[object], object]) -> None:
    assert copied(value) == value


@pytest.mark.parametrize("kind", [Point, Named, Prepared])
def test_the_signature_is_that_of_the_standard_one(kind: Any) -> None:
    standard = dataclasses.make_dataclass(
        "Same", [(f.name, f.type, f) for f in dataclasses.fields(kind)], kw_only=kind is Named
    )
    ours, theirs = inspect.signature(kind), inspect.signature(standard)
    assert [(p.name, p.kind, p.annotation) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.annotation) for p in theirs.parameters.values()
    ]


def test_order_is_by_the_fields() -> None:
    assert Ordered(1) < Ordered(2) <= Ordered(2)
    assert Ordered(3) > Ordered(2) >= Ordered(2)
    with pytest.raises(TypeError):
        assert Ordered(1) < Counter(2)  # type: ignore[operator]
    assert Ordered.__lt__(Ordered(1), 2) is NotImplemented
    assert Ordered.__le__(Ordered(1), 2) is NotImplemented


def test_nothing_is_compiled_for_a_class() -> None:
    methods = [vars(kind)[name] for kind in (Point, Counter) for name in ("__repr__", "__eq__", "__init__")]
    assert all("values.py" in method.__code__.co_filename for method in methods)
