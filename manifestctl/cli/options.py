"""The options that all commands have, and the decorator that gives them to a command."""

from __future__ import annotations

import functools
import inspect
from dataclasses import fields
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli.choices import rules
from manifestctl.errors import InputError
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.aws.settings import AwsSettings, Use
    from manifestctl.transport.settings import TransportSettings

_NETWORK = "Network"
_COMMON = "Output"


class Output(StrEnum):
    """How the result is printed."""

    text = "text"
    digest = "digest"
    json = "json"


class LogFormat(StrEnum):
    """How the log on stderr is written."""

    text = "text"
    json = "json"


def _option(*names: str, help: str, metavar: str | None = None, panel: str = _NETWORK, **more: Any) -> Any:  # noqa: A002 - as Typer has them
    environment = "MANIFESTCTL_" + names[0].lstrip("-").partition("/")[0].replace("-", "_").upper()
    return typer.Option(
        *names, help=help, metavar=metavar, envvar=environment, show_envvar=False, rich_help_panel=panel, **more
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The common options of one command line; each is also read from ``MANIFESTCTL_<NAME>``.

    Those that can be given several times are divided at white space there.
    """

    output: Annotated[
        Output | None, _option("--output", help="What goes to stdout: text, digest or json.", panel=_COMMON)
    ] = None
    quiet: Annotated[bool, _option("--quiet", "-q", help="No notes on stderr, only errors.", panel=_COMMON)] = False
    verbose: Annotated[
        bool, _option("--verbose", "-v", help="Log every request; secrets are left out.", panel=_COMMON)
    ] = False
    log_format: Annotated[LogFormat, _option("--log-format", help="How stderr is written.", panel=_COMMON)] = (
        LogFormat.text
    )
    allow: Annotated[
        list[str] | None,
        _option(
            "--allow",
            metavar="RULE",
            help="Treat errors of this rule as warnings; can be repeated.",
            panel=_COMMON,
            autocompletion=rules,
        ),
    ] = None
    deny: Annotated[
        list[str] | None,
        _option(
            "--deny",
            metavar="RULE",
            help="Treat warnings of this rule as errors; can be repeated.",
            panel=_COMMON,
            autocompletion=rules,
        ),
    ] = None
    plain_http: Annotated[
        list[str] | None,
        _option("--plain-http", metavar="HOST", help="Speak HTTP without TLS to this host; can be repeated."),
    ] = None
    tls: Annotated[
        list[str] | None, _option("--tls", metavar="HOST", help="Speak TLS to this local host; can be repeated.")
    ] = None
    tls_skip_verify: Annotated[
        list[str] | None,
        _option("--tls-skip-verify", metavar="HOST", help="Do not verify this host's certificate; can be repeated."),
    ] = None
    ca_file: Annotated[
        Path | None, _option("--ca-file", metavar="FILE", help="Trust the authorities in this PEM file too.")
    ] = None
    client_cert: Annotated[
        Path | None, _option("--client-cert", metavar="FILE", help="Present this client certificate.")
    ] = None
    client_key: Annotated[Path | None, _option("--client-key", metavar="FILE", help="The key of --client-cert.")] = None
    authfile: Annotated[
        Path | None, _option("--authfile", metavar="FILE", help="Take credentials from this file alone.")
    ] = None
    aws: Annotated[
        bool | None,
        _option("--aws/--no-aws", help="On ECR: use only AWS credentials, or never use them.", show_default=False),
    ] = None
    profile: Annotated[
        str,
        _option(
            "--profile", metavar="NAME", help="On ECR: this AWS profile; given here, as --aws.", show_default=False
        ),
    ] = ""
    no_token_cache: Annotated[bool, _option("--no-token-cache", help="Do not read or write the token cache.")] = False
    concurrency: Annotated[
        int, _option("--concurrency", metavar="N", help="Requests under way at once.", min=1, max=256)
    ] = 16
    timeout: Annotated[
        str, _option("--timeout", metavar="DURATION", help="Longest wait for a connection (10s at most) and for data.")
    ] = "60s"
    retries: Annotated[
        int,
        _option("--retries", metavar="N", help="Tries of an operation in all; 1 never tries again.", min=1, max=100),
    ] = 5
    retry_deadline: Annotated[
        str, _option("--retry-deadline", metavar="DURATION", help="Longest time for all tries together.")
    ] = "5m"


def with_common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is the Typer context and second ``common``, all common options."""
    return with_defaults()(command)


def with_defaults(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what does as `with_common`, for a command in which some of the options have other defaults."""
    return functools.partial(_with_options, defaults=defaults)


def _with_options(command: Callable[..., None], *, defaults: Mapping[str, Any]) -> Callable[..., None]:
    own = inspect.signature(command, eval_str=True)
    kept = [parameter for name, parameter in own.parameters.items() if name != "common"]
    types = inspect.get_annotations(Common, eval_str=True)
    added = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(field.name, field.default),
            annotation=types[field.name],
        )
        for field in fields(Common)
    ]

    @functools.wraps(command)
    def wrapped(ctx: typer.Context, *args: Any, **values: Any) -> None:
        common = {field.name: values.pop(field.name) for field in fields(Common)}
        command(ctx, *args, common=Common(**(common | _given_early(ctx) | _of_profile(ctx, common))), **values)

    wrapped.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*kept, *added)}
    return wrapped


def _of_profile(ctx: typer.Context, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a profile on the command line means: AWS is asked with it. One in a variable changes no order."""
    if not common["profile"] or not _is_typed(ctx, "profile"):
        return {}
    if common["aws"] is False and _is_typed(ctx, "aws"):
        raise typer.BadParameter(
            "--no-aws leaves it nothing to be used for; leave out one of the two", ctx=ctx, param_hint="--profile"
        )
    return {"aws": True}


def _is_typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _given_early(ctx: typer.Context) -> dict[str, Any]:
    """Return the options that were given before the command, and not again after it; they outrank variables."""
    early: dict[str, Any] = ctx.obj or {}
    return {name: value for name, value in early.items() if value and not _is_typed(ctx, name)}


def aws_settings(common: Common, *, create_repositories: bool = False) -> AwsSettings:
    """Return the `AwsSettings` that the options ask for."""
    from manifestctl.aws.settings import AwsSettings

    use: Use = "auto" if common.aws is None else "always" if common.aws else "never"
    return AwsSettings(use, common.profile, not common.no_token_cache, create_repositories)


def settings(common: Common, environ: Mapping[str, str]) -> TransportSettings:
    """Return the `TransportSettings` that the options ask for; raises `InputError`."""
    from manifestctl.cli.quantities import duration, given_by
    from manifestctl.transport.certs_d import certs_directories
    from manifestctl.transport.settings import TransportSettings

    with given_by("--timeout"):
        timeout = duration(common.timeout)
    with given_by("--retry-deadline"):
        deadline = duration(common.retry_deadline)
    if timeout <= 0:
        raise InputError("--timeout must be more than 0", hint="Write 90s, 10m or 1h30m.")
    return TransportSettings(
        plain_http=tuple(common.plain_http or ()),
        tls=tuple(common.tls or ()),
        tls_skip_verify=tuple(common.tls_skip_verify or ()),
        ca_file=common.ca_file,
        client_cert=common.client_cert,
        client_key=common.client_key,
        certs_dirs=certs_directories(environ),
        authfile=common.authfile,
        connect_timeout=min(10.0, timeout),
        read_timeout=timeout,
        retries=common.retries,
        retry_deadline=deadline,
        concurrency=common.concurrency,
    )
