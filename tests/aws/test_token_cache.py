"""The token cache: private, stale never used, damaged never trusted, and never a reason for a run to fail."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.aws.token_cache import TokenCache, cache_directory, forget_all
from manifestctl.aws.tokens import Token, as_json
from manifestctl.events import Warned
from tests.support.aws_run import amazon
from tests.support.privileges import NOBODY, unprivileged
from tests.support.running import LIMIT, ROOT
from tests.support.world import EPOCH, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.aws.hosts import EcrHost

HOUR = 3600.0
ID, OTHER_ID = "0" * 64, "f" * 64
PASSWORD = "secret-of-the-token"
TOKEN = Token("AWS", PASSWORD, "environment variables", EPOCH + 12 * HOUR, EPOCH + 11 * HOUR)
PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


HOST = amazon("public.ecr.aws")


class Scene:
    """A cache in a directory that may hold something already, and its world."""

    def __init__(self, directory: Path) -> None:
        self.world = World()
        self.directory = directory / "cache" / "tokens"
        self.cache = self.of(ID)

    def of(self, identity: str) -> TokenCache:
        return TokenCache(self.directory, identity, self.world.runtime)

    def path(self, host: EcrHost = HOST, identity: str = ID) -> Path:
        return self.directory / f"{host.host}-{identity}.json"

    def lay(self, content: bytes = b"", *, mode: int = 0o600) -> Path:
        """Lay down a file where the cache looks, by default one that it would use."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path()
        path.write_bytes(content or json.dumps(as_json(TOKEN)).encode())
        path.chmod(mode)
        return path

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.world.heard(Warned)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_is_kept_is_found_again(scene: Scene) -> None:
    assert scene.cache.read(HOST) is None
    scene.cache.write(HOST, TOKEN)
    assert scene.of(ID).read(HOST) == TOKEN
    assert scene.world.events == []


def test_it_is_for_its_owner_alone(scene: Scene) -> None:
    before = os.umask(0)
    try:
        scene.cache.write(HOST, TOKEN)
    finally:
        os.umask(before)
    assert stat.S_IMODE(scene.directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in scene.directory.iterdir()] == [0o600]
    assert [path.name for path in scene.directory.iterdir()] == [f"public.ecr.aws-{ID}.json"]


def test_each_registry_and_identity_has_its_own(scene: Scene) -> None:
    scene.cache.write(HOST, TOKEN)
    assert scene.cache.read(amazon("ecr-public.aws.com")) is None
    assert scene.cache.read(amazon(PRIVATE)) is None
    assert scene.of(OTHER_ID).read(HOST) is None


def test_a_new_one_takes_the_place_of_the_old(scene: Scene) -> None:
    scene.cache.write(HOST, TOKEN)
    fresh = replace(TOKEN, password="another")
    scene.of(ID).write(HOST, fresh)
    assert scene.cache.read(HOST) == fresh
    assert len(list(scene.directory.iterdir())) == 1


def test_one_that_is_dropped_is_gone(scene: Scene) -> None:
    scene.cache.forget(HOST)
    scene.cache.write(HOST, TOKEN)
    scene.of(OTHER_ID).write(HOST, TOKEN)
    scene.cache.forget(HOST)
    assert scene.cache.read(HOST) is None
    assert scene.of(OTHER_ID).read(HOST) == TOKEN


@pytest.mark.parametrize(
    ("passed", "found"), [(0.0, True), (11 * HOUR - 1, True), (11 * HOUR, False), (12 * HOUR, False), (1e9, False)]
)
def test_one_with_less_than_an_hour_left_is_not_used(scene: Scene, passed: float, found: bool) -> None:
    scene.cache.write(HOST, TOKEN)
    scene.world.advance(passed)
    assert (scene.cache.read(HOST) is not None) is found
    assert scene.warnings == []


