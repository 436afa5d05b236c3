"""Docker's and Podman's credential files: what is found in them, in which order, and what is wrong with them."""

from __future__ import annotations

import json
import os
import sys
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import InputError
from manifestctl.transport.credential_files import CredentialFile, NamedHelper, decode_auth
from manifestctl.transport.credentials import Chain, Credential
from manifestctl.transport.docker_config import FileSource, file_places, file_sources, podman_files
from tests.transport.runtimes import World

if TYPE_CHECKING:
    from collections.abc import Mapping

REGISTRY, REPOSITORY = "registry.example", "team/web"
HUB_KEY = "https://index.docker.io/v1/"
SECRET = "pa:ss-word"


def auth(user: str = "user", password: str = SECRET) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def auths(**users: str) -> dict[str, Any]:
    return {"auths": {key.replace("_", "/"): {"auth": auth(user)} for key, user in users.items()}}


def found(
    world: World, registry: str = REGISTRY, repository: str = REPOSITORY, authfile: Path | None = None
) -> Credential | None:
    return Chain(file_sources(world.runtime, authfile)).credential(registry, repository)


def user_in(document: object, registry: str, repository: str = REPOSITORY, *, scoped: bool = False) -> str | None:
    file = CredentialFile.parse(json.dumps(document).encode(), "FILE", scoped=scoped)
    credential = file.entry(registry, repository)
    return credential.username if credential else None


# What an entry says.


ENTRIES: list[tuple[dict[str, Any], Credential | None]] = [
    ({"auth": auth()}, Credential("", "user", SECRET)),
    ({"AUTH": auth()}, Credential("", "user", SECRET)),
    ({"auth": auth("u", "\0\0pass\0")}, Credential("", "u", "pass")),
    ({"auth": auth("u", "")}, Credential("", "u")),
    ({"auth": auth("ü", "é")}, Credential("", "ü", "é")),
    ({"auth": auth()[:4] + "\r\n" + auth()[4:]}, Credential("", "user", SECRET)),
    ({"username": "u", "password": "p"}, Credential("", "u", "p")),
    ({"username": "other", "password": "p", "auth": auth()}, Credential("", "user", SECRET)),
    ({"auth": auth("u", ""), "identitytoken": "t"}, Credential("", "u", identity_token="t")),
    ({"identityToken": "t"}, Credential("", identity_token="t")),
    ({"registrytoken": "t.t"}, Credential("", registry_token="t.t")),
    ({"auth": "", "email": "x"}, None),
    ({"auth": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("entry", "expected"), ENTRIES)
def test_entries(entry: dict[str, Any], expected: Credential | None) -> None:
    file = CredentialFile.parse(json.dumps({"auths": {REGISTRY: entry}}).encode(), "/home/ci/config.json")
    credential = file.entry(REGISTRY, REPOSITORY)
    if expected is None:
        assert credential is None
        return
    assert credential is not None
    fields = ("username", "password", "identity_token", "registry_token")
    assert [getattr(credential, name) for name in fields] == [getattr(expected, name) for name in fields]
    assert credential.source == "auths['registry.example'] in /home/ci/config.json"


def test_a_null_entry_is_none() -> None:
    assert user_in({"auths": {REGISTRY: None}}, REGISTRY) is None


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"auth": "%%%"}, "not base64"),
        ({"auth": auth()[:-1] + "\N{SNOWMAN}"}, "not base64"),
        ({"auth": b64encode(b"\xff\xfe:x").decode()}, "not base64 of text"),
        ({"auth": b64encode(b"no colon").decode()}, "user:password"),
        ({"auth": b64encode(b":only-a-password").decode()}, "user:password"),
        ({"auth": 5}, "'auth' is not a string"),
        ({"username": ["u"]}, "'username' is not a string"),
        ({"registrytoken": "a b"}, "'registrytoken' holds characters"),
        ({"registrytoken": "a\nb"}, "'registrytoken' holds characters"),
        ({"registrytoken": "é"}, "'registrytoken' holds characters"),
        ("text", "not a JSON object"),
    ],
)
def test_entries_that_cannot_be_used(entry: object, why: str) -> None:
    file = CredentialFile.parse(
        json.dumps({"auths": {REGISTRY: entry, "other.example": {"auth": auth()}}}).encode(), "F"
    )
    with pytest.raises(InputError, match=why) as caught:
        file.entry(REGISTRY, REPOSITORY)
    assert "F: auths['registry.example']" in caught.value.message
    # The rest of the file is of use all the same.
    assert file.entry("other.example", REPOSITORY) is not None


