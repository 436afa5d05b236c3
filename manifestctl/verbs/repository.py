"""`repo`: make a repository of ECR Public or ECR, say what there is of it, change its page on the Gallery.

All of it can be done again. What is there already is never changed by `create_repository`, and by `change_catalog` in
the fields alone that are asked for.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal, TypeVar

from manifestctl.aws.catalog import Catalog
from manifestctl.aws.repositories import create, find, read_tags
from manifestctl.aws.repository_settings import PrivateOptions, Repository, tag_parameters
from manifestctl.errors import DeniedError, InputError
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.repository_differences import (
    CATALOG_OPTIONS,
    catalog_differences,
    private_differences,
    private_options,
    tag_differences,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.runtime import Runtime
    from manifestctl.verbs.repository_differences import Difference

T = TypeVar("T")

_TAGS, _CATALOG, _SETTINGS = "tags", "catalog data", "settings"


@dataclass(frozen=True, slots=True)
class RepositoryRequest:
    """Which repository is to be there, and what it is to have if it must be made."""

    name: RepositoryName
    catalog: Catalog = field(default_factory=Catalog)
    tags: Mapping[str, str] = field(default_factory=dict)
    private: PrivateOptions = field(default_factory=PrivateOptions)

    def __post_init__(self) -> None:
        """Refuse the options of the other service; raises `InputError`."""
        if self.name.host.is_public:
            wrong, other = list(private_options(self.private)), "private repositories"
        else:
            wrong, other = [CATALOG_OPTIONS[name] for name in self.catalog.given], "public repositories"
        if wrong:
            service = "one of ECR Public" if self.name.host.is_public else "private"
            raise InputError(
                f"{', '.join(wrong)}: for {other} alone, and {escape(str(self.name), 300)} is {service}",
                hint="Leave out what the other service has.",
            )

    def parameters(self) -> dict[str, object]:
        """Return what is asked for as parameters of CreateRepository."""
        catalog = {"catalogData": self.catalog.parameters()} if self.catalog.given else {}
        return {**catalog, **tag_parameters(self.tags), **self.private.parameters()}


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read, in words, and why."""

    what: str
    error: DeniedError


@dataclass(slots=True)
class Made:
    """What became of a repository that was to be there. ``differences`` are what it was to have and has not."""

    repository: Repository
    status: Literal["created", "unchanged"]
    differences: list[Difference] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)


@dataclass(slots=True)
class Described:
    """A repository with what else could be read of it; ``catalog`` is None for a private one."""

    repository: Repository
    tags: dict[str, str] | None = None
    catalog: Catalog | None = None
    unread: list[Unread] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cataloged:
    """A public repository and its catalog data as they are now; ``changed`` are the fields that were written."""

    repository: Repository
    catalog: Catalog
    changed: tuple[str, ...] = ()


def create_repository(request: RepositoryRequest, aws: Aws, runtime: Runtime) -> Made:
    """Make a repository; one that is there is left as it is, and compared with what was asked for.

    Raises `InputError` for an alias that is somebody else's, and what `Aws.call` raises.
    """
    name = request.name
    made = create(name, request.parameters(), aws, runtime)
    if made is not None:
        return Made(made, "created")
    result = Made(Repository.undescribed(name), "unchanged")
    try:
        result.repository = find(name, aws)
    except DeniedError as error:
        # Where the name says no alias, AWS alone knows the URI that is the result.
        if name.host.is_public and not name.alias:
            raise
        result.unread.append(Unread(_SETTINGS, error))
    else:
        _compare(result, request, aws)
    return result


def _compare(result: Made, request: RepositoryRequest, aws: Aws) -> None:
    """Note where a repository that is there differs from what was asked for; only what is needed for it is read."""
    name, found = request.name, result.repository
    if request.catalog.given:
        held = _optional(_CATALOG, lambda: _read_catalog(name, aws), result.unread)
        if held is not None:
            result.differences += catalog_differences(held, request.catalog, found)
    if found.settings is not None:
        result.differences += private_differences(found.settings, request.private, name)
    if request.tags:
        tags = _optional(_TAGS, lambda: read_tags(name, found, aws), result.unread)
        if tags is not None:
            result.differences += tag_differences(tags, request.tags, found, name)


def describe_repository(name: RepositoryName, aws: Aws) -> Described:
    """Say what there is of a repository; what may not be read besides it is noted.

    Raises `NotFoundError`, `InputError` for an alias that is somebody else's, and what `Aws.call` raises.
    """
    found = find(name, aws)
    described = Described(found)
    if name.host.is_public:
        described.catalog = _optional(_CATALOG, lambda: _read_catalog(name, aws), described.unread)
    described.tags = _optional(_TAGS, lambda: read_tags(name, found, aws), described.unread)
    return described


def change_catalog(name: RepositoryName, asked: Catalog, aws: Aws) -> Cataloged:
    """Give a public repository the catalog data that is asked for, and keep the rest; with nothing asked, read it.

    Nothing is written unless something differs. Raises `InputError` for a private repository, for an alias that is
    somebody else's, and if a logo would be lost; `NotFoundError`, and what `Aws.call` raises.
    """
    if not name.host.is_public:
        raise InputError(
            f"{escape(str(name), 300)} is private, and catalog data is what public repositories have",
            hint="'manifestctl repo describe' shows a private one.",
        )
    from manifestctl.aws.public_repositories import write_catalog

    found = find(name, aws)
    held = _read_catalog(name, aws)
    changed = held.changes(asked)
    if not changed:
        return Cataloged(found, held)
    if held.logo_url and asked.logo is None:
        # Whether AWS keeps a logo that is left out is not documented, and nothing gives it back.
        raise InputError(
            f"{escape(found.uri, 300)} has a logo, which AWS takes only together with the rest and does not give back; "
            "without it this change could lose it",
            hint=f"Give it again with --logo-file FILE; it is at {escape(held.logo_url, 500)}",
        )
    return Cataloged(found, write_catalog(name, held.merged(asked), aws), changed)


def _read_catalog(name: RepositoryName, aws: Aws) -> Catalog:
    from manifestctl.aws.public_repositories import read_catalog

    return read_catalog(name, aws)


def _optional(what: str, read: Callable[[], T], unread: list[Unread]) -> T | None:
    try:
        return read()
    except DeniedError as error:
        unread.append(Unread(what, error))
        return None
