"""``manifestctl copy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli import publishing
from manifestctl.cli.checking import AttestationPolicy
from manifestctl.cli.options import Common, with_common
from manifestctl.cli.publication import Ending, Telling, tag_members, tag_notes
from manifestctl.cli.session import Session, run
from manifestctl.model.published import Published
from manifestctl.text import escape, plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.verbs.copy import Copied, CopyRequest


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of `copy`, as they were given."""

    source: str
    target: str
    platform: tuple[str, ...]
    attestations: AttestationPolicy
    referrers: bool
    tags: tuple[str, ...]
    no_overwrite: bool
    expect: str | None
    create_repository: bool
    digest_file: Path | None
    report: Path | None


@with_common
def copy(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(metavar="SRC", show_default=False, help="An image or a list: registry/repo:tag, oci:DIR:tag."),
    ],
    target: Annotated[
        str, typer.Argument(metavar="DST", show_default=False, help="Where to; without a tag it takes SRC's.")
    ],
    platform: Annotated[
        list[str] | None,
        typer.Option("--platform", metavar="PLATFORMS", help="Of a list, only these; repeat, or separate by commas."),
    ] = None,
    attestations: Annotated[
        AttestationPolicy,
        typer.Option("--attestations", help="Keep, drop or require buildx provenance and SBOM entries."),
    ] = AttestationPolicy.keep,
    referrers: Annotated[
        bool, typer.Option("--referrers", help="Bring signatures and SBOMs that refer to it too.")
    ] = False,
    tag: publishing.MoreTags = None,
    no_overwrite: publishing.NoOverwrite = False,
    expect: publishing.Expect = None,
    create_repository: publishing.CreateRepository = False,
    digest_file: publishing.DigestFile = None,
    report: publishing.Report = None,
    *,
    common: Common,
) -> None:
    """Copy an image, or a list with all its images, to another repository or registry."""
    del ctx
    options = _Options(
        source,
        target,
        tuple(platform or ()),
        attestations,
        referrers,
        tuple(tag or ()),
        no_overwrite,
        expect,
        create_repository,
        digest_file,
        report,
    )
    run("copy", common, lambda session: _copy(session, options))


def _copy(session: Session, options: _Options) -> None:
    from manifestctl.cli.result_files import ResultFiles

    files = ResultFiles(digest_file=options.digest_file, report=options.report)
    Ending(session, files, TELLING, options.target).act(lambda ending: _begin(session, options, ending))


def _begin(session: Session, options: _Options, ending: Ending[Copied]) -> Copied:
    from manifestctl.cli.progress import showing
    from manifestctl.verbs.copy import copy as bring

    request = _request(session, options)
    ending.target = str(request.target.with_tag(request.tag)) if request.tag else str(request.target)
    with session.open_stores(create_repositories=options.create_repository) as stores:
        stores.reach(request.source, 1)
        stores.reach(request.target, 1 + len(request.tags))
        with showing(session):
            return bring(request, stores, session.runtime)


def _request(session: Session, options: _Options) -> CopyRequest:
    from manifestctl.cli.quantities import platforms
    from manifestctl.model.location import check_target, parse_location
    from manifestctl.verbs.copy import CopyRequest

    source = parse_location(options.source)
    session.say_what_is_meant(source)
    return CopyRequest(
        source=source,
        target=check_target(parse_location(options.target)),
        platforms=platforms(options.platform, "--platform"),
        attestations=options.attestations.value,
        referrers=options.referrers,
        tags=publishing.more_tags(options.tags),
        guard=publishing.guard(no_overwrite=options.no_overwrite, expect=options.expect),
        concurrency=session.common.concurrency,
    )


def _members(copied: Copied | None) -> dict[str, Any]:
    told = copied is not None and (copied.published is not Published.NO or not copied.exit_code)
    content = copied.content if copied is not None and told else None
    hows = list(copied.moved.blobs.values()) if copied is not None else []
    return {
        "source": str(copied.request.source) if copied is not None else None,
        "reference": _result(copied) if copied is not None and content is not None else None,
        "digest": str(content.digest) if content is not None else None,
        "media_type": content.media_type if content is not None else None,
        "status": copied.status if copied is not None else "failed",
        "tags": tag_members(copied.tags if copied is not None else ()),
        "blobs": {how: hows.count(how) for how in ("exists", "mounted", "sent")},
        "referrers": copied.referrers if copied is not None else 0,
    }


def _result(copied: Copied) -> str:
    return str(copied.request.target.with_digest(copied.content.digest)) if copied.content is not None else ""


def _notes(copied: Copied) -> list[str]:
    if copied.content is None or copied.exit_code:
        return []
    digest, store = copied.content.digest, copied.request.target.store
    hows = list(copied.moved.blobs.values())
    told = ", ".join(f"{hows.count(how)} {how}" for how in dict.fromkeys(hows))
    lines = [f"{plural(len(hows), 'blob')}: {told}"] if hows else []
    if copied.request.referrers:
        lines.append(plural(copied.referrers, "referrer"))
    if copied.untagged is not None:
        state = "is there now" if copied.status == "created" else "was there already"
        return [*lines, f"{escape(store, 300)}@{digest} {state}; it has no tag"]
    return lines + tag_notes(store, copied.tags, digest)


TELLING: Telling[Copied] = Telling(
    "image", _members, _result, _notes, lambda copied: copied.content.digest if copied.content is not None else None
)
"""How it ended, in words and documents."""
