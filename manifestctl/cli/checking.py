"""What `create` and `check` share on the command line: the options about images, and their request."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.errors import InputError
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.cli.session import Session
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.stores.locate import Stores
    from manifestctl.verbs.check import CheckRequest
    from manifestctl.verbs.gather import Member


class ListFormat(StrEnum):
    """The format of the list."""

    auto = "auto"
    docker = "docker"
    oci = "oci"


class AttestationPolicy(StrEnum):
    """What becomes of buildx attestations."""

    keep = "keep"
    drop = "drop"
    require = "require"


class CheckDepth(StrEnum):
    """How deep images are checked."""

    manifests = "manifests"
    blobs = "blobs"


Target = Annotated[
    str, typer.Argument(metavar="TARGET", show_default=False, help="The list: registry/repository:tag or oci:DIR:tag.")
]
Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", show_default=False, help="The images, in full or relative to TARGET: :tag, @digest."
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require", metavar="PLATFORMS", help="These platforms must be there; repeat, or separate by commas."
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="No other platforms than those required may be there.")]
SetPlatform = Annotated[
    list[str] | None,
    typer.Option(
        "--set-platform", metavar="IMAGE=PLATFORM", help="Declare what an image's config does not say; can be repeated."
    ),
]
PlatformOption = Annotated[
    list[str] | None,
    typer.Option(
        "--platform",
        metavar="PLATFORMS",
        help="Of lists given as images, take only these; repeat, or separate by commas.",
    ),
]
Depth = Annotated[
    CheckDepth, typer.Option("--check", help="How deep: manifests and configs, or every layer (blobs) too.")
]
FormatOption = Annotated[
    ListFormat, typer.Option("--format", help="auto: a Docker list if every image is Docker's, else an OCI index.")
]
AttestationsOption = Annotated[
    AttestationPolicy, typer.Option("--attestations", help="Keep, drop or require buildx provenance and SBOM entries.")
]
Same = Annotated[
    list[str] | None,
    typer.Option("--same", metavar="LABEL", help="This label must be equal in all images; can be repeated."),
]
Annotations = Annotated[
    list[str] | None, typer.Option("--annotation", metavar="KEY=VALUE", help="Annotate the index; can be repeated.")
]
EntryAnnotations = Annotated[
    list[str] | None,
    typer.Option(
        "--entry-annotation", metavar="PLATFORM=KEY=VALUE", help="Annotate the entry of a platform; can be repeated."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """The options about images, as they were given."""

    target: str
    images: Sequence[str]
    require: Sequence[str] | None = None
    exact: bool = False
    set_platform: Sequence[str] | None = None
    platform: Sequence[str] | None = None
    check: CheckDepth = CheckDepth.manifests
    format: ListFormat = ListFormat.auto
    attestations: AttestationPolicy = AttestationPolicy.keep
    same: Sequence[str] | None = None
    annotation: Sequence[str] | None = None
    entry_annotation: Sequence[str] | None = None


def reach(session: Session, text: str, count: int, *, create_repositories: bool = False) -> tuple[Stores, Location]:
    """Parse the target and begin to connect to its registry, for ``count`` requests, before anything slower is done.

    ``create_repositories`` is as in `Session.open_stores`.
    """
    target = target_location(session, text)
    stores = session.open_stores(create_repositories=create_repositories)
    stores.reach(target, count)
    return stores, target


def target_location(session: Session, text: str) -> Location:
    """Parse the target; that a missing tag means ``latest`` is said."""
    from manifestctl.model.location import check_target, parse_location

    target = check_target(parse_location(text))
    if target.tag is None and target.digest is None:
        target = target.with_tag("latest")
        session.log.note(f"no tag given: using {target}")
    return target


def check_request(session: Session, target: Location, options: ImageOptions) -> CheckRequest:
    """Return the request that the options make; raises `InputError`."""
    from manifestctl.cli.quantities import annotation_pairs, platforms
    from manifestctl.verbs.check import CheckRequest, image_requests
    from manifestctl.verbs.checks import Requirements
    from manifestctl.verbs.compose import Wording

    images = image_requests(target, options.images, _declared(options.set_platform or ()))
    for image in images:
        session.say_what_is_meant(image.location)
    return CheckRequest(
        target=target,
        images=images,
        needs=Requirements(
            required=platforms(options.require or (), "--require"),
            exact=options.exact,
            attestations=options.attestations.value,
            same=tuple(options.same or ()),
        ),
        wording=Wording(
            format=options.format.value,
            annotations=annotation_pairs(options.annotation or ()),
            entry_annotations=tuple(_entry_annotation(text) for text in options.entry_annotation or ()),
        ),
        platforms=platforms(options.platform or (), "--platform"),
        depth=options.check.value,
        policy=session.policy(),
        concurrency=session.common.concurrency,
    )


def _declared(texts: Sequence[str]) -> dict[str, Platform]:
    from manifestctl.cli.quantities import given_by
    from manifestctl.model.platforms import Platform

    declared: dict[str, Platform] = {}
    for text in texts:
        image, equals, platform = text.rpartition("=")
        if not equals or not image:
            hint = "Write the image as it is named in the command, e.g. :1.4-arm=linux/arm/v7."
            raise InputError(f"--set-platform '{escape(text, 300)}' is not IMAGE=PLATFORM", hint=hint)
        with given_by("--set-platform"):
            declared[image] = Platform.parse(platform)
    return declared


def _entry_annotation(text: str) -> tuple[Platform, str, str]:
    from manifestctl.cli.quantities import given_by
    from manifestctl.model.platforms import Platform

    platform, equals, rest = text.partition("=")
    key, second, value = rest.partition("=")
    if not equals or not second or not key:
        hint = "Write linux/arm64=org.example.key=value."
        raise InputError(f"--entry-annotation '{escape(text, 300)}' is not PLATFORM=KEY=VALUE", hint=hint)
    with given_by("--entry-annotation"):
        return Platform.parse(platform), key, value


def image_members(members: Sequence[Member], attestations: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the images as JSON results list them."""
    return [
        {
            "reference": member.request.given,
            "digest": str(member.manifest.digest),
            "size": member.manifest.size,
            "media_type": member.manifest.media_type,
            "platform": str(member.platform),
            "attestations": [
                str(item.entry.digest) for item in attestations if item.entry.attests == str(member.manifest.digest)
            ],
        }
        for member in members
    ]
