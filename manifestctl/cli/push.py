"""``manifestctl push``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli import publishing
from manifestctl.cli.options import Common, with_common
from manifestctl.cli.publication import Ending, Telling, tag_members, tag_notes
from manifestctl.cli.session import Session, run
from manifestctl.errors import InputError
from manifestctl.model.published import Published
from manifestctl.text import escape, plural, size
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.model.location import EngineLocation, Location, Writable
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.push_request import Pushed, PushRequest

_EVERYTHING = "all"
_SCHEMES = ("oci:", "oci-archive:", "docker-archive:", "docker-daemon:")
_PATHS = ("/", "./", "../")
_ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")


class ImageFormat(StrEnum):
    """The family of media types of the image."""

    docker = "docker"
    oci = "oci"


class Compression(StrEnum):
    """How layers are packed."""

    gzip = "gzip"
    zstd = "zstd"
    none = "none"


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of `push`, as they were given."""

    source: str
    target: str | None
    tags: tuple[str, ...]
    platform: tuple[str, ...]
    format: ImageFormat | None
    compression: Compression | None
    level: int | None
    by_digest: bool
    no_overwrite: bool
    expect: str | None
    create_repository: bool
    annotation: tuple[str, ...]
    digest_file: Path | None
    report: Path | None


_Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", show_default=False, help="docker-archive:FILE, oci:DIR:TAG, a file, or an engine's image."
    ),
]
_Target = Annotated[
    str | None,
    typer.Argument(metavar="[TARGET]", show_default=False, help="registry/repository:tag; default: SOURCE's own name."),
]
_Platform = Annotated[
    list[str] | None,
    typer.Option(
        "--platform", metavar="PLATFORMS", help="Which platform to push from a multi-platform source, or all."
    ),
]
_Format = Annotated[ImageFormat | None, typer.Option("--format", help="Convert to Docker's or OCI's types.")]
_Compression = Annotated[
    Compression | None,
    typer.Option("--compression", help="How to compress layers that are not compressed [default: gzip]."),
]
_Level = Annotated[
    int | None,
    typer.Option("--compression-level", metavar="N", help="gzip 1 to 9 [default: 1], zstd 1 to 19 [default: 3]."),
]
_ByDigest = Annotated[bool, typer.Option("--by-digest", help="Move no tag; print the digest.")]
_Annotation = Annotated[
    list[str] | None,
    typer.Option("--annotation", metavar="KEY=VALUE", help="Annotate the image's manifest; can be repeated."),
]


@with_common
def push(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    source: _Source,
    target: _Target = None,
    tag: publishing.MoreTags = None,
    platform: _Platform = None,
    format: _Format = None,  # noqa: A002 - as the option is called
    compression: _Compression = None,
    compression_level: _Level = None,
    by_digest: _ByDigest = False,
    no_overwrite: publishing.NoOverwrite = False,
    expect: publishing.Expect = None,
    create_repository: publishing.CreateRepository = False,
    annotation: _Annotation = None,
    digest_file: publishing.DigestFile = None,
    report: publishing.Report = None,
    *,
    common: Common,
) -> None:
    """Push an image from an engine, an archive or a layout."""
    del ctx
    options = _Options(
        source,
        target,
        tuple(tag or ()),
        tuple(platform or ()),
        format,
        compression,
        compression_level,
        by_digest,
        no_overwrite,
        expect,
        create_repository,
        tuple(annotation or ()),
        digest_file,
        report,
    )
    run("push", common, lambda session: _push(session, options))


def _push(session: Session, options: _Options) -> None:
    from manifestctl.cli.result_files import ResultFiles

    files = ResultFiles(digest_file=options.digest_file, report=options.report)
    Ending(session, files, TELLING, options.target or "").act(lambda ending: _begin(session, options, ending))


def _begin(session: Session, options: _Options, ending: Ending[Pushed]) -> Pushed:
    from manifestctl.cli.progress import showing
    from manifestctl.model.location import EngineLocation
    from manifestctl.stores.local_names import id_digits
    from manifestctl.verbs.push import push as send

    request = _request(session, options)
    ending.target = str(request.target.with_tag(None) if request.by_digest else request.target)
    with session.open_stores(create_repositories=options.create_repository) as stores:
        source = request.source
        # Where the name of what may be an id would lead, nothing is to be looked for.
        if not (isinstance(source, EngineLocation) and source.by_name and id_digits(source.image)):
            stores.reach(request.target, 8)
        with showing(session):
            return send(request, stores, session.runtime)


def _request(session: Session, options: _Options) -> PushRequest:
    from manifestctl.cli.quantities import annotation_pairs, platforms
    from manifestctl.verbs.push_request import Packing, PushRequest

    everything = options.platform == (_EVERYTHING,)
    wanted = () if everything else platforms(options.platform, "--platform")
    if len(wanted) > 1:
        raise InputError(
            "--platform names several platforms",
            hint="Push one of them, or all with --platform all; copy narrows lists.",
        )
    source, target = _locations(session, options, wanted, everything=everything)
    compression, family = options.compression, options.format
    return PushRequest(
        source=source,
        target=target,
        platforms=wanted,
        everything=everything,
        tags=publishing.more_tags(options.tags),
        packing=Packing(compression.value if compression else None, options.level, family.value if family else None),
        by_digest=options.by_digest,
        guard=publishing.guard(no_overwrite=options.no_overwrite, expect=options.expect),
        annotations=annotation_pairs(options.annotation),
        concurrency=session.common.concurrency,
    )


