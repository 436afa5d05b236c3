"""What is stored, where, and that all else in the file stays; what is erased; and files that cannot be used."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DeniedError, InputError
from manifestctl.transport.credential_writer import CredentialWriter, Stored
from manifestctl.transport.credentials import Chain
from manifestctl.transport.docker_config import file_sources
from tests.support.helper_programs import HelperPrograms
from tests.transport.runtimes import World

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "registry.example"
HUB_KEY = "https://index.docker.io/v1/"
SECRET = "pa:ss-wörd\n"
posix = pytest.mark.skipif(os.name != "posix", reason="modes, owners and shell scripts are POSIX's")


class Desk:
    """A home with Docker's file in it, and what writes it."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir()
        self.path = self.home / ".docker" / "config.json"
        self.helpers = HelperPrograms(root)
        self.world = World({"HOME": str(self.home), **self.helpers.environ})

    def writer(self, authfile: Path | None = None) -> CredentialWriter:
        return CredentialWriter.of_system(self.world.runtime, authfile)

    def put(self, document: object, path: Path | None = None) -> Path:
        path = path or self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    @property
    def document(self) -> Any:
        return json.loads(self.path.read_text())

    def store(self, registry: str = REGISTRY) -> Stored:
        return self.writer().store(registry, "ci", SECRET)

    def found(self, registry: str = REGISTRY, authfile: Path | None = None) -> tuple[str, str] | None:
        """Return user and password that a run would find."""
        credential = Chain(file_sources(self.world.runtime, authfile)).credential(registry, "web")
        return (credential.username, credential.password) if credential else None


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# In the file.


@posix
def test_a_file_is_made_for_its_user_alone(desk: Desk) -> None:
    assert desk.store() == Stored(str(desk.path), plain=True)
    assert (mode(desk.path), mode(desk.path.parent)) == (0o600, 0o700)
    entry = desk.document["auths"][REGISTRY]
    assert list(entry) == ["auth"]
    assert b64decode(entry["auth"]).decode() == f"ci:{SECRET}"
    assert desk.found() == ("ci", SECRET)
    assert [path.name for path in desk.path.parent.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        (REGISTRY, REGISTRY),
        ("registry.example:5000", "registry.example:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("docker.io", HUB_KEY),
        ("index.docker.io", HUB_KEY),
        ("public.ecr.aws", "public.ecr.aws"),
    ],
)
def test_the_key_is_dockers(desk: Desk, registry: str, key: str) -> None:
    desk.store(registry)
    assert list(desk.document["auths"]) == [key]
    assert desk.found(registry) == ("ci", SECRET)


FULL = """{
  "zeta": {"b": 1, "a": [1.5, null, true]},
  "auths": {
    "other.example": {"auth": "b3RoZXI6eA==", "email": "x"},
    "registry.example": {"auth": "b2xkOng=", "identitytoken": "old"},
    "third.example": {}
  },
  "HttpHeaders": {"User-Agent": "ümlaut <&>"},
  "credHelpers": {"fourth.example": "x"}
}
"""


def test_all_else_stays_in_its_order(desk: Desk) -> None:
    desk.put(FULL)
    before = json.loads(FULL)
    desk.store()
    after = desk.document
    assert list(after) == list(before)
    assert list(after["auths"]) == list(before["auths"])
    assert list(after["auths"][REGISTRY]) == ["auth"]
    del after["auths"][REGISTRY], before["auths"][REGISTRY]
    assert after == before
    text = desk.path.read_text()
    assert '\n  "zeta"' in text
    assert "ümlaut <&>" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{\n\t"x": 1\n}', '{\n\t"x": 1,\n\t"auths": {'),
        ('{\r\n    "x": 1\r\n}\r\n', '{\n    "x": 1,\n    "auths": {'),
        ('{"x":1}', '{\n\t"x": 1,\n\t"auths": {'),
        ("", '{\n\t"auths": {'),
        (" \n", '{\n\t"auths": {'),
        ('{"auths":null}', '{\n\t"auths": {'),
        ('{"Auths":{}, "x":1}', '{\n\t"Auths": {'),
    ],
)
def test_forms_of_files(desk: Desk, content: str, expected: str) -> None:
    desk.put(content)
    desk.store()
    text = desk.path.read_text()
    assert text.startswith(expected)
    assert text.endswith("\n") == (not content.strip() or content.endswith("\n"))
    assert desk.found() == ("ci", SECRET)


