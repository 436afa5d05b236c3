"""Run a command and write its peak resident memory, in KiB, to a file: ``peak_rss.py FILE COMMAND…``.

A process of its own, and a small one, because Linux counts into a child's peak what its parent held when it started
it: this one has 10 MiB, the bench itself far more.
"""

from __future__ import annotations

import os
import resource
import sys

child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status = os.waitpid(child, 0)
with open(sys.argv[1], "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would make this process larger
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
