"""`python -m compact_labse` is the same program as `compact-labse`."""

from __future__ import annotations

import sys

from compact_labse.cli import main

if __name__ == "__main__":
    sys.exit(main())
