"""Where an engine is looked for: variables, Docker contexts, the usual places, and who may open a socket."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from manifestctl.errors import DeniedError, InputError
from manifestctl.transport.engine_socket import Endpoint, NotListeningError, endpoints, knock
from tests.support.privileges import unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INSTEAD = "run 'docker save NAME -o image.tar'"


def one(environ: Mapping[str, str]) -> Endpoint:
    """Return the only place that an environment leaves."""
    (endpoint,) = endpoints(environ)
    return endpoint


def write_context(config: Path, name: str, host: object, *, tls: bool = False) -> Path:
    """Write a context as 'docker context create' does; returns its file."""
    key = hashlib.sha256(name.encode()).hexdigest()
    directory = config / "contexts" / "meta" / key
    directory.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (directory / "meta.json").write_text(json.dumps(meta))
    if tls:
        (config / "contexts" / "tls" / key / "docker").mkdir(parents=True)
    return directory / "meta.json"


def write_config(config: Path, document: object) -> None:
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "CONTAINER_HOST"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///run/user/7/docker.sock", "unix:///run/user/7/docker.sock"),
        ("unix://", "unix:///var/run/docker.sock"),
        ("tcp://127.0.0.1:2376", "tcp://127.0.0.1:2376"),
        ("tcp://127.0.0.1:2376/", "tcp://127.0.0.1:2376"),
        ("tcp://LOCALHOST", "tcp://localhost:2375"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
        ("http://127.8.9.10:80", "tcp://127.8.9.10:80"),
        ("localhost:4243", "tcp://localhost:4243"),
    ],
)
def test_an_address(variable: str, text: str, expected: str) -> None:
    endpoint = one({variable: text})
    assert str(endpoint) == expected
    assert endpoint.source == variable


@pytest.mark.parametrize("variable", ["DOCKER_HOST", "CONTAINER_HOST"])
@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("ssh://me@build.example.com", "is 'ssh://…@build.example.com': engines behind ssh:// cannot", INSTEAD),
        ("npipe:////./pipe/docker_engine", "engines behind npipe:// cannot", INSTEAD),
        ("tcp://192.0.2.7:2375", "an engine on another machine would be spoken to in the clear", INSTEAD),
        ("tcp://engine.example.com", "an engine on another machine", INSTEAD),
        ("tcp://192.0.2.7:2375", "an engine on another machine", "Write unix:///path/to.sock, or tcp://127.0.0.1:2375"),
        ("10.0.0.1:2375", "(read as tcp://10.0.0.1:2375): an engine on another machine", INSTEAD),
        ("foo", "is 'foo' (read as tcp://foo:2375): an engine on another machine", "Write unix:///path/to.sock, or"),
        ("docker.sock", "(read as tcp://docker.sock:2375)", "Write unix:///path/to.sock, or tcp://127.0.0.1:2375"),
        ("fd://", "is not an address of an engine", "tcp://127.0.0.1:2375"),
        ("https://127.0.0.1:2376", "is not an address of an engine", INSTEAD),
        ("fd://", "is not an address of an engine", INSTEAD),
        ("tcp://", "names no host", "tcp://127.0.0.1:2375"),
        ("tcp://a b:1", "names no host", "tcp://127.0.0.1:2375"),
        ("tcp://localhost:99999", "names no host", "tcp://127.0.0.1:2375"),
        ("/run/docker.sock", "has no scheme", "Write unix:///run/docker.sock."),
        ("unix://docker.sock", "names no socket", "unix:///path/to.sock"),
        ("unix:///run/a\0b", r"names no socket", "unix:///path/to.sock"),
        ("ssh://a\n::error::b", r"a\n::error::b", INSTEAD),
    ],
)
def test_an_address_that_cannot_be_used(variable: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        endpoints({variable: text})
    assert message in caught.value.message
    assert variable in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message
    assert "me@" not in caught.value.message


def test_tls_to_an_engine_is_not_spoken() -> None:
    assert one({"DOCKER_HOST": "unix:///s", "DOCKER_TLS_VERIFY": "1"}).socket == "/s"
    with pytest.raises(InputError, match="over TLS") as caught:
        endpoints({"DOCKER_HOST": "tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"})
    assert INSTEAD in caught.value.hint


def test_the_order_of_what_is_named(tmp_path: Path) -> None:
    write_config(tmp_path, {"currentContext": "current"})
    for name in ("current", "named"):
        write_context(tmp_path, name, f"unix:///{name}")
    environ = {
        "DOCKER_HOST": "unix:///host",
        "DOCKER_CONTEXT": "named",
        "CONTAINER_HOST": "unix:///podman",
        "DOCKER_CONFIG": str(tmp_path),
    }
    found = []
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST"):
        found.append(one(environ))
        del environ[variable]
    found.append(one(environ))
    assert [(place.socket, place.source) for place in found] == [
        ("/host", "DOCKER_HOST"),
        ("/named", "the Docker context 'named'"),
        ("/podman", "CONTAINER_HOST"),
        ("/current", "the Docker context 'current'"),
    ]


def test_dockers_configuration_is_looked_for_at_home(tmp_path: Path) -> None:
    write_config(tmp_path / ".docker", {"CurrentContext": "work"})
    write_context(tmp_path / ".docker", "work", "unix:///work.sock")
    assert one({"HOME": str(tmp_path)}).socket == "/work.sock"


@pytest.mark.parametrize(
    "document", [{}, {"currentContext": ""}, {"currentContext": "default"}, {"currentContext": None}]
)
def test_a_configuration_without_a_context(tmp_path: Path, document: object) -> None:
    write_config(tmp_path, document)
    assert endpoints({"DOCKER_CONFIG": str(tmp_path)})[0] == Endpoint(socket="/var/run/docker.sock")


def test_the_default_context_stands_above_the_current_one(tmp_path: Path) -> None:
    write_config(tmp_path, {"currentContext": "work"})
    write_context(tmp_path, "work", "unix:///work.sock")
    places = endpoints({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "default"})
    assert places[0] == Endpoint(socket="/var/run/docker.sock")


def test_an_empty_configuration_file_is_an_empty_document(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("\n")
    assert len(endpoints({"DOCKER_CONFIG": str(tmp_path)})) > 1


def test_a_context_may_leave_the_address_to_docker(tmp_path: Path) -> None:
    write_context(tmp_path, "local", "")
    assert one({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "local"}).socket == "/var/run/docker.sock"


@pytest.mark.parametrize("environ", [{}, {"HOME": "/nonexistent"}, {"DOCKER_CONFIG": "/nonexistent"}])
def test_a_context_that_does_not_exist(environ: Mapping[str, str]) -> None:
    with pytest.raises(InputError, match="there is no Docker context 'wörk', which DOCKER_CONTEXT names") as caught:
        endpoints({**environ, "DOCKER_CONTEXT": "wörk"})
    assert "docker context ls" in caught.value.hint


def test_a_current_context_that_does_not_exist(tmp_path: Path) -> None:
    write_config(tmp_path, {"currentContext": "gone\x1b[2J"})
    with pytest.raises(InputError, match=r"'gone\\x1b\[2J', which currentContext in .*config\.json names"):
        endpoints({"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("host", [7, None, {}])
def test_a_context_without_an_address(tmp_path: Path, host: object) -> None:
    write_context(tmp_path, "odd", host)
    with pytest.raises(InputError, match="the Docker context 'odd' says no address of an engine"):
        endpoints({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "odd"})


@pytest.mark.parametrize("text", ["{}", '{"Endpoints": []}', '{"Endpoints": {"kubernetes": {}}}'])
def test_a_context_without_an_endpoint_of_docker(tmp_path: Path, text: str) -> None:
    write_context(tmp_path, "odd", "").write_text(text)
    with pytest.raises(InputError, match="says no address of an engine"):
        endpoints({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "odd"})


@pytest.mark.parametrize(
    ("host", "tls", "message"),
    [
        ("ssh://ci@build", False, "the Docker context 'far' is 'ssh://…@build': engines behind ssh://"),
        ("tcp://127.0.0.1:2376", True, "the Docker context 'far' is 'tcp://127.0.0.1:2376' over TLS"),
    ],
)
def test_a_context_whose_address_cannot_be_used(tmp_path: Path, host: str, tls: bool, message: str) -> None:
    write_context(tmp_path, "far", host, tls=tls)
    with pytest.raises(InputError, match=message) as caught:
        endpoints({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"})
    assert INSTEAD in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"currentContext": 7}', "is not a string"),
        ('{"currentContext": "a", "currentcontext": "b"}', "Go programs take for the same"),
    ],
)
def test_a_configuration_that_is_not_one(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        endpoints({"DOCKER_CONFIG": str(tmp_path)})
    assert str(tmp_path / "config.json") in caught.value.message


def test_a_configuration_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match=r"cannot read Docker's configuration .*: it is not a regular file"):
        endpoints({"DOCKER_CONFIG": str(tmp_path)})


def test_a_configuration_whose_path_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(endpoints({"DOCKER_CONFIG": str(tmp_path / "file")})) > 1
    with pytest.raises(InputError, match="cannot read Docker's configuration"):
        endpoints({"DOCKER_CONFIG": str(tmp_path / ("x" * 300))})
    with pytest.raises(InputError, match="not a path"):
        endpoints({"DOCKER_CONFIG": "a\0b"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/me"},
            [
                "/var/run/docker.sock",
                "/run/user/7/docker.sock",
                "/home/me/.docker/run/docker.sock",
                "/run/user/7/podman/podman.sock",
                "/run/podman/podman.sock",
            ],
        ),
        ({"XDG_RUNTIME_DIR": "/run"}, ["/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"]),
        (
            {},
            [
                "/var/run/docker.sock",
                f"/run/user/{os.getuid()}/docker.sock",
                f"/run/user/{os.getuid()}/podman/podman.sock",
                "/run/podman/podman.sock",
            ],
        ),
    ],
)
def test_the_usual_places(environ: Mapping[str, str], expected: list[str]) -> None:
    places = endpoints(environ)
    assert [place.socket for place in places] == expected
    assert {place.source for place in places} == {""}


@pytest.mark.parametrize("environ", [{}, {"DOCKER_HOST": "unix:///s"}])
def test_a_system_without_unix_sockets(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(InputError) as caught:
        endpoints(environ)
    assert INSTEAD in caught.value.hint


@pytest.fixture
def place() -> Iterator[Path]:
    """Return where a socket may be: in a directory that all may enter, with a path that is short."""
    directory = Path(tempfile.mkdtemp(prefix="place-"))
    directory.chmod(0o755)
    yield directory / "s"
    shutil.rmtree(directory)


class TestKnocking:
    @pytest.mark.parametrize(
        ("mode", "hint"),
        [
            (0o060, "Run 'sudo usermod -aG docker $USER' and log in again, or run this with sudo."),
            (0o000, "Run this with sudo, or set DOCKER_HOST to a socket of your own (rootless Docker or Podman)."),
            (0o040, "Run this with sudo, or set DOCKER_HOST to a socket of your own (rootless Docker or Podman)."),
        ],
    )
    def test_the_group_that_owns_the_socket(
        self, place: Path, monkeypatch: pytest.MonkeyPatch, mode: int, hint: str
    ) -> None:
        def docker(number: int) -> grp.struct_group:
            return grp.struct_group(("docker", "x", number, []))

        monkeypatch.setattr(grp, "getgrgid", docker)
        denied = self.denied(place, mode, group=4711)
        assert denied.message == (
            f"no permission to open unix://{place} (from DOCKER_HOST): its group is 'docker', its mode {mode:04o}"
        )
        assert denied.hint == hint

    def test_a_group_without_a_name(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(number: int) -> NoReturn:
            raise KeyError(number)

        monkeypatch.setattr(grp, "getgrgid", unknown)
        denied = self.denied(place, 0, group=4711)
        assert f"its group is '{place.stat().st_gid}'" in denied.message

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of root's group")
    def test_roots_own_group_is_no_way_in(self, place: Path) -> None:
        assert self.denied(place, 0o660, group=0).hint.startswith("Run this with sudo")

    def test_a_socket_that_may_not_be_looked_at(self, place: Path) -> None:
        place.parent.chmod(0)
        try:
            with unprivileged(), pytest.raises(DeniedError) as caught:
                knock(Endpoint(socket=str(place)), 1)
        finally:
            place.parent.chmod(0o755)
        assert caught.value.message == f"no permission to open unix://{place}"
        assert caught.value.hint.startswith("Run this with sudo, or set DOCKER_HOST")
        assert "docker save" in caught.value.hint

    def test_somebody_who_listens(self, place: Path) -> None:
        with socket.socket(socket.AF_UNIX) as unix, socket.create_server(("127.0.0.1", 0)) as tcp:
            unix.bind(str(place))
            unix.listen()
            knock(Endpoint(socket=str(place)), 1)
            knock(Endpoint(address=f"127.0.0.1:{tcp.getsockname()[1]}"), 1)

    @pytest.mark.parametrize(
        ("name", "state"),
        [
            ("none", "not there"),
            ("file/s", "not there"),
            ("file", "nobody listens"),
            ("x" * 120, "AF_UNIX path too long"),
        ],
    )
    def test_where_nobody_listens(self, place: Path, name: str, state: str) -> None:
        (place.parent / "file").touch()
        endpoint = Endpoint(socket=str(place.parent / name), source="CONTAINER_HOST")
        with pytest.raises(NotListeningError) as caught:
            knock(endpoint, 1)
        assert caught.value.state == state
        assert caught.value.message == f"no engine at {endpoint} (from CONTAINER_HOST): {state}"
        assert caught.value.hint.startswith("Start it ('systemctl start docker'")
        assert "docker save" in caught.value.hint

    def test_a_port_where_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as tcp:
            port = tcp.getsockname()[1]
        with pytest.raises(NotListeningError, match="nobody listens"):
            knock(Endpoint(address=f"127.0.0.1:{port}"), 1)

    def test_one_who_does_not_get_to_it(self, place: Path) -> None:
        with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as waiting:
            busy.bind(str(place))
            busy.listen(0)
            # As many as may wait for an engine that does not take them.
            for _ in range(2):
                connection = waiting.enter_context(socket.socket(socket.AF_UNIX))
                connection.setblocking(False)
                connection.connect_ex(str(place))
            with pytest.raises(NotListeningError) as caught:
                knock(Endpoint(socket=str(place)), 0.02)
        assert caught.value.state == "no answer in time"

    @staticmethod
    def denied(place: Path, mode: int, group: int) -> DeniedError:
        """Try to open a socket of this mode and, if this is root, of this group."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            place.chmod(mode)
            if os.geteuid() == 0:
                os.chown(place, -1, group)
            with unprivileged(), pytest.raises(DeniedError) as caught:
                knock(Endpoint(socket=str(place), source="DOCKER_HOST"), 1)
        return caught.value
