"""Credential helpers, as real programs on PATH: good ones, and those that fail in every way."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError, InputError, InterruptedRun
from manifestctl.transport import credential_helpers
from manifestctl.transport.credential_files import NamedHelper
from manifestctl.transport.credential_helpers import HelperSource, ask, erase, store
from manifestctl.transport.credentials import Chain, Credential, MissingHelperError
from manifestctl.transport.docker_config import file_sources
from tests.transport.runtimes import World

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the helpers written here are shell scripts")

SERVER = "registry.example"
SECRET = "hunter2-the-secret"
GOOD = f"""read server; printf '{{"ServerURL":"%s","Username":"ci","Secret":"{SECRET}"}}' "$server" """


class Shelf:
    """A directory on PATH that holds helpers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.world = World({"PATH": f"{self.bin}{os.pathsep}{os.defpath}", "HOME": str(root), "MARK": "from-runtime"})

    def put(self, script: str, name: str = "test", *, shebang: str = "#!/bin/sh\n") -> None:
        path = self.bin / f"docker-credential-{name}"
        path.write_text(f"{shebang}{script}\n")
        path.chmod(0o755)

    def ask(self, name: str = "test", server: str = SERVER) -> Credential | None:
        return ask(NamedHelper(name, server, "credsStore in FILE"), self.world.runtime)

    def store(self, secret: str = SECRET, user: str = "ci") -> bool:
        return store(NamedHelper("test", SERVER, "credsStore in FILE"), user, secret, self.world.runtime)

    def erase(self) -> bool:
        return erase(NamedHelper("test", SERVER, "credsStore in FILE"), self.world.runtime)

    def config(self, document: object) -> None:
        (self.root / ".docker").mkdir(exist_ok=True)
        (self.root / ".docker" / "config.json").write_text(json.dumps(document))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_credential(shelf: Shelf) -> None:
    shelf.put(GOOD)
    credential = shelf.ask()
    assert credential == Credential("docker-credential-test (credsStore in FILE)", "ci", SECRET)
    assert SECRET not in repr(credential)


def test_it_is_given_get_the_server_and_the_runs_environment(shelf: Shelf) -> None:
    shelf.put('printf \'{"Username":"%s","Secret":"%s"}\' "$*" "$(cat) $MARK"')
    credential = shelf.ask(server="https://index.docker.io/v1/")
    assert credential is not None
    assert (credential.username, credential.password) == ("get", "https://index.docker.io/v1/ from-runtime")


def test_a_helper_in_python(shelf: Shelf) -> None:
    shelf.put(
        'import json, sys\nprint(json.dumps({"Username": "py", "Secret": sys.stdin.read()}))',
        shebang=f"#!{sys.executable}\n",
    )
    credential = shelf.ask()
    assert credential is not None
    assert (credential.username, credential.password) == ("py", SERVER)


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        ('{"Username":"<token>","Secret":"refresh"}', ("", "", "refresh")),
        ('{"username":"u","secret":"p","serverurl":"x"}', ("u", "p", "")),
        ('  {"Username":"","Secret":"p"}\n', ("", "p", "")),
    ],
)
def test_answers(shelf: Shelf, answer: str, fields: tuple[str, str, str]) -> None:
    shelf.put(f"cat <<'END'\n{answer}\nEND")
    credential = shelf.ask()
    assert credential is not None
    assert (credential.username, credential.password, credential.identity_token) == fields


@pytest.mark.parametrize(
    "script",
    [
        "echo 'credentials not found in native keychain'; exit 1",
        "echo 'Credentials not found'; exit 3",
        """echo '{"Username":"","Secret":""}'""",
        """echo '{"Username":"<token>","Secret":""}'""",
    ],
)
def test_no_credentials(shelf: Shelf, script: str) -> None:
    shelf.put(script)
    assert shelf.ask() is None


FAILURES = {
    "message on stdout": ("echo 'the keychain is locked'; exit 1", "failed: the keychain is locked"),
    "message on stderr": ("echo 'no token at all' >&2; exit 1", "failed: no token at all"),
    "first line only": ("echo; echo ' one '; echo two; exit 1", "failed: one ("),
    "no message": ("exit 7", "failed: status 7"),
    "killed": ("kill -9 $$", "failed: status -9"),
    "no server": ("echo 'no credentials server URL'; exit 1", "failed: no credentials server URL"),
    "stdin not read": ("exec <&-; echo bad; exit 1", "failed: bad"),
    "nothing": ("exit 0", "not JSON (0 bytes)"),
    "usage": (
        "echo 'Usage: docker-credential-test <get|list>'",
        "not JSON (41 bytes): Usage: docker-credential-test <get|list>",
    ),
    "list": ("echo '[]'", "no Username and Secret"),
    "text": ("""echo '"text"'""", "no Username and Secret"),
    "no secret": ("""echo '{"Username":"u"}'""", "no Username and Secret"),
    "number": ("""echo '{"Username":"u","Secret":5}'""", "no Username and Secret"),
    "not text": ("printf '\\377\\376'", "not JSON (2 bytes)"),
    "endless": ("cat /dev/zero", "wrote more than"),
    "endless stderr": ("head -c 2000000 /dev/zero >&2 & echo bad; exit 1", "failed: bad"),
}


