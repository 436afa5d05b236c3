"""``manifestctl repo``: its commands `create`, `describe` and `catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.errors import InputError
from manifestctl.events import Warned
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from manifestctl.aws.calls import Aws
    from manifestctl.aws.catalog import Catalog
    from manifestctl.aws.repository_settings import PrivateOptions
    from manifestctl.verbs.repository import Cataloged, Made, Unread

T = TypeVar("T")
G = TypeVar("G")

_SHOWN = 120

repo = typer.Typer(help="Make, describe and present repositories of Amazon ECR.")

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, help="A repository of ECR Public or ECR; a bare name: your own public one."
    ),
]
_Description = Annotated[
    str | None,
    typer.Option("--description", metavar="TEXT", help="Public: what it is, in a line."),
]
_About = Annotated[
    Path | None, typer.Option("--about-file", metavar="FILE", help="Public: Markdown that says what it is.")
]
_Usage = Annotated[
    Path | None, typer.Option("--usage-file", metavar="FILE", help="Public: Markdown that says how it is used.")
]
_Logo = Annotated[
    Path | None,
    typer.Option("--logo-file", metavar="FILE", help="Public: a PNG of 60 to 2048 pixels each side."),
]
_Systems = Annotated[
    list[str] | None,
    typer.Option("--os", metavar="OS", help="Public: an operating system, e.g. linux."),
]
_Architectures = Annotated[
    list[str] | None,
    typer.Option("--arch", metavar="ARCH", help="Public: an architecture, e.g. arm64."),
]
_Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag of the repository itself.")]
_Immutable = Annotated[bool, typer.Option("--immutable", help="Private: tags of images may not be moved,")]
_Except = Annotated[
    list[str] | None,
    typer.Option("--immutable-except", metavar="WILDCARD", help="Private: but these may, e.g. dev-*."),
]
_Scan = Annotated[bool, typer.Option("--scan-on-push", help="Private: scan images when they are pushed.")]
_Key = Annotated[str | None, typer.Option("--kms-key", metavar="KEY", help="Private: encrypt with this KMS key.")]


@dataclass(frozen=True, slots=True)
class _Page:
    """The options about a page on the Gallery, as they were given."""

    description: str | None
    about_file: Path | None
    usage_file: Path | None
    logo_file: Path | None
    systems: Sequence[str] | None
    architectures: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class _Private:
    """The options of private repositories, as they were given."""

    immutable: bool
    immutable_except: Sequence[str] | None
    scan_on_push: bool
    kms_key: str | None


@repo.command("create", short_help="Make a repository, unless it is there.")
@with_common
def create(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    name: _Name,
    description: _Description = None,
    about_file: _About = None,
    usage_file: _Usage = None,
    logo_file: _Logo = None,
    os: _Systems = None,
    arch: _Architectures = None,
    tag: _Tags = None,
    immutable: _Immutable = False,
    immutable_except: _Except = None,
    scan_on_push: _Scan = False,
    kms_key: _Key = None,
    *,
    common: Common,
) -> None:
    """Make a repository and print its URI. One that is there is left as it is, and what differs is said."""
    del ctx
    page = _Page(description, about_file, usage_file, logo_file, os, arch)
    private = _Private(immutable, immutable_except, scan_on_push, kms_key)
    run("repo-create", common, lambda session: _create(session, name, page, tag or (), private))


@repo.command("describe", short_help="Say what there is of a repository.")
@with_common
def describe(ctx: typer.Context, name: _Name, *, common: Common) -> None:
    """Say what AWS knows of a repository: URI, ARN, tags, settings or its page on the Gallery."""
    del ctx
    run("repo-describe", common, lambda session: _describe(session, name))


@repo.command("catalog", short_help="Show or change a page on the Gallery.")
@with_common
def catalog(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    name: _Name,
    description: _Description = None,
    about_file: _About = None,
    usage_file: _Usage = None,
    logo_file: _Logo = None,
    os: _Systems = None,
    arch: _Architectures = None,
    *,
    common: Common,
) -> None:
    """Show what a public repository's page on the Gallery says, or change what is given and keep the rest."""
    del ctx
    page = _Page(description, about_file, usage_file, logo_file, os, arch)
    run("repo-catalog", common, lambda session: _catalog(session, name, page))


def _create(session: Session, text: str, page: _Page, tags: Sequence[str], private: _Private) -> None:
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.verbs.repository import RepositoryRequest, create_repository

    name = RepositoryName.parse(text)
    request = RepositoryRequest(name, _asked(session, page), _tag_pairs(tags), _private_options(private))
    made = _by_aws(session, lambda aws: create_repository(request, aws, session.runtime))
    _show_made(session, made)


