"""`login` and `logout` as the library has them: what is asked, of whom, and what is stored only if it is right."""

from __future__ import annotations

import json
import os
import tempfile
import time
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.aws.settings import AwsSettings
from manifestctl.errors import (
    DeniedError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import Warned
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.login import LoggedIn, LoginRequest, login, parse_registry
from manifestctl.verbs.logout import logout
from tests.support.actions import close, content_type, error, redirect, status
from tests.support.ecr_world import EcrWorld
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.privileges import unprivileged
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fake_auth import Auth

USER, PASSWORD = "user", "basic-pass-word"

# The name of a registry.


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com:5000", "registry.example.com:5000"),
        ("localhost", "localhost"),
        ("localhost:5000", "localhost:5000"),
        ("myhost:5000", "myhost:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("Registry.Example.COM", "registry.example.com"),
        ("https://registry.example.com", "registry.example.com"),
        ("https://registry.example.com/", "registry.example.com"),
        ("https://registry.example.com:443/v2/", "registry.example.com:443"),
        ("registry.example.com/v1", "registry.example.com"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("public.ecr.aws", "public.ecr.aws"),
    ],
)
def test_registries(text: str, registry: str) -> None:
    assert parse_registry(text) == registry


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("", "'' is not a registry", "Write host or host:port"),
        ("acme", "'acme' is not a registry", "no repository"),
        ("acme/web", "'acme/web' is not a registry", "no repository"),
        ("public.ecr.aws/acme", "is a repository, not a registry", "Name its registry: public.ecr.aws."),
        ("public.ecr.aws/acme/web:1", "is a repository, not a registry", "Name its registry: public.ecr.aws."),
        ("https://registry.example.com/team", "is a repository", "Name its registry: registry.example.com."),
        ("registry.example.com/v1/web", "is a repository", "registry.example.com"),
        ("http://registry.example.com", "is a URL", "--plain-http registry.example.com"),
        ("oci://registry.example.com", "is a URL", "Write registry.example.com"),
        ("://registry.example.com", "is a URL", "Write registry.example.com"),
        ("registry.example.com:latest", "is not a registry", "host:port"),
        ("registry.example.com:70000", "is not a registry", "host:port"),
        ("a_b.example.com", "is not a registry", "host:port"),
        ("a b.example.com", "is not a registry", "host:port"),
        ("registry.example.com?x=1", "is not a registry", "host:port"),
        ("::error::forged.example", "is not a registry", "host:port"),
    ],
)
def test_what_is_no_registry(text: str, why: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_registry(text)
    assert why in caught.value.message
    assert hint in caught.value.hint
    assert "::error" not in caught.value.message


@pytest.mark.parametrize(
    "text", ["https://ci:hunter2@r.example", "ci:hunter2@r.example", "https://ci:hun/ter2@r.example"]
)
def test_a_password_in_a_registrys_name_is_not_shown(text: str) -> None:
    with pytest.raises(InputError, match="no '@' in it") as caught:
        parse_registry(text)
    assert "hun" not in f"{caught.value.message} {caught.value.hint}"
    assert "--password-stdin" in caught.value.hint


@pytest.mark.parametrize(
    ("username", "password", "why"),
    [
        ("", "hunter2", "no user name"),
        ("ci", "", "the password is empty"),
        ("ci:hunter2", "x", "':' or a control character"),
        ("ci\n", "x", "':' or a control character"),
        ("ci\udcff", "x", "':' or a control character"),
    ],
)
def test_requests_that_make_no_sense(username: str, password: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        LoginRequest("registry.example", username, password)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_no_request_shows_its_password() -> None:
    assert "hunter2" not in repr(LoginRequest("registry.example", "ci", "hunter2"))


def test_until_when_it_is_valid() -> None:
    def until(expires: float | None) -> str | None:
        return LoggedIn("r", "u", "o", "p", plain=True, shared=False, expires=expires).until

    assert until(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    assert until(None) is None


# User and password.


class Desk:
    """A world with a home in it, and stores of it."""

    def __init__(self, root: Path, environ: dict[str, str] | None = None) -> None:
        self.home = root / "home"
        self.home.mkdir(exist_ok=True)
        self.path = self.home / ".docker" / "config.json"
        self.world = World({"HOME": str(self.home), **(environ or {})}, now=time.time())

    def login(self, registry: str, username: str = USER, password: str = PASSWORD, **settings: Any) -> LoggedIn:
        aws = AwsSettings(settings.pop("use", "auto"), token_cache=settings.pop("token_cache", True))
        with Stores.of_system(self.world.runtime, TransportSettings(**settings), aws) as stores:
            return login(LoginRequest(registry, username, password), stores)

    @property
    def auths(self) -> dict[str, tuple[str, str]]:
        """User and password by key."""
        if not self.path.exists():
            return {}
        pairs = {
            key: b64decode(entry["auth"]).decode() for key, entry in json.loads(self.path.read_text())["auths"].items()
        }
        return {key: (pair.partition(":")[0], pair.partition(":")[2]) for key, pair in pairs.items()}

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.world.heard(Warned)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


AUTHS: list[Auth] = [
    BasicAuth(),
    BearerAuth(users={USER: PASSWORD}),
    BearerAuth(users={USER: PASSWORD}, anonymous={"pull"}),
]


@pytest.mark.parametrize("auth", AUTHS, ids=["basic", "bearer", "bearer, anonymous pulls"])
def test_what_the_registry_takes_is_stored(desk: Desk, auth: Auth) -> None:
    with FakeRegistry(auth=auth) as registry:
        host = registry.host
        done = desk.login(host)
    assert all(request.method == "GET" for request in registry.requests)
    assert [request.path for request in registry.requests if request.path != "/token"] == ["/v2/"] * 2
    assert (done.registry, done.username, done.place, done.expires) == (host, USER, str(desk.path), None)
    assert done.plain
    assert desk.auths == {host: (USER, PASSWORD)}
    assert desk.warnings == []


@pytest.mark.parametrize("auth", AUTHS, ids=["basic", "bearer", "bearer, anonymous pulls"])
def test_what_the_registry_refuses_is_not(desk: Desk, auth: Auth) -> None:
    with FakeRegistry(auth=auth) as registry, pytest.raises(DeniedError) as caught:
        desk.login(registry.host, password="wrong-password")
    assert caught.value.message.endswith(" (credentials: --username); nothing was stored")
    assert "is wrong" in caught.value.hint
    assert not desk.path.parent.exists()
    # A wrong password that is tried again and again locks its account.
    assert registry.count("GET") <= 3
    shown = f"{caught.value} {caught.value.hint} {desk.world.events}"
    assert "wrong-password" not in shown


def test_other_peoples_credentials_are_not_asked(desk: Desk) -> None:
    with FakeRegistry(auth=BasicAuth()) as registry:
        desk.path.parent.mkdir()
        good = {"auths": {registry.host: {"username": USER, "password": PASSWORD}}}
        desk.path.write_text(json.dumps(good))
        with pytest.raises(DeniedError):
            desk.login(registry.host, password="wrong")
    assert json.loads(desk.path.read_text()) == good


def test_a_registry_that_asks_nobody_cannot_tell(desk: Desk, registry: FakeRegistry) -> None:
    desk.login(registry.host)
    assert desk.warnings == [
        f"{registry.host} does not ask for credentials, so these are stored without having been checked"
    ]
    assert desk.auths == {registry.host: (USER, PASSWORD)}


FAULTS: dict[str, tuple[Any, type[ManifestctlError], str, str]] = {
    "forbidden": (status(403), DeniedError, "said 403", ""),
    "denied in words": (error(401, "UNAUTHORIZED", "no"), DeniedError, '401 UNAUTHORIZED "no"', ""),
    "not a registry": (status(404), NotFoundError, "said 404", "check its name"),
    "a web page": (content_type("text/html"), UnreachableError, "a web page answered", "Check the registry's name"),
    "broken": (status(503), UnreachableError, "said 503", "later"),
    "closed": (close(), UnreachableError, "the connection to", "again"),
    "led away": (redirect("https://169.254.169.254/"), DeniedError, "private network", "Redirects"),
}


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
def test_registries_that_give_no_answer(
    desk: Desk, registry: FakeRegistry, case: tuple[Any, type[ManifestctlError], str, str]
) -> None:
    action, kind, why, hint = case
    registry.faults.add(action, path="/v2/$", times=FOREVER)
    with pytest.raises(kind) as caught:
        desk.login(registry.host)
    assert caught.value.message.startswith(f"logging in to {registry.host} failed: ")
    assert why in caught.value.message
    assert caught.value.message.endswith("; nothing was stored")
    assert hint in caught.value.hint
    assert not desk.path.exists()
    assert registry.count("GET") == (5 if kind is UnreachableError and "page" not in why else 1)


def test_what_passes_is_tried_again(desk: Desk, registry: FakeRegistry) -> None:
    registry.faults.add(status(503), path="/v2/$", times=2)
    desk.login(registry.host)
    assert len(desk.world.slept) == 2


def test_a_malformed_file_is_found_before_anybody_is_asked(desk: Desk, registry: FakeRegistry) -> None:
    desk.path.parent.mkdir()
    desk.path.write_text('{"auths": {')
    with pytest.raises(InputError, match=r"config\.json: is not JSON: .* \(line 1, column 12\); nothing was stored"):
        desk.login(registry.host)
    assert registry.requests == []


def test_an_interrupted_run_is_no_failure_of_its_own(desk: Desk, registry: FakeRegistry) -> None:
    desk.world.cancel.set(2)
    with pytest.raises(InterruptedRun, match=r"^interrupted by signal 2$"):
        desk.login(registry.host)


def test_an_older_log_in_that_others_find_first_is_named(desk: Desk, registry: FakeRegistry) -> None:
    podman = desk.home / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {registry.host: {"auth": "eDp5"}}}))
    desk.login(registry.host)
    said = f"{podman} holds credentials for {registry.host} too, which some programs use in place of these"
    assert said in desk.warnings
    desk.world.events.clear()
    # Who names a file knows which programs look there.
    desk.login(registry.host, authfile=desk.home / "own.json")
    assert not any("too, which" in warning for warning in desk.warnings)