def test_no_error_holds_the_secret() -> None:
    secret = "c2VjcmV0LXBhc3N3b3Jk!"
    with pytest.raises(InputError) as caught:
        decode_auth(secret, "FILE")
    error: BaseException | None = caught.value
    while error is not None:
        assert secret not in str(error)
        error = error.__cause__
    assert caught.value.__suppress_context__


# Which entry is meant.


MATCHES: list[tuple[list[str], str, str, bool, str | None]] = [
    # keys in the file, registry, repository, scoped, the key that fits
    ([REGISTRY], REGISTRY, "web", False, REGISTRY),
    (["https://registry.example/v1/", REGISTRY], REGISTRY, "web", False, REGISTRY),
    (["https://registry.example"], REGISTRY, "web", False, "https://registry.example"),
    (["https://registry.example/v2/"], REGISTRY, "web", True, "https://registry.example/v2/"),
    (["http://registry.example/any/path"], REGISTRY, "web", True, "http://registry.example/any/path"),
    (["registry.example/"], REGISTRY, "web", True, "registry.example/"),
    (["registry.example/v1/"], REGISTRY, "web", True, "registry.example/v1/"),
    ([REGISTRY], "registry.example:5000", "web", False, None),
    (["registry.example:5000"], REGISTRY, "web", False, None),
    (["registry.example.evil"], REGISTRY, "web", False, None),
    (["localhost:5000"], "localhost:5000", "web", False, "localhost:5000"),
    # The longest path that fits goes first.
    ([REGISTRY, "registry.example/a", "registry.example/a/b"], REGISTRY, "a/b/c", True, "registry.example/a/b"),
    ([REGISTRY, "registry.example/a", "registry.example/a/b"], REGISTRY, "a/b", True, "registry.example/a/b"),
    ([REGISTRY, "registry.example/a", "registry.example/a/b"], REGISTRY, "a/x", True, "registry.example/a"),
    ([REGISTRY, "registry.example/a", "registry.example/a/b"], REGISTRY, "ab", True, REGISTRY),
    # In Podman's files a path is a scope; in Docker's it only names the host.
    (["registry.example/a"], REGISTRY, "x", True, None),
    (["registry.example/a"], REGISTRY, "x", False, "registry.example/a"),
    (["registry.example/x", "registry.example/a"], REGISTRY, "a", False, "registry.example/a"),
    # Docker Hub has a key of its own.
    ([HUB_KEY], "docker.io", "library/web", False, HUB_KEY),
    (["docker.io", HUB_KEY], "docker.io", "library/web", False, HUB_KEY),
    # Podman looks for the host as it stands in references, and writes it so.
    ([HUB_KEY, "docker.io"], "docker.io", "library/web", True, "docker.io"),
    ([HUB_KEY], "docker.io", "library/web", True, HUB_KEY),
    (["docker.io"], "docker.io", "library/web", True, "docker.io"),
    (["docker.io/library", HUB_KEY], "docker.io", "library/web", True, "docker.io/library"),
    (["https://index.docker.io/v2/"], "docker.io", "library/web", False, "https://index.docker.io/v2/"),
    (["index.docker.io"], "docker.io", "library/web", False, "index.docker.io"),
    ([HUB_KEY], REGISTRY, "library/web", False, None),
    ([], REGISTRY, "web", False, None),
]


@pytest.mark.parametrize(("keys", "registry", "repository", "scoped", "expected"), MATCHES)
def test_matching(keys: list[str], registry: str, repository: str, scoped: bool, expected: str | None) -> None:
    document = {"auths": {key: {"username": key, "password": "p"} for key in keys}}
    assert user_in(document, registry, repository, scoped=scoped) == expected


# Helpers that a file names.


