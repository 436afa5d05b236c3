"""``python -m manifestctl``."""

from __future__ import annotations

from manifestctl.cli.main import main

if __name__ == "__main__":
    main()