@pytest.mark.parametrize("registry", ["registry.example", "docker.io", "localhost:5000", "public.ecr.aws.example"])
def test_aws_credentials_open_amazons_registries_alone(desk: Desk, registry: str) -> None:
    with pytest.raises(InputError, match=f"{registry} needs a user name and a password") as caught:
        desk.login(registry, "", "")
    assert "--username NAME --password-stdin" in caught.value.hint
    assert ("12 digits" in caught.value.hint) == (registry == "public.ecr.aws.example")


def test_without_aws_there_is_nothing_to_log_in_with(desk: Desk) -> None:
    with pytest.raises(InputError, match=r"--no-aws leaves nothing to log in to public\.ecr\.aws with"):
        desk.login("public.ecr.aws", "", "", use="never")


# AWS.


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path_factory.mktemp("aws")) as world:
        yield world


@pytest.fixture
def aws(shared: EcrWorld, monkeypatch: pytest.MonkeyPatch) -> EcrWorld:
    # boto3 reads the process's own environment.
    for name, value in shared.environ.items():
        monkeypatch.setenv(name, value)
    shared.aws.calls.clear()
    shared.aws.allow()
    return shared


def amazon(tmp_path: Path, world: EcrWorld) -> Desk:
    return Desk(tmp_path, {name: value for name, value in world.environ.items() if name != "HOME"})


