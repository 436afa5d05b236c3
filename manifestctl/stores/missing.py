"""What writing does where the registry says that the repository does not exist: `MissingRepository`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from manifestctl.errors import NotFoundError
from manifestctl.events import Noted
from manifestctl.once import Once
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.runtime import Runtime

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0


class MissingRepository:
    """Makes a repository when the first write finds that it is missing, and gives it time to appear.

    ``make`` makes it, and is called once however many writes there are at a time; None if that is not wanted. ``lag``
    are the seconds in which one that was just made, by whomever, may still be said not to exist; 0 where there is none.
    """

    def __init__(self, name: str, make: Callable[[], None] | None, lag: float, runtime: Runtime) -> None:
        """Keep what to do; ``name`` is the repository's, for messages."""
        self._name = name
        self._make = make
        self._lag = lag
        self._runtime = runtime
        self._begun = Once()

    def writing(self, write: Callable[[], T]) -> T:
        """Write; where the repository is missing, make it if that is wanted, and write again."""
        deadline, pause = None, _FIRST_PAUSE
        while True:
            try:
                return write()
            except NotFoundError as error:
                if not error.repository_unknown or not self._may_come:
                    raise
                if deadline is None:
                    self._begun.get(None, self._begin)
                    deadline = self._runtime.monotonic() + self._lag
                    if self._make is not None:
                        # Most often it is there at once.
                        continue
                left = deadline - self._runtime.monotonic()
                if left <= 0:
                    raise
            self._runtime.sleep(min(pause, left))
            pause = min(_LONGEST_PAUSE, pause * 2)

    @property
    def _may_come(self) -> bool:
        return self._make is not None or self._lag > 0

    def _begin(self) -> None:
        """Make the repository, or say that it is waited for. Raises what making it raises."""
        if self._make is not None:
            self._make()
            return
        waiting = "one that was just made may take some seconds to appear, so it is asked again"
        self._runtime.observe(Noted(f"{escape(self._name, 300)} is said not to exist; {waiting}"))
