"""Docker's credential helpers as real programs: shell scripts in a directory that stands first on PATH.

::

    helpers = HelperPrograms(tmp_path)
    helpers.keeping("pass")
    run("login", …, environ=helpers.environ)
    assert helpers.kept() == {"registry.example": {"ServerURL": …, "Username": …, "Secret": …}}
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# One file for each server, whose name has "_" for what no file's name can have.
_KEEPING = """
given=$(cat)
case $1 in store) server=$(printf %s "$given" | sed 's/.*"ServerURL": "\\([^"]*\\)".*/\\1/') ;; *) server=$given ;; esac
echo "$1 $server" >> {root}/calls
file={root}/kept/$(printf %s "$server" | tr '/:' '__')
case $1 in
store) printf %s "$given" > "$file" ;;
get) [ -f "$file" ] && cat "$file" || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;
erase) [ -f "$file" ] && rm "$file" || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;
esac
"""
# As AWS's own helper does it.
_MAKING = """
echo "$1 $(cat)" >> {root}/calls
case $1 in get) printf '{{"Username":"AWS","Secret":"its-own"}}' ;; *) echo 'not implemented'; exit 1 ;; esac
"""


class HelperPrograms:
    """The programs in ``directory/bin``, and what they keep."""

    def __init__(self, directory: Path) -> None:
        """Make the directories; no program is there yet."""
        self.root = directory / "helpers"
        self.bin = self.root / "bin"
        for made in (self.bin, self.root / "kept"):
            made.mkdir(parents=True)

    @property
    def environ(self) -> dict[str, str]:
        """The variable by which they are found."""
        return {"PATH": f"{self.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}

    def put(self, name: str, script: str) -> None:
        """Make a program of a shell script."""
        path = self.bin / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def keeping(self, name: str) -> None:
        """Make a program that keeps credentials."""
        self.put(name, _KEEPING.format(root=self.root))

    def making(self, name: str) -> None:
        """Make a program that makes credentials itself, and takes none."""
        self.put(name, _MAKING.format(root=self.root))

    def kept(self) -> dict[str, Any]:
        """Return what was stored and not erased, by server."""
        documents = [json.loads(path.read_text()) for path in (self.root / "kept").iterdir()]
        return {document["ServerURL"]: document for document in documents}

    @property
    def calls(self) -> list[str]:
        """Verb and server of each call, in order."""
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []
