"""What AWS says of a repository, and what is asked of a new one, within its limits."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

from manifestctl.errors import InputError
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from manifestctl.aws.repository_names import RepositoryName

GALLERY = "https://gallery.ecr.aws/"
MOST_TAGS = 50
LONGEST_TAG_KEY, LONGEST_TAG_VALUE = 128, 256
MOST_FILTERS = 5
LONGEST_KMS_KEY = 2048

_FILTER = re.compile(r"[0-9a-zA-Z._*-]{1,128}")
_RESERVED = "aws:"


@dataclass(frozen=True, slots=True)
class PrivateOptions:
    """What is asked of a private repository; what is empty or false is left to AWS.

    ``immutable``: tags may not be moved, but for those that a wildcard of ``immutable_except`` fits. ``kms_key`` is the
    KMS key that encrypts the images.
    """

    immutable: bool = False
    immutable_except: tuple[str, ...] = ()
    scan_on_push: bool = False
    kms_key: str = ""

    @property
    def mutability(self) -> str:
        """What the API calls the mutability that is asked for; empty if none is."""
        if self.immutable_except:
            return "IMMUTABLE_WITH_EXCLUSION"
        return "IMMUTABLE" if self.immutable else ""

    def parameters(self) -> dict[str, Any]:
        """Return them as parameters of CreateRepository."""
        given: dict[str, Any] = {}
        if self.mutability:
            given["imageTagMutability"] = self.mutability
        if self.immutable_except:
            filters = [{"filterType": "WILDCARD", "filter": text} for text in self.immutable_except]
            given["imageTagMutabilityExclusionFilters"] = filters
        if self.scan_on_push:
            given["imageScanningConfiguration"] = {"scanOnPush": True}
        if self.kms_key:
            given["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": self.kms_key}
        return given


@dataclass(frozen=True, slots=True)
class PrivateSettings:
    """How a private repository is set: names and values as the API has them."""

    mutability: str
    exclusions: tuple[str, ...]
    scan_on_push: bool
    encryption: str
    kms_key: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Read a ``repository`` of an answer. What AWS does not say is as it is by default."""
        encryption = answer.get("encryptionConfiguration") or {}
        filters = answer.get("imageTagMutabilityExclusionFilters") or ()
        return cls(
            answer.get("imageTagMutability", "MUTABLE"),
            tuple(item.get("filter", "") for item in filters),
            bool((answer.get("imageScanningConfiguration") or {}).get("scanOnPush")),
            encryption.get("encryptionType", "AES256"),
            encryption.get("kmsKey", ""),
        )

    def keeps(self, tag: str) -> bool:
        """Tell whether a tag that is there may not be given to another image."""
        # In AWS's wildcards "*" alone has a meaning, and the other signs that have one here cannot be.
        excluded = any(fnmatchcase(tag, wildcard) for wildcard in self.exclusions)
        if self.mutability == "MUTABLE_WITH_EXCLUSION":
            return excluded
        return self.mutability.startswith("IMMUTABLE") and not excluded


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as AWS describes it.

    ``uri`` is its name for clients, ``created`` in RFC 3339, ``page`` the URL of a public one on the Gallery,
    ``settings`` those of a private one. What is not known is empty.
    """

    uri: str
    arn: str = ""
    created: str = ""
    page: str = ""
    settings: PrivateSettings | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], name: RepositoryName) -> Self:
        """Read a ``repository`` of an answer that is about this name."""
        uri = str(answer.get("repositoryUri") or name)
        made = answer.get("createdAt")
        created = made.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(made, datetime) else ""
        settings = None if name.host.is_public else PrivateSettings.of(answer)
        return cls(uri, str(answer.get("repositoryArn", "")), created, _page(uri, name), settings)

    @classmethod
    def undescribed(cls, name: RepositoryName) -> Self:
        """Return one of which its name alone is known."""
        return cls(str(name), page=_page(str(name), name))


def _page(uri: str, name: RepositoryName) -> str:
    return GALLERY + uri.partition("/")[2] if name.host.is_public else ""


def tag_parameters(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return tags of a resource as parameters of CreateRepository."""
    return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {}


def check_tags(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return tags of a resource by their keys; raises `InputError` for what AWS would refuse."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        shown = escape(key, LONGEST_TAG_KEY)
        if key in tags:
            raise InputError(f"the key '{shown}' is given twice", hint="Leave one of them out.")
        if not 1 <= len(key) <= LONGEST_TAG_KEY:
            raise InputError(f"'{shown}' has {len(key)} characters, and a key has 1 to {LONGEST_TAG_KEY}")
        if key.lower().startswith(_RESERVED):
            raise InputError(f"'{shown}' begins with {_RESERVED}, and such keys are AWS's own")
        if len(value) > LONGEST_TAG_VALUE:
            raise InputError(
                f"the value of '{shown}' has {len(value)} characters, more than the {LONGEST_TAG_VALUE} there may be"
            )
        if not _is_utf8(key + value):
            raise InputError(f"'{shown}' or its value is not UTF-8")
        tags[key] = value
    if len(tags) > MOST_TAGS:
        raise InputError(f"{len(tags)} tags are more than the {MOST_TAGS} that a repository may have")
    return tags


def _is_utf8(text: str) -> bool:
    # What was no UTF-8 on the command line has become lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def check_filters(texts: Iterable[str]) -> tuple[str, ...]:
    """Return wildcards of tags, each once; raises `InputError` for what AWS would refuse."""
    filters = tuple(dict.fromkeys(texts))
    for text in filters:
        if not _FILTER.fullmatch(text):
            hint = "It has 1 to 128 letters, digits, '.', '_', '-' and '*', e.g. dev-*"
            raise InputError(f"'{escape(text, 140)}' is not a wildcard of tags", hint=hint)
    if len(filters) > MOST_FILTERS:
        raise InputError(f"{len(filters)} wildcards are more than the {MOST_FILTERS} that there may be")
    return filters


def check_kms_key(text: str) -> str:
    """Return a KMS key's id, ARN or alias; raises `InputError` for what cannot be one."""
    if not 1 <= len(text) <= LONGEST_KMS_KEY or not text.isprintable() or " " in text:
        hint = f"Write its id, its ARN, or alias/NAME, in at most {LONGEST_KMS_KEY} characters."
        raise InputError(f"'{escape(text, 100)}' is not a KMS key", hint=hint)
    return text