@pytest.mark.parametrize("kind", ["ecr-public", "ecr"])
def test_a_token_is_got_stored_and_kept(tmp_path: Path, aws: EcrWorld, kind: Any) -> None:
    desk = amazon(tmp_path, aws)
    registry = aws.host if kind == "ecr-public" else aws.private_host
    done = desk.login(registry, "", "")
    token = aws.aws.token(kind)
    assert desk.auths == {registry: ("AWS", token.password)}
    assert (done.username, done.origin) == ("AWS", "AWS credentials: environment variables")
    assert done.expires == pytest.approx(token.expires_at, abs=1)
    assert [(call.operation, call.service) for call in aws.aws.calls] == [("GetAuthorizationToken", kind)]
    kept = list((desk.home / ".cache" / "manifestctl" / "tokens").iterdir())
    assert [token.password in path.read_text() for path in kept] == [True]
    # Always a new one, whatever is kept.
    desk.login(registry, "", "")
    assert len(aws.aws.calls) == 2
    assert desk.auths[registry][1] != token.password
    forgotten = logout(registry, desk.world.runtime)
    assert (forgotten.places, forgotten.tokens, forgotten.error) == ((str(desk.path),), 1, None)
    assert desk.auths == {}
    assert list((desk.home / ".cache" / "manifestctl" / "tokens").iterdir()) == []


