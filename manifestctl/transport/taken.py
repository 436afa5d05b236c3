"""What one registry took in this run, and what it refused without a word: `Taken`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manifestctl.transport.credentials import Credential
    from manifestctl.transport.message import Authorization, Request


class Taken:
    """Remembers which requests succeeded with what; its caller sees to threads."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._repositories: set[tuple[str, Authorization]] = set()
        self._kinds: set[tuple[str, Authorization]] = set()
        self._credentials: set[Credential] = set()
        self._silenced: set[tuple[str, Authorization]] = set()

    def knows(self, request: Request, used: Authorization) -> bool:
        """Tell whether there is nothing to learn from another success of the kind."""
        return self.such(request, used) and (request.repository, used) not in self._silenced

    def add(self, request: Request, used: Authorization) -> bool:
        """Record a success; returns whether a layer was refused without a word before, with the same."""
        place = (request.repository, used)
        self._repositories.add(place)
        self._kinds.add((kind(request), used))
        if used.credential is not None:
            self._credentials.add(used.credential)
        silenced = place in self._silenced
        self._silenced.discard(place)
        return silenced

    def refused_silently(self, request: Request, used: Authorization) -> None:
        """Record a refusal that gives no reason; only where a layer was looked for does it matter."""
        if request.method == "HEAD" and _of_blob(request) and used.credential is not None:
            self._silenced.add((request.repository, used))

    def such(self, request: Request, used: Authorization) -> bool:
        """Tell whether requests of this kind, which take the same permission, were taken."""
        return (kind(request), used) in self._kinds

    def anything(self, repository: str, used: Authorization) -> bool:
        """Tell whether any request of a repository was taken."""
        return (repository, used) in self._repositories

    def worked(self, credential: Credential) -> bool:
        """Tell whether a credential was good for anything."""
        return credential in self._credentials


def _of_blob(request: Request) -> bool:
    return "/blobs/" in request.path


def kind(request: Request) -> str:
    """Return what stands for all requests of a repository that take the same permission."""
    return f"{request.method} {request.repository} {'blobs' if _of_blob(request) else ''}"