HELPERS: list[tuple[dict[str, Any], str, NamedHelper | None]] = [
    ({}, REGISTRY, None),
    ({"credsStore": ""}, REGISTRY, None),
    ({"credHelpers": {REGISTRY: ""}}, REGISTRY, None),
    ({"credsStore": "desktop"}, REGISTRY, NamedHelper("desktop", REGISTRY, "credsStore in F")),
    ({"credsstore": "desktop"}, REGISTRY, NamedHelper("desktop", REGISTRY, "credsStore in F")),
    ({"credsStore": "desktop"}, "docker.io", NamedHelper("desktop", HUB_KEY, "credsStore in F")),
    (
        {"credHelpers": {REGISTRY: "ecr-login"}, "credsStore": "desktop"},
        REGISTRY,
        NamedHelper("ecr-login", REGISTRY, "credHelpers['registry.example'] in F"),
    ),
    (
        {"credHelpers": {REGISTRY: "ecr-login"}, "credsStore": "desktop"},
        "other.example",
        NamedHelper("desktop", "other.example", "credsStore in F"),
    ),
    ({"credHelpers": {REGISTRY: "ecr-login"}}, "other.example", None),
    (
        {"credHelpers": {"docker.io": "x"}},
        "docker.io",
        NamedHelper("x", HUB_KEY, "credHelpers['docker.io'] in F"),
    ),
]


@pytest.mark.parametrize(("document", "registry", "expected"), HELPERS)
def test_named_helpers(document: dict[str, Any], registry: str, expected: NamedHelper | None) -> None:
    assert CredentialFile.parse(json.dumps(document).encode(), "F").helper(registry) == expected


HUB_SERVERS = [
    # Key in credHelpers, or none for credsStore; whether the file is like Podman's; what the helper is asked for.
    ("docker.io", True, "docker.io"),
    (HUB_KEY, True, HUB_KEY),
    ("index.docker.io", True, "index.docker.io"),
    ("docker.io", False, HUB_KEY),
    (HUB_KEY, False, HUB_KEY),
    # Only Docker heeds it.
    (None, True, HUB_KEY),
    (None, False, HUB_KEY),
]


@pytest.mark.parametrize(("key", "scoped", "server"), HUB_SERVERS)
def test_what_a_helper_is_asked_for_at_dockers_hub(key: str | None, scoped: bool, server: str) -> None:
    document = {"credHelpers": {key: "x"}} if key else {"credsStore": "x"}
    helper = CredentialFile.parse(json.dumps(document).encode(), "F", scoped=scoped).helper("docker.io")
    assert helper is not None
    assert (helper.program, helper.server) == ("x", server)


def test_podmans_key_of_a_helper_goes_first_in_its_files() -> None:
    document = json.dumps({"credHelpers": {HUB_KEY: "docker", "docker.io": "podman"}}).encode()
    found = [CredentialFile.parse(document, "F", scoped=scoped).helper("docker.io") for scoped in (True, False)]
    assert [(helper.program, helper.server) for helper in found if helper] == [
        ("podman", "docker.io"),
        ("docker", HUB_KEY),
    ]


def test_a_helper_that_is_no_string() -> None:
    file = CredentialFile.parse(b'{"credHelpers": {"registry.example": 5}}', "F")
    with pytest.raises(InputError, match=r"F: the helper for 'registry\.example'"):
        file.helper(REGISTRY)


# Files that are not what they should be.


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ("not json", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('"text"', "is not a JSON object"),
        ('{"auths": []}', "'auths' is not a JSON object"),
        ('{"credHelpers": "x"}', "'credHelpers' is not a JSON object"),
        ('{"credsStore": {}}', "'credsStore' is not a string"),
        ('{"auths": {"a": {}, "a": {}}}', "stands twice"),
        ("\ufeff{}", "byte-order mark"),
        ("[" * 200, "nested deeper"),
        ('{"x": ' + "9" * 5000 + "}", "number of 5000 digits"),
        (b"\xff{}", "not UTF-8"),
    ],
)
def test_malformed_files(tmp_path: Path, content: str | bytes, why: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=why) as caught:
        found(World({"DOCKER_CONFIG": str(tmp_path)}))
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", ["", "  \n", "{}", '{"auths": null}'])
def test_empty_files_are_no_error(tmp_path: Path, content: str) -> None:
    write(tmp_path / "config.json", content)
    assert found(World({"DOCKER_CONFIG": str(tmp_path)})) is None


