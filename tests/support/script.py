# SPDX-License-Identifier: MIT
"""Scripts that run in a process of their own, with the engine that is under test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import cyncore

ENGINE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(cyncore.__file__)))


def run_script(source: str, *options: str) -> str:
    """Runs ``source`` with the engine in use, warnings being errors, and returns what it printed.

    Fails where it fails, prints to stderr, or does not end.
    """
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", source],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def send_signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends it when the main thread of the process is asleep, on Linux.

    Python drops a KeyboardInterrupt that arrives while it frees an object, as a server does when it has answered.
    """
    before = None
    while before != (before := _sleeps(process.pid)) or before is None:
        time.sleep(0.01)
    process.send_signal(number)


def _sleeps(pid: int) -> str | None:
    """How often the process has gone to sleep, or None: it is awake."""
    try:
        with open(f"/proc/{pid}/task/{pid}/status") as file:
            status = file.read()
    except FileNotFoundError:  # not Linux
        return ""
    if "\nState:\tS" not in status:
        return None
    return status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]
