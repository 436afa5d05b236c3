"""Who opens which registry: the credentials of one run, and AWS's APIs behind Amazon's registries."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.transport.credentials import Chain
from manifestctl.transport.profiles import profile_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.settings import AwsSettings, Use
    from manifestctl.aws.token_cache import TokenCache
    from manifestctl.model.reference import Reference
    from manifestctl.stores.ahead import Ahead
    from manifestctl.transport.credentials import Credential, CredentialSource
    from manifestctl.transport.retry import Retries
    from manifestctl.transport.settings import TransportSettings


class _Awaited(Chain):
    """A chain that may be asked ahead: what was heard then is let out when it is asked for good."""

    def __init__(self, sources: Iterable[CredentialSource], ahead: Ahead, *, without_aws: bool) -> None:
        super().__init__(sources, without_aws=without_aws)
        self._ahead = ahead

    def credential(self, registry: str, repository: str) -> Credential | None:
        self._ahead.needed()
        return super().credential(registry, repository)


class Keyring:
    """Gives each registry its chain of sources of credentials. What AWS alone needs is imported for it alone."""

    def __init__(
        self,
        stored: CredentialSource,
        ahead: Ahead,
        retries: Retries,
        settings: TransportSettings,
        aws: AwsSettings | None = None,
    ) -> None:
        """Keep the source that all registries have, and how AWS is to be used; without ``aws`` it is not."""
        self._stored = stored if isinstance(stored, Chain) else Chain((stored,))
        self._ahead = ahead
        self._runtime = ahead.runtime
        self._retries = retries
        self._settings = settings
        self._aws_settings = aws
        self._amazon: Chain | None = None
        self._aws: Aws | None = None
        self._lock = threading.RLock()

    @property
    def stored(self) -> Chain:
        """The source that all registries have: Docker's and Podman's files."""
        return self._stored

    @property
    def use(self) -> Use:
        """Whether AWS credentials open registries of Amazon's: ``auto``, ``always``, ``never``."""
        return self._aws_settings.use if self._aws_settings is not None else "never"

    def chain(self, registry: str) -> Chain:
        """Return the sources for a registry, given as in references."""
        if self._aws_settings is None or not profile_for(registry).amazon:
            return self._stored
        with self._lock:
            if self._amazon is None:
                from manifestctl.aws.source import EcrSource, ecr_sources

                stored = self._stored.sources if self.use != "always" else ()
                aws = EcrSource(self.aws, self._runtime, self.token_cache()) if self.use != "never" else None
                sources = ecr_sources(stored, aws, self._runtime)
                self._amazon = _Awaited(sources, self._ahead, without_aws=aws is None)
            return self._amazon

    def begin(self, registry: str, repository: str) -> None:
        """Begin to get what opens a registry of Amazon's, so that it is there when the first request needs it.

        boto3 takes its time to be imported, and AWS to answer; the run goes on meanwhile. What goes wrong is said when
        it is needed.
        """
        chain = self.chain(registry)
        if chain is not self._stored:
            self._ahead.begin(lambda: chain.credential(registry, repository))

    def aws(self) -> Aws:
        """Return AWS's APIs. boto3 is imported when one of them is called."""
        from manifestctl.aws.calls import Aws, Timeouts
        from manifestctl.aws.settings import AwsSettings

        with self._lock:
            if self._aws is None:
                timeouts = Timeouts(self._settings.connect_timeout, self._settings.read_timeout)
                self._aws = Aws(self._aws_settings or AwsSettings(), timeouts, self._runtime, self._retries)
            return self._aws

    def token_cache(self) -> TokenCache | None:
        """Return the tokens that are kept between runs; None if none are to be kept, or nowhere can be."""
        settings, environ = self._aws_settings, self._runtime.environ
        if settings is None or not settings.token_cache:
            return None
        from manifestctl.aws.identity import identity_key
        from manifestctl.aws.token_cache import TokenCache, cache_directory

        directory = cache_directory(environ)
        return TokenCache(directory, identity_key(environ, settings.profile), self._runtime) if directory else None

    def maker(self, reference: Reference) -> Callable[[], None] | None:
        """Return what makes a repository that is missing; None if nobody asked for that, or it is no need."""
        settings = self._aws_settings
        if settings is None or not settings.create_repositories or not profile_for(reference.registry).amazon:
            return None

        def make() -> None:
            if settings.use == "never":
                raise InputError(
                    f"{reference.store} does not exist, and cannot be created without AWS's API",
                    hint="Leave --no-aws out, or create it first.",
                )
            from manifestctl.aws.repositories import create_missing

            create_missing(reference, self.aws(), self._runtime)

        return make