def _describe(session: Session, text: str) -> None:
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.cli.repo_text import described_lines, described_members
    from manifestctl.verbs.repository import describe_repository

    name = RepositoryName.parse(text)
    found = _by_aws(session, lambda aws: describe_repository(name, aws))
    _say_unread(session, found.unread)
    if session.output is Output.json:
        session.emit_json(session.document((), 0, **described_members(found), error=None))
    else:
        session.emit("\n".join(described_lines(found)))


def _catalog(session: Session, text: str, page: _Page) -> None:
    from manifestctl.aws.repository_names import RepositoryName
    from manifestctl.verbs.repository import change_catalog

    name, asked = RepositoryName.parse(text), _asked(session, page)
    done = _by_aws(session, lambda aws: change_catalog(name, asked, aws))
    _show_catalog(session, done, wanted=bool(asked.given))


def _by_aws(session: Session, call: Callable[[Aws], T]) -> T:
    if session.common.aws is False:
        raise InputError(
            "--no-aws leaves nothing to be done: repositories are AWS's, and its API alone knows of them",
            hint="Leave out --no-aws.",
        )
    with session.open_stores() as stores:
        return session.apart(lambda: call(stores.keys.aws()))


def _asked(session: Session, page: _Page) -> Catalog:
    """Return the catalog data that is asked for; raises `InputError`."""
    from manifestctl.aws.catalog import (
        Catalog,
        architecture_names,
        description_text,
        read_markdown,
        system_names,
        without_badge,
    )
    from manifestctl.aws.logo import read_logo

    asked = Catalog(
        _given("--description", description_text, page.description),
        _given("--about-file", read_markdown, page.about_file),
        _given("--usage-file", read_markdown, page.usage_file),
        _given("--os", system_names, page.systems or None),
        _given("--arch", architecture_names, page.architectures or None),
        _given("--logo-file", read_logo, page.logo_file),
    )
    for name in without_badge(asked):
        session.log.note(f"'{escape(name, 60)}' is shown on the page, but the Gallery does not search by it")
    return asked


def _given(option: str, read: Callable[[G], T], value: G | None) -> T | None:
    from manifestctl.cli.quantities import given_by

    if value is None:
        return None
    with given_by(option):
        return read(value)


def _tag_pairs(texts: Sequence[str]) -> dict[str, str]:
    from manifestctl.aws.repository_settings import check_tags
    from manifestctl.cli.quantities import given_by, pair

    pairs = [pair(text, "--tag", "team=web") for text in texts]
    with given_by("--tag"):
        return check_tags(pairs)


def _private_options(given: _Private) -> PrivateOptions:
    from manifestctl.aws.repository_settings import PrivateOptions, check_filters, check_kms_key

    return PrivateOptions(
        given.immutable,
        _given("--immutable-except", check_filters, given.immutable_except or None) or (),
        given.scan_on_push,
        _given("--kms-key", check_kms_key, given.kms_key) or "",
    )


def _show_made(session: Session, made: Made) -> None:
    from manifestctl.cli.repo_text import made_members

    found = made.repository
    if session.output is Output.json:
        session.emit_json(session.document((), 0, **made_members(made), error=None))
    else:
        session.emit(escape(found.uri))
    page = f"; its page is {escape(found.page, 500)}" if found.page else ""
    did = "created" if made.status == "created" else "exists already, and was left as it is"
    session.log.note(f"{escape(found.uri, 300)} {did}{page}")
    for item in made.differences:
        is_there = f"'{escape(item.found, _SHOWN)}'" if item.found else "nothing"
        said = f"{item.option}: there is {is_there}, and '{escape(item.asked, _SHOWN)}' was asked for"
        session.log.event(Warned(f"{said}. {item.hint}"))
    _say_unread(session, made.unread)


def _say_unread(session: Session, unread: Iterable[Unread]) -> None:
    for item in unread:
        hint = f"; {item.error.hint}" if item.error.hint else ""
        session.log.event(Warned(f"its {item.what} could not be read: {item.error.message}{hint}"))


def _show_catalog(session: Session, done: Cataloged, *, wanted: bool) -> None:
    from manifestctl.cli.repo_text import cataloged_lines, cataloged_members

    status = None if not wanted else "updated" if done.changed else "unchanged"
    if session.output is Output.json:
        session.emit_json(session.document((), 0, status=status, **cataloged_members(done), error=None))
    else:
        session.emit("\n".join(cataloged_lines(done)))
    if wanted:
        what = (
            f"changed: {', '.join(done.changed).replace('_', ' ')}"
            if done.changed
            else "unchanged, for all of it was so already"
        )
        session.log.note(f"{escape(done.repository.uri, 300)}: {what}")
