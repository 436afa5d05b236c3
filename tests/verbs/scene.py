"""A repository, a world, and the verbs run upon them in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.platforms import Platform
from manifestctl.model.published import Published
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.check import CheckRequest, check, image_requests
from manifestctl.verbs.checks import Requirements
from manifestctl.verbs.compose import Wording
from manifestctl.verbs.create import CreateRequest, create
from manifestctl.verbs.publish import Guard
from manifestctl.verbs.rules import Policy
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from manifestctl.model.finding import Finding
    from manifestctl.verbs.check import Checked
    from manifestctl.verbs.create import Created
    from tests.support.fake_registry import FakeRegistry

REPOSITORY = "team/web"


def platforms(text: str) -> tuple[Platform, ...]:
    """Parse platforms with commas between them."""
    return tuple(Platform.parse(part) for part in text.split(",") if part)


class Scene:
    """A target in a store, and what a user says about it.

    ``base`` is what a target begins with: ``127.0.0.1:PORT/team/web`` or ``oci:DIR``. Each run has a `World` of its own,
    the last of which is ``world``.
    """

    def __init__(self, base: str, environ: Mapping[str, str] | None = None) -> None:
        """Keep the base; nothing is opened."""
        self.base = base
        self.environ = dict(environ or {})
        self.world = World(self.environ)
        self.settings = TransportSettings()

    @classmethod
    def of(
        cls, registry: FakeRegistry, environ: Mapping[str, str] | None = None, repository: str = REPOSITORY
    ) -> Scene:
        """Return a scene in a fake registry."""
        return cls(registry.reference(repository), environ)

    @classmethod
    def in_layout(cls, directory: Path) -> Scene:
        """Return a scene in an OCI layout."""
        return cls(f"oci:{directory}")

    def check_request(
        self,
        images: Sequence[str],
        *,
        tag: str = "1.4",
        declared: Mapping[str, str] | None = None,
        require: str = "",
        exact: bool = False,
        attestations: str = "keep",
        same: Sequence[str] = (),
        format: str = "auto",  # noqa: A002 - as the option is called
        annotations: Mapping[str, str] | None = None,
        entry_annotations: Sequence[tuple[str, str, str]] = (),
        only: str = "",
        depth: str = "manifests",
        allow: Iterable[str] = (),
        deny: Iterable[str] = (),
        concurrency: int = 16,
    ) -> CheckRequest:
        """Return the request that these words of a user make; ``only`` is ``--platform``."""
        target = parse_location(f"{self.base}:{tag}")
        said = {image: Platform.parse(text) for image, text in (declared or {}).items()}
        needs: Any = {"attestations": attestations, "same": tuple(same)}
        wording: Any = {
            "format": format,
            "annotations": dict(annotations or {}),
            "entry_annotations": tuple((Platform.parse(name), key, value) for name, key, value in entry_annotations),
        }
        how: Any = {"depth": depth}
        return CheckRequest(
            target,
            image_requests(target, images, said),
            Requirements(platforms(require), exact, **needs),
            Wording(**wording),
            platforms(only),
            policy=Policy(frozenset(allow), frozenset(deny)),
            concurrency=concurrency,
            **how,
        )

    def check(self, *images: str, **options: Any) -> Checked:
        """Run `check`."""
        self.world = World(self.environ)
        with Stores.of_system(self.world.runtime, self.settings) as stores:
            return check(self.check_request(images, **options), stores, self.world.runtime)

    def create(
        self,
        *images: str,
        tags: Sequence[str] = (),
        no_overwrite: bool = False,
        expect: str | None = None,
        dry_run: bool = False,
        copy: bool = False,
        tag_children: str | None = None,
        world: World | None = None,
        **options: Any,
    ) -> Created:
        """Run `create`."""
        self.world = world or World(self.environ)
        guard = Guard(no_overwrite, Digest.parse(expect) if expect else None)
        request = CreateRequest(self.check_request(images, **options), tuple(tags), guard, dry_run, copy, tag_children)
        with Stores.of_system(self.world.runtime, self.settings) as stores:
            return create(request, stores, self.world.runtime)


def rules_of(result: Checked | Created, severity: str = "") -> list[str]:
    """Return the rules that were broken, sorted; only errors or only warnings, if so wished."""
    return sorted(finding.rule for finding in result.findings if severity in ("", finding.severity))


def the_finding(result: Checked | Created, rule: str) -> Finding:
    """Return the one finding of a rule."""
    [finding] = [finding for finding in result.findings if finding.rule == rule]
    return finding


def published(created: Created) -> str:
    """Return the digest of a list that was published, which must be so."""
    assert created.error is None, created.error
    assert [finding for finding in created.findings if finding.is_error] == []
    assert (created.ok, created.published, created.exit_code) == (True, Published.YES, 0)
    assert created.composed is not None
    return str(created.composed.content.digest)