@pytest.mark.parametrize(
    "fields",
    [
        {"fresh_until": EPOCH + 14 * HOUR, "expires": EPOCH + 15 * HOUR},
        {"fresh_until": 1e300, "expires": 1e300},
        {"fresh_until": 10**400, "expires": 10**400},
        {"fresh_until": EPOCH + 2 * HOUR, "expires": EPOCH + HOUR},
        {"fresh_until": EPOCH + 2 * HOUR, "expires": float("inf")},
        {"fresh_until": float("nan"), "expires": float("nan")},
        {"fresh_until": float("-inf")},
        {"password": "a\r\nb"},
        {"username": ""},
    ],
    ids=str,
)
def test_what_was_not_written_here_is_not_used(scene: Scene, fields: dict[str, Any]) -> None:
    scene.lay(json.dumps(as_json(TOKEN) | fields).encode())
    assert scene.cache.read(HOST) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\n",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"{}",
        b"[" * 50_000,
        json.dumps(as_json(TOKEN)).encode()[:-1],
        json.dumps(as_json(TOKEN) | {"more": "x" * 65536}).encode(),
        b'{"expires": ' + b"9" * 10_000 + b"}",
    ],
    ids=["empty", "cut", "bytes", "null", "list", "nothing", "deep", "torn", "huge", "number"],
)
def test_a_damaged_file_is_not_used_and_replaced(scene: Scene, content: bytes) -> None:
    scene.lay(content)
    assert scene.cache.read(HOST) is None
    scene.cache.write(HOST, TOKEN)
    assert scene.cache.read(HOST) == TOKEN
    assert scene.warnings == []


# What may not be trusted.


def a_link(scene: Scene) -> str:
    target = scene.lay().rename(scene.directory / "elsewhere")
    scene.path().symlink_to(target)
    return ""


def a_dangling_link(scene: Scene) -> str:
    scene.lay().unlink()
    scene.path().symlink_to(scene.directory / "absent")
    return ""


def open_to_the_group(scene: Scene) -> str:
    scene.lay(mode=0o640)
    return "others may look into it"


def open_to_all(scene: Scene) -> str:
    scene.lay(mode=0o606)
    return "others may look into it"


def a_fifo(scene: Scene) -> str:
    scene.lay().unlink()
    os.mkfifo(scene.path(), 0o600)
    return "not what it should be"


def somebody_elses(scene: Scene) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(scene.lay(), NOBODY, NOBODY)
    return "belongs to somebody else"


@pytest.mark.parametrize(
    "lay",
    [a_link, a_dangling_link, open_to_the_group, open_to_all, a_fifo, somebody_elses],
    ids=lambda lay: lay.__name__,
)
def test_a_file_that_may_not_be_trusted_is_replaced(scene: Scene, lay: Callable[[Scene], str]) -> None:
    why = lay(scene)
    assert scene.cache.read(HOST) is None
    assert len(scene.warnings) == bool(why)
    assert all(str(scene.path()) in text and why in text for text in scene.warnings)
    scene.cache.write(HOST, TOKEN)
    assert not scene.path().is_symlink()
    assert stat.S_IMODE(scene.path().stat().st_mode) == 0o600
    assert scene.of(ID).read(HOST) == TOKEN
    assert not (scene.directory / "absent").exists()


def test_a_directory_in_the_place_of_the_file(scene: Scene) -> None:
    scene.lay().unlink()
    (scene.path() / "more").mkdir(parents=True)
    assert scene.cache.read(HOST) is None
    scene.cache.write(HOST, TOKEN)
    scene.cache.forget(HOST)
    assert scene.of(ID).read(HOST) is None
    assert len(scene.warnings) == 3
    assert sorted(path.name for path in scene.directory.iterdir()) == [scene.path().name]


def linked(scene: Scene) -> str:
    scene.lay()
    moved = scene.directory.rename(scene.directory.parent / "moved")
    scene.directory.symlink_to(moved)
    return "it is a link"


def open_directory(scene: Scene) -> str:
    scene.lay()
    scene.directory.chmod(0o755)
    return "others may look into it"


def foreign_directory(scene: Scene) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    scene.lay()
    os.chown(scene.directory, NOBODY, NOBODY)
    return "belongs to somebody else"


