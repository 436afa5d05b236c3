"""What both services of ECR have in common: images and tags of repositories, pages of results."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.support.aws_identity import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_TAGS = 50


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class ImageRecord:
    """An image as AWS describes it, known by its digest."""

    digest: str
    tags: list[str] = field(default_factory=list)
    size: int = 1000
    media_type: str = "application/vnd.oci.image.manifest.v1+json"
    pushed_at: datetime = field(default_factory=now)
    artifact_type: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return what describes the image itself."""
        return {
            "imageDigest": self.digest,
            "imageSizeInBytes": self.size,
            "imagePushedAt": self.pushed_at,
            "imageManifestMediaType": self.media_type,
            "artifactMediaType": self.artifact_type,
        }


def repository_missing(name: str, registry: str) -> AwsError:
    """Return the error for a repository that is not there."""
    text = f"The repository with name '{name}' does not exist in the registry with id '{registry}'"
    return AwsError("RepositoryNotFoundException", text)


def repository_exists(name: str, registry: str) -> AwsError:
    """Return the error for a repository that is to be made and is there."""
    text = f"The repository with name '{name}' already exists in the registry with id '{registry}'"
    return AwsError("RepositoryAlreadyExistsException", text)


def resource_of(operation: str, parameters: Mapping[str, Any], owner: str) -> str:
    """Return the resource that IAM's words name for a call; ``owner`` is what an ARN has before ``:repository``."""
    if "resourceArn" in parameters:
        return str(parameters["resourceArn"])
    name = parameters.get("repositoryName") or next(iter(parameters.get("repositoryNames") or []), None)
    if name is None and operation != "DescribeRepositories":
        return "*"
    return f"{owner}:repository/{name or '*'}"


def page(items: Sequence[Any], parameters: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one page of a list, with the token of the next if there is one."""
    start = _offset(parameters.get("nextToken"))
    end = start + parameters.get("maxResults", 100)
    result: dict[str, Any] = {name: list(items[start:end])}
    if end < len(items):
        result["nextToken"] = base64.b64encode(str(end).encode()).decode()
    return result


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        text = "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'"
        raise AwsError("InvalidParameterException", text) from None


def describe_images(images: Mapping[str, ImageRecord], parameters: Mapping[str, Any], registry: str) -> dict[str, Any]:
    """Answer DescribeImages."""
    name, wanted = parameters["repositoryName"], parameters.get("imageIds")
    found = list(images.values()) if wanted is None else [_image(images, given, name, registry) for given in wanted]
    details = [
        {"registryId": registry, "repositoryName": name, **image.fields()}
        | ({"imageTags": image.tags} if image.tags else {})
        for image in found
    ]
    return page(details, parameters, "imageDetails")


def _image(images: Mapping[str, ImageRecord], given: Mapping[str, str], name: str, registry: str) -> ImageRecord:
    digest, tag = given.get("imageDigest"), given.get("imageTag")
    for image in images.values():
        if digest in (None, image.digest) and (tag is None or tag in image.tags):
            return image
    shown = f"{{imageDigest:'{digest or 'null'}', imageTag:'{tag or 'null'}'}}"
    text = (
        f"The image with imageId {shown} does not exist within the repository with name '{name}' in the registry"
        f" with id '{registry}'"
    )
    raise AwsError("ImageNotFoundException", text)


def describe_image_tags(images: Mapping[str, ImageRecord], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeImageTags."""
    pairs = sorted((tag, image.digest) for image in images.values() for tag in image.tags)
    details = [
        {"imageTag": tag, "createdAt": images[digest].pushed_at, "imageDetail": images[digest].fields()}
        for tag, digest in pairs
    ]
    return page(details, parameters, "imageTagDetails")


def put_tags(held: dict[str, str], given: Sequence[Mapping[str, str]]) -> None:
    """Add the tags of a resource that a request gives; raises `AwsError`."""
    new = {tag.get("Key", ""): tag.get("Value", "") for tag in given}
    for key in new:
        if not key or key.startswith("aws:"):
            text = f"Invalid parameter at 'tags' failed to satisfy constraint: 'Invalid tag key: {key}'"
            raise AwsError("InvalidTagParameterException", text)
    if len(held | new) > _MOST_TAGS:
        text = f"The list of tags on the repository is over the limit. The maximum number of tags is {_MOST_TAGS}"
        raise AwsError("TooManyTagsException", text)
    held.update(new)


def tags_of(held: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the tags of a resource as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in held.items()]
