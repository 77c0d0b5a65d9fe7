# SPDX-License-Identifier: MIT
"""Ctrl-C in a program that `python -m cyncore` runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import atexit, signal
import cyncore

class Quiet(cyncore.dispatcher):
    def readable(self):
        return False

atexit.register(print, "ended", flush=True)
loop = cyncore.Loop()
listener = Quiet(map=loop.map)
listener.create_socket()
loop.call_soon(lambda: print("runs", flush=True))
BUSY
loop.run(forever=True)
"""
BUSY = """
def again():
    loop.call_soon(again)
again()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signals here")
@pytest.mark.parametrize("busy", ["", BUSY], ids=["idle", "busy"])
def test_interrupt_ends_a_program_with_one_line_and_by_its_signal(tmp_path: Path, busy: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace("BUSY", busy))
    quiet = ["-W", "ignore::ResourceWarning"]  # a debug build tells of them where none is asked for
    command = [sys.executable, *quiet, "-m", "cyncore", "program.py"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out, err) == ("ended\n", "cyncore: interrupted\n")
    assert process.returncode == -signal.SIGINT


def test_other_exceptions_keep_their_traceback(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("raise LookupError('of the program')")
    command = [sys.executable, "-m", "cyncore", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "of the program" in done.stderr
