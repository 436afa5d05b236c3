"""All of AWS that a publisher meets, under the real host names: APIs, both registries, a proxy that leads there.

::

    with EcrWorld(tmp_path) as world:
        world.aws.add_repository("web")
        ran = run("push", "oci:layout", "public.ecr.aws/acme/web:1", "--ca-file", world.ca_file, environ=world.environ)
        assert world.registry.tag("acme/web", "1") is not None
"""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, Self

from tests.support.aws import ALIAS, REGION, FakeAws
from tests.support.certificates import Certificates, make_certificates
from tests.support.connect_proxy import ConnectProxy
from tests.support.ecr_front import HOST, HOSTS, EcrPrivateFront, EcrPublicFront
from tests.support.ecr_private import hosts_of
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from tests.support.aws import Source
    from tests.support.aws_identity import AccessKey


_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class EcrWorld:
    """Starts everything; a context manager.

    - ``backend``: the origin of a real registry, which both fronts use with names of this world's own; None: two
      `FakeRegistry`, ``registry`` behind ECR Public and ``private_registry`` behind ECR.
    - ``clock``: the time by which tokens expire and the Date of answers; ``monotonic``: by which rates are judged. Give
      both if the code under test sleeps in a world of its own.
    - ``regions``: of the private registry; all have the same front. ``more_hosts``: further names of it.
    - ``certificates``: of another world with the same hosts, which saves the making of them.
    - ``proxy_user``, ``proxy_password``: the proxy asks for them.
    """

    def __init__(
        self,
        directory: Path,
        *,
        backend: str | None = None,
        alias: str | None = ALIAS,
        regions: tuple[str, ...] = (REGION,),
        more_hosts: tuple[str, ...] = (),
        rate_limit: float | None = 10.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        certificates: Certificates | None = None,
        proxy_user: str | None = None,
        proxy_password: str = "",
    ) -> None:
        """Lay out a directory, with a home in it; nothing is started yet."""
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.aws = FakeAws(alias=alias, clock=clock)
        private_hosts = (*(host for region in regions for host in hosts_of(self.aws.account, region)), *more_hosts)
        self.hosts = (*HOSTS, *private_hosts)
        self.certificates = certificates or make_certificates(directory / "certificates", hosts=self.hosts)
        self.host = HOST
        self.private_host = private_hosts[0]
        self.registry, self.private_registry = FakeRegistry(), FakeRegistry()
        self.prefix = f"w{secrets.token_hex(6)}/" if backend else ""
        self._backend = backend
        self._private_hosts = private_hosts
        self._options: dict[str, Any] = {"rate_limit": rate_limit, "clock": monotonic}
        self._proxy = (proxy_user, proxy_password)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start everything."""
        with contextlib.ExitStack() as stack:
            public = self._backend or stack.enter_context(self.registry).url
            private = self._backend or stack.enter_context(self.private_registry).url
            stack.enter_context(self.aws)
            tls = self.certificates.server_context()
            # One registry behind both: their repositories are kept apart by their prefixes.
            prefixes = (f"{self.prefix}public/", f"{self.prefix}private/") if self._backend else ("", "")
            self.public = EcrPublicFront(self.aws, public, tls=tls, prefix=prefixes[0], **self._options)
            self.private = EcrPrivateFront(self.aws, private, tls=tls, prefix=prefixes[1], **self._options)
            served = dict.fromkeys(HOSTS, stack.enter_context(self.public).port)
            served |= dict.fromkeys(self._private_hosts, stack.enter_context(self.private).port)
            places = {f"{host}:443": ("127.0.0.1", port) for host, port in served.items()}
            user, password = self._proxy
            self.proxy = stack.enter_context(ConnectProxy(places, user=user, password=password))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self._stack.__exit__(kind, error, trace)

    @property
    def ca_file(self) -> Path:
        """The private authority: for ``--ca-file``, or ``SSL_CERT_FILE`` of other programs."""
        return self.certificates.authority

    @property
    def alias(self) -> str:
        """The primary alias of the account."""
        return self.aws.alias

    @property
    def account(self) -> str:
        """The number of the account."""
        return self.aws.account

    @property
    def secrets(self) -> list[str]:
        """Everything that must never be shown."""
        return [*self.aws.secrets, *self.public.secrets]

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process, or a Runtime: AWS's keys and endpoints, the proxy, a home of its own."""
        return self.environment()

    def environment(self, *, access_key: AccessKey | None = None, source: Source | None = "keys") -> dict[str, str]:
        """Return the environment with other credentials; a ``source`` of None is none at all."""
        found = self.aws.environ(access_key=access_key, source=source or "keys")
        if source is None:
            found = {name: value for name, value in found.items() if name not in _KEYS}
        return found | {"HTTPS_PROXY": self.proxy.url, "HOME": str(self.home)}