@pytest.mark.parametrize("lay", [linked, open_directory, foreign_directory], ids=lambda lay: lay.__name__)
def test_a_directory_that_may_not_be_trusted_is_not_used(scene: Scene, lay: Callable[[Scene], str]) -> None:
    why = lay(scene)
    before = sorted(path.name for path in scene.directory.iterdir())
    assert scene.cache.read(HOST) is None
    scene.cache.write(amazon(PRIVATE), TOKEN)
    assert sorted(path.name for path in scene.directory.iterdir()) == before
    # Once, however often it is met.
    assert len(scene.warnings) == 1
    assert scene.warnings[0].startswith(f"the token cache {scene.directory} is not used: ")
    assert why in scene.warnings[0]


# Where nothing can be kept.


def test_a_file_in_the_place_of_the_directory(scene: Scene) -> None:
    scene.directory.parent.mkdir()
    scene.directory.write_text("x")
    assert scene.cache.read(HOST) is None
    scene.cache.write(HOST, TOKEN)
    scene.cache.forget(HOST)
    assert [text for text in scene.warnings if "File exists" in text] == scene.warnings != []
    assert scene.directory.read_text() == "x"


def readable_to_all(directory: Path) -> None:
    for parent in directory.parents:
        if parent.stat().st_uid == os.geteuid() and len(parent.parts) > 2:
            parent.chmod(0o755)


def test_a_home_that_may_not_be_written_costs_a_warning(scene: Scene) -> None:
    scene.directory.parent.mkdir(mode=0o555)
    readable_to_all(scene.directory.parent)
    with unprivileged():
        assert scene.cache.read(HOST) is None
        scene.cache.write(HOST, TOKEN)
        scene.cache.write(HOST, TOKEN)
    assert scene.warnings == [
        f"the token cache {scene.directory} is not used: Permission denied; the next run gets another token"
    ]
    assert PASSWORD not in repr(scene.world.events)


def test_a_full_disk_leaves_what_was_there(scene: Scene) -> None:
    scene.cache.write(HOST, TOKEN)
    scene.directory.chmod(0o500)
    if os.geteuid() == 0:
        os.chown(scene.directory, NOBODY, NOBODY)
        os.chown(scene.path(), NOBODY, NOBODY)
        readable_to_all(scene.directory)
    try:
        with unprivileged():
            scene.cache.write(HOST, replace(TOKEN, password="another"))
            assert scene.cache.read(HOST) == TOKEN
    finally:
        scene.directory.chmod(0o700)
    assert len(scene.warnings) == 1


@pytest.mark.parametrize("path", [Path("/dev/null/tokens"), Path("/proc/manifestctl/tokens")])
def test_a_place_that_cannot_be(path: Path) -> None:
    world = World()
    cache = TokenCache(path, ID, world.runtime)
    assert cache.read(HOST) is None
    cache.write(HOST, TOKEN)
    cache.forget(HOST)
    assert len(world.heard(Warned)) == 1


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"HOME": "/home/u"}, "linux", "/home/u/.cache/manifestctl/tokens"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/c"}, "linux", "/c/manifestctl/tokens"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "c"}, "linux", "/home/u/.cache/manifestctl/tokens"),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": ""}, "linux", "/home/u/.cache/manifestctl/tokens"),
        ({"XDG_CACHE_HOME": "/c"}, "linux", "/c/manifestctl/tokens"),
        ({"HOME": "/Users/u"}, "darwin", "/Users/u/Library/Caches/manifestctl/tokens"),
        ({"HOME": "/Users/u", "XDG_CACHE_HOME": "/c"}, "darwin", "/c/manifestctl/tokens"),
        ({"XDG_CACHE_HOME": "c"}, "linux", None),
        ({"HOME": ""}, "linux", None),
        ({}, "darwin", None),
    ],
)
def test_where_it_is(environ: dict[str, str], platform: str, expected: str | None) -> None:
    assert cache_directory(environ, platform) == (Path(expected) if expected else None)