@posix
@pytest.mark.parametrize("before", [0o600, 0o640, 0o644, 0o666, 0o400])
def test_the_mode_stays_and_it_is_known_whether_others_may_read(desk: Desk, before: int) -> None:
    desk.put({}).chmod(before)
    umask = os.umask(0o077)
    try:
        stored = desk.store()
    finally:
        os.umask(umask)
    assert mode(desk.path) == before
    assert stored.shared == bool(before & 0o077)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(desk: Desk) -> None:
    os.chown(desk.put({}), 12345, 12346)
    desk.store()
    state = desk.path.stat()
    assert (state.st_uid, state.st_gid) == (12345, 12346)


@posix
def test_a_link_stays_a_link(desk: Desk, tmp_path: Path) -> None:
    real = desk.put({"x": 1}, tmp_path / "elsewhere" / "real.json")
    desk.path.parent.mkdir()
    desk.path.symlink_to(real)
    desk.store()
    assert desk.path.is_symlink()
    assert json.loads(real.read_text())["x"] == 1
    assert desk.found() == ("ci", SECRET)
    assert desk.writer().erase(REGISTRY).places == (str(desk.path),)
    assert desk.path.is_symlink()


@posix
def test_a_link_to_nothing_gets_its_file(desk: Desk, tmp_path: Path) -> None:
    desk.path.parent.mkdir()
    desk.path.symlink_to(tmp_path / "new" / "real.json")
    desk.store()
    assert desk.path.is_symlink()
    assert mode(tmp_path / "new" / "real.json") == 0o600


@posix
def test_many_at_once_lose_nothing(desk: Desk) -> None:
    names = [f"r{number}.example" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(desk.store, names))
    assert set(desk.document["auths"]) == set(names)


@posix
@pytest.mark.parametrize("act", ["store", "erase", "erase nothing"])
def test_what_a_killed_process_has_left_is_removed(desk: Desk, act: str) -> None:
    if act == "erase":
        desk.store()
    desk.path.parent.mkdir(exist_ok=True)
    left, others = desk.path.with_name(f".config.json.{'0' * 16}.tmp"), [".config.json.tmp", f".x.{'0' * 16}.tmp"]
    left.write_text(SECRET)
    for name in others:
        desk.path.with_name(name).write_text("of somebody else")
    if act == "store":
        desk.store()
    else:
        desk.writer().erase(REGISTRY)
    kept = [] if act == "erase nothing" else ["config.json"]
    assert sorted(path.name for path in desk.path.parent.iterdir()) == sorted([*others, *kept])


