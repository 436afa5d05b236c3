"""`manifestctl login` and `logout`: what they say, what they store, that others can use it, and that no secret shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.ecr_world import EcrWorld
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.helper_programs import HelperPrograms
from tests.support.http_message import Response
from tests.support.real import require_real
from tests.support.real_registry import PASSWORD as REAL_PASSWORD
from tests.support.real_registry import USER as REAL_USER
from tests.support.real_registry import RealRegistry
from tests.support.running import LIMIT, ROOT, Ran, run, run_process, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.faults import Exchange
    from tests.support.tools import Tools

USER, PASSWORD = "user", "basic-pass-word"
GIVEN = ("--username", USER, "--password-stdin")
posix = pytest.mark.skipif(os.name != "posix", reason="the helpers are shell scripts")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path_factory.mktemp("aws")) as world:
        yield world


@pytest.fixture
def aws(shared: EcrWorld) -> EcrWorld:
    shared.aws.allow()
    return shared


@pytest.fixture
def basic() -> Iterator[FakeRegistry]:
    with FakeRegistry(auth=BasicAuth(USER, PASSWORD)) as server:
        yield server


def config(home: Path, document: object = None) -> Path:
    """Return Docker's file, with this content if any is given."""
    path = home / ".docker" / "config.json"
    if document is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def passwords(path: Path) -> dict[str, str]:
    """Return what a credential file holds as plain text: the passwords, by key."""
    entries = json.loads(path.read_text())["auths"]
    return {key: b64decode(entry["auth"]).decode().partition(":")[2] for key, entry in entries.items() if entry}


def aws_environ(world: EcrWorld, home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**world.environ, "HOME": str(home), **(more or {})}


# What is said.


def test_ecr_public_is_meant_if_nothing_is_named(aws: EcrWorld, home: Path) -> None:
    ran = run("login", environ=aws_environ(aws, home))
    assert (ran.status, ran.out) == (0, b"")
    warning, note = ran.err.splitlines()
    assert warning == (
        f"warning: the token is stored as plain text in {config(home)}; a credential helper (credsStore) would encrypt it"
    )
    assert note.startswith(
        "logged in to public.ecr.aws as AWS, with AWS credentials: environment variables; the token is valid until 20"
    )
    assert note.endswith("Z")
    assert passwords(config(home)) == {"public.ecr.aws": aws.aws.token().password}


def test_a_private_registry_as_json(aws: EcrWorld, home: Path) -> None:
    ran = run("login", aws.private_host, "--output", "json", environ=aws_environ(aws, home))
    document = ran.document
    assert document["schema"] == "manifestctl/login/v1"
    assert document["ok"] is True
    assert (document["registry"], document["username"]) == (aws.private_host, "AWS")
    assert document["stored"] == str(config(home))
    assert document["expires"].startswith("20")
    assert document["expires"] in ran.err


def test_user_and_password(basic: FakeRegistry, home: Path) -> None:
    ran = run("login", basic.host, *GIVEN, stdin=PASSWORD.encode(), environ={"HOME": str(home)})
    assert (ran.status, ran.out) == (0, b"")
    warning, note = ran.err.splitlines()
    plain = f"warning: the password is stored as plain text in {config(home)}"
    assert warning == f"{plain}; a credential helper (credsStore) would encrypt it"
    assert note == f"logged in to {basic.host} as {USER}"
    again = run("login", basic.host, *GIVEN, "--output", "json", stdin=PASSWORD.encode(), environ={"HOME": str(home)})
    assert (again.document["username"], again.document["expires"]) == (USER, None)
    assert again.document["requests"]["sent"] == 2


@pytest.mark.parametrize("output", ["text", "digest"])
def test_nothing_goes_to_stdout_and_quiet_is_quiet(basic: FakeRegistry, home: Path, output: str) -> None:
    environ = {"HOME": str(home)}
    ran = run("login", basic.host, *GIVEN, "-q", "--output", output, stdin=PASSWORD.encode(), environ=environ)
    assert (ran.status, ran.out, ran.err) == (0, b"", "")
    ran = run("logout", basic.host, "-q", "--output", output, environ=environ)
    assert (ran.status, ran.out, ran.err) == (0, b"", "")


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_registry_that_says_the_password_again(basic: FakeRegistry, home: Path, output: str) -> None:
    def echo(exchange: Exchange) -> Response:
        sent = exchange.request.headers.get("authorization") or ""
        body = f"nobody has {b64decode(sent[6:]).decode()}, or {sent[6:]}".encode()
        return Response(401, body, {"Content-Type": "text/plain", "WWW-Authenticate": 'Basic realm="x"'})

    basic.faults.add(echo, times=FOREVER, before_auth=True)
    stdin = b"hunter2-Sup3rSecret"
    ran = run("login", basic.host, *GIVEN, "-v", "--output", output, stdin=stdin, environ={"HOME": str(home)})
    assert ran.status == 4
    assert f"nobody has {USER}:…, or …" in ran.err
    for secret in ("hunter2", b64encode(b"user:hunter2-Sup3rSecret").decode()):
        assert secret not in ran.text + ran.err


