"""Private repositories, by the API of ECR in the region of their host's name, in the account that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.aws.repository_settings import Repository
from manifestctl.aws.tokens import endpoint_of
from manifestctl.errors import NotFoundError
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.repository_names import RepositoryName


def create(name: RepositoryName, parameters: Mapping[str, Any], aws: Aws) -> Repository | None:
    """Make a repository; returns None if it is there already. Raises what `Aws.call` raises."""
    answer = aws.call(
        endpoint_of(name.host),
        "create_repository",
        # Without the account it would be made in the caller's own, whatever the host's name says.
        {"registryId": name.host.account, "repositoryName": name.name, **parameters},
        doing=f"creating {escape(str(name), 300)}",
        expected=("RepositoryAlreadyExistsException",),
    )
    return Repository.of(answer.get("repository") or {}, name) if answer is not None else None


def find(name: RepositoryName, aws: Aws) -> Repository:
    """Return what AWS says of a repository; raises `NotFoundError`, and what `Aws.call` raises."""
    shown = escape(str(name), 300)
    answer = aws.call(
        endpoint_of(name.host),
        "describe_repositories",
        {"registryId": name.host.account, "repositoryNames": [name.name]},
        doing=f"describing {shown}",
        expected=("RepositoryNotFoundException",),
    )
    if not answer or not answer.get("repositories"):
        raise NotFoundError(
            f"the repository {shown} does not exist",
            hint=f"'manifestctl repo create {shown}' makes it.",
            repository_unknown=True,
        )
    return Repository.of(answer["repositories"][0], name)
