"""How far quotas of ECR are used up, where one call tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.aws.tokens import endpoint_of

if TYPE_CHECKING:
    from manifestctl.aws.calls import Aws
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.model.digest import Digest


def tags_of_image(repository: RepositoryName, named: str | Digest, aws: Aws) -> int | None:
    """Return how many tags the image has that a tag or digest names, by ``DescribeImages``; None if there is none.

    A repository of ECR Public is looked for in our own registry, whatever its alias. Raises as `Aws.call` does.
    """
    host = repository.host
    image = {"imageTag": named} if isinstance(named, str) else {"imageDigest": str(named)}
    # ECR Public takes our own registry by itself; of a private one the host says whose it is.
    owner = {} if host.is_public else {"registryId": host.account}
    answer = aws.call(
        endpoint_of(host),
        "describe_images",
        {"repositoryName": repository.name, "imageIds": [image], **owner},
        doing=f"counting the tags of {repository}",
        expected=("ImageNotFoundException",),
    )
    details = (answer or {}).get("imageDetails") or []
    return len(details[0].get("imageTags") or ()) if details else None
