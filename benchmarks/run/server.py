"""The server: a peer's program in a process of its own."""

from __future__ import annotations

import contextlib
import select
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.run.errors import MeasurementError
from benchmarks.run.folders import ROOT
from benchmarks.run.peers import Peer
from benchmarks.run.placement import SERVER, Placement

STARTUP = 20.0  # seconds within which a server must have printed its port


@contextlib.contextmanager
def server(peer: Peer, placement: Placement) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """Runs the peer's server. Yields its process, its port, and the file with what it wrote to stderr.

    Raises MeasurementError where the server does not start.
    """
    command = [*placement.prefix(SERVER), *peer.command()]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "stderr")
        with log.open("w") as stderr:
            process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=stderr)
        try:
            yield process, read_port(process, log), log
        finally:
            stop(process)


def read_port(process: subprocess.Popen[str], log: Path) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], STARTUP)
    words = process.stdout.readline().split() if ready else []  # announce() of servers/ prints them
    if len(words) == 2 and words[0] == "listening":
        return int(words[1])
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)  # so that the last lines of its stderr are there
    raise MeasurementError(f"the server did not start: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last line of a server's stderr that is not blank."""
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