def test_no_token_is_kept_if_none_is_to_be(tmp_path: Path, aws: EcrWorld) -> None:
    desk = amazon(tmp_path, aws)
    desk.login(aws.host, "", "", token_cache=False)
    assert aws.host in desk.auths
    assert not (desk.home / ".cache").exists()


def test_a_denied_token_stores_nothing(tmp_path: Path, aws: EcrWorld) -> None:
    aws.aws.deny("sts:GetServiceBearerToken")
    desk = amazon(tmp_path, aws)
    with pytest.raises(DeniedError, match=r"GetServiceBearerToken.*; nothing was stored$") as caught:
        desk.login(aws.host, "", "")
    assert json.loads(caught.value.statement)["Action"] == "sts:GetServiceBearerToken"
    assert not desk.path.exists()


def test_a_malformed_file_is_found_before_aws_is_asked(tmp_path: Path, aws: EcrWorld) -> None:
    desk = amazon(tmp_path, aws)
    desk.path.parent.mkdir()
    desk.path.write_text("[]")
    with pytest.raises(InputError, match="is not a JSON object"):
        desk.login(aws.host, "", "")
    assert aws.aws.calls == []


@pytest.mark.parametrize("kind", ["ecr-public", "ecr"])
def test_a_token_from_elsewhere_is_checked(tmp_path: Path, aws: EcrWorld, kind: Any) -> None:
    desk = amazon(tmp_path, aws)
    registry = aws.host if kind == "ecr-public" else aws.private_host
    password = aws.aws.token(kind).password
    assert desk.login(registry, "AWS", password, ca_file=aws.ca_file).expires is None
    assert desk.auths == {registry: ("AWS", password)}
    # What anybody may read there must not make a bad token a good one.
    for wrong in (password[:-4], "wrong"):
        with pytest.raises(DeniedError, match=r"DENIED .* \(credentials: --username\); nothing was stored") as caught:
            desk.login(registry, "AWS", wrong, ca_file=aws.ca_file)
        assert "valid for 12 hours" in caught.value.hint
    assert desk.auths == {registry: ("AWS", password)}
    assert aws.aws.calls == []
    assert desk.warnings == []


# Logging out.


def test_tokens_of_all_identities_go_and_those_of_other_registries_stay(desk: Desk) -> None:
    directory = desk.home / ".cache" / "manifestctl" / "tokens"
    directory.mkdir(parents=True)
    for name in (f"public.ecr.aws-{'0' * 64}", f"public.ecr.aws-{'1' * 64}", f"ecr-public.aws.com-{'0' * 64}"):
        (directory / f"{name}.json").write_text("{}")
    done = logout("public.ecr.aws", desk.world.runtime)
    assert (done.registry, done.places, done.tokens) == ("public.ecr.aws", (), 2)
    assert [path.name for path in directory.iterdir()] == [f"ecr-public.aws.com-{'0' * 64}.json"]
    assert logout("public.ecr.aws", desk.world.runtime).tokens == 0


def test_logging_out_touches_no_tokens_of_a_registry_that_has_none(desk: Desk) -> None:
    desk.world.environ["XDG_CACHE_HOME"] = "/proc/nowhere"
    assert logout("registry.example", desk.world.runtime).tokens == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_tokens_that_cannot_be_removed() -> None:
    # Not below pytest's own directory, which nobody may enter.
    with tempfile.TemporaryDirectory() as made:
        tokens = Path(made, "manifestctl", "tokens")
        tokens.mkdir(parents=True)
        (tokens / f"public.ecr.aws-{'0' * 64}.json").write_text("{}")
        Path(made).chmod(0o755)
        tokens.chmod(0o555)
        world = World({"XDG_CACHE_HOME": made, "HOME": made})
        why = r"the tokens for public\.ecr\.aws in .* cannot be removed: Permission denied"
        with unprivileged(), pytest.raises(DeniedError, match=why):
            logout("public.ecr.aws", world.runtime)
        tokens.chmod(0o755)


def test_other_files_are_named_and_left_alone(desk: Desk) -> None:
    podman = desk.home / ".config" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {"registry.example": {"auth": "eDp5"}}}))
    before = podman.read_text()
    logout("registry.example", desk.world.runtime)
    assert desk.warnings == [f"{podman} still holds credentials for registry.example"]
    assert podman.read_text() == before
    desk.world.events.clear()
    assert logout("registry.example", desk.world.runtime, podman).places == (str(podman),)
    assert desk.warnings == []
