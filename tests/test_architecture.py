"""The house rules that a reader can rely on: floors, the room of each library, the home of host names, the public names."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import manifestctl

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(manifestctl.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A room may import from rooms on lower floors, and from itself. The package's own __init__ only names what is public.
FLOORS = {
    "errors": 0,
    "files": 0,
    "once": 0,
    "parallel": 0,
    "events": 0,
    "text": 0,
    "runtime": 0,
    "values": 0,
    "spool": 0,
    "model": 1,
    "validation": 2,
    "transport": 2,
    "compression": 2,
    "aws": 3,
    "stores": 4,
    "releases": 5,
    "verbs": 6,
    "cli": 7,
    "__main__": 8,
}

# The one room in which a third-party library may be imported.
LIBRARIES = {
    "typer": "cli",
    "rich": "cli",
    "httpx": "transport",
    "httpcore": "transport",
    "certifi": "transport",
    "tenacity": "transport",
    "jsonschema": "validation",
    "referencing": "validation",
    "boto3": "aws",
    "botocore": "aws",
    "yaml": "releases",
    "isal": "compression",
    "backports": "compression",
    "compression": "compression",  # the standard library's own from Python 3.14 on
}

REGISTRY_HOST = re.compile(
    r"\b(?:[a-z0-9-]+\.)*(?:docker\.io|docker\.com|ghcr\.io|gcr\.io|pkg\.dev|quay\.io|mcr\.microsoft\.com|azurecr\.io"
    r"|ecr\.aws|amazonaws\.(?:com|eu)|on\.aws|ecr-public\.aws\.com|gitlab\.com)\b"
)
MODULE_LIMIT = 350
FUNCTION_LIMIT = 50


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports_of(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield line, dotted name, and whether it is for type checkers alone."""
    typing_only = {
        id(inner)
        for node in nodes_of(path)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}", id(node) in typing_only


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for line, name, _ in imports_of(path):
        parts = name.split(".")
        if parts[0] != "manifestctl" or parts[1] == "__version__":
            continue
        other = parts[1]
        assert other in FLOORS, f"{path}:{line}: {other} has no floor"
        assert other == room or FLOORS[other] < FLOORS[room] or FLOORS[other] == FLOORS[room] == 0, (
            f"{relative(path)}:{line}: {room} (floor {FLOORS[room]}) imports {name} (floor {FLOORS[other]})"
        )


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in SOURCES} - {"__init__"}
    assert rooms <= FLOORS.keys()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for line, name, _ in imports_of(path):
        library = name.split(".")[0]
        if library == "manifestctl" or library in sys.stdlib_module_names:
            continue
        assert library in LIBRARIES, f"{relative(path)}:{line}: {library} has no room; give it one in LIBRARIES"
        assert room_of(path) == LIBRARIES[library], (
            f"{relative(path)}:{line}: {library} belongs to {LIBRARIES[library]}"
        )


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path) == "aws"], ids=relative)
def test_boto3_is_imported_when_it_is_called(path: Path) -> None:
    inside = {
        node.lineno
        for function in nodes_of(path)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    for line, name, typing_only in imports_of(path):
        assert typing_only or line in inside or name.split(".")[0] not in ("boto3", "botocore"), (
            f"{relative(path)}:{line}: it takes a fifth of a second, which a run with a kept token does not pay"
        )


def literals_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the string literals that are not docstrings."""
    docstrings = {
        id(node.value)
        for node in nodes_of(path)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for node in nodes_of(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_hosts_of_registries_stand_in_one_place(path: Path) -> None:
    # Docker's short names are part of the grammar of references, which is where their host is named.
    if relative(path) in ("transport/profiles.py", "model/reference.py") or room_of(path) == "aws":
        return
    found = [(line, text) for line, text in literals_of(path) if REGISTRY_HOST.search(text)]
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_the_library_neither_prints_nor_exits_nor_reads_the_environment(path: Path) -> None:
    if room_of(path) in ("cli", "__main__"):
        return
    for node in nodes_of(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exit", "quit"), f"{relative(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            dotted = f"{node.value.id}.{node.attr}"
            assert dotted not in ("os.environ", "os.getenv", "sys.exit", "sys.stdout", "sys.stderr", "time.sleep"), (
                f"{relative(path)}:{node.lineno}: {dotted}"
            )


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_rooms_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MODULE_LIMIT, f"{relative(path)} has {text.count(chr(10))} lines"
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            # A command's parameters are its options, one a line or more; its body is what is measured.
            first = node.body[0].lineno if relative(path).startswith("cli/") else node.lineno
            assert node.end_lineno - first + 1 <= FUNCTION_LIMIT, f"{relative(path)}:{node.lineno} {node.name}"


def test_public_names_are_exactly_all() -> None:
    assert sorted({*manifestctl._HOMES, "__version__"}) == sorted(manifestctl.__all__)
    assert dir(manifestctl) == sorted(manifestctl.__all__)
    for name in manifestctl.__all__:
        assert getattr(manifestctl, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = manifestctl.no_such_name


def test_public_names_for_type_checkers_are_the_same() -> None:
    named = {name.split(".")[-1] for _, name, typing_only in imports_of(PACKAGE / "__init__.py") if typing_only}
    assert named - {"TYPE_CHECKING"} == set(manifestctl._HOMES)


@pytest.mark.parametrize("name", [name for name in manifestctl.__all__ if name not in ("__version__", "Location")])
def test_public_names_are_documented(name: str) -> None:
    assert (getattr(manifestctl, name).__doc__ or "").strip()
