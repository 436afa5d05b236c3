"""Whether the real programs are there, and what a test does if they are not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

PROGRAMS = ("docker-registry", "skopeo", "podman", "buildah", "dockerd")
# moto's server has an environment of its own, which `make test` makes: it brings click, with which httpx imports its own
# command line.
_MOTO = Path(__file__).resolve().parents[2] / ".moto" / "bin"
_NEED_ROOT = frozenset({"podman", "buildah", "dockerd"})


def find(tool: str) -> str | None:
    """Return the path of a program, or None if it is absent."""
    return shutil.which(tool) or shutil.which(tool, path=str(_MOTO))


def available(tool: str) -> str | None:
    """Return None if a program can be used here, else the reason why it cannot."""
    if find(tool) is None:
        return f"{tool} is not installed"
    if tool in _NEED_ROOT and (sys.platform == "win32" or os.geteuid() != 0):
        return f"{tool} is only used as root, with a storage of its own"
    return None


def require_real(*tools: str) -> None:
    """Skip the test, with the reason, if a program cannot be used; with ``MANIFESTCTL_E2E=required`` fail it."""
    for tool in tools:
        reason = available(tool)
        if reason is None:
            continue
        if os.environ.get("MANIFESTCTL_E2E") == "required":
            pytest.fail(f"{reason}, and MANIFESTCTL_E2E=required", pytrace=False)
        pytest.skip(reason)
