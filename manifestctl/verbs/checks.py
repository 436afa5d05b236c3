"""Judging the images of a list: pure functions from what was read to findings. All faults are found at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from manifestctl.text import escape, plural
from manifestctl.verbs import rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.gather import Attestation, Gathered, ImageRequest, Member

Attestations = Literal["keep", "drop", "require"]
REVISION = "org.opencontainers.image.revision"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the images must satisfy beyond being images.

    ``required`` platforms must be there; with ``exact`` no others may. ``same`` are labels or annotations that must be
    equal in all images.
    """

    required: tuple[Platform, ...] = ()
    exact: bool = False
    attestations: Attestations = "keep"
    same: tuple[str, ...] = ()


def judge(target: Location, requests: Sequence[ImageRequest], gathered: Gathered, needs: Requirements) -> list[Finding]:
    """Return every fault of the images together, those of reading them first."""
    findings = list(gathered.findings)
    findings += other_repositories(target, requests)
    members = distinct(gathered.members)
    findings += _duplicates(gathered.members)
    for member in members:
        findings += _of_one(member)
    findings += _same_platforms(members)
    findings += _required(target, members, needs)
    # What could not be read may be what these would miss.
    if not gathered.findings:
        findings += _attestations(members, gathered.attestations, needs)
        findings += [] if members else [_empty(target)]
    findings += _labels(members, needs)
    return findings


def distinct(members: Iterable[Member]) -> list[Member]:
    """Return the members without those whose image came before."""
    return list({member.manifest.digest: member for member in reversed(list(members))}.values())[::-1]


def other_repositories(target: Location, requests: Sequence[ImageRequest]) -> Iterator[Finding]:
    """Find images that are not in the repository of the list."""
    for request in requests:
        if request.location.store != target.store:
            given = escape(request.given, 300)
            yield rules.found(
                "other-repository",
                f"{given}: it is in {request.location.store}, but a list in {target.store} can only name images there",
                where=given,
                hint=f"Push the image to {target.store} and name it from there.",
                image=given,
                repository=request.location.store,
                found=request.location.store,
                expected=target.store,
            )


def _duplicates(members: Sequence[Member]) -> Iterator[Finding]:
    seen: dict[object, Member] = {}
    for member in members:
        first = seen.setdefault(member.manifest.digest, member)
        if first is not member:
            yield _about(
                "image-duplicate",
                member,
                f"{member.name}: it is the same image as {first.name}, so it stands in the list once",
                hint="Leave one of them out, unless that is what you mean.",
                found=str(member.manifest.digest),
            )


def _of_one(member: Member) -> Iterator[Finding]:
    said = member.config.platform
    for declared, who in ((member.entry.platform, "the list it is in"), (member.request.declared, "--set-platform")):
        if declared is not None and said.contradicts(declared):
            yield _about(
                "platform-mismatch",
                member,
                f"{member.name}: its config says {said.shown}, but {who} says {declared.shown}",
                hint="The image was built for another platform than its name or its list says; build and push it again.",
                found=said.shown,
                expected=declared.shown,
            )
    platform = member.platform
    absent = [name for name, value in (("os", platform.os), ("architecture", platform.architecture)) if not value]
    if absent:
        yield _about(
            "platform-missing",
            member,
            f"{member.name}: its config names no {' and no '.join(absent)}",
            hint=f"Declare it: --set-platform '{escape(member.request.given, 300)}=linux/amd64' (with the right platform).",
            found=said.shown,
            expected="os and architecture",
        )
    if member.entry.media_type != member.manifest.media_type:
        yield _about(
            "media-type-mismatch",
            member,
            f"{member.name}: the list it is in says it is {escape(member.entry.media_type, 120)}, "
            f"but it is {member.manifest.media_type}",
            hint="The list is wrong; make it again.",
            found=member.manifest.media_type,
            expected=escape(member.entry.media_type, 120),
        )


def _same_platforms(members: Sequence[Member]) -> Iterator[Finding]:
    first: dict[object, Member] = {}
    for member in members:
        if not (member.platform.os and member.platform.architecture):
            continue
        other = first.setdefault(member.platform.key, member)
        if other is not member:
            yield _about(
                "platform-duplicate",
                member,
                f"{member.name} and {other.name} are both for {member.platform.shown}; a client would only ever see the first",
                hint="Leave one of them out. Windows images are told apart by os.version, others by variant.",
                found=member.platform.shown,
            )


