"""What would stop a push into an OCI layout, for `doctor`: the directory, and the space in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, ManifestctlError, UnreachableError
from manifestctl.files import reason
from manifestctl.stores.layout import LayoutStore
from manifestctl.text import escape, size
from manifestctl.verbs.doctor_checks import Check, all_skipped, failed, ok, skipped, warning

if TYPE_CHECKING:
    from manifestctl.model.location import LayoutLocation

_LITTLE = 1024**3
# Where a push writes, if it is there already.
_WRITTEN = ("", "blobs", "blobs/sha256")


def layout(location: LayoutLocation) -> list[Check]:
    """Judge a directory without writing into it: what is there, whether it can be written, and the space that is left.

    Where there is none yet, the one in which it would be made is judged.
    """
    root, shown = Path(location.path), escape(location.path, 300)
    try:
        is_layout = LayoutStore(location).check_place()
    except ManifestctlError as error:
        return _nowhere(error)
    there = _nearest(root)
    if not there.is_dir():
        message = f"{shown}: there cannot be a directory: {escape(str(there), 300)} is not one"
        return _nowhere(DeniedError(message, hint="Name another directory."))
    if is_layout:
        seen = f"{shown} is an OCI layout"
    elif root.exists():
        seen = f"{shown} is empty, and becomes an OCI layout"
    else:
        seen = f"{shown} does not exist, and is made in {escape(str(there.absolute()), 300)}"
    checks = [ok("layout", seen), _writable(root if root.exists() else there, location)]
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return [*checks, skipped("space", f"the system does not tell: {reason(error)}")]
    return [*checks, space(free)]


def space(free: int) -> Check:
    """Judge how many bytes are left."""
    if free == 0:
        error = UnreachableError("there is none left", hint="Free some, or name a directory on another file system.")
        return failed("space", error)
    seen = f"{size(free)} are left"
    return ok("space", seen) if free >= _LITTLE else warning("space", seen, "A large image may not fit.")


def _nowhere(error: ManifestctlError) -> list[Check]:
    return [failed("layout", error), *all_skipped(("writable", "space"), "needs a directory for a layout")]


def _nearest(path: Path) -> Path:
    """Return the directory itself, or the nearest one above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _writable(place: Path, location: LayoutLocation) -> Check:
    written = [place / name for name in _WRITTEN] if place == Path(location.path) else [place]
    effective = os.access in os.supports_effective_ids
    refused = [
        path for path in written if path.exists() and not os.access(path, os.W_OK | os.X_OK, effective_ids=effective)
    ]
    if not refused:
        return ok("writable", "it can be written" if len(written) > 1 else "it can be made")
    named = ", ".join(escape(str(path), 300) for path in refused)
    hint = "Check who may use the directory, and whether its file system is read-only."
    return failed("writable", DeniedError(f"{named} cannot be written", hint=hint))