def test_who_else_may_read_the_file_is_said(basic: FakeRegistry, home: Path) -> None:
    config(home, {}).chmod(0o644)
    ran = run("login", basic.host, *GIVEN, stdin=PASSWORD.encode(), environ={"HOME": str(home)})
    assert f"stored as plain text in {config(home)}, which others may read; a credential helper" in ran.err


@posix
def test_a_helper_is_named_and_nothing_is_plain(basic: FakeRegistry, home: Path, tmp_path: Path) -> None:
    helpers = HelperPrograms(tmp_path)
    helpers.keeping("test")
    config(home, {"credsStore": "test"})
    environ = {"HOME": str(home), **helpers.environ}
    ran = run("login", basic.host, *GIVEN, stdin=PASSWORD.encode(), environ=environ)
    place = f"docker-credential-test (credsStore in {config(home)})"
    assert ran.err.splitlines() == [
        f"logged in to {basic.host} as {USER}",
        f"the password is stored in {place}",
    ]
    assert helpers.kept()[basic.host]["Secret"] == PASSWORD
    ran = run("logout", basic.host, environ=environ)
    assert ran.err == f"logged out of {basic.host}: removed what was stored in {place}\n"
    assert helpers.kept() == {}
    ran = run("logout", basic.host, environ=environ)
    asked = f"{place} is asked for credentials, and has none that it would erase"
    assert ran.err == f"not logged in to {basic.host}: nothing was stored for it; {asked}\n"
    assert ran.status == 0


def test_the_file_that_a_variable_names_is_written_and_found(basic: FakeRegistry, home: Path) -> None:
    others = {"auths": {basic.host: {"username": "old", "password": "wrong"}}}
    config(home, others)
    environ = {"HOME": str(home), "REGISTRY_AUTH_FILE": str(home / "auth.json")}
    ran = run("login", basic.host, *GIVEN, stdin=PASSWORD.encode(), environ=environ)
    assert ran.status == 0
    too, plain, note = ran.err.splitlines()
    assert too.startswith(f"warning: {config(home)} holds credentials for {basic.host} too")
    assert f"stored as plain text in {home}/auth.json;" in plain
    assert note == f"logged in to {basic.host} as {USER}"
    basic.put_image("web", "1")
    assert run("inspect", basic.reference("web", "1"), environ=environ).status == 0
    ran = run("logout", basic.host, environ=environ)
    assert f"removed what was stored in {home}/auth.json\n" in ran.err
    assert f"warning: {config(home)} still holds credentials for {basic.host}\n" in ran.err
    assert json.loads(config(home).read_text()) == others


# A helper that is named and not installed.


ABSENT = "is not installed where PATH finds it"


def test_what_anybody_may_read_is_read_without_the_helper(home: Path) -> None:
    config(home, {"credsStore": "desktop.exe"})
    with FakeRegistry(auth=BearerAuth({USER: PASSWORD}, anonymous={"pull"})) as registry:
        registry.put_image("web", "1")
        ran = run("inspect", registry.reference("web", "1"), environ={"HOME": str(home)})
        host = registry.host
    assert ran.status == 0
    named = f"docker-credential-desktop.exe, named for {host} by credsStore in {config(home)}"
    assert ran.err.splitlines() == [f"warning: {named}, {ABSENT}; {host} is read without credentials"]


def test_nothing_is_written_without_the_helper(home: Path) -> None:
    path = config(home, {"credsStore": "desktop.exe"})
    with FakeRegistry(auth=BearerAuth({USER: PASSWORD}, anonymous={"pull"})) as registry:
        registry.put_image("web", "1")
        ran = run("tag", registry.reference("web", "1"), "2", environ={"HOME": str(home)})
        host = registry.host
    assert ran.status == 4
    named = f"docker-credential-desktop.exe, named for {host} by credsStore in {path}, {ABSENT}"
    assert ran.err.count(named) == 1
    assert "  hint: Install it, or take it out of that file and log in again." in ran.err


