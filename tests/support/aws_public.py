"""Amazon ECR Public as the fake AWS has it: registries with aliases, repositories, catalog data, images."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.support.aws_identity import AwsError
from tests.support.aws_state import (
    ImageRecord,
    describe_image_tags,
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
    from collections.abc import Mapping

    from tests.support.aws_identity import Caller

HOST = "public.ecr.aws"
_LISTS = ("architectures", "operatingSystems")


@dataclass(slots=True)
class Alias:
    """A name of a public registry; ``status`` is ACTIVE, PENDING or REJECTED."""

    name: str
    status: str = "ACTIVE"
    primary: bool = True
    default: bool = False


@dataclass(slots=True)
class PublicRepository:
    """A repository; ``catalog`` is as GetRepositoryCatalogData gives it, None if there never was any."""

    name: str
    account: str
    created_at: datetime = field(default_factory=now)
    catalog: dict[str, Any] | None = None
    logo: bytes | None = None
    tags: dict[str, str] = field(default_factory=dict)
    images: dict[str, ImageRecord] = field(default_factory=dict)
    by_api: bool = False

    @property
    def arn(self) -> str:
        """The name without a region that all repositories of ECR Public have."""
        return f"arn:aws:ecr-public::{self.account}:repository/{self.name}"


@dataclass(slots=True)
class PublicRegistry:
    """The public registry of an account."""

    account: str
    aliases: list[Alias] = field(default_factory=list)
    repositories: dict[str, PublicRepository] = field(default_factory=dict)
    verified: bool = False

    @property
    def primary(self) -> Alias | None:
        """The alias that stands in the URIs of repositories."""
        return next((alias for alias in self.aliases if alias.primary), None)

    def uri(self, name: str) -> str:
        """Return the URI of a repository."""
        primary = self.primary
        return f"{HOST}/{primary.name if primary else self.account}/{name}"

    def add(self, name: str, *, by_api: bool = False) -> PublicRepository:
        """Make a repository, unless it is there; the first one of a registry brings an alias if it has none."""
        if not self.aliases:
            self.aliases.append(Alias("a" + secrets.token_hex(4)[:7], default=True))
        return self.repositories.setdefault(name, PublicRepository(name, self.account, by_api=by_api))


class EcrPublic:
    """The operations, by their names in botocore."""

    service = "ecr-public"

    def __init__(self) -> None:
        """Begin with no registry."""
        self.registries: dict[str, PublicRegistry] = {}

    def registry(self, account: str) -> PublicRegistry:
        """Return the registry of an account, made if need be."""
        return self.registries.setdefault(account, PublicRegistry(account))

    def owner(self, alias: str) -> PublicRegistry | None:
        """Return the registry that has this alias, if it is active."""
        for registry in list(self.registries.values()):
            if any(held.name == alias and held.status == "ACTIVE" for held in registry.aliases):
                return registry
        return None

    def resource(self, operation: str, parameters: Mapping[str, Any], caller: Caller) -> str:
        """Return the resource that IAM's words name for a call."""
        return resource_of(operation, parameters, f"arn:aws:ecr-public::{caller.account}")

    def supported(self, region: str) -> bool:
        """Tell whether the service is in a region."""
        return region == "us-east-1"

    # Operations.

    def describe_registries(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """There is one registry, the caller's."""
        registry = self.registry(caller.account)
        primary = registry.primary
        described = {
            "registryId": registry.account,
            "registryArn": f"arn:aws:ecr-public::{registry.account}:registry/{registry.account}",
            "registryUri": f"{HOST}/{primary.name}" if primary else "",
            "verified": registry.verified,
            "aliases": [
                {
                    "name": alias.name,
                    "status": alias.status,
                    "primaryRegistryAlias": alias.primary,
                    "defaultRegistryAlias": alias.default,
                }
                for alias in registry.aliases
            ],
        }
        return page([described], parameters, "registries")

    def create_repository(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a repository with its catalog data and tags."""
        registry, name = self.registry(caller.account), parameters["repositoryName"]
        if name in registry.repositories:
            raise repository_exists(name, registry.account)
        tags: dict[str, str] = {}
        put_tags(tags, parameters.get("tags", []))
        repository = registry.add(name, by_api=True)
        repository.tags = tags
        result: dict[str, Any] = {"repository": self._described(registry, repository)}
        if "catalogData" in parameters:
            self._put_catalog(repository, parameters["catalogData"])
            result["catalogData"] = repository.catalog
        return result

    def describe_repositories(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe all, or those that are named; one that is missing fails the call."""
        registry = self._named_registry(parameters, caller)
        if "repositoryNames" in parameters and ("maxResults" in parameters or "nextToken" in parameters):
            text = "Invalid parameter at 'maxResults': cannot be used together with 'repositoryNames'"
            raise AwsError("InvalidParameterException", text)
        names = parameters.get("repositoryNames")
        found = (
            list(registry.repositories.values()) if names is None else [self._find(registry, name) for name in names]
        )
        return page([self._described(registry, repository) for repository in found], parameters, "repositories")

    def delete_repository(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Delete a repository that is empty, or with force."""
        registry = self._named_registry(parameters, caller)
        repository = self._find(registry, parameters["repositoryName"])
        if repository.images and not parameters.get("force"):
            text = (
                f"The repository with name '{repository.name}' in registry with id '{registry.account}' cannot be"
                " deleted because it still contains images"
            )
            raise AwsError("RepositoryNotEmptyException", text)
        del registry.repositories[repository.name]
        return {"repository": self._described(registry, repository)}

    def get_repository_catalog_data(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Return the catalog data, if there ever was any."""
        registry = self._named_registry(parameters, caller)
        repository = self._find(registry, parameters["repositoryName"])
        if repository.catalog is None:
            text = (
                f"The catalog data for the repository with name '{repository.name}' does not exist in the registry"
                f" with id '{registry.account}'"
            )
            raise AwsError("RepositoryCatalogDataNotFoundException", text)
        return {"catalogData": repository.catalog}

    def put_repository_catalog_data(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Replace the whole catalog data: what is left out is gone."""
        registry = self._named_registry(parameters, caller)
        repository = self._find(registry, parameters["repositoryName"])
        self._put_catalog(repository, parameters["catalogData"])
        return {"catalogData": repository.catalog}

    def describe_images(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe all images, or those that are named."""
        registry = self._named_registry(parameters, caller)
        repository = self._find(registry, parameters["repositoryName"])
        return describe_images(repository.images, parameters, registry.account)

    def describe_image_tags(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe all tags."""
        registry = self._named_registry(parameters, caller)
        return describe_image_tags(self._find(registry, parameters["repositoryName"]).images, parameters)

    def list_tags_for_resource(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Return the tags of the repository that an ARN names."""
        return {"tags": tags_of(self._by_arn(parameters, caller).tags)}

    def tag_resource(self, parameters: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Add tags, or change them."""
        put_tags(self._by_arn(parameters, caller).tags, parameters["tags"])
        return {}

    # Parts.

    def _named_registry(self, parameters: Mapping[str, Any], caller: Caller) -> PublicRegistry:
        return self.registry(parameters.get("registryId", caller.account))

    @staticmethod
    def _find(registry: PublicRegistry, name: str) -> PublicRepository:
        if name not in registry.repositories:
            raise repository_missing(name, registry.account)
        return registry.repositories[name]

    def _by_arn(self, parameters: Mapping[str, Any], caller: Caller) -> PublicRepository:
        head, _, name = parameters["resourceArn"].partition(":repository/")
        if head != f"arn:aws:ecr-public::{caller.account}":
            text = f"Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN: {head}'"
            raise AwsError("InvalidParameterException", text)
        return self._find(self.registry(caller.account), name)

    @staticmethod
    def _described(registry: PublicRegistry, repository: PublicRepository) -> dict[str, Any]:
        return {
            "repositoryArn": repository.arn,
            "registryId": registry.account,
            "repositoryName": repository.name,
            "repositoryUri": registry.uri(repository.name),
            "createdAt": repository.created_at.astimezone(UTC),
        }

    @staticmethod
    def _put_catalog(repository: PublicRepository, given: Mapping[str, Any]) -> None:
        catalog = {key: value for key, value in given.items() if key != "logoImageBlob" and value not in ("", [])}
        repository.logo = given.get("logoImageBlob")
        if repository.logo is not None:
            catalog["logoUrl"] = f"https://images.example/{repository.account}/{repository.name}/logo.png"
        repository.catalog = catalog | {"marketplaceCertified": False}
        for key in _LISTS:
            repository.catalog.setdefault(key, [])
