"""Public repositories, by the API of ECR Public: they are always in the caller's own registry, whose aliases name it.

The API takes a name without an alias. So an alias that is somebody else's must be found out here, lest the caller's own
repository of that name be taken for it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from manifestctl.aws.catalog import Catalog
from manifestctl.aws.repository_settings import Repository
from manifestctl.aws.tokens import endpoint_of
from manifestctl.errors import DeniedError, InputError, NotFoundError
from manifestctl.events import Warned
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.runtime import Runtime

_DENIED = frozenset({"AccessDeniedException", "AccessDenied"})
_ACTIVE = "ACTIVE"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class _Registry:
    """The caller's public registry: the names of its aliases, each with its status, the primary one first."""

    account: str
    aliases: Mapping[str, str]

    @property
    def active(self) -> list[str]:
        """The aliases by which its images can be named."""
        return [name for name, status in self.aliases.items() if status == _ACTIVE]


def create(name: RepositoryName, parameters: Mapping[str, Any], aws: Aws, runtime: Runtime) -> Repository | None:
    """Make a repository; returns None if it is there already.

    The alias is looked at first, unless that is denied. Raises `InputError` for one of somebody else's, even if that is
    known by the answer alone, and for a name that begins with one of the caller's own; and what `Aws.call` raises.
    """
    known = _check_alias(name, aws) if name.alias else _check_bare(name, aws)
    shown = escape(str(name), 300)
    answer = aws.call(
        endpoint_of(name.host),
        "create_repository",
        {"repositoryName": name.name, **parameters},
        doing=f"creating {shown}",
        expected=("RepositoryAlreadyExistsException",),
    )
    if answer is None:
        if not known and name.alias:
            # What is there is in the caller's registry, be it the one that is named or not.
            with contextlib.suppress(DeniedError):
                find(name, aws)
        return None
    made = Repository.of(answer.get("repository") or {}, name)
    if not known and name.alias and not _is_under(made, name):
        raise _made_elsewhere(name, made)
    if not known and not name.alias and alias_of(made) == _first_part(name):
        runtime.observe(Warned(f"{escape(made.uri, 300)} was made: '{shown}' was taken for a name without an alias"))
    return made


def find(name: RepositoryName, aws: Aws) -> Repository:
    """Return what AWS says of a repository.

    Raises `NotFoundError`, `InputError` for an alias that is somebody else's, and what `Aws.call` raises.
    """
    shown = escape(str(name), 300)
    answer = aws.call(
        endpoint_of(name.host),
        "describe_repositories",
        {"repositoryNames": [name.name]},
        doing=f"describing {shown}",
        expected=("RepositoryNotFoundException",),
    )
    found = Repository.of(answer["repositories"][0], name) if answer and answer.get("repositories") else None
    if found is not None and _is_under(found, name):
        return found
    known = not name.alias or _check_alias(name, aws)
    if found is None:
        raise NotFoundError(
            f"the repository {shown} does not exist in the public registry of this AWS account",
            hint=f"'manifestctl repo create {shown}' makes it.",
            repository_unknown=True,
        )
    if not known:
        uri = escape(found.uri, 300)
        raise InputError(
            f"the repository of this account is {uri}, and whether {shown} is the same could not be asked",
            hint=f"Write {uri}, or allow ecr-public:DescribeRegistries.",
        )
    return found


def read_catalog(name: RepositoryName, aws: Aws) -> Catalog:
    """Return the catalog data of a repository that was found; raises what `Aws.call` raises."""
    answer = aws.call(
        endpoint_of(name.host),
        "get_repository_catalog_data",
        {"repositoryName": name.name},
        doing=f"reading the catalog data of {escape(str(name), 300)}",
        expected=("RepositoryCatalogDataNotFoundException",),
    )
    return Catalog.of((answer or {}).get("catalogData") or {})