def test_another_file_is_used_in_the_place_of_the_helper(basic: FakeRegistry, home: Path) -> None:
    config(home, {"credsStore": "desktop.exe"})
    podman = home / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {basic.host: {"username": USER, "password": PASSWORD}}}))
    basic.put_image("web", "1")
    ran = run("tag", basic.reference("web", "1"), "2", environ={"HOME": str(home)})
    assert ran.status == 0
    assert ran.err.count(f"{ABSENT}; used instead: auths['{basic.host}'] in {podman}") == 1


@posix
def test_a_helper_that_makes_its_own_is_exit_2(aws: EcrWorld, home: Path, tmp_path: Path) -> None:
    helpers = HelperPrograms(tmp_path)
    helpers.making("ecr-login")
    config(home, {"credHelpers": {"public.ecr.aws": "ecr-login"}})
    environ = aws_environ(aws, home, helpers.environ)
    ran = run("login", environ=environ)
    place = f"docker-credential-ecr-login (credHelpers['public.ecr.aws'] in {config(home)})"
    assert (ran.status, ran.out) == (2, b"")
    assert ran.err.splitlines() == [
        f"error: nothing is stored: {place} takes no credentials, it gets its own",
        "  hint: Programs that ask it need no log-in there; for others take it out of that file, or pass --authfile FILE.",
    ]
    assert json.loads(config(home).read_text()) == {"credHelpers": {"public.ecr.aws": "ecr-login"}}
    own = home / "auth.json"
    assert run("login", "--authfile", own, environ=environ).status == 0
    assert list(passwords(own)) == ["public.ecr.aws"]


@posix
def test_a_helper_that_fails_is_exit_4_and_shows_no_secret(basic: FakeRegistry, home: Path, tmp_path: Path) -> None:
    helpers = HelperPrograms(tmp_path)
    helpers.put("test", 'echo "cannot keep $(cat)"; exit 1')
    config(home, {"credsStore": "test"})
    environ = {"HOME": str(home), **helpers.environ}
    ran = run("login", basic.host, *GIVEN, "-v", "--output", "json", stdin=PASSWORD.encode(), environ=environ)
    assert ran.status == 4
    assert "cannot be stored: docker-credential-test failed: status 1" in ran.document["error"]["message"]
    assert PASSWORD not in ran.text + ran.err
    ran = run("logout", basic.host, "--output", "json", environ=environ)
    assert ran.status == 4
    assert ran.document["removed"] == []
    assert "cannot be erased" in ran.document["error"]["message"]
    assert ran.err.startswith(f"error: the credentials for {basic.host} cannot be erased: ")


def test_what_was_written_otherwise_is_said(home: Path) -> None:
    ran = run("logout", "https://Registry.Example/v1/", environ={"HOME": str(home)})
    assert ran.err.splitlines() == [
        "https://Registry.Example/v1/ is taken for the registry registry.example",
        "not logged in to registry.example: nothing was stored for it",
    ]


# Logging out.


def test_logging_out(aws: EcrWorld, home: Path) -> None:
    environ = aws_environ(aws, home)
    config(home, {"x": 1, "auths": {"other.example": {"auth": "eDp5"}}})
    run("login", environ=environ)
    ran = run("logout", environ=environ)
    assert (ran.status, ran.out) == (0, b"")
    assert ran.err == (f"logged out of public.ecr.aws: removed 1 kept token and what was stored in {config(home)}\n")
    assert json.loads(config(home).read_text()) == {"x": 1, "auths": {"other.example": {"auth": "eDp5"}}}
    again = run("logout", environ=environ)
    assert (again.status, again.err) == (0, "not logged in to public.ecr.aws: nothing was stored for it\n")


def test_logging_out_as_json(aws: EcrWorld, home: Path) -> None:
    environ = aws_environ(aws, home)
    run("login", environ=environ)
    document = run("logout", "--output", "json", environ=environ).document
    assert document["schema"] == "manifestctl/logout/v1"
    assert (document["registry"], document["removed"], document["tokens"]) == (
        "public.ecr.aws",
        [str(config(home))],
        1,
    )
    again = run("logout", "--output", "json", environ=environ).document
    assert (again["ok"], again["removed"], again["tokens"]) == (True, [], 0)


