"""Judging the images of a list: pure functions from what was read to findings. All faults are found at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from manifestctl.model import media_types
from manifestctl.model.reference import Reference
from manifestctl.text import escape, plural
from manifestctl.values import dataclass
from manifestctl.verbs import rules
from manifestctl.verbs.label_checks import judge_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.gather import Gathered, ImageRequest, Member

Attestations = Literal["keep", "drop", "require"]

# What may be so because another image was meant.
_NOT_THERE = frozenset({"image-missing", "image-denied", "image-unreachable"})
_MISNAMED = _NOT_THERE | {"other-repository"}


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


def judge(
    target: Location, requests: Sequence[ImageRequest], gathered: Gathered, needs: Requirements, *, copies: bool = False
) -> list[Finding]:
    """Return every fault of the images together, those of reading them first.

    With ``copies`` images may live elsewhere, for they are going to be copied.
    """
    questions = _colons(target, requests)
    findings = list(gathered.findings)
    findings += _other_repositories(target, requests, gathered, questions) if not copies else ()
    findings = [_asking(finding, questions) for finding in findings]
    # What a second name of an image says of it must be as true as what the first one says.
    for member in gathered.members:
        findings += _of_one(member)
    findings += _duplicates(gathered.members)
    members = distinct(gathered.members)
    findings += _same_platforms(members)
    findings += _required(target, members, gathered, needs)
    findings += _unexpected(members, needs)
    findings += _orphans(members, gathered) if needs.attestations != "drop" else ()
    findings += _unattested(members, gathered) if needs.attestations == "require" else ()
    if not (members or gathered.findings):
        findings.append(_empty(target))
    findings += judge_labels(members, needs.same)
    return findings


def distinct(members: Iterable[Member]) -> list[Member]:
    """Return the members without those whose image came before."""
    first: dict[object, Member] = {}
    for member in members:
        first.setdefault(member.manifest.digest, member)
    return list(first.values())


def same_repository(one: Location, other: Location) -> bool:
    """Tell whether both lie in one repository; the names of hosts are compared without regard to case."""
    if isinstance(one, Reference) and isinstance(other, Reference):
        return (one.registry.lower(), one.repository) == (other.registry.lower(), other.repository)
    return one.store == other.store


def _colons(target: Location, requests: Sequence[ImageRequest]) -> dict[str, str]:
    """Ask, of each image that is written as a tag is, whether that tag of the target is meant."""
    home = escape(target.store, 300)
    bare = [escape(request.given, 300) for request in requests if not set("/:@").intersection(request.given)]
    return {given: f"Did you mean ':{given}', the tag in {home}? " for given in bare}


def _asking(finding: Finding, questions: Mapping[str, str]) -> Finding:
    """Put the question into the hint where it may be the answer; it is not for what is in a list that was found."""
    question = questions.get(finding.image) if finding.rule in _MISNAMED else None
    return finding if question is None else replace(finding, hint=f"{question}{finding.hint}".rstrip())


def _other_repositories(
    target: Location, requests: Sequence[ImageRequest], gathered: Gathered, questions: Mapping[str, str]
) -> Iterator[Finding]:
    not_there = {finding.image for finding in gathered.findings if finding.rule in _NOT_THERE}
    for request in requests:
        if same_repository(request.location, target):
            continue
        given, here, there = (escape(text, 300) for text in (request.given, target.store, request.location.store))
        if given in questions and given in not_there:
            # Where it would be is beside the point.
            continue
        platforms = dict.fromkeys(member.platform.shown for member in gathered.members if member.request is request)
        yield rules.found(
            "other-repository",
            f"{given}: it is in {there}, but a list in {here} can only name images there",
            where=given,
            hint=f"Push the image to {here} and name it from there, or pass --copy to 'create'.",
            image=given,
            platform=", ".join(list(platforms)[:10]),
            repository=there,
            found=there,
            expected=here,
        )


def _duplicates(members: Sequence[Member]) -> Iterator[Finding]:
    seen: dict[object, Member] = {}
    for member in members:
        first = seen.setdefault(member.manifest.digest, member)
        if first is member:
            continue
        if first.platform.contradicts(member.platform):
            yield _about(
                "platform-mismatch",
                member,
                f"{member.name} is the same image as {first.name}, "
                f"but one was declared as {first.platform.shown} and the other as {member.platform.shown}",
                hint="An image stands in a list once, for one platform; leave one of the two out.",
                found=member.platform.shown,
                expected=first.platform.shown,
            )
        yield _about(
            "image-duplicate",
            member,
            f"{member.name}: it is the same image as {first.name}, so it stands in the list once",
            hint="Leave one of them out, unless that is what you mean.",
            found=str(member.manifest.digest),
            expected="an image that was not named before",
        )


def _of_one(member: Member) -> Iterator[Finding]:
    yield from _mismatches(member)
    platform = member.platform
    absent = [name for name, value in (("os", platform.os), ("architecture", platform.architecture)) if not value]
    if absent:
        given = escape(member.request.given, 300)
        yield _about(
            "platform-missing",
            member,
            f"{member.name}: its config names no {' and no '.join(absent)}",
            hint=f"Declare it, with the right platform: --set-platform '{given}=linux/amd64'.",
            found=platform.shown,
            expected="os and architecture",
        )
    if member.entry.media_type != member.manifest.media_type:
        listed = escape(member.entry.media_type, 120)
        yield _about(
            "media-type-mismatch",
            member,
            f"{member.name}: the list it is in says it is {listed}, but it is {member.manifest.media_type}",
            hint="The list is wrong; make it again.",
            found=member.manifest.media_type,
            expected=listed,
        )


def _mismatches(member: Member) -> Iterator[Finding]:
    """Compare what the config, the list and the user say of the platform; what is said first is believed."""
    said, by = member.config.platform, "its config"
    declared = ((member.entry.platform, "the list it is in"), (member.request.declared, "--set-platform"))
    for other, who in declared:
        if other is None:
            continue
        if said.contradicts(other):
            yield _about(
                "platform-mismatch",
                member,
                f"{member.name}: {by} says {said.shown}, but {who} says {other.shown}",
                hint="It was built for another platform than its name or its list says; build and push it again.",
                found=said.shown,
                expected=other.shown,
            )
        filled = said.filled_from(other)
        if filled != said:
            said, by = filled, "its config, completed by the list,"


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
                f"{member.name} and {other.name} are both for {member.platform.shown}; "
                "a client would only ever see the first",
                hint="Leave one of them out. Windows images are told apart by os.version, others by variant.",
                found=member.platform.shown,
                expected=f"one image for {member.platform.shown}",
            )


def _required(
    target: Location, members: Sequence[Member], gathered: Gathered, needs: Requirements
) -> Iterator[Finding]:
    there = ", ".join(member.platform.shown for member in members) or "none"
    unread = sum(entry is None or not entry.is_attestation for entry in gathered.unread)
    besides = f" (and {plural(unread, 'image')} that could not be read)" if unread else ""
    for wanted in needs.required:
        if not any(member.platform.satisfies(wanted) for member in members):
            name = escape(str(target), 300)
            yield rules.found(
                "platform-required",
                f"{name}: there is no image for {wanted}, which is required; found: {there}{besides}",
                where=name,
                hint=f"Push the image for {wanted} and name it too.",
                image=name,
                platform=str(wanted),
                repository=target.store,
                found=there,
                expected=str(wanted),
            )


def _unexpected(members: Sequence[Member], needs: Requirements) -> Iterator[Finding]:
    allowed = ", ".join(str(wanted) for wanted in needs.required)
    for member in members if needs.exact else ():
        if not any(member.platform.satisfies(wanted) for wanted in needs.required):
            yield _about(
                "platform-unexpected",
                member,
                f"{member.name} is for {member.platform.shown}, but --exact allows only {allowed}",
                hint="Leave the image out, or require its platform too.",
                found=member.platform.shown,
                expected=allowed,
            )


def _hides_entries(gathered: Gathered) -> bool:
    """Tell whether something that could not be read may be a list, so that nobody knows what is in it."""
    return any(entry is None or entry.media_type not in media_types.MANIFESTS for entry in gathered.unread)


def _orphans(members: Sequence[Member], gathered: Gathered) -> Iterator[Finding]:
    if _hides_entries(gathered):
        return
    there = {str(member.manifest.digest) for member in members}
    there |= {str(entry.digest) for entry in gathered.unread if entry is not None}
    for attestation in gathered.attestations:
        if attestation.subject and attestation.subject not in there:
            given, subject = escape(attestation.request.given, 300), escape(attestation.subject, 100)
            yield rules.found(
                "attestation-orphan",
                f"{given}: attestation {attestation.entry.digest.short} is about {subject}, which is not in the list",
                where=given,
                hint="Give the list that holds its image, or pass --attestations drop.",
                image=f"{given} ({attestation.entry.digest})",
                platform=attestation.entry.platform.shown if attestation.entry.platform else "",
                repository=attestation.repository,
                found=subject,
                expected="the digest of an image in the list",
            )


def _unattested(members: Sequence[Member], gathered: Gathered) -> Iterator[Finding]:
    if _hides_entries(gathered):
        return
    attested = {attestation.entry.attests for attestation in gathered.attestations}
    attested |= {entry.attests for entry in gathered.unread if entry is not None}
    for member in members:
        if str(member.manifest.digest) not in attested:
            yield _about(
                "attestation-required",
                member,
                f"{member.name}: it has no attestation, and --attestations require was given",
                hint="Build it with 'docker buildx build --provenance=true --push' and give the list which that makes.",
                found="none",
                expected="an attestation of this image",
            )


def dropped_annotations(gathered: Gathered, carried: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the lists given as images that have annotations whose keys are not among those that the new list carries.

    What is said of a whole list need not be true of another, so it is not carried over; what is said of an entry is.
    """
    lists = {(request.given, index.digest): (request, index) for request, index in gathered.annotated}
    for request, index in lists.values():
        dropped = {key: value for key, value in index.annotations.items() if key not in carried}
        if not dropped:
            continue
        given, keys = escape(request.given, 300), ", ".join(escape(key, 120) for key in list(dropped)[:10])
        key, value = next(iter(dropped.items()))
        yield rules.found(
            "list-annotations-dropped",
            f"{given}: this list has annotations of its own, which the new list does not carry: {keys}",
            where=given,
            hint=f"Give those that the new list should carry: --annotation '{escape(key, 120)}={escape(value, 200)}'.",
            image=f"{given} ({index.digest})",
            repository=request.location.store,
            found=keys,
            expected="none, or --annotation for each",
        )


def _empty(target: Location) -> Finding:
    name = escape(str(target), 300)
    return rules.found(
        "list-empty",
        f"{name}: there is no image to put into the list",
        where=name,
        hint="Name at least one image.",
        image=name,
        repository=target.store,
        found="none",
        expected="at least one image",
    )


def _about(rule: str, member: Member, message: str, *, hint: str, found: str, expected: str) -> Finding:
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
