"""The Engine API of Docker and Podman over the engine's socket: versions, limits, and what went wrong in words.

Docker "Engine API" 1.40 to 1.51; Podman speaks the same and its own, "libpod", beside it. Everything here is asked for
with GET. An engine is on this machine, so nothing is tried again: it listens or it does not.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NoReturn, Self

from manifestctl.errors import DeniedError, DocumentError, InputError, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.events import Warned
from manifestctl.model.strict_json import load
from manifestctl.text import outside
from manifestctl.transport.connections import USER_AGENT
from manifestctl.transport.engine_socket import INSTEAD, START, NotListeningError, endpoints, knock
from manifestctl.transport.message import BODY_LIMIT, is_plain
from manifestctl.transport.tls import no_tls_context
from manifestctl.transport.wire_log import exchanged, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import httpx

    from manifestctl.runtime import Runtime
    from manifestctl.transport.engine_socket import Endpoint
    from manifestctl.transport.settings import TransportSettings

ApiVersion = tuple[int, int]

OLDEST: ApiVersion = (1, 40)
"""Docker 19.03, Podman 3."""
NEWEST: ApiVersion = (1, 51)
"""What was tried; a newer engine is spoken to in this version."""

_ANSWER_LIMIT = 64 * 1024 * 1024
# Docker copies all layers of an image before it sends the first byte of an archive.
_EXPORT_PATIENCE = 900.0
_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,4})")


class EngineFailedError(UnreachableError):
    """The engine answered that it failed, or that it does not do what it was asked for."""


class EngineClient:
    """One engine's API; a context manager that closes its connections. May be used by several threads.

    ``version`` is the version of the API that is spoken, ``libpod`` that of Podman's own API, or ``""``.
    """

    def __init__(self, endpoint: Endpoint, runtime: Runtime, settings: TransportSettings) -> None:
        """Bind to an endpoint; nothing is sent yet."""
        import httpx

        from manifestctl.transport.sending import Transport

        self.endpoint = endpoint
        self.version: ApiVersion = OLDEST
        self.libpod = ""
        self._kind = ""
        self._runtime = runtime
        self._settings = settings
        self._timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency)
        self._client = httpx.Client(
            transport=Transport(verify=no_tls_context(), uds=endpoint.socket or None, limits=limits),
            base_url=f"http://{endpoint.address or 'localhost'}",
            trust_env=False,
            timeout=self._timeout,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"},
        )

    @property
    def name(self) -> str:
        """What messages call it: ``the Docker engine at unix:///var/run/docker.sock``."""
        return f"the {self._kind}engine at {self.endpoint}"

    @property
    def next_step(self) -> str:
        """What to do where the engine itself failed."""
        log = "'journalctl -u podman', or with --user for a user's own" if self.libpod else "'journalctl -u docker'"
        return f"See the engine's log ({log}); running again is safe."

    def negotiate(self) -> None:
        """Ask the engine who it is, and settle on a version of its API.

        Raises `InputError` if the engine is too old, and `UnreachableError` if what answers is no engine.
        """
        with self._answer("/_ping", {}, f"asking {self.name} for its version") as response:
            self._read(response, BODY_LIMIT)
        match = _VERSION.fullmatch(response.headers.get("api-version", ""))
        if not response.is_success or match is None:
            raise UnreachableError(
                f"what answers at {self.endpoint}{self.endpoint.named} is not a Docker or Podman engine",
                hint="Set DOCKER_HOST to the socket of an engine.",
            )
        self.libpod = _podman_version(response.headers.get("libpod-api-version", ""))
        self._kind = "Podman " if self.libpod else "Docker "
        offered = int(match[1]), int(match[2])
        if offered < OLDEST:
            raise InputError(
                f"{self.name} is too old: it speaks API {match[0]}, and {spelled(OLDEST)} is needed", hint=INSTEAD
            )
        self.version = min(offered, NEWEST)

    def json(self, path: str, parameters: Mapping[str, str], doing: str, *, libpod: bool = False) -> Any:
        """Ask for a JSON document; ``path`` is relative to the API, or to Podman's own with ``libpod``.

        Raises `NotFoundError`, `DeniedError`, and `UnreachableError`, also for an answer that is not JSON.
        """
        with self._answer(self._path(path, libpod=libpod), parameters, doing) as response:
            if response.status_code != 200:
                self._refused(response, doing)
            raw, more = self._read(response, _ANSWER_LIMIT)
        if more:
            raise UnreachableError(f"{doing} failed: the answer is larger than {_ANSWER_LIMIT} bytes")
        try:
            return load(raw, f"the answer of {self.name}", _ANSWER_LIMIT)
        except DocumentError as error:
            raise UnreachableError(f"{doing} failed: {error.message}") from error

    def exists(self, path: str, doing: str) -> bool:
        """Ask one of Podman's own questions of whether something is there.

        Raises `DeniedError` and `UnreachableError`: an engine that fails has not said no.
        """
        with self._answer(self._path(path, libpod=True), {}, doing) as response:
            if response.status_code not in (204, 404):
                self._refused(response, doing)
            return response.status_code == 204

    @contextlib.contextmanager
    def stream(
        self, path: str, parameters: Mapping[str, str], doing: str, *, libpod: bool = False
    ) -> Iterator[Iterator[bytes]]:
        """Ask for content that may be long, and give its bytes as they come.

        Raises `NotFoundError`, `DeniedError`, `UnreachableError`, and of that `EngineFailedError` for a refusal.
        """
        import httpx

        read = max(_EXPORT_PATIENCE, self._settings.read_timeout)
        patient = httpx.Timeout(read, connect=self._settings.connect_timeout, pool=None)
        with self._answer(self._path(path, libpod=libpod), parameters, doing, timeout=patient) as response:
            if response.status_code != 200:
                self._refused(response, doing)
            yield self._chunks(response, doing)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def _path(self, path: str, *, libpod: bool = False) -> str:
        return f"/v{self.libpod}/libpod/{path}" if libpod else f"/v{spelled(self.version)}/{path}"

    @contextlib.contextmanager
    def _answer(
        self, path: str, parameters: Mapping[str, str], doing: str, *, timeout: httpx.Timeout | None = None
    ) -> Iterator[httpx.Response]:
        from manifestctl.transport.sending import send

        self._runtime.cancel.check()
        request = self._client.build_request("GET", path, params=dict(parameters), timeout=timeout or self._timeout)
        started = self._runtime.monotonic()
        try:
            with self._translated(doing):
                response = send(self._client, request, self._runtime.monotonic)
        except ManifestctlError as error:
            self._runtime.observe(unanswered(request, self._runtime.monotonic() - started, error.message))
            raise
        self._runtime.observe(exchanged(request, response, self._runtime.monotonic() - started))
        try:
            yield response
        finally:
            response.close()

    def _chunks(self, response: httpx.Response, doing: str) -> Iterator[bytes]:
        from manifestctl.transport.sending import pieces

        encoding = response.headers.get("content-encoding", "")
        if not is_plain(encoding):
            raise UnreachableError(f"{doing} failed: the answer is packed as '{outside(encoding, 40)}'")
        chunks = pieces(response)
        while True:
            self._runtime.cancel.check()
            # What the caller does with a chunk is not covered: its errors are not the engine's.
            with self._translated(doing):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _read(self, response: httpx.Response, limit: int) -> tuple[bytes, bool]:
        deadline = self._runtime.monotonic() + self._settings.retry_deadline
        doing = f"reading the answer of {self.name}"
        data = bytearray()
        for chunk in self._chunks(response, doing):
            data += chunk
            if len(data) > limit:
                return bytes(data[:limit]), True
            if self._runtime.monotonic() > deadline:
                raise UnreachableError(f"{doing} failed: it came too slowly")
        return bytes(data), False

    def _refused(self, response: httpx.Response, doing: str) -> NoReturn:
        message = _message(self._read(response, BODY_LIMIT)[0])
        said = f'{response.status_code} "{outside(message, 300)}"' if message else str(response.status_code)
        text = f"{doing} failed: {self.name} said {said}"
        if response.status_code == 404:
            raise NotFoundError(text)
        if response.status_code in (401, 403):
            raise DeniedError(text, hint="A plugin of the engine decides who may do that; ask who runs it.")
        hint = self.next_step
        if response.status_code == 400 and "client version" in message:
            hint = f"This engine no longer speaks API {spelled(self.version)}. {INSTEAD}"
        raise EngineFailedError(text, hint=hint)

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            program = "podman" if self.libpod else "docker"
            raise UnreachableError(
                f"{doing} failed: {self.name} did not answer in time", hint=f"See whether it hangs: '{program} info'."
            ) from error
        except httpx.TransportError as error:
            raise UnreachableError(
                f"{doing} failed: {self.name} broke off: {outside(str(error), 200) or type(error).__name__}",
                hint=self.next_step,
            ) from error