def test_huge_file(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    with pytest.raises(InputError, match="larger than"):
        found(World({"DOCKER_CONFIG": str(tmp_path)}))


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_not_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.json"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with pytest.raises(InputError, match="not a regular file"):
        found(World({"DOCKER_CONFIG": str(tmp_path)}))


@pytest.mark.parametrize("place", ["file", "directory"])
def test_permission_denied(tmp_path: Path, place: str) -> None:
    path = write(tmp_path / "closed" / "config.json", auths())
    closed = path if place == "file" else path.parent
    closed.chmod(0)
    try:
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(InputError, match="Permission denied"):
            found(World({"DOCKER_CONFIG": str(path.parent)}))
    finally:
        closed.chmod(0o700)


def test_a_name_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read credential file"):
        found(World({"DOCKER_CONFIG": str(tmp_path / ("x" * 300))}))


def test_a_config_directory_that_is_a_file_holds_nothing(tmp_path: Path) -> None:
    assert found(World({"DOCKER_CONFIG": str(write(tmp_path / "file", "text"))})) is None


def test_names_are_made_harmless(tmp_path: Path) -> None:
    directory = tmp_path / "a\n::error::b"
    directory.mkdir()
    write(directory / "config.json", "{")
    with pytest.raises(InputError) as caught:
        found(World({"DOCKER_CONFIG": str(directory)}))
    assert "\n" not in caught.value.message


# The order of places.


PLACES = [
    ("DOCKER_AUTH_CONFIG", ""),
    ("docker", "docker/config.json"),
    ("REGISTRY_AUTH_FILE", "named.json"),
    ("runtime", "run/containers/auth.json"),
    ("config", "config/containers/auth.json"),
    ("legacy", "home/.dockercfg"),
]


def place_all(root: Path, names: set[str]) -> World:
    environ = {
        "HOME": str(root / "home"),
        "DOCKER_CONFIG": str(root / "docker"),
        "XDG_RUNTIME_DIR": str(root / "run"),
        "XDG_CONFIG_HOME": str(root / "config"),
    }
    for name, path in PLACES:
        document = {REGISTRY: {"auth": auth(name)}}
        if name not in names:
            continue
        if name == "DOCKER_AUTH_CONFIG":
            environ[name] = json.dumps({"auths": document})
            continue
        if name == "REGISTRY_AUTH_FILE":
            environ[name] = str(root / path)
        write(root / path, document if name == "legacy" else {"auths": document})
    return World(environ)


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_order_of_places(tmp_path: Path, first: int) -> None:
    names = [name for name, _ in PLACES[first:]]
    world = place_all(tmp_path, set(names))
    credential = found(world)
    assert credential is not None
    assert credential.username == names[0]
    assert credential.password == SECRET
    assert world.events == []


def test_all_places_are_asked_in_turn_for_each_registry(tmp_path: Path) -> None:
    world = place_all(tmp_path, set())
    for position, (_, path) in enumerate(PLACES[1:]):
        document = {f"r{position}.example": {"auth": auth(str(position))}}
        write(tmp_path / path, document if path.endswith(".dockercfg") else {"auths": document})
    world.environ = {**world.environ, "REGISTRY_AUTH_FILE": str(tmp_path / "named.json")}
    chain = Chain(file_sources(world.runtime))
    for position in range(len(PLACES) - 1):
        credential = chain.credential(f"r{position}.example", REPOSITORY)
        assert credential is not None
        assert credential.username == str(position)
    assert chain.credential(REGISTRY, REPOSITORY) is None


@pytest.mark.parametrize(
    ("path", "user"), [(".docker/config.json", "docker"), (".config/containers/auth.json", "podman")]
)
def test_places_below_home(tmp_path: Path, path: str, user: str) -> None:
    write(tmp_path / path, auths(**{REGISTRY: user}))
    credential = found(
        World({"HOME": str(tmp_path), "DOCKER_CONFIG": "", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": ""})
    )
    assert credential is not None
    assert credential.username == user
    assert credential.source == f"auths['{REGISTRY}'] in {tmp_path / path}"


# Named and unnamed files.


def user_found(root: Path, environ: dict[str, str], **files: str) -> str | None:
    """Return whose credential is found, if each file holds that of the user who is called like its key."""
    for name, path in files.items():
        write(root / path, auths(**{REGISTRY: name}))
    credential = found(World({"HOME": str(root)} | environ))
    return credential.username if credential else None


UNNAMED = {"docker": ".docker/config.json", "podman": ".config/containers/auth.json"}


@pytest.mark.parametrize(
    ("variables", "first", "second"),
    [
        ((), "docker", "podman"),
        (("REGISTRY_AUTH_FILE",), "auth_file", "docker"),
        (("DOCKER_CONFIG",), "docker_config", "podman"),
        (("DOCKER_CONFIG", "REGISTRY_AUTH_FILE"), "docker_config", "auth_file"),
    ],
)
def test_a_file_that_somebody_named_goes_before_one_that_nobody_named(
    tmp_path: Path, variables: tuple[str, ...], first: str, second: str
) -> None:
    values = {"REGISTRY_AUTH_FILE": f"{tmp_path}/own.json", "DOCKER_CONFIG": f"{tmp_path}/own"}
    named = {"auth_file": "own.json", "docker_config": "own/config.json"}
    environ = {name: values[name] for name in variables}
    places = UNNAMED | named
    assert user_found(tmp_path, environ, **places) == first
    (tmp_path / places[first]).write_text("{}")
    assert user_found(tmp_path, environ) == second


def test_what_is_left_over_in_dockers_file_does_not_hide_the_file_that_was_named(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "desktop.exe"})
    assert user_found(tmp_path, {"REGISTRY_AUTH_FILE": f"{tmp_path}/own.json"}, mine="own.json") == "mine"


# Where Podman keeps its log-ins.


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/h"}, 7, ["/run/user/7/containers", "/h/.config/containers"]),
        ({"HOME": "/root"}, 0, ["/run/containers/0", "/root/.config/containers"]),
        ({"XDG_RUNTIME_DIR": "", "HOME": "/h"}, 1000, ["/run/containers/1000", "/h/.config/containers"]),
        ({"XDG_CONFIG_HOME": "/c"}, 1, ["/run/containers/1", "/c/containers"]),
        ({}, 1, ["/run/containers/1"]),
        ({"HOME": "/h"}, None, ["/h/.config/containers"]),
        ({}, None, []),
    ],
)
def test_podmans_files(environ: dict[str, str], uid: int | None, expected: list[str]) -> None:
    if sys.platform == "darwin":
        expected = [path for path in expected if not path.startswith("/run/containers")]
    assert podman_files(environ, uid) == [Path(path) / "auth.json" for path in expected]


