"""Judging what the images of a list say of their build: labels, or annotations of their manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.text import escape
from manifestctl.verbs import rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.model.finding import Finding
    from manifestctl.verbs.gather import Member

REVISION = "org.opencontainers.image.revision"


def judge_labels(members: Sequence[Member], same: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with the labels: those in ``same`` must be equal, and revisions had better be."""
    for label in dict.fromkeys((*same, REVISION)):
        asked = label in same
        values = [(member.name, _label(member, label)) for member in members]
        said = dict.fromkeys(value for _, value in values if value or asked)
        if len(said) > 1:
            listed = ", ".join(f"{name}: {escape(value, 100) or 'none'}" for name, value in values[:10])
            yield _about_label(
                "label-differs" if asked else "revision-differs",
                label,
                members,
                f"the images differ in {escape(label, 120)} ({listed})",
                hint="They come from different builds; build all of them from one commit."
                if asked
                else f"If they should come from one build, pass --same {escape(label, 120)} to make this an error.",
                found=", ".join(escape(value, 100) or "none" for value in list(said)[:10]),
                expected="the same in all images",
            )
        elif asked and list(said) == [""]:
            yield _about_label(
                "label-differs",
                label,
                members,
                f"no image has the label {escape(label, 120)}, so nothing says that they belong together",
                hint="Set the label when the images are built, or leave out --same.",
                found="none",
                expected=escape(label, 120),
            )


def _label(member: Member, name: str) -> str:
    return member.config.labels.get(name) or member.manifest.annotations.get(name) or ""


def _about_label(
    rule: str, label: str, members: Sequence[Member], message: str, *, hint: str, found: str, expected: str
) -> Finding:
    return rules.found(
        rule,
        message,
        where=escape(label, 120),
        hint=hint,
        image=", ".join(member.name for member in members[:10]),
        platform=", ".join(member.platform.shown for member in members[:10]),
        repository=members[0].repository,
        found=found,
        expected=expected,
    )
