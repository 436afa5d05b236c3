"""The options that all commands have which publish something, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifestctl.verbs.publish import Guard

MoreTags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="One more tag; can be repeated, latest goes last.")
]
NoOverwrite = Annotated[bool, typer.Option("--no-overwrite", help="Fail if a tag exists with other content.")]
Expect = Annotated[
    str | None, typer.Option("--expect", metavar="DIGEST", help="Fail unless the tag currently has this digest.")
]
CreateRepository = Annotated[
    bool, typer.Option("--create-repository", help="Make the ECR repository if it is missing.")
]
DigestFile = Annotated[
    Path | None, typer.Option("--digest-file", metavar="FILE", help="Write the digest here, on success only.")
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write the JSON result here, however it ends.")
]


def more_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the tags of ``--tag``; raises `InputError` for what is no tag."""
    from manifestctl.cli.quantities import given_by
    from manifestctl.model.reference import check_tag

    with given_by("--tag"):
        return tuple(check_tag(text) for text in texts)


def guard(*, no_overwrite: bool, expect: str | None) -> Guard:
    """Return when a tag may be overwritten; raises `InputError` for an ``--expect`` that is no digest."""
    from manifestctl.cli.quantities import given_by
    from manifestctl.model.digest import Digest
    from manifestctl.verbs.publish import Guard

    with given_by("--expect"):
        return Guard(no_overwrite, Digest.parse(expect) if expect is not None else None)
