"""How a repository that is there differs from what was asked for: each difference with the way to change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manifestctl.aws.catalog import Catalog
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.aws.repository_settings import PrivateOptions, PrivateSettings, Repository

CATALOG_OPTIONS = {
    "description": "--description",
    "about": "--about-file",
    "usage": "--usage-file",
    "operating_systems": "--os",
    "architectures": "--arch",
    "logo": "--logo-file",
}
"""The fields of `Catalog` that can be asked for, with their options."""

_KEY_FOR_GOOD = "Encryption is chosen when a repository is made, and stays; make another repository."


@dataclass(frozen=True, slots=True)
class Difference:
    """An option that asked for something else than what is there.

    ``found`` is empty if there is nothing; it and ``asked`` are as they are, of several lines maybe, and not escaped.
    ``hint`` is how to change it.
    """

    option: str
    found: str
    asked: str
    hint: str


def private_options(options: PrivateOptions) -> tuple[str, ...]:
    """Return the options of private repositories that were given."""
    given = {
        "--immutable": options.immutable,
        "--immutable-except": options.immutable_except,
        "--scan-on-push": options.scan_on_push,
        "--kms-key": options.kms_key,
    }
    return tuple(name for name, value in given.items() if value)


def catalog_differences(held: Catalog, asked: Catalog, repository: Repository) -> Iterator[Difference]:
    """Compare catalog data. A logo cannot be compared, and counts as different."""
    for name in held.changes(asked):
        option = CATALOG_OPTIONS[name]
        hint = f"'manifestctl repo catalog {escape(repository.uri, 300)} {option} …' changes it."
        if name == "logo":
            found = f"a logo that cannot be compared, at {held.logo_url}" if held.logo_url else ""
            yield Difference(option, found, f"a logo of {len(asked.logo or b''):,} bytes", hint)
        else:
            yield Difference(option, _text(getattr(held, name)), _text(getattr(asked, name)), hint)


def tag_differences(
    held: Mapping[str, str], asked: Mapping[str, str], repository: Repository, name: RepositoryName
) -> Iterator[Difference]:
    """Compare the tags that were asked for."""
    hint = _by_command(name, f"tag-resource --resource-arn {escape(repository.arn, 500)} --tags …")
    for key, value in asked.items():
        if held.get(key) != value:
            found = f"{key}={held[key]}" if key in held else ""
            yield Difference("--tag", found, f"{key}={value}", hint)


def private_differences(held: PrivateSettings, asked: PrivateOptions, name: RepositoryName) -> Iterator[Difference]:
    """Compare the settings of a private repository."""
    mutability = _mutability(held.mutability, held.exclusions), _mutability(asked.mutability, asked.immutable_except)
    if asked.mutability and mutability[0] != mutability[1]:
        option = "--immutable-except" if asked.immutable_except else "--immutable"
        hint = _by_command(name, f"put-image-tag-mutability --repository-name {name.name} …")
        yield Difference(option, *mutability, hint)
    if asked.scan_on_push and not held.scan_on_push:
        hint = _by_command(name, f"put-image-scanning-configuration --repository-name {name.name} …")
        yield Difference("--scan-on-push", "no", "yes", hint)
    if asked.kms_key and not _is_key(held, asked.kms_key):
        yield Difference("--kms-key", held.kms_key or held.encryption, asked.kms_key, _KEY_FOR_GOOD)


def _by_command(name: RepositoryName, rest: str) -> str:
    """Say with which command of the AWS CLI it is changed, in the region that it must be told."""
    return f"'aws {name.host.service} --region {name.host.region} {rest}' changes it."


def _text(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value or "")


def _mutability(name: str, exclusions: tuple[str, ...]) -> str:
    return f"{name} {', '.join(sorted(exclusions))}".rstrip()


def _is_key(held: PrivateSettings, asked: str) -> bool:
    if not held.encryption.startswith("KMS"):
        return False
    # AWS names a key by its ARN, of which an id is the end; which key an alias is, it does not say here.
    return "alias/" in asked or asked.rpartition("/")[2] == held.kms_key.rpartition("/")[2]