@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES)
def test_failures(shelf: Shelf, case: tuple[str, str]) -> None:
    script, why = case
    shelf.put(script)
    with pytest.raises(DeniedError) as caught:
        shelf.ask()
    message = caught.value.message
    assert message.startswith("no credentials for registry.example: docker-credential-test failed: ")
    assert message.endswith("(credsStore in FILE)")
    assert why in message
    assert caught.value.exit_code == 4
    assert caught.value.hint


@pytest.mark.parametrize(
    "script",
    [
        f"echo {SECRET}",
        f"""printf '{{"Username":"u","Secret":"{SECRET}"'""",
        f"""printf '{{"Username":"u","Secret":"{SECRET}"}} trailing words'""",
        f"""printf 'warning: x\\n{{"Username":"u","Secret":"{SECRET}"}}'""",
        f"""printf 'warning {{"Secret":"{SECRET}"}}'""",
        f"""printf '{{"Username":"u","Secret":"{SECRET}","Secret":"x"}}'""",
        f"""printf '{{"Username":"u","Secret":["{SECRET}"]}}'""",
        f"""printf '{{"Secret":"{SECRET}"}}'; exit 1""",
        f"""printf '{{"Secret":"{SECRET}"}}' >&2; exit 1""",
        f"echo 'cannot open https://ci:{SECRET}@registry.example'; exit 1",
        f"echo 'sent Authorization: Bearer {SECRET}'; exit 1",
        f"echo 'the token eyJ{SECRET} has expired'; exit 1",
        f"echo 'failed: user=ci token={SECRET} password: {SECRET}'; exit 1",
    ],
)
def test_no_failure_shows_the_secret(shelf: Shelf, script: str) -> None:
    shelf.put(script)
    with pytest.raises(DeniedError) as caught:
        shelf.ask()
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_messages_are_made_harmless_and_short(shelf: Shelf) -> None:
    shelf.put("printf '::error::forged \\033[2J%01000d' 5; exit 1")
    with pytest.raises(DeniedError) as caught:
        shelf.ask()
    assert "\x1b" not in caught.value.message
    assert "failed: ::error" not in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "a b", "-x", ".hidden", "a\nb", "a;b", "x" * 101, "é"])
def test_names_that_are_none(shelf: Shelf, name: str) -> None:
    with pytest.raises(InputError, match="not the name of a credential helper") as caught:
        shelf.ask(name)
    assert "credsStore in FILE" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("path", [None, "", "/nonexistent"])
def test_not_installed(shelf: Shelf, path: str | None) -> None:
    shelf.world.environ = {} if path is None else {"PATH": path}
    with pytest.raises(MissingHelperError) as caught:
        shelf.ask()
    assert caught.value.message == (
        f"docker-credential-test, named for {SERVER} by credsStore in FILE, is not installed where PATH finds it"
    )
    assert caught.value.exit_code == 4
    assert "Install it" in caught.value.hint
    # What should be stored or erased there has no other place.
    for act in (shelf.store, shelf.erase):
        with pytest.raises(DeniedError, match="docker-credential-test failed: it is not installed") as refused:
            act()
        assert not isinstance(refused.value, MissingHelperError)