@posix
def test_where_directories_have_no_locks_it_works_without(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    desk.store()
    assert desk.found() == ("ci", SECRET)


# Files that cannot be used.


MALFORMED = {
    "no JSON": ('{"auths": {\n  "a" 1}}', "is not JSON: Expecting ':' delimiter (line 2, column 7)"),
    "cut off": ('{"auths": {', "is not JSON: Expecting property name enclosed in double quotes (line 1, column 12)"),
    "a list": ("[]", "is not a JSON object"),
    "auths is a list": ('{"auths": []}', "'auths' is not a JSON object"),
    "twice": ('{"auths": {}, "auths": {}}', "'auths' stands twice"),
    "twice in other case": ('{"auths": {}, "Auths": {}}', "'auths' and 'Auths'"),
    "helpers": ('{"credHelpers": 1}', "'credHelpers' is not a JSON object"),
    "store": ('{"credsStore": 1}', "'credsStore' is not a string"),
    "a helper": ('{"credHelpers": {"registry.example": 1}}', "is not a string"),
    "not text": ("\ufeff{}", "byte-order mark"),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_never_written(desk: Desk, case: tuple[str, str]) -> None:
    content, why = case
    desk.put(content)
    for act in (desk.store, lambda: desk.writer().erase(REGISTRY)):
        with pytest.raises(InputError) as caught:
            act()
        assert str(desk.path) in caught.value.message
        assert why in caught.value.message
    assert desk.path.read_text() == content
    assert len(list(desk.path.parent.iterdir())) == 1


def test_no_file_is_half_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put(FULL)

    def full_disk(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(InputError, match=r"config\.json cannot be written: No space left on device") as caught:
        desk.store()
    assert "--authfile" in caught.value.hint
    assert desk.path.read_text() == FULL
    assert len(list(desk.path.parent.iterdir())) == 1


@posix
@pytest.mark.parametrize("kind", ["fifo", "directory", "loop"])
def test_what_is_no_file_is_neither_read_nor_replaced(desk: Desk, kind: str) -> None:
    desk.path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(desk.path)
    elif kind == "directory":
        desk.path.mkdir()
    else:
        desk.path.symlink_to(desk.path)
    for act in (desk.writer().read, desk.store):
        with pytest.raises(InputError, match="cannot read credential file"):
            act()
    assert not desk.path.is_file()


@pytest.mark.parametrize("name", ["nul\0.json", "file/below.json"])
def test_paths_that_are_none(desk: Desk, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be"):
        desk.writer(tmp_path / name).store(REGISTRY, "ci", SECRET)


def test_without_a_home_there_is_no_place(desk: Desk) -> None:
    desk.world.environ = {}
    with pytest.raises(InputError, match="the user has no home directory") as caught:
        desk.writer()
    assert "--authfile" in caught.value.hint


def test_a_file_that_is_named_is_the_one(desk: Desk, tmp_path: Path) -> None:
    desk.put({"auths": {REGISTRY: {"auth": "eDp5"}}})
    named = tmp_path / "auth.json"
    desk.world.environ = {**desk.world.environ, "REGISTRY_AUTH_FILE": str(named)}
    assert desk.store().place == str(named)
    assert desk.found() == ("ci", SECRET)
    assert desk.writer().left_elsewhere(REGISTRY) == (str(desk.path),)
    assert desk.writer().erase(REGISTRY).places == (str(named),)
    assert desk.document["auths"] == {REGISTRY: {"auth": "eDp5"}}


@pytest.mark.parametrize("variable", [True, False])
def test_dockers_directory(desk: Desk, tmp_path: Path, variable: bool) -> None:
    if variable:
        desk.world.environ = {"DOCKER_CONFIG": str(tmp_path / "own")}
    stored = desk.store()
    assert stored.place == str((tmp_path / "own" if variable else desk.path.parent) / "config.json")


def test_an_authfile_is_made_with_its_directories(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "auth.json"
    desk.writer(path).store(REGISTRY, "ci", SECRET)
    assert desk.found(authfile=path) == ("ci", SECRET)
    assert not desk.path.exists()


# Helpers.


@posix
@pytest.mark.parametrize(
    "named", [{"credsStore": "test"}, {"credHelpers": {REGISTRY: "test"}, "credsStore": "nothing"}]
)
def test_a_helper_keeps_it_and_the_file_an_empty_entry(desk: Desk, named: dict[str, Any]) -> None:
    desk.helpers.keeping("test")
    desk.put(named | {"auths": {REGISTRY: {"auth": "b2xkOm9sZA=="}}})
    stored = desk.store()
    assert not stored.plain
    assert stored.place.startswith("docker-credential-test (cred")
    assert stored.place.endswith(f" in {desk.path})")
    assert desk.helpers.kept() == {REGISTRY: {"ServerURL": REGISTRY, "Username": "ci", "Secret": SECRET}}
    assert desk.document == named | {"auths": {REGISTRY: {}}}
    assert desk.found() == ("ci", SECRET)


@posix
def test_a_helper_is_given_dockers_name_of_its_hub(desk: Desk) -> None:
    desk.helpers.keeping("test")
    desk.put({"credsStore": "test"})
    desk.store("docker.io")
    assert list(desk.helpers.kept()) == [HUB_KEY]
    assert desk.document["auths"] == {HUB_KEY: {}}


@pytest.mark.parametrize(("given", "key"), [(True, "docker.io"), (False, HUB_KEY)])
def test_dockers_hub_is_stored_under_the_key_that_the_readers_of_the_file_look_for(
    desk: Desk, tmp_path: Path, given: bool, key: str
) -> None:
    path = tmp_path / "auth.json" if given else desk.path
    # What another program left under another key is not what is found.
    desk.put({"auths": {name: {"auth": "eDp5"} for name in (HUB_KEY, "docker.io")}}, path)
    writer = desk.writer(path if given else None)
    writer.store("docker.io", "ci", SECRET)
    auths = json.loads(path.read_text())["auths"]
    assert [name for name, entry in auths.items() if entry != {"auth": "eDp5"}] == [key]
    assert desk.found("docker.io", path if given else None) == ("ci", SECRET)
    writer.erase("docker.io")
    assert json.loads(path.read_text()) == {"auths": {}}


@pytest.mark.parametrize("by", ["--authfile", "REGISTRY_AUTH_FILE"])
def test_dockers_own_file_stays_dockers_whoever_names_it(desk: Desk, by: str) -> None:
    spelled = desk.path.parent / ".." / ".docker" / "config.json"
    desk.put({})
    if by == "REGISTRY_AUTH_FILE":
        desk.world.environ = {**desk.world.environ, by: str(spelled)}
    desk.writer(spelled if by == "--authfile" else None).store("docker.io", "ci", SECRET)
    assert list(desk.document["auths"]) == [HUB_KEY]


@posix
def test_a_helper_that_podman_asks_is_given_podmans_name_of_the_hub(desk: Desk, tmp_path: Path) -> None:
    desk.helpers.keeping("test")
    path = desk.put({"credHelpers": {"docker.io": "test"}}, tmp_path / "auth.json")
    writer = desk.writer(path)
    writer.store("docker.io", "ci", SECRET)
    assert list(desk.helpers.kept()) == ["docker.io"]
    assert desk.found("docker.io", path) == ("ci", SECRET)
    assert writer.erase("docker.io").places == (f"docker-credential-test (credHelpers['docker.io'] in {path})",)
    assert desk.helpers.kept() == {}
    # Nothing but that key is known of there.
    assert set(desk.helpers.calls) == {"store docker.io", "get docker.io", "erase docker.io"}


def test_an_empty_name_of_a_helper_means_the_file(desk: Desk) -> None:
    # As Docker has it: this host is taken out of credsStore.
    desk.put({"credsStore": "nothing", "credHelpers": {REGISTRY: ""}})
    assert desk.store().plain
    assert desk.found() == ("ci", SECRET)


@posix
def test_a_helper_that_fails_leaves_the_file_alone(desk: Desk) -> None:
    desk.helpers.put("test", "echo locked; exit 1")
    path = desk.put({"credsStore": "test"})
    before = path.read_text()
    with pytest.raises(DeniedError, match=f"the credentials for {REGISTRY} cannot be stored: .* failed: locked"):
        desk.store()
    assert path.read_text() == before


@posix
def test_a_helper_that_makes_its_own_is_no_success(desk: Desk) -> None:
    desk.helpers.making("ecr-login")
    path = desk.put({"credHelpers": {"public.ecr.aws": "ecr-login"}})
    before = path.read_text()
    with pytest.raises(InputError) as caught:
        desk.store("public.ecr.aws")
    assert caught.value.message == (
        f"nothing is stored: docker-credential-ecr-login (credHelpers['public.ecr.aws'] in {path}) takes no credentials, "
        "it gets its own"
    )
    assert "need no log-in" in caught.value.hint
    assert path.read_text() == before


@posix
def test_if_the_entry_cannot_be_written_the_helper_has_it_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.helpers.keeping("test")
    desk.put({"credsStore": "test"})

    def read_only(source: object, target: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", read_only)
    assert not desk.store().plain
    assert list(desk.helpers.kept()) == [REGISTRY]
    assert desk.world.warnings == [
        f"{desk.path} cannot be written: Read-only file system; the helper has the credentials all the same"
    ]


@posix
def test_an_entry_that_is_there_is_not_written_again(desk: Desk) -> None:
    desk.helpers.keeping("test")
    path = desk.put({"credsStore": "test", "auths": {REGISTRY: {}}})
    before = path.stat().st_ino
    desk.store()
    assert path.stat().st_ino == before


# Erasing.


def entries(*keys: str) -> dict[str, Any]:
    return {key: {"auth": "eDp5"} for key in keys}


WHOLE = [
    REGISTRY,
    f"https://{REGISTRY}",
    f"http://{REGISTRY}/",
    f"{REGISTRY}/v1/",
    f"https://{REGISTRY}/v1/",
    f"{REGISTRY}/v2/",
]
PARTS = [f"{REGISTRY}/team", f"{REGISTRY}/team/web"]
OTHERS = ["other.example", f"{REGISTRY}.evil", f"{REGISTRY}:5000", "https://other.example/v1/"]


@pytest.mark.parametrize("scoped", [False, True])
def test_all_forms_of_its_name_are_erased_and_nothing_else(desk: Desk, tmp_path: Path, scoped: bool) -> None:
    path = tmp_path / "auth.json" if scoped else desk.path
    desk.put({"x": [1], "auths": entries(*WHOLE, *PARTS, *OTHERS), "y": 2}, path)
    erased = desk.writer(path if scoped else None).erase(REGISTRY)
    assert (erased.places, erased.helper, erased.error) == ((str(path),), "", None)
    left = json.loads(path.read_text())
    # In Docker's own file a path behind the host means the host.
    assert left == {"x": [1], "auths": entries(*(PARTS if scoped else ()), *OTHERS), "y": 2}
    assert list(left) == ["x", "auths", "y"]


def test_all_names_of_dockers_hub(desk: Desk) -> None:
    desk.put({"auths": entries(HUB_KEY, "docker.io", "index.docker.io", "https://registry-1.docker.io", "ghcr.io")})
    assert desk.writer().erase("docker.io").places
    assert list(desk.document["auths"]) == ["ghcr.io"]


@pytest.mark.parametrize(
    "content", [None, "", "{}", '{"auths": null}', '{"auths": {"other.example": {"auth": "eDp5"}}}']
)
def test_nothing_to_erase_writes_nothing(desk: Desk, content: str | None) -> None:
    if content is not None:
        desk.put(content)
    erased = desk.writer().erase(REGISTRY)
    assert (erased.places, erased.error) == ((), None)
    assert desk.path.exists() == (content is not None)
    assert desk.path.parent.exists() == (content is not None)
    if content is not None:
        assert desk.path.read_text() == content


@posix
def test_a_helper_erases_all_that_the_file_knows_of(desk: Desk) -> None:
    desk.helpers.keeping("test")
    desk.put({"credsStore": "test", "auths": {REGISTRY: {}, f"https://{REGISTRY}": {}, "other.example": {}}})
    desk.store()
    desk.writer().store("other.example", "ci", SECRET)
    erased = desk.writer().erase(REGISTRY)
    assert erased.places == (f"docker-credential-test (credsStore in {desk.path})",)
    assert erased.helper == erased.places[0]
    assert desk.helpers.calls[-2:] == [f"erase {REGISTRY}", f"erase https://{REGISTRY}"]
    assert list(desk.helpers.kept()) == ["other.example"]
    assert desk.document == {"credsStore": "test", "auths": {"other.example": {}}}
    assert desk.writer().erase(REGISTRY).places == ()


@posix
def test_plain_text_from_before_the_helper_is_erased_too(desk: Desk) -> None:
    desk.helpers.keeping("test")
    desk.put({"credsStore": "test", "auths": entries(REGISTRY)})
    assert desk.writer().erase(REGISTRY).places == (str(desk.path),)
    assert desk.document["auths"] == {}


@posix
def test_a_helper_that_fails_keeps_nothing_in_the_file(desk: Desk) -> None:
    desk.helpers.put("test", "echo locked; exit 1")
    desk.put({"credsStore": "test", "auths": entries(REGISTRY)})
    erased = desk.writer().erase(REGISTRY)
    assert erased.places == (str(desk.path),)
    assert erased.error is not None
    assert "cannot be erased" in erased.error.message
    assert desk.document["auths"] == {}


@posix
def test_what_a_helper_erased_before_it_failed_counts(desk: Desk) -> None:
    desk.helpers.put("test", "case $(cat) in https*) echo locked; exit 1;; esac")
    desk.put({"credsStore": "test", "auths": {f"https://{REGISTRY}": {}}})
    erased = desk.writer().erase(REGISTRY)
    assert [place.partition(" ")[0] for place in erased.places] == ["docker-credential-test"]
    assert erased.error is not None


@posix
def test_a_helper_that_makes_its_own_has_nothing_to_erase(desk: Desk) -> None:
    desk.helpers.making("ecr-login")
    desk.put({"credsStore": "ecr-login"})
    erased = desk.writer().erase(REGISTRY)
    assert (erased.places, erased.error) == ((), None)
    assert erased.helper.startswith("docker-credential-ecr-login (")


# Elsewhere.


def test_other_files_that_hold_some_are_named(desk: Desk, tmp_path: Path) -> None:
    run, own, named = (tmp_path / name for name in ("run", "config", "named.json"))
    podman = [directory / "containers" / "auth.json" for directory in (run, own)]
    desk.world.environ = {
        **desk.world.environ,
        "XDG_RUNTIME_DIR": str(run),
        "XDG_CONFIG_HOME": str(own),
        "DOCKER_CONFIG": str(desk.path.parent),
        "REGISTRY_AUTH_FILE": str(named),
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": entries(REGISTRY)}),
    }
    for path in (*podman, named):
        desk.put({"auths": entries(f"https://{REGISTRY}")}, path)
    desk.put({"auths": entries(REGISTRY)})
    expected = (str(named), *map(str, podman), "DOCKER_AUTH_CONFIG")
    assert desk.writer().left_elsewhere(REGISTRY) == expected
    assert desk.writer(podman[0]).left_elsewhere(REGISTRY)[0] == str(desk.path)
    assert str(podman[0]) not in desk.writer(podman[0]).left_elsewhere(REGISTRY)
    assert desk.writer().left_elsewhere("other.example") == ()


@pytest.mark.parametrize(
    "content",
    ["", "no JSON", '{"auths": {}}', json.dumps({"auths": {REGISTRY: {}}}), json.dumps({"auths": {REGISTRY: "text"}})],
)
def test_files_without_anything_are_not_named(desk: Desk, content: str) -> None:
    desk.put(content, desk.home / ".config" / "containers" / "auth.json")
    desk.world.environ = {**desk.world.environ, "DOCKER_AUTH_CONFIG": content}
    assert desk.writer().left_elsewhere(REGISTRY) == ()


def test_parts_of_a_registry_in_podmans_form_are_named(desk: Desk, tmp_path: Path) -> None:
    path = desk.put({"auths": entries(f"{REGISTRY}/team")}, tmp_path / "auth.json")
    assert desk.writer(path).left_elsewhere(REGISTRY) == (str(path),)
    # Here it is the registry's own entry, which erase removes.
    desk.put({"auths": entries(f"{REGISTRY}/team")})
    assert desk.writer().left_elsewhere(REGISTRY) == ()


@posix
def test_a_link_to_the_same_file_is_no_other(desk: Desk) -> None:
    desk.store()
    podman = desk.home / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.symlink_to(desk.path)
    assert desk.writer().left_elsewhere(REGISTRY) == ()
