"""Repositories of ECR Public and of ECR alike: `create_missing`, and the operations by the kind of a repository.

How each of the two services is asked is in `manifestctl.aws.public_repositories` and
`manifestctl.aws.private_repositories`, which are imported for it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.aws.repository_names import RepositoryName
from manifestctl.aws.tokens import endpoint_of
from manifestctl.events import Noted
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.repository_settings import Repository
    from manifestctl.model.reference import Reference
    from manifestctl.runtime import Runtime


def create_missing(reference: Reference, aws: Aws, runtime: Runtime) -> bool:
    """Make the repository of an image, as AWS makes it by default; returns False if it was there already.

    Of ECR Public the alias is looked at first. What was made is observed. Raises `InputError` for a name that AWS
    refuses or an alias of somebody else's, and what `Aws.call` raises.
    """
    name = RepositoryName.of(reference)
    made = create(name, {}, aws, runtime)
    if made is None:
        runtime.observe(Noted(f"AWS says that the repository {escape(str(name), 300)} exists already"))
        return False
    runtime.observe(Noted(f"created the repository {escape(made.uri, 300)}"))
    return True


def create(name: RepositoryName, parameters: Mapping[str, Any], aws: Aws, runtime: Runtime) -> Repository | None:
    """Make a repository with these parameters of CreateRepository; returns None if it is there already.

    Raises as `create_missing` does.
    """
    if name.host.is_public:
        from manifestctl.aws.public_repositories import create as create_public

        return create_public(name, parameters, aws, runtime)
    from manifestctl.aws.private_repositories import create as create_private

    return create_private(name, parameters, aws)


def find(name: RepositoryName, aws: Aws) -> Repository:
    """Return what AWS says of a repository.

    Raises `NotFoundError` if there is none, `InputError` for an alias of somebody else's, and what `Aws.call` raises.
    """
    if name.host.is_public:
        from manifestctl.aws.public_repositories import find as find_public

        return find_public(name, aws)
    from manifestctl.aws.private_repositories import find as find_private

    return find_private(name, aws)


def read_tags(name: RepositoryName, repository: Repository, aws: Aws) -> dict[str, str]:
    """Return the tags of a repository that was found, by their keys in order; raises what `Aws.call` raises."""
    doing = f"reading the tags of {escape(repository.uri, 300)}"
    answer = aws.call(endpoint_of(name.host), "list_tags_for_resource", {"resourceArn": repository.arn}, doing=doing)
    tags = {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in (answer or {}).get("tags", ())}
    return dict(sorted(tags.items()))