def test_the_users_number_is_the_runtimes() -> None:
    runtime = replace(World({"DOCKER_CONFIG": "/d", "HOME": "/h"}).runtime, uid=4711)
    assert [str(place.path) for place in file_places(runtime)] == [
        "/d/config.json",
        *(["/run/containers/4711/auth.json"] if sys.platform != "darwin" else []),
        "/h/.config/containers/auth.json",
        "/h/.dockercfg",
    ]


def test_without_home_there_are_no_files() -> None:
    assert file_sources(World().runtime) == ()
    assert found(World()) is None


def test_podmans_files_are_scoped_and_dockers_are_not(tmp_path: Path) -> None:
    key = f"{REGISTRY}/other"
    for path, expected in ((".docker/config.json", "user"), (".config/containers/auth.json", None)):
        home = tmp_path / path.split("/")[0]
        write(home / path, {"auths": {key: {"auth": auth()}}})
        credential = found(World({"HOME": str(home)}))
        assert (credential and credential.username) == expected


def test_a_missing_registry_auth_file_is_said_once(tmp_path: Path) -> None:
    world = World({"REGISTRY_AUTH_FILE": str(tmp_path / "none.json")})
    chain = Chain(file_sources(world.runtime))
    assert chain.credential(REGISTRY, "a") is None
    assert chain.credential(REGISTRY, "b") is None
    assert world.warnings == [f"REGISTRY_AUTH_FILE names {tmp_path / 'none.json'}, which does not exist"]


# --authfile.


def test_authfile_stands_alone(tmp_path: Path) -> None:
    world = place_all(tmp_path, {name for name, _ in PLACES})
    path = write(tmp_path / "mine.json", auths(other_example="x") | auths(**{f"{REGISTRY}_team": "mine"}))
    credential = found(world, authfile=path)
    assert credential is not None
    assert credential.username == "mine"
    assert found(world, repository="elsewhere/web", authfile=path) is None