def connect(runtime: Runtime, settings: TransportSettings, places: tuple[Endpoint, ...] | None = None) -> EngineClient:
    """Find the engine that `endpoints` gives, or one at these places, and settle on a version of its API.

    Raises `InputError` for an address that cannot be used, `DeniedError` if the socket may not be opened,
    `UnreachableError` if there is no engine; the message says where it was looked for.
    """
    looked: list[str] = []
    denied: DeniedError | None = None
    for place in places or endpoints(runtime.environ):
        try:
            knock(place, settings.connect_timeout)
        except NotListeningError as error:
            if place.source:
                raise
            looked.append(f"{place} ({error.state})")
        except DeniedError as error:
            if place.source:
                raise
            denied = denied or error
        else:
            return _settled(place, runtime, settings, denied)
    raise denied or UnreachableError(f"no Docker or Podman engine was found: {', '.join(looked)}", hint=START)


def _settled(
    place: Endpoint, runtime: Runtime, settings: TransportSettings, denied: DeniedError | None
) -> EngineClient:
    client = EngineClient(place, runtime, settings)
    try:
        client.negotiate()
    except BaseException:
        client.close()
        raise
    if denied is not None:
        runtime.observe(Warned(f"{denied.message}; {client.name} is asked instead"))
    return client


def spelled(version: ApiVersion) -> str:
    """Return a version as the API's paths have it: ``1.48``."""
    return f"{version[0]}.{version[1]}"


def _podman_version(version: str) -> str:
    """Return the version of Podman's own API if it may stand in a path, else ``""``."""
    return version if re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,2}", version) else ""


def _message(body: bytes) -> str:
    """Return what an error body says: the API's JSON has a message, old engines and proxies send text."""
    with contextlib.suppress(DocumentError):
        document = load(body, "the answer", BODY_LIMIT)
        if isinstance(document, dict) and isinstance(document.get("message"), str):
            return str(document["message"]).strip()
    return body.decode("utf-8", "replace").strip()