def test_logging_out_of_an_authfile(basic: FakeRegistry, home: Path) -> None:
    environ = {"HOME": str(home)}
    own = home / "new" / "auth.json"
    for where in ((), ("--authfile", own)):
        assert run("login", basic.host, *GIVEN, *where, stdin=PASSWORD.encode(), environ=environ).status == 0
    ran = run("logout", basic.host, "--authfile", own, environ=environ)
    assert ran.err.splitlines() == [
        f"warning: {config(home)} still holds credentials for {basic.host}",
        f"logged out of {basic.host}: removed what was stored in {own}",
    ]
    assert passwords(own) == {}
    assert passwords(config(home)) == {basic.host: PASSWORD}


# What is typed.


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"secret\n\n", "secret\n"),
        (b" secret ", " secret "),
        (b'{\n  "key": 1\n}\n', '{\n  "key": 1\n}'),
        ("pä:ss\r".encode(), "pä:ss\r"),
        (b"x" * 32768, "x" * 32768),
    ],
)
def test_one_line_break_at_the_end_is_no_part_of_a_password(home: Path, given: bytes, stored: str) -> None:
    with FakeRegistry(auth=BearerAuth(users={USER: stored})) as server:
        ran = run("login", server.host, *GIVEN, stdin=given, environ={"HOME": str(home)})
        assert ran.status == 0, ran.err
        assert passwords(config(home)) == {server.host: stored}


TYPED: dict[str, tuple[list[str], bytes, str]] = {
    "no password": (["r.example", "--username", "u"], b"", "--username needs a password"),
    "no user": (["r.example", "--password-stdin"], b"x", "--password-stdin needs a user name"),
    "an empty user": (["r.example", "--username", "", "--password-stdin"], b"x", "the user name is empty"),
    "user:password": (["r.example", "--username", "u:hunter2", "--password-stdin"], b"x", "the user name has a ':'"),
    "empty": (["r.example", "--username", "u", "--password-stdin"], b"", "standard input is empty"),
    "a line break": (["r.example", "--username", "u", "--password-stdin"], b"\n", "standard input is empty"),
    "not text": (["r.example", "--username", "u", "--password-stdin"], b"hunter2\xff", "is not UTF-8"),
    "a NUL": (["r.example", "--username", "u", "--password-stdin"], b"hunter2\0", "has a NUL in it"),
    "too long": (["r.example", "--username", "u", "--password-stdin"], b"hunter2" * 5000, "longer than 32768 bytes"),
    "as an argument": (["r.example", "--username", "u", "--password", "hunter2"], b"", "no such option: --password"),
    "with an equals sign": (["r.example", "--password=hunter2"], b"", "no such option: --password"),
    "not Amazon's": (["r.example"], b"", "r.example needs a user name and a password"),
    "a repository": (["public.ecr.aws/acme/web"], b"", "is a repository, not a registry"),
    "a password in the name": (["https://u:hunter2@r.example"], b"", "no '@' in it"),
    "nothing": ([""], b"", "'' is not a registry"),
    "no AWS": (["--no-aws"], b"", "--no-aws leaves nothing to log in to public.ecr.aws with"),
    "two registries": (["r.example", "s.example"], b"", "unexpected extra argument"),
    "a bad option": (["r.example", *GIVEN, "--timeout", "0s"], b"x", "--timeout must be more than 0"),
}


@pytest.mark.parametrize("case", TYPED.values(), ids=TYPED)
def test_bad_usage(home: Path, case: tuple[list[str], bytes, str]) -> None:
    arguments, stdin, why = case
    ran = run("login", *arguments, stdin=stdin, environ={"HOME": str(home)})
    assert (ran.status, ran.out) == (2, b"")
    assert why in ran.err
    assert "hint: " in ran.err
    assert "hunter2" not in ran.err
    assert list(home.iterdir()) == []