def test_a_helper_in_the_current_directory_is_not_run(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put(GOOD)
    monkeypatch.chdir(shelf.bin)
    shelf.world.environ = {"PATH": f".{os.pathsep}"}
    with pytest.raises(DeniedError, match="not installed"):
        shelf.ask()


def test_a_program_that_cannot_be_started(shelf: Shelf) -> None:
    shelf.put("\x7fELF nonsense", shebang="")
    with pytest.raises(DeniedError, match="cannot be started: "):
        shelf.ask()


def test_a_hanging_helper_is_ended_with_its_children(shelf: Shelf) -> None:
    pids = shelf.root / "pids"
    shelf.put(f"sleep 600 & echo $! > {pids}.new; mv {pids}.new {pids}; sleep 600")

    class OnceItHasAChild(World):
        def monotonic(self) -> float:
            self.step = 11.0 if pids.exists() else 0.0
            return World.monotonic(self)

    shelf.world = OnceItHasAChild(shelf.world.environ)
    with pytest.raises(DeniedError, match="did not answer within 10 seconds"):
        shelf.ask()
    assert_ended(int(pids.read_text()))


def assert_ended(pid: int) -> None:
    """The process is gone, or dead and waiting to be collected, at the latest a moment after it was killed."""
    deadline = time.monotonic() + 5
    while (state := process_state(pid)) not in ("Z", ""):
        assert time.monotonic() < deadline, f"it is still there, in state {state}"
        os.sched_yield()


def process_state(pid: int) -> str:
    """Return the letter of its state, or nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_helper_that_closes_stdout_and_hangs_is_ended(shelf: Shelf) -> None:
    shelf.put("exec >&- 2>&-; exec sleep 600")
    shelf.world.step = 6.0
    with pytest.raises(DeniedError, match="did not answer"):
        shelf.ask()


def test_a_cancelled_run_does_not_wait(shelf: Shelf) -> None:
    shelf.put("exec sleep 600")
    shelf.world.cancel.set(signal.SIGTERM)
    with pytest.raises(InterruptedRun):
        shelf.ask()


def test_a_daemon_that_keeps_stdout_open_does_not_matter(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_helpers, "_GRACE", 0.05)
    shelf.put(f"{GOOD}; sleep 5 &")
    credential = shelf.ask()
    assert credential is not None
    assert credential.password == SECRET


# Through a file's configuration.


def test_a_helper_is_run_once_for_all_repositories_and_threads(shelf: Shelf) -> None:
    shelf.put(f"echo run >> {shelf.root}/runs; {GOOD}")
    shelf.config({"credHelpers": {SERVER: "test"}})
    chain = Chain(file_sources(shelf.world.runtime))
    with ThreadPoolExecutor(4) as pool:
        users = [found and found.username for found in pool.map(lambda name: chain.credential(SERVER, name), "abcd")]
    assert users == ["ci"] * 4
    assert (shelf.root / "runs").read_text() == "run\n"


def test_source_names_helper_and_file(shelf: Shelf) -> None:
    shelf.put(GOOD)
    shelf.config({"credHelpers": {SERVER: "test"}})
    credential = Chain(file_sources(shelf.world.runtime)).credential(SERVER, "web")
    assert credential is not None
    path = shelf.root / ".docker" / "config.json"
    assert credential.source == f"docker-credential-test (credHelpers['{SERVER}'] in {path})"


@pytest.mark.parametrize("document", [{"credsStore": "test"}, {"credHelpers": {SERVER: "test"}}])
def test_where_a_helper_is_named_auths_are_not_consulted(shelf: Shelf, document: dict[str, object]) -> None:
    shelf.put("echo 'credentials not found in native keychain'; exit 1")
    shelf.config(document | {"auths": {SERVER: {"username": "u", "password": "p"}}})
    assert Chain(file_sources(shelf.world.runtime)).credential(SERVER, "web") is None


def test_a_failing_helper_is_an_error_though_podman_has_credentials(shelf: Shelf) -> None:
    shelf.put("exit 1")
    shelf.config({"credsStore": "test"})
    podman = shelf.root / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {SERVER: {"username": "u", "password": "p"}}}))
    with pytest.raises(DeniedError, match="docker-credential-test failed"):
        Chain(file_sources(shelf.world.runtime)).credential(SERVER, "web")


COUNTING = """echo x >> {root}/runs; n=$(wc -l < {root}/runs)
printf '{{"Username":"u","Secret":"token-%d"}}' $((n))"""


def test_a_refused_credential_is_renewed_by_running_the_helper_again(shelf: Shelf) -> None:
    shelf.put(COUNTING.format(root=shelf.root))
    shelf.config({"credsStore": "test"})
    chain = Chain(file_sources(shelf.world.runtime))
    passwords = []
    credential = chain.credential(SERVER, "web")
    for _ in range(3):
        assert credential is not None
        passwords.append(credential.password)
        credential = chain.renew(SERVER, "web", credential, worked=True)
    assert passwords == ["token-1", "token-2", "token-3"]


def test_a_helper_that_has_nothing_new_is_not_asked_for_ever(shelf: Shelf) -> None:
    shelf.put(GOOD)
    source = HelperSource(NamedHelper("test", SERVER, "credsStore in FILE"), shelf.world.runtime)
    credential = source.credential(SERVER, "web")
    assert credential is not None
    assert source.renew(SERVER, "web", credential) is None


# Storing and erasing.


def test_store_is_given_the_credential_as_json(shelf: Shelf) -> None:
    shelf.put(f'[ "$*" = store ] && cat > {shelf.root}/given')
    secret = 'quote " backslash \\ line\nbreak é'
    assert shelf.store(secret, "ü")
    given = json.loads((shelf.root / "given").read_text())
    assert given == {"ServerURL": SERVER, "Username": "ü", "Secret": secret}


def test_erase_is_given_the_server(shelf: Shelf) -> None:
    shelf.put(f'echo "$* $(cat)" > {shelf.root}/given')
    assert shelf.erase()
    assert (shelf.root / "given").read_text() == f"erase {SERVER}\n"


@pytest.mark.parametrize("said", ["not implemented", "Not implemented\n"])
def test_a_helper_that_makes_its_own_takes_none(shelf: Shelf, said: str) -> None:
    shelf.put(f"cat > /dev/null; printf '{said}'; exit 1")
    assert not shelf.store()
    assert not shelf.erase()


@pytest.mark.parametrize("said", ["credentials not found in native keychain", "Credentials not found"])
def test_nothing_to_erase(shelf: Shelf, said: str) -> None:
    shelf.put(f"echo '{said}'; exit 1")
    assert not shelf.erase()


STORE_FAILURES = {
    "message": ("echo 'the keychain is locked'; exit 1", "failed: the keychain is locked ("),
    "message on stderr": ("echo 'gpg: no key' >&2; exit 2", "failed: gpg: no key ("),
    "no message": ("exit 7", "failed: status 7 ("),
    "not found, of what is to be stored": ("echo 'credentials not found'; exit 1", "failed: credentials not found ("),
    "endless": ("cat /dev/zero", "wrote more than"),
    "binary": ("printf '\\377\\376'; exit 1", "docker-credential-test failed: "),
}


@pytest.mark.parametrize("case", STORE_FAILURES.values(), ids=STORE_FAILURES)
def test_what_cannot_be_stored(shelf: Shelf, case: tuple[str, str]) -> None:
    script, why = case
    shelf.put(script)
    with pytest.raises(DeniedError) as caught:
        shelf.store()
    assert caught.value.message.startswith(f"the credentials for {SERVER} cannot be stored: docker-credential-test ")
    assert why in caught.value.message
    assert "--authfile" in caught.value.hint


def test_what_cannot_be_erased(shelf: Shelf) -> None:
    shelf.put("echo 'the keychain is locked'; exit 1")
    with pytest.raises(DeniedError, match="cannot be erased: docker-credential-test failed: the keychain") as caught:
        shelf.erase()
    assert "erase them with the tool" in caught.value.hint


@pytest.mark.parametrize("act", [Shelf.store, Shelf.erase])
def test_what_is_not_installed_neither_stores_nor_erases(shelf: Shelf, act: Callable[[Shelf], bool]) -> None:
    with pytest.raises(DeniedError, match="it is not installed"):
        act(shelf)


ECHOES = ["$1: bad input: $(cat)", "cannot keep $(cat | cut -c40-90)", "'{' $(cat)", "key $(cat | tail -c 40)"]


@pytest.mark.parametrize("script", ECHOES)
@pytest.mark.parametrize("stream", ["", ">&2"])
@pytest.mark.parametrize(
    "secret", [SECRET, "first-line-of-it\nsecond-line-of-it", "".join(map(chr, range(33, 127))) * 20]
)
def test_no_failure_to_store_shows_the_secret(shelf: Shelf, script: str, stream: str, secret: str) -> None:
    shelf.put(f'echo "{script}" {stream}; exit 1')
    with pytest.raises(DeniedError) as caught:
        shelf.store(secret)
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert not [secret[start : start + 8] for start in range(len(secret) - 7) if secret[start : start + 8] in shown]
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_helper_that_does_not_read_is_not_waited_for(shelf: Shelf, exit_code: int) -> None:
    # More than a pipe holds: writing it would wait for ever.
    shelf.put(f"exit {exit_code}")
    if exit_code == 0:
        assert shelf.store("x" * 200_000)
    else:
        with pytest.raises(DeniedError, match="status 1"):
            shelf.store("x" * 200_000)


def test_a_helper_that_hangs_without_reading_is_ended(shelf: Shelf) -> None:
    shelf.put("exec sleep 600")
    shelf.world.step = 6.0
    with pytest.raises(DeniedError, match=r"cannot be stored: .* did not answer within 10 seconds"):
        shelf.store("x" * 200_000)
