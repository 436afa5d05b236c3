"""Writing a manifest whose answer may get lost: what is there is looked at before it is written again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, InterruptedRun, ManifestctlError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable


class ManifestWrite:
    """One write, of which there may be several tries.

    ``put`` sends it once, and ``holds`` tells whether the registry has just this content in that place.
    """

    def __init__(self, put: Callable[[], object], holds: Callable[[], bool]) -> None:
        """Begin with no try."""
        self._put = put
        self._holds = holds
        self._tries = 0
        self._outcome_unknown = False

    def run(self, retrying: Callable[[Callable[[], None]], None]) -> None:
        """Write; ``retrying`` makes the try that it is given until it succeeds, or raises the last error.

        That error is raised unless the content is there all the same; if any try may have written although its answer
        never came, or said otherwise, its ``outcome_unknown`` is true.
        """
        try:
            retrying(self._try)
        except ManifestctlError as error:
            error.outcome_unknown |= self._outcome_unknown
            # What may not be written now may be what an earlier try wrote, whose answer was lost.
            if self._tries > 1 and not isinstance(error, UnreachableError | InterruptedRun):
                with contextlib.suppress(DeniedError, UnreachableError):
                    if self._holds():
                        return
            raise

    def _try(self) -> None:
        if self._tries and self._holds():
            return
        self._tries += 1
        try:
            self._put()
        except UnreachableError as error:
            self._outcome_unknown |= error.outcome_unknown
            raise