# Tidiness.


def test_what_no_token_gets_as_old_as_is_removed(scene: Scene) -> None:
    old = [scene.path(identity="a" * 64), scene.directory / f".public.ecr.aws-{'a' * 20}.{'0' * 16}.tmp"]
    kept = [scene.path(identity="b" * 64), scene.directory / "notes.txt", scene.directory / "x-y.json"]
    scene.lay()
    now = scene.path().stat().st_mtime
    for path in [*old, *kept]:
        path.write_text("x")
        os.utime(path, (now - 12 * HOUR - 1,) * 2)
    os.utime(kept[0], (now - 11 * HOUR,) * 2)
    scene.cache.write(HOST, TOKEN)
    assert sorted(scene.directory.iterdir()) == sorted([scene.path(), *kept])


def test_logging_out_drops_the_tokens_of_all_identities(scene: Scene) -> None:
    long = amazon(f"123456789012.dkr.ecr.{'x' * 40}.amazonaws.com")
    for identity in (ID, OTHER_ID):
        for host in (HOST, amazon(PRIVATE), long):
            scene.of(identity).write(host, TOKEN)
    for host in (HOST, long):
        (scene.directory / f".{scene.path(host).name[:50]}.{'0' * 16}.tmp").write_text(PASSWORD)
    assert forget_all(HOST, scene.directory) == 2
    assert forget_all(long, scene.directory) == 2
    assert sorted(scene.directory.iterdir()) == sorted(
        scene.path(amazon(PRIVATE), identity) for identity in (ID, OTHER_ID)
    )
    assert forget_all(HOST, scene.directory) == 0


def test_logging_out_touches_nothing_else(scene: Scene) -> None:
    scene.lay()
    others = [
        "public.ecr.aws-x.json",
        f"public.ecr.aws-{ID}.json.bak",
        f"x.public.ecr.aws-{ID}.json",
        "public.ecr.aws-",
    ]
    for name in others:
        (scene.directory / name).write_text("x")
    assert forget_all(HOST, scene.directory) == 1
    assert sorted(path.name for path in scene.directory.iterdir()) == sorted(others)


def test_logging_out_where_nothing_was_ever_kept(tmp_path: Path) -> None:
    assert forget_all(HOST, tmp_path / "absent") == 0
    (tmp_path / "file").write_text("x")
    assert forget_all(HOST, tmp_path / "file") == 0


def test_logging_out_says_what_cannot_be_dropped(scene: Scene) -> None:
    scene.lay().unlink()
    scene.path().mkdir()
    with pytest.raises(OSError, match=r"irectory|permitted"):
        forget_all(HOST, scene.directory)


# Parallel processes.

WRITER = """
import sys
from pathlib import Path
from manifestctl.aws.hosts import ecr_host
from manifestctl.aws.token_cache import TokenCache
from manifestctl.aws.tokens import Token
from tests.support.world import EPOCH, World

world = World()
cache = TokenCache(Path(sys.argv[1]), "0" * 64, world.runtime)
host = ecr_host("public.ecr.aws")
seen = set()
for number in range(150):
    # Long and short ones in turn, so that a torn one could not be read.
    cache.write(host, Token("AWS", sys.argv[2] * (1 + number % 2 * 5000), "x", EPOCH + 43200, EPOCH + 39600))
    token = cache.read(host)
    seen.add(token and (token.password[0], len(token.password), len(set(token.password))))
assert world.events == [], world.events
assert seen <= {(letter, length, 1) for letter in "abc" for length in (1, 5001)}, seen
"""


def test_processes_that_write_at_once_never_read_half_a_token(scene: Scene) -> None:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(scene.directory)]
    processes = [
        subprocess.Popen([*command, letter], env=environ, stderr=subprocess.PIPE, text=True) for letter in "abc"
    ]
    ended = [process.communicate(timeout=LIMIT)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert [path.name for path in scene.directory.iterdir()] == [scene.path().name]