@posix
def test_a_terminal_is_not_read(home: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    try:
        with start("login", "r.example", *GIVEN, environ={"HOME": str(home)}, stdin=theirs) as process:
            out, err = process.communicate(timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().splitlines() == [
        "error: --password-stdin reads the standard input, which is a terminal",
        "  hint: Write --password-stdin < FILE, or let the program that knows the password write it to a pipe.",
    ]


@posix
def test_what_cannot_be_read(home: Path) -> None:
    with (home / "written-only").open("wb") as file:  # noqa: SIM117 - they are different things
        with start("login", "r.example", *GIVEN, environ={"HOME": str(home)}, stdin=file) as process:
            _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.decode() == "error: the password cannot be read from the standard input: Bad file descriptor\n"


@pytest.mark.parametrize("command", ["login", "logout"])
def test_a_malformed_file_says_where_and_stays(aws: EcrWorld, home: Path, command: str) -> None:
    before = '{\n  "auths": {"other.example": {"auth": "eDp5"}},\n  oops\n}\n'
    config(home, before)
    calls = len(aws.aws.calls)
    ran = run(command, environ=aws_environ(aws, home))
    assert (ran.status, ran.out) == (2, b"")
    assert f"error: {config(home)}: is not JSON: " in ran.err
    assert "(line 3, column 3)" in ran.err
    assert "Correct the file" in ran.err
    assert config(home).read_text() == before
    assert len(aws.aws.calls) == calls


# Secrets.


def shown(ran: Ran) -> str:
    return ran.text + ran.err


@pytest.mark.parametrize("how", [("-v",), ("-v", "--log-format", "json"), ("-v", "--output", "json")])
def test_no_secret_is_shown_and_none_is_kept_elsewhere(aws: EcrWorld, home: Path, how: tuple[str, ...]) -> None:
    environ = aws_environ(aws, home)
    given = ("--username", "AWS", "--password-stdin", "--ca-file", str(aws.ca_file))
    said = shown(run("login", *how, environ=environ))
    token = aws.aws.token().password
    said += shown(run("login", *how, *given, stdin=token.encode(), environ=environ))
    wrong = run("login", *how, *given, stdin=b"wrong-token-of-somebody", environ=environ)
    assert wrong.status == 4
    said += shown(wrong)
    with FakeRegistry(auth=BearerAuth(users={USER: PASSWORD})) as server:
        keys = {aws.host, server.host}
        said += shown(run("login", server.host, *GIVEN, *how, stdin=PASSWORD.encode(), environ=environ))
        hidden = [*aws.secrets, *server.auth.secrets, "wrong-token-of-somebody"]
        assert "/v2/" in said
    assert passwords(config(home)).keys() == keys
    hidden += [b64encode(f"{user}:{secret}".encode()).decode() for user, secret in ((USER, PASSWORD), ("AWS", token))]
    assert [secret for secret in hidden if secret in said] == []
    cache = home / ".cache" / "manifestctl" / "tokens"
    meant = {config(home), *cache.iterdir()}
    others = [path for path in home.rglob("*") if path.is_file() and path not in meant]
    assert [path for path in others if any(secret in path.read_text() for secret in hidden)] == []
    assert {path.stat().st_mode & 0o077 for path in meant} == {0}


def test_a_registry_of_others_needs_no_boto3(basic: FakeRegistry, home: Path) -> None:
    environ = {"HOME": str(home)}
    for words, stdin in ((("login", basic.host, *GIVEN), PASSWORD.encode()), (("logout", "public.ecr.aws"), b"")):
        ran = run_process(*words, environ=environ, stdin=stdin, python=("-X", "importtime"))
        assert ran.status == 0
        assert "manifestctl.verbs.log" in ran.err
        assert "boto3" not in ran.err
        assert "botocore" not in ran.err


# Others use it.


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    require_real("docker-registry", "skopeo")
    with RealRegistry(tmp_path_factory.mktemp("real"), basic=True) as server:
        yield server


@pytest.fixture(scope="module")
def reference(real: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an image that is in the real registry."""
    directory = tmp_path_factory.mktemp("image")
    images.write_layout(directory / "layout", {"1": images.image("linux/amd64")})
    own = directory / "auth.json"
    given = ("--username", REAL_USER, "--password-stdin", "--authfile", own)
    assert run("login", real.host, *given, stdin=REAL_PASSWORD.encode()).status == 0
    target = real.reference("web", "1")
    pushed = run("push", f"oci:{directory}/layout:1", target, "--authfile", own)
    assert pushed.status == 0, pushed.err
    return target


def other(tools: Tools, home: Path, *command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run another program with this home and no credential file named."""
    environ = {name: value for name, value in tools.environment.items() if name != "REGISTRY_AUTH_FILE"}
    environ |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "XDG_CONFIG_HOME": str(home / ".config")}
    environ["PATH"] = path or environ["PATH"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def readers(reference: str) -> dict[str, tuple[str, ...]]:
    host = reference.partition("/")[0]
    return {
        "skopeo": ("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"),
        "skopeo login": ("skopeo", "login", "--get-login", host),
        "podman login": ("podman", "login", "--get-login", host),
        "docker": ("docker", "manifest", "inspect", "--insecure", reference),
    }


@pytest.mark.parametrize("name", ["skopeo", "skopeo login", "podman login", "docker"])
@pytest.mark.parametrize("kept", ["file", "helper"])
def test_other_programs_use_what_is_stored(
    real: RealRegistry, reference: str, tools: Tools, home: Path, tmp_path: Path, name: str, kept: str
) -> None:
    require_real(name.partition(" ")[0])
    read = readers(reference)[name]
    helpers = HelperPrograms(tmp_path)
    if kept == "helper":
        helpers.keeping("test")
        config(home, {"credHelpers": {real.host: "test"}})
    path = helpers.environ["PATH"]
    assert other(tools, home, *read, path=path).returncode != 0
    environ = {"HOME": str(home), **helpers.environ}
    ran = run(
        "login", real.host, "--username", REAL_USER, "--password-stdin", stdin=REAL_PASSWORD.encode(), environ=environ
    )
    assert ran.status == 0, ran.err
    assert list(helpers.kept()) == ([real.host] if kept == "helper" else [])
    done = other(tools, home, *read, path=path)
    assert done.returncode == 0, done.stderr
    assert (REAL_USER if "login" in name else "schemaVersion") in done.stdout
    assert run("logout", real.host, environ=environ).status == 0
    assert other(tools, home, *read, path=path).returncode != 0


def test_an_authfile_is_podmans(real: RealRegistry, reference: str, tools: Tools, home: Path) -> None:
    own = home / "auth.json"
    given = ("--username", REAL_USER, "--password-stdin", "--authfile", own)
    assert run("login", real.host, *given, stdin=REAL_PASSWORD.encode(), environ={"HOME": str(home)}).status == 0
    done = other(tools, home, *readers(reference)["skopeo"], "--authfile", str(own))
    assert json.loads(done.stdout)["schemaVersion"] == 2
    # What they write there is found, and taken away.
    other(tools, home, "skopeo", "logout", "--authfile", str(own), real.host)
    assert json.loads(own.read_text())["auths"] == {}
    login = ("skopeo", "login", "--tls-verify=false", "--authfile", str(own), "-u", REAL_USER, "-p", REAL_PASSWORD)
    assert other(tools, home, *login, real.host).returncode == 0
    assert passwords(own) == {real.host: REAL_PASSWORD}
    ran = run("logout", real.host, "--authfile", own, environ={"HOME": str(home)})
    assert ran.err == f"logged out of {real.host}: removed what was stored in {own}\n"
    assert passwords(own) == {}


# A file system of its own in the place of /run; what logs in, and then the command that is given.
_LOGGED_IN = 'mount -t tmpfs tmpfs /run && skopeo login --tls-verify=false -u "$1" -p "$2" "$3" && shift 3 && exec "$@"'


@posix
def test_what_skopeo_stores_where_there_is_no_session_is_found(
    real: RealRegistry, reference: str, tools: Tools, home: Path
) -> None:
    own = ("unshare", "--mount", "sh", "-c")
    try:
        mounts = subprocess.run([*own, "mount -t tmpfs tmpfs /run"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounts = False
    if not mounts:
        pytest.skip("only root can mount a file system of its own, and not everywhere")
    # As in most containers, in cron's jobs and behind sudo.
    environ = {"HOME": str(home), "PATH": tools.environment["PATH"], "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "manifestctl", "inspect", reference, "--digest")
    logged_in = [*own, _LOGGED_IN, "sh", REAL_USER, REAL_PASSWORD, real.host, *command]
    done = subprocess.run(logged_in, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    assert "sha256:" in done.stdout
    assert list(home.iterdir()) == []


def test_a_wrong_password_is_the_real_registrys_to_refuse(real: RealRegistry, home: Path) -> None:
    ran = run(
        "login", real.host, "--username", REAL_USER, "--password-stdin", stdin=b"wrong", environ={"HOME": str(home)}
    )
    assert (ran.status, ran.out) == (4, b"")
    assert "401 UNAUTHORIZED" in ran.err
    assert "(credentials: --username); nothing was stored\n" in ran.err
    assert (
        "  hint: User name or password is wrong, or the registry wants an access token in the password's place.\n"
        in (ran.err)
    )
    assert list(home.iterdir()) == []


def test_this_command_line_uses_it_too(real: RealRegistry, reference: str, home: Path) -> None:
    environ: dict[str, Any] = {"HOME": str(home)}
    assert run("inspect", reference, environ=environ).status == 4
    run("login", real.host, "--username", REAL_USER, "--password-stdin", stdin=REAL_PASSWORD.encode(), environ=environ)
    assert run("inspect", reference, environ=environ).status == 0
