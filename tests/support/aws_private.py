"""Amazon ECR (private) as the fake AWS has it: repositories by account and region."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - a field's type
from typing import TYPE_CHECKING, Any

from tests.support.aws_identity import AwsError
from tests.support.aws_state import (
    ImageRecord,
    describe_images,
    now,
    page,
    put_tags,
    repository_exists,
    repository_missing,
    resource_of,
    tags_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.aws_identity import Caller

_WITH_EXCLUSION = ("IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION")


@dataclass(slots=True)
class PrivateRepository:
    """A repository with its settings; ``exclusions`` are the wildcards of its exclusion filters."""

    name: str
    account: str
    region: str
    mutability: str = "MUTABLE"
    exclusions: list[str] = field(default_factory=list)
    scan_on_push: bool = False
    encryption: dict[str, str] = field(default_factory=lambda: {"encryptionType": "AES256"})
    created_at: datetime = field(default_factory=now)
    tags: dict[str, str] = field(default_factory=dict)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    by_api: bool = False

    @property
    def arn(self) -> str:
        """The name as IAM has it."""
        return f"arn:aws:ecr:{self.region}:{self.account}:repository/{self.name}"

    @property
    def uri(self) -> str:
        """The name as clients have it."""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com/{self.name}"

    def immutable(self, tag: str) -> bool:
        """Tell whether a tag, once it is there, stays."""
        excluded = any(fnmatch.fnmatchcase(tag, pattern) for pattern in self.exclusions)
        return self.mutability == "IMMUTABLE" or (
            self.mutability in _WITH_EXCLUSION and excluded != self.mutability.startswith("IMMUTABLE")
        )


class EcrPrivate:
    """The operations, by their names in botocore."""

    service = "ecr"

    def __init__(self) -> None:
        """Begin with no repository."""
        self.repositories: dict[tuple[str, str, str], PrivateRepository] = {}

    def add(self, name: str, account: str, region: str, **settings: Any) -> PrivateRepository:
        """Make a repository, unless it is there."""
        made = PrivateRepository(name, account, region, **settings)
        return self.repositories.setdefault((account, region, name), made)

    def find(self, name: str, account: str, region: str) -> PrivateRepository | None:
        """Return a repository, or None."""
        return self.repositories.get((account, region, name))

    def resource(self, operation: str, parameters: Mapping[str, Any], caller: Caller) -> str:
        """Return the resource that IAM's words name for a call."""
        return resource_of(operation, parameters, f"arn:aws:ecr:{caller.region}:{caller.account}")

    def supported(self, region: str) -> bool:
        """The service is everywhere."""
        return bool(region)

    # Operations.

    def create_repository(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a repository with its settings."""
        name = parameters["repositoryName"]
        if self.find(name, caller.account, caller.region):
            raise repository_exists(name, caller.account)
        tags: dict[str, str] = {}
        put_tags(tags, parameters.get("tags", []))
        mutability = parameters.get("imageTagMutability", "MUTABLE")
        exclusions = _exclusions(mutability, parameters.get("imageTagMutabilityExclusionFilters"))
        made = self.add(
            name,
            caller.account,
            caller.region,
            mutability=mutability,
            exclusions=exclusions,
            scan_on_push=parameters.get("imageScanningConfiguration", {}).get("scanOnPush", False),
            tags=tags,
            by_api=True,
        )
        made.encryption = self._encryption(parameters.get("encryptionConfiguration"), caller)
        return {"repository": _described(made)}

    def describe_repositories(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe all of the region, or those that are named; one that is missing fails the call."""
        names = parameters.get("repositoryNames")
        if names is not None and ("maxResults" in parameters or "nextToken" in parameters):
            text = "Invalid parameter at 'maxResults': cannot be used together with 'repositoryNames'"
            raise AwsError("InvalidParameterException", text)
        account = parameters.get("registryId", caller.account)
        found = (
            [held for key, held in self.repositories.items() if key[:2] == (account, caller.region)]
            if names is None
            else [self._find(name, account, caller.region) for name in names]
        )
        return page([_described(repository) for repository in found], parameters, "repositories")

    def describe_images(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe all images, or those that are named."""
        repository = self._named(parameters, caller)
        return describe_images(repository.images, parameters, repository.account)

    def list_tags_for_resource(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Return the tags of the repository that an ARN names."""
        return {"tags": tags_of(self._by_arn(parameters).tags)}

    def tag_resource(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Add tags, or change them."""
        put_tags(self._by_arn(parameters).tags, parameters["tags"])
        return {}

    def put_image_tag_mutability(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Change whether tags stay."""
        repository = self._named(parameters, caller)
        mutability = parameters["imageTagMutability"]
        repository.exclusions = _exclusions(mutability, parameters.get("imageTagMutabilityExclusionFilters"))
        repository.mutability = mutability
        return {
            "registryId": repository.account,
            "repositoryName": repository.name,
            "imageTagMutability": mutability,
        } | _filters(repository)

    # Parts.

    def _find(self, name: str, account: str, region: str) -> PrivateRepository:
        found = self.find(name, account, region)
        if found is None:
            raise repository_missing(name, account)
        return found

    def _named(self, parameters: Mapping[str, Any], caller: Caller) -> PrivateRepository:
        return self._find(parameters["repositoryName"], parameters.get("registryId", caller.account), caller.region)

    def _by_arn(self, parameters: Mapping[str, Any]) -> PrivateRepository:
        for repository in self.repositories.values():
            if repository.arn == parameters["resourceArn"]:
                return repository
        parts = parameters["resourceArn"].split(":", 5)
        if len(parts) != 6 or parts[2] != "ecr":
            text = "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'"
            raise AwsError("InvalidParameterException", text)
        raise repository_missing(parts[5].removeprefix("repository/"), parts[4])

    @staticmethod
    def _encryption(given: Mapping[str, str] | None, caller: Caller) -> dict[str, str]:
        if given is None:
            return {"encryptionType": "AES256"}
        if given["encryptionType"] == "AES256":
            return dict(given)
        return {"kmsKey": f"arn:aws:kms:{caller.region}:{caller.account}:key/aws-managed"} | dict(given)


def _exclusions(mutability: str, filters: Sequence[Mapping[str, str]] | None) -> list[str]:
    if (mutability in _WITH_EXCLUSION) != bool(filters):
        text = (
            "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint:"
            f" 'exclusion filters and imageTagMutability {mutability} do not go together'"
        )
        raise AwsError("InvalidParameterException", text)
    return [given["filter"] for given in filters or []]


def _filters(repository: PrivateRepository) -> dict[str, Any]:
    if not repository.exclusions:
        return {}
    filters = [{"filterType": "WILDCARD", "filter": pattern} for pattern in repository.exclusions]
    return {"imageTagMutabilityExclusionFilters": filters}


def _described(repository: PrivateRepository) -> dict[str, Any]:
    return {
        "repositoryArn": repository.arn,
        "registryId": repository.account,
        "repositoryName": repository.name,
        "repositoryUri": repository.uri,
        "createdAt": repository.created_at,
        "imageTagMutability": repository.mutability,
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
        "encryptionConfiguration": repository.encryption,
    } | _filters(repository)