def _required(target: Location, members: Sequence[Member], needs: Requirements) -> Iterator[Finding]:
    there = ", ".join(member.platform.shown for member in members) or "none"
    for wanted in needs.required:
        if not any(member.platform.satisfies(wanted) for member in members):
            yield rules.found(
                "platform-required",
                f"{target}: there is no image for {wanted}, which is required; found: {there}",
                where=str(target),
                hint=f"Push the image for {wanted} and name it too.",
                platform=str(wanted),
                repository=target.store,
                found=there,
                expected=str(wanted),
            )
    if needs.exact:
        for member in members:
            if not any(member.platform.satisfies(wanted) for wanted in needs.required):
                wanted_all = ", ".join(str(wanted) for wanted in needs.required)
                yield _about(
                    "platform-unexpected",
                    member,
                    f"{member.name} is for {member.platform.shown}, but --exact allows only {wanted_all}",
                    hint="Leave the image out, or require its platform too.",
                    found=member.platform.shown,
                    expected=wanted_all,
                )


def _attestations(
    members: Sequence[Member], attestations: Sequence[Attestation], needs: Requirements
) -> Iterator[Finding]:
    digests = {str(member.manifest.digest) for member in members}
    if needs.attestations != "drop":
        for attestation in attestations:
            subject = attestation.entry.attests
            if subject and subject not in digests:
                given = escape(attestation.request.given, 300)
                yield rules.found(
                    "attestation-orphan",
                    f"{given}: attestation {attestation.entry.digest.short} is about {escape(subject, 100)}, "
                    "which is not in the list",
                    where=given,
                    hint="Give the list that holds its image, or pass --attestations drop.",
                    image=given,
                    repository=attestation.repository,
                    found=escape(subject, 100),
                )
    if needs.attestations == "require":
        attested = {attestation.entry.attests for attestation in attestations}
        for member in members:
            if str(member.manifest.digest) not in attested:
                yield _about(
                    "attestation-required",
                    member,
                    f"{member.name}: it has no attestation, and --attestations require was given",
                    hint="Build it with 'docker buildx build --provenance=true --push' and give the list that it makes.",
                )


def _labels(members: Sequence[Member], needs: Requirements) -> Iterator[Finding]:
    for label in dict.fromkeys((*needs.same, REVISION)):
        asked = label in needs.same
        values = {member.name: _label(member, label) for member in members}
        said = {value for value in values.values() if value or asked}
        if len(said) > 1:
            listed = ", ".join(f"{name}: {escape(value, 100) or 'none'}" for name, value in list(values.items())[:10])
            yield rules.found(
                "label-differs" if asked else "revision-differs",
                f"the images differ in {escape(label, 120)} ({listed})",
                where=escape(label, 120),
                hint="They come from different builds; build all of them from one commit."
                if asked
                else "If they should come from one build, pass --same to make this an error.",
                repository=members[0].repository,
                found=plural(len(said), "value"),
                expected="1 value",
            )
        elif asked and said == {""}:
            yield rules.found(
                "label-differs",
                f"no image has the label {escape(label, 120)}, so nothing says that they belong together",
                where=escape(label, 120),
                hint="Set the label when the images are built, or leave out --same.",
                expected=escape(label, 120),
            )


def _label(member: Member, name: str) -> str:
    return member.config.labels.get(name) or member.manifest.annotations.get(name) or ""


def _empty(target: Location) -> Finding:
    return rules.found(
        "list-empty",
        f"{target}: there is no image to put into the list",
        where=str(target),
        hint="Name at least one image; a list given as an image must hold one.",
        repository=target.store,
    )


def _about(rule: str, member: Member, message: str, *, hint: str = "", found: str = "", expected: str = "") -> Finding:
    given = escape(member.request.given, 300)
    return rules.found(
        rule,
        message,
        where=given,
        hint=hint,
        image=f"{given} ({member.manifest.digest})" if member.listed else given,
        platform=member.platform.shown,
        repository=member.repository,
        found=found,
        expected=expected,
    )