def _locations(
    session: Session, options: _Options, wanted: tuple[Platform, ...], *, everything: bool
) -> tuple[Location, Writable]:
    """Return where the image is and where it goes; with one argument it is the engine's image of that name."""
    from manifestctl.model.location import EngineLocation, check_target, parse_location

    source = source_location(options.source)
    if isinstance(source, EngineLocation):
        source = replace(source, platform=wanted[0] if wanted else None, every=everything)
    if options.target is not None:
        target = check_target(parse_location(options.target))
    elif isinstance(source, EngineLocation):
        source, target = replace(source, by_name=True), _own_name(source)
    else:
        raise InputError(
            f"{escape(str(source), 300)}: there is no target to push it to",
            hint="Write manifestctl push SOURCE registry/repository:tag",
        )
    if target.tag is None and target.digest is None and not options.by_digest:
        target = target.with_tag("latest")
        session.log.note(f"no tag given: using {target}")
    return source, target


def _own_name(source: EngineLocation) -> Writable:
    """Return where an engine's image goes by its own name; raises `InputError` for what can only be an id."""
    from manifestctl.model.reference import Reference

    if source.image.startswith("sha256:"):
        raise InputError(
            f"{source}: an id says nothing of where to push it",
            hint=f"Write manifestctl push {source.image} registry/repository:tag",
        )
    return Reference.parse(source.image)


def source_location(text: str) -> Location:
    """Parse a source: a location, a path, or the name of an engine's image."""
    from manifestctl.model.location import EngineLocation, LayoutLocation, parse_location

    if text.startswith(_SCHEMES):
        return parse_location(text)
    if not text.startswith(_PATHS) and not text.lower().endswith(_ARCHIVE_ENDINGS):
        return EngineLocation.parse(text)
    # A directory is a layout; a file is whichever kind of archive it turns out to be.
    with contextlib.suppress(InputError):
        layout = LayoutLocation.parse(text)
        if Path(layout.path).is_dir():
            return layout
    return parse_location(f"docker-archive:{text}")


def _members(pushed: Pushed | None) -> dict[str, Any]:
    told = pushed is not None and (pushed.published is not Published.NO or not pushed.exit_code)
    content = pushed.content if pushed is not None and told else None
    return {
        "reference": str(pushed.request.target.with_digest(content.digest)) if pushed and content else None,
        "digest": str(content.digest) if content else None,
        "media_type": content.media_type if content else None,
        "status": pushed.status if pushed is not None else "failed",
        "platform": str(pushed.platform) if pushed is not None and pushed.platform else None,
        "tags": tag_members(pushed.tags if pushed is not None else ()),
        "layers": [
            {
                "digest": str(layer.descriptor.digest),
                "media_type": layer.descriptor.media_type,
                "size": layer.descriptor.size,
                "how": layer.how,
            }
            for layer in (pushed.layers if pushed is not None else ())
        ],
    }


def _result(pushed: Pushed) -> str:
    content = pushed.content
    return str(pushed.request.target.with_digest(content.digest)) if content is not None else ""


def _notes(pushed: Pushed) -> list[str]:
    if pushed.content is None or pushed.exit_code:
        return []
    digest, store = pushed.content.digest, pushed.request.target.store
    ways: dict[str, list[int]] = {}
    for layer in dict.fromkeys(pushed.layers):
        ways.setdefault(layer.how, []).append(layer.descriptor.size)
    told = ", ".join(f"{len(sizes)} {how} ({size(sum(sizes))})" for how, sizes in ways.items())
    platform = f"{pushed.platform.shown}: " if pushed.platform is not None else ""
    lines = [f"{platform}{plural(len(pushed.layers), 'layer')}: {told}"] if pushed.layers else []
    if pushed.platforms:
        listed = ", ".join(one.shown if one is not None else "no platform" for one in pushed.platforms)
        lines.append(f"a list of {plural(len(pushed.platforms), 'image')}: {listed}")
    if pushed.untagged is not None:
        state = "is there now" if pushed.status == "created" else "was there already"
        lines.append(f"{escape(store, 300)}@{digest} {state}; no tag was moved")
        if pushed.request.target.tag is not None:
            lines.append(f"{escape(str(pushed.request.target), 300)} is left as it is: --by-digest moves no tag")
        lines.append("some registries delete untagged images until a list refers to them")
        return lines
    return lines + tag_notes(store, pushed.tags, digest)


TELLING: Telling[Pushed] = Telling(
    "image", _members, _result, _notes, lambda pushed: pushed.content.digest if pushed.content is not None else None
)
"""How it ended, in words and documents."""