def write_catalog(name: RepositoryName, catalog: Catalog, aws: Aws) -> Catalog:
    """Replace the whole catalog data of a repository, and return what AWS then has; raises what `Aws.call` raises."""
    answer = aws.call(
        endpoint_of(name.host),
        "put_repository_catalog_data",
        {"repositoryName": name.name, "catalogData": catalog.parameters()},
        doing=f"writing the catalog data of {escape(str(name), 300)}",
    )
    return Catalog.of((answer or {}).get("catalogData") or {})


def alias_of(repository: Repository) -> str:
    """Return the alias in the URI of a repository; empty if there is none."""
    parts = repository.uri.split("/", 2)
    return parts[1] if len(parts) == 3 else ""


def _is_under(repository: Repository, name: RepositoryName) -> bool:
    return not name.alias or alias_of(repository) == name.alias


def _check_alias(name: RepositoryName, aws: Aws) -> bool:
    """Raise `InputError` for an alias that is not the caller's; return False if that may not be asked."""
    registry = _registry(name, aws)
    if registry is None:
        return False
    if name.alias not in registry.active:
        raise _not_ours(name, registry)
    return True


def _check_bare(name: RepositoryName, aws: Aws) -> bool:
    """Raise `InputError` for a name without host that has an alias in it; return False if that may not be asked."""
    if "/" not in name.name:
        return True
    registry = _registry(name, aws)
    if registry is None:
        return False
    first = _first_part(name)
    if first in registry.active:
        host, shown = name.host.host, escape(name.name, 205)
        raise InputError(
            f"'{shown}' begins with '{first}', an alias of the AWS account {escape(registry.account, 40)}, and would "
            f"be made as {host}/{escape(registry.active[0], 50)}/{shown}",
            hint=f"Write {host}/{shown}; or {host}/{escape(registry.active[0], 50)}/{shown} if that is what is meant.",
        )
    return True


def _first_part(name: RepositoryName) -> str:
    return name.name.partition("/")[0]


def _made_elsewhere(name: RepositoryName, made: Repository) -> InputError:
    shown, uri, alias = (escape(text, 300) for text in (str(name), made.uri, name.alias))
    return InputError(
        f"{uri} was made, and not {shown}: whether '{alias}' is an alias of this AWS account could not be asked",
        hint=f"Write {uri}: that repository was left. If '{alias}' is one of this account's aliases, allow "
        "ecr-public:DescribeRegistries; else use the credentials of its account.",
    )


def _not_ours(name: RepositoryName, registry: _Registry) -> InputError:
    shown, alias, account = (escape(text, 300) for text in (str(name), name.alias, registry.account))
    wrong = f"{shown}: '{alias}' is not an alias of the AWS account {account}, whose credentials these are"
    if name.alias in registry.aliases:
        status = escape(registry.aliases[name.alias], 40)
        wrong = f"{shown}: the alias '{alias}' of the AWS account {account} is {status}, not {_ACTIVE}"
    own = registry.active
    if not own:
        # ECR Public gives a registry its first alias with its first repository.
        hint = f"'manifestctl repo create {name.name}' makes its first repository, which brings an alias."
        return InputError(f"{wrong}; it has no other", hint=hint)
    more = f" and {len(own) - _MOST_NAMED} more" if len(own) > _MOST_NAMED else ""
    named = ", ".join(escape(mine, 50) for mine in own[:_MOST_NAMED])
    hint = f"Write {escape(str(name.under(own[0])), 300)}, or use the credentials of the account that has '{alias}'."
    return InputError(f"{wrong}; its own: {named}{more}", hint=hint)


def _registry(name: RepositoryName, aws: Aws) -> _Registry | None:
    """Ask for the caller's registry; None if that is denied."""
    doing = f"looking up the aliases of this account for {escape(str(name), 300)}"
    answer = aws.call(endpoint_of(name.host), "describe_registries", doing=doing, expected=_DENIED)
    if answer is None:
        return None
    # There is one for an account, so there is one page.
    described = (answer.get("registries") or [{}])[0]
    aliases = sorted(described.get("aliases") or (), key=lambda alias: not alias.get("primaryRegistryAlias"))
    named = {str(alias.get("name", "")): str(alias.get("status", "")) for alias in aliases}
    return _Registry(str(described.get("registryId", "")), named)
