"""``manifestctl create``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli import checking, publishing
from manifestctl.cli.options import Common, with_common
from manifestctl.cli.publication import Ending, Telling, tag_members, tag_notes
from manifestctl.cli.session import Session, run
from manifestctl.model.published import Published
from manifestctl.text import plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.model.location import Location
    from manifestctl.verbs.create import Created, CreateRequest


_Copy = Annotated[bool, typer.Option("--copy", help="Bring images that live elsewhere into TARGET's repository.")]
_TagChildren = Annotated[
    str | None,
    typer.Option(
        "--tag-children", metavar="TEMPLATE", help="Tag each image too; {tag}, {os}, {arch}, {variant}, {platform}."
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Everything but writes; prints the list as it would be.")]


@with_common
def create(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    target: checking.Target,
    images: checking.Images,
    require: checking.Require = None,
    exact: checking.Exact = False,
    tag: publishing.MoreTags = None,
    set_platform: checking.SetPlatform = None,
    platform: checking.PlatformOption = None,
    depth: checking.Depth = checking.CheckDepth.manifests,
    format: checking.FormatOption = checking.ListFormat.auto,  # noqa: A002
    annotation: checking.Annotations = None,
    entry_annotation: checking.EntryAnnotations = None,
    attestations: checking.AttestationsOption = checking.AttestationPolicy.keep,
    same: checking.Same = None,
    no_overwrite: publishing.NoOverwrite = False,
    expect: publishing.Expect = None,
    copy: _Copy = False,
    tag_children: _TagChildren = None,
    create_repository: publishing.CreateRepository = False,
    dry_run: _DryRun = False,
    digest_file: publishing.DigestFile = None,
    report: publishing.Report = None,
    *,
    common: Common,
) -> None:
    """Publish a multi-architecture list: check the images, compose, validate, write, read back.

    Nothing is written unless every check passes. Doing it again changes nothing.
    """
    del ctx
    options = checking.ImageOptions(
        target=target,
        images=images,
        require=require,
        exact=exact,
        set_platform=set_platform,
        platform=platform,
        check=depth,
        format=format,
        attestations=attestations,
        same=same,
        annotation=annotation,
        entry_annotation=entry_annotation,
    )
    extra = _Extra(
        tuple(tag or ()), no_overwrite, expect, copy, tag_children, create_repository, dry_run, digest_file, report
    )
    run("create", common, lambda session: _create(session, options, extra))


@dataclass(frozen=True, slots=True)
class _Extra:
    """The options of `create` that are not about images."""

    tags: tuple[str, ...]
    no_overwrite: bool
    expect: str | None
    copy: bool
    tag_children: str | None
    create_repository: bool
    dry_run: bool
    digest_file: Path | None
    report: Path | None


def _create(session: Session, options: checking.ImageOptions, extra: _Extra) -> None:
    from manifestctl.cli.result_files import ResultFiles

    files = ResultFiles(digest_file=extra.digest_file, report=extra.report)
    ending = Ending(session, files, TELLING, options.target)
    ending.act(lambda ending: _begin(session, options, extra, ending))


def _begin(session: Session, options: checking.ImageOptions, extra: _Extra, ending: Ending[Created]) -> Created:
    count = len(options.images) + 1 + len(extra.tags)
    stores, target = checking.reach(session, options.target, count, create_repositories=extra.create_repository)
    ending.target = str(target)
    with stores:
        request = _request(session, target, options, extra)
        from manifestctl.verbs.create import create as publish

        if not extra.copy:
            return publish(request, stores, session.runtime)
        from manifestctl.cli.progress import showing

        with showing(session):
            return publish(request, stores, session.runtime)


def _request(session: Session, target: Location, options: checking.ImageOptions, extra: _Extra) -> CreateRequest:
    from manifestctl.verbs.create import CreateRequest

    return CreateRequest(
        check=checking.check_request(session, target, options),
        tags=publishing.more_tags(extra.tags),
        guard=publishing.guard(no_overwrite=extra.no_overwrite, expect=extra.expect),
        copy=extra.copy,
        tag_children=extra.tag_children,
        dry_run=extra.dry_run,
    )


def _members(created: Created | None) -> dict[str, Any]:
    composed = created.composed if created is not None else None
    # The digest of a list that nobody can pull would be taken for one that can.
    known = created is not None and (not created.exit_code or created.published is not Published.NO)
    content = composed.content if composed is not None and known else None
    gathered = created.checked.gathered if created is not None else None
    return {
        "reference": str(created.request.check.target.with_digest(content.digest)) if created and content else None,
        "digest": str(content.digest) if content is not None else None,
        "media_type": content.media_type if content is not None else None,
        "status": created.status if created is not None else "failed",
        "tags": tag_members(created.tags if created is not None else ()),
        "children": tag_members(created.children if created is not None else ()),
        "images": checking.image_members(created.checked.members, gathered.attestations)
        if created and gathered
        else [],
    }


def _result(created: Created) -> str | bytes:
    content = created.composed.content if created.composed is not None else None
    if content is None:
        return ""
    if created.request.dry_run:
        return content.raw
    return str(created.request.check.target.with_digest(content.digest))


def _notes(created: Created) -> list[str]:
    """Say what became of each tag; if something failed, the error says it."""
    if created.composed is None or not created.ok:
        return []
    members = created.checked.members
    platforms = ", ".join(member.platform.shown for member in members)
    store = created.request.check.target.store
    holding = [([state], created.wanted[state.tag].digest) for state in created.children]
    holding.append((created.tags, created.composed.content.digest))
    dry_run = created.request.dry_run
    told = [line for states, digest in holding for line in tag_notes(store, states, digest, dry_run=dry_run)]
    return [f"{plural(len(members), 'image')}: {platforms}", *told]


TELLING: Telling[Created] = Telling(
    "list",
    _members,
    _result,
    _notes,
    lambda created: (
        created.composed.content.digest if created.composed is not None and not created.request.dry_run else None
    ),
    lambda created: created.findings,
    lambda created: created.children,
)
"""How it ended, in words and documents."""
