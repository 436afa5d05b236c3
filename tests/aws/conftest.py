"""What the tests of this room share: a run, as the room sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.aws_run import AwsRun, running_aws

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsRun]:
    """Return a run with a fake AWS, of whose first key it is the holder."""
    with running_aws(monkeypatch, tmp_path) as running:
        yield running