@pytest.mark.parametrize("name", ["missing.json", "missing/file.json", "", "nul\0.json"])
def test_authfile_must_be_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read --authfile") as caught:
        found(World(), authfile=Path(f"{tmp_path}/{name}"))
    assert caught.value.exit_code == 2


# DOCKER_AUTH_CONFIG.


def test_docker_auth_config_names_itself_as_source() -> None:
    credential = found(World({"DOCKER_AUTH_CONFIG": json.dumps(auths(**{REGISTRY: "env"}))}))
    assert credential is not None
    assert credential.source == f"auths['{REGISTRY}'] in DOCKER_AUTH_CONFIG"


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        "\udcff",
        '{"auths": []}',
        '{"auths": {}, "credsStore": "x"}',
        '{"auths": {}, "HttpHeaders": {}}',
        json.dumps({"auths": {REGISTRY: {}}}),
        json.dumps({"auths": {REGISTRY: {"auth": ""}}}),
        json.dumps({"auths": {REGISTRY: {"auth": 5}}}),
        json.dumps({"auths": {REGISTRY: "text"}}),
        json.dumps({"auths": {REGISTRY: {"auth": auth(), "email": "x"}}}),
        json.dumps({"auths": {REGISTRY: {"username": "u", "password": SECRET}}}),
        json.dumps({"auths": {"other.example": {"auth": "%%"}, REGISTRY: {"auth": auth()}}}),
        json.dumps({"auths": {REGISTRY: {"auth": auth()}}}) + "{}",
    ],
)
def test_docker_auth_config_is_strict_and_then_passed_over(tmp_path: Path, value: str) -> None:
    world = place_all(tmp_path, {"docker"})
    world.environ = {**world.environ, "DOCKER_AUTH_CONFIG": value}
    for _ in range(2):
        credential = found(world)
        assert credential is not None
        assert credential.username == "docker"
    assert len(world.warnings) == 2
    assert all(text.startswith("DOCKER_AUTH_CONFIG: ") for text in world.warnings)
    assert all(SECRET not in text and auth() not in text for text in world.warnings)


def test_docker_auth_config_does_not_hide_other_registries(tmp_path: Path) -> None:
    world = place_all(tmp_path, {"docker"})
    world.environ = {**world.environ, "DOCKER_AUTH_CONFIG": json.dumps(auths(**{"other.example": "env"}))}
    mine, other = found(world), found(world, "other.example")
    assert mine is not None
    assert other is not None
    assert (mine.username, other.username) == ("docker", "env")


# Read once, and again when it was refused.


def test_the_file_is_read_once_by_all_threads(tmp_path: Path) -> None:
    reads: list[str] = []

    def read() -> CredentialFile:
        reads.append(threading.current_thread().name)
        return CredentialFile.parse(json.dumps(auths(**{REGISTRY: "u"})).encode(), "F")

    source = FileSource(read, World().runtime)
    with ThreadPoolExecutor(4) as pool:
        users = {
            credential.username
            for credential in pool.map(lambda n: source.credential(REGISTRY, n), "abcdefgh")
            if credential
        }
    assert users == {"u"}
    assert len(reads) == 1


def renewing(tmp_path: Path, after: Mapping[str, Any] | None) -> Credential | None:
    path = write(tmp_path / "auth.json", auths(**{REGISTRY: "before"}))
    source = file_sources(World({"REGISTRY_AUTH_FILE": str(path)}).runtime)[0]
    before = source.credential(REGISTRY, REPOSITORY)
    assert before is not None
    if after is None:
        path.unlink()
    else:
        write(path, after)
    return source.renew(REGISTRY, REPOSITORY, before)


def test_a_new_log_in_is_noticed(tmp_path: Path) -> None:
    credential = renewing(tmp_path, auths(**{REGISTRY: "after"}))
    assert credential is not None
    assert credential.username == "after"


@pytest.mark.parametrize("after", [auths(**{REGISTRY: "before"}), {"auths": {}}, None])
def test_nothing_new_is_none(tmp_path: Path, after: Mapping[str, Any] | None) -> None:
    assert renewing(tmp_path, after) is None
