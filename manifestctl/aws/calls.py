"""AWS's APIs for one run: boto3's session and clients, one level of retries, and errors as ours.

boto3 finds credentials as it always does: environment, profiles, roles, SSO, web identity, container and instance
roles. It reads the process's own environment for that, whatever `Runtime.environ` is.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from manifestctl.aws.call_log import CallLog
from manifestctl.aws.hosts import PUBLIC_REGION
from manifestctl.aws.identity import configuration_files
from manifestctl.aws.refusals import translated
from manifestctl.errors import ManifestctlError
from manifestctl.files import read_regular
from manifestctl.text import outside
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from manifestctl.aws.settings import AwsSettings
    from manifestctl.runtime import Runtime
    from manifestctl.transport.retry import Retries

# How boto3 calls the places in which it finds credentials, and how people do.
_METHODS = {
    "env": "environment variables",
    "shared-credentials-file": "credentials file",
    "custom-process": "credential_process",
    "config-file": "config file",
    "assume-role": "assumed role",
    "assume-role-with-web-identity": "web identity",
    "sso": "IAM Identity Center",
    "container-role": "container role",
    "iam-role": "instance role",
    "login": "aws login",
}
# Those that a profile may be responsible for.
_OF_A_PROFILE = frozenset(_METHODS) - {"env", "container-role", "iam-role"}
# Those that may give somebody else's credentials tomorrow, with nothing on the machine to show it.
_CHANGEABLE = frozenset({"container-role", "iam-role", "custom-process"})

_CONFIGURATION_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for AWS, in seconds."""

    connect: float = 10.0
    read: float = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API in a region. ``fips`` and ``dual_stack`` choose among its host names."""

    service: str
    region: str
    fips: bool = False
    dual_stack: bool = False


class Aws:
    """Calls AWS's APIs; may be used by several threads. boto3 is imported with the first call."""

    def __init__(self, settings: AwsSettings, timeouts: Timeouts, runtime: Runtime, retries: Retries) -> None:
        """Keep the settings; nothing is imported or asked yet."""
        self.settings = settings
        self.runtime = runtime
        self._timeouts = timeouts
        self._retries = retries
        self._session: Any = None
        self._clients: dict[Endpoint, Any] = {}
        self._lock = threading.RLock()

    def call(
        self,
        endpoint: Endpoint,
        operation: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        doing: str,
        expected: Collection[str] = (),
    ) -> dict[str, Any] | None:
        """Call an operation, by its name in Python (``create_repository``); returns its answer as botocore parses it.

        ``doing`` begins messages, e.g. ``creating public.ecr.aws/acme/web``. If AWS refuses with one of the
        ``expected`` codes, the answer is None. What may pass is tried again; raises `NoAwsCredentialsError`,
        `DeniedError`, `InputError`, `NotFoundError`, `UnreachableError`.
        """
        codes = frozenset(expected)
        return self._retries.run(doing, lambda: self._once(endpoint, operation, dict(parameters or {}), doing, codes))

    def obtain(self, doing: str, region: str = PUBLIC_REGION) -> None:
        """Get the credentials now; those of roles and of SSO are otherwise got with the first call.

        ``doing`` begins messages. ``region`` is where roles are asked for if neither environment nor profile says so.
        Raises as `call` does.
        """
        if self._credentials(doing, region) is None:
            self._check_files()
            raise translated(self._lacking(), doing, self.runtime.now())

    def origin(self) -> str:
        """Say where the credentials come from: ``environment variables``, ``assumed role, profile release``.

        It is empty if there are none. Raises as `call` does.
        """
        credentials = self._credentials("looking for AWS credentials")
        if credentials is None:
            return ""
        words, profile = _METHODS.get(credentials.method, str(credentials.method)), self._made().profile_name
        named = credentials.method in _OF_A_PROFILE and profile not in (None, "default")
        return outside(f"{words}, profile {profile}" if named else words, 200)

    def is_changeable(self) -> bool:
        """Tell whether the credentials may be somebody else's tomorrow, with nothing on the machine to show it."""
        credentials = self._credentials("looking for AWS credentials")
        return credentials is not None and credentials.method in _CHANGEABLE

    def expires(self) -> float | None:
        """Return when the credentials end, in seconds since the epoch; None if they do not, or do not say."""
        credentials = self._credentials("looking for AWS credentials")
        # What boto3 can renew says until when in an attribute that is not public.
        until = getattr(credentials, "_expiry_time", None)
        return until.timestamp() if until is not None else None

    def _credentials(self, doing: str, region: str = PUBLIC_REGION) -> Any:
        """Return boto3's credentials, good for a call now; None if there are none.

        They are got before the call that needs them, so that what fails is not taken for a failure of that call.
        """
        session = self._made(region)
        try:
            with self._lock:
                credentials = session.get_credentials()
            if credentials is not None:
                credentials.get_frozen_credentials()
        except Exception as error:
            # Of a credential_process or a metadata endpoint that is not what it should be, it may be anything; boto3
            # wraps an interruption too.
            self.runtime.cancel.check()
            raise translated(error, doing, self.runtime.now()) from error
        return credentials

    def _once(
        self, endpoint: Endpoint, operation: str, parameters: dict[str, Any], doing: str, expected: frozenset[str]
    ) -> dict[str, Any] | None:
        self.runtime.cancel.check()
        from botocore.exceptions import ClientError

        self.obtain(doing, endpoint.region)
        try:
            answer: dict[str, Any] = getattr(self._client(endpoint), operation)(**parameters)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in expected:
                return None
            raise translated(error, doing, self.runtime.now(), self._origin_or_nothing()) from error
        except Exception as error:
            self.runtime.cancel.check()
            raise translated(error, doing, self.runtime.now()) from error
        return answer

    def _origin_or_nothing(self) -> str:
        with contextlib.suppress(ManifestctlError):
            return self.origin()
        return ""

    def _lacking(self) -> Any:
        """Return boto3's error for credentials that were not found; half a key is somebody's mistake."""
        from botocore.exceptions import NoCredentialsError, PartialCredentialsError

        environ = self.runtime.environ
        # boto3 passes over a secret without its ID, which is what an empty variable of a CI job leaves.
        if environ.get("AWS_SECRET_ACCESS_KEY") and not environ.get("AWS_ACCESS_KEY_ID"):
            return PartialCredentialsError(provider="env", cred_var="AWS_ACCESS_KEY_ID")
        return NoCredentialsError()

    def _check_files(self) -> None:
        """Raise `InputError` if there may be credentials in a file that cannot be read, which boto3 passes over."""
        for path in configuration_files(self.runtime.environ):
            try:
                path.stat()
            except (OSError, ValueError):
                continue
            read_regular(path, _CONFIGURATION_LIMIT, "AWS's configuration file")

    def _client(self, endpoint: Endpoint) -> Any:
        with self._lock:
            if endpoint not in self._clients:
                self._clients[endpoint] = self._made().client(
                    endpoint.service, region_name=endpoint.region, config=_names_of(endpoint)
                )
            return self._clients[endpoint]

    def _manner(self) -> Any:
        """Return how all calls are made, those too that boto3 makes to get credentials."""
        from botocore.config import Config

        return Config(
            connect_timeout=self._timeouts.connect,
            read_timeout=self._timeouts.read,
            # botocore would retry LimitExceededException, a quota, too; what passes is retried here, and said.
            retries={"total_max_attempts": 1, "mode": "standard"},
            user_agent_extra="manifestctl",
        )

    def _made(self, region: str = PUBLIC_REGION) -> Any:
        with self._lock:
            if self._session is None:
                import boto3
                from botocore.exceptions import BotoCoreError
                from botocore.session import Session

                core = Session()
                CallLog(self.runtime).watch(core)
                core.set_default_client_config(self._manner())
                try:
                    made = boto3.session.Session(profile_name=self.settings.profile or None, botocore_session=core)
                    if made.region_name is None:
                        core.set_config_variable("region", region)
                except BotoCoreError as error:
                    raise translated(error, "reading AWS's configuration", self.runtime.now()) from error
                self._session = made
            return self._session


def _names_of(endpoint: Endpoint) -> Any:
    """Return the settings by which botocore chooses among an endpoint's host names."""
    from botocore.config import Config

    return Config(
        # None leaves the choice to AWS_USE_FIPS_ENDPOINT and the like; ECR Public has no such endpoint.
        use_fips_endpoint=endpoint.fips or (False if endpoint.service == "ecr-public" else None),
        use_dualstack_endpoint=endpoint.dual_stack or None,
    )
