"""``manifestctl inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, emit_bytes, run
from manifestctl.errors import InputError, exit_code
from manifestctl.text import escape, plural, size

if TYPE_CHECKING:
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.inspect import Inspected, Node


@with_common
def inspect(
    ctx: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(metavar="REF", show_default=False, help="A list or an image: registry/repo:tag, oci:DIR:tag."),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Print the stored bytes and nothing else.")] = False,
    digest: Annotated[bool, typer.Option("--digest", help="Print the digest and nothing else.")] = False,
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="PLATFORM", help="Of a list, show this platform's image.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Show what a list or an image holds."""
    del ctx
    run("inspect", common, lambda session: _inspect(session, reference, platform, raw=raw, digest=digest))


def _inspect(session: Session, text: str, wanted: str | None, *, raw: bool, digest: bool) -> None:
    from manifestctl.cli.quantities import given_by
    from manifestctl.model.location import parse_location
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.inspect import inspect as look
    from manifestctl.verbs.inspect import read

    if raw and digest:
        raise InputError("--raw and --digest are both given", hint="Choose what is to be printed.")
    location = parse_location(text)
    with given_by("--platform"):
        platform: Platform | None = Platform.parse(wanted) if wanted is not None else None
    policy = session.policy()
    session.say_what_is_meant(location)
    with session.open_stores() as stores:
        if raw or digest or session.output is Output.digest:
            content = session.apart(lambda: read(location, stores, platform))
            if raw:
                emit_bytes(content.raw)
            else:
                session.emit(str(content.digest))
            return
        inspected = session.apart(lambda: look(location, stores, session.runtime, platform, session.common.concurrency))
    findings = policy.apply(inspected.findings)
    code = exit_code(finding.category for finding in findings if finding.is_error)
    if session.output is Output.json:
        members = _node_json(inspected.root)
        session.emit_json(session.document(findings, code, reference=str(location), **members, error=None))
    else:
        session.emit("\n".join(_lines(inspected)))
    session.log.findings(findings)
    session.leave(code)


def _node_json(node: Node) -> dict[str, Any]:
    from manifestctl.model.manifest import Index, Manifest

    manifest = node.manifest
    result: dict[str, Any] = {
        "digest": str(node.descriptor.digest),
        "media_type": node.descriptor.media_type,
        "manifest_size": node.descriptor.size,
        "platform": str(node.platform) if node.platform else None,
        "annotations": dict(manifest.annotations) if manifest else {},
        "entry_annotations": dict(node.descriptor.annotations),
        "found": node.finding is None,
    }
    if isinstance(manifest, Index):
        result["images"] = [_node_json(entry) for entry in node.entries]
    if isinstance(manifest, Manifest):
        result["size"] = manifest.size
        result["config"] = str(manifest.config.digest)
        result["layers"] = [
            {"digest": str(layer.digest), "media_type": layer.media_type, "size": layer.size}
            for layer in manifest.layers
        ]
    if node.descriptor.is_attestation:
        result["predicates"] = node.predicates
    if node.config is not None:
        result["created"] = node.config.created or None
        result["labels"] = dict(node.config.labels)
    result["attestations"] = [_node_json(attestation) for attestation in node.attestations]
    return result


def _lines(inspected: Inspected) -> list[str]:
    from manifestctl.model.manifest import Index

    root = inspected.root
    lines = [escape(str(inspected.location), 300), f"digest {root.descriptor.digest}"]
    lines.append(f"type   {escape(root.descriptor.media_type, 120)}")
    if isinstance(root.manifest, Index):
        images = [node for node in root.entries if not node.descriptor.is_attestation]
        lines.append(f"holds  {plural(len(images), 'image')}")
        branches: list[_Branch] = [(f"annotation {_pair(item)}", []) for item in root.manifest.annotations.items()]
        branches += [_branch(node) for node in root.entries]
    else:
        text, branches = _branch(root)
        lines.append(f"image  {text}")
    return lines + _drawn(branches)


_Branch = tuple[str, list[Any]]


def _branch(node: Node) -> _Branch:
    from manifestctl.model.manifest import Manifest

    manifest = node.manifest
    inner: list[_Branch] = [(f"annotation {_pair(item)}", []) for item in node.descriptor.annotations.items()]
    if node.descriptor.is_attestation:
        name = "attestation" + "".join(f" {escape(predicate, 120)}" for predicate in node.predicates)
        inner = []
    else:
        name = node.platform.shown if node.platform else "no platform"
    if node.finding is not None:
        name += f" ({node.finding.rule})"
    elif isinstance(manifest, Manifest):
        name += f"  {size(manifest.size)}"
        inner += [_layer(layer) for layer in manifest.layers if not node.descriptor.is_attestation]
    inner += [_branch(other) for other in (*node.attestations, *node.entries)]
    return f"{name}  {node.descriptor.digest}", inner


def _layer(layer: Any) -> _Branch:
    return f"layer {layer.digest}  {size(layer.size)}  {escape(layer.media_type, 120)}", []


def _pair(item: tuple[str, str]) -> str:
    return f"{escape(item[0], 200)}={escape(item[1], 400)}"


def _drawn(branches: list[_Branch], indent: str = "") -> list[str]:
    lines = []
    for position, (text, inner) in enumerate(branches):
        last = position == len(branches) - 1
        lines.append(f"{indent}{'└─ ' if last else '├─ '}{text}")
        lines += _drawn(inner, indent + ("   " if last else "│  "))
    return lines
