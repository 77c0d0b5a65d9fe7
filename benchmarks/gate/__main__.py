"""`python -m benchmarks.gate`, the same as `python -m benchmarks gate`."""

from __future__ import annotations

import sys

from benchmarks.gate.command import main

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
