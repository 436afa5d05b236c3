"""What is looked at before anything is sent to a place that is to be written: `check_target`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.events import Noted
from manifestctl.model.reference import Reference
from manifestctl.text import escape

if TYPE_CHECKING:
    from manifestctl.aws.settings import AwsSettings
    from manifestctl.model.location import Location
    from manifestctl.runtime import Runtime


def check_target(location: Location, settings: AwsSettings | None, runtime: Runtime) -> None:
    """Refuse a name that no repository of Amazon's can have, and say where no repository is made though that is asked.

    What is only read is not looked at: whoever has it knows what it is called. Raises `InputError`.
    """
    makes = settings is not None and settings.create_repositories
    if isinstance(location, Reference):
        from manifestctl.transport.profiles import profile_for

        if profile_for(location.registry).amazon:
            from manifestctl.aws.repository_names import RepositoryName

            RepositoryName.of(location)
            return
        if makes:
            _refuse_misspelt(location)
    if makes:
        runtime.observe(
            Noted(f"--create-repository does nothing for {escape(location.store, 300)}: it is not in Amazon ECR")
        )


def _refuse_misspelt(reference: Reference) -> None:
    from manifestctl.aws.hosts import HOSTS, looks_like_ecr

    if looks_like_ecr(reference.registry):
        raise InputError(
            f"--create-repository: {escape(reference.registry, 300)} is not a host of Amazon ECR, though it is written "
            "like one",
            hint=f"{HOSTS} If another registry is meant, leave --create-repository out.",
        )
