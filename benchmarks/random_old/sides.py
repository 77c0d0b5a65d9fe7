"""The sides: the loops on which every program runs, and their versions.

`python -m benchmarks.random_old.sides` prints them as JSON. It is run like the programs are, because another Python may
have another cyncore.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys

from benchmarks.gate.exit_codes import Unable
from benchmarks.run.folders import ROOT
from benchmarks.run.peers import ECHO, OLD, OURS, Peer

PEERS = [
    *(peer for peer in ECHO if peer.name in (OURS, OLD)),
    Peer("asynchat", "asynchat", "pyasynchat"),
]
PATIENCE = 60.0  # seconds


def find(python: str) -> str:
    """What this Python has, in words. Raises Unable where something is missing."""
    command = [python, "-m", "benchmarks.random_old.sides"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unable(f"{python}: {error}") from None
    if done.returncode:
        raise Unable(f"{python}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return str(json.loads(done.stdout))


def main() -> None:
    if reasons := [reason for peer in PEERS if (reason := peer.missing())]:
        sys.exit("; ".join(reasons))
    versions = ", ".join(f"{peer.name}: {peer.version()}" for peer in PEERS)
    print(json.dumps(f"{versions}, on {platform.python_implementation()} {platform.python_version()}"))


if __name__ == "__main__":
    main()
