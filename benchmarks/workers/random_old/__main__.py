"""The worker: `python -m benchmarks.workers.random_old FAMILY SEED FIXED SECONDS CORE` measures one random old program.

FAMILY is asyncore, for the module that has this name, or cyncore, which is installed in its place. FIXED are traits as
JSON that are not drawn from SEED. A client, which is forked and runs on CORE (-1: on any), talks to the program for
SECONDS. How the program ended and the figures of both go to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import sys


def main(family: str, seed: int, fixed: str, seconds: float, core: int) -> None:
    if family == "cyncore":
        import cyncore

        cyncore.install()
    from benchmarks.workers.random_old.measurement import measure
    from benchmarks.workers.random_old.program import Program
    from benchmarks.workers.random_old.traits import draw

    print(json.dumps(measure(Program(draw(seed, json.loads(fixed))), seconds, core)), flush=True)
    os._exit(0)  # the threads of a program may still run


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))
