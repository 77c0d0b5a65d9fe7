# SPDX-License-Identifier: MIT
"""What docs/loop.md shows is what happens: the first programs, and the handlers of signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from tests.support.docs import block
from tests.support.examples import PATIENCE
from tests.support.script import run_script

PAGE = "docs/loop.md"


def test_first_program_serves_and_ends() -> None:
    assert run_script(block(PAGE, "class Printer")) == "hello\n"


def test_timer_that_sets_the_next_one_counts_and_one_that_is_cancelled_does_not() -> None:
    assert run_script(block(PAGE, "def count")) == "3\n2\n1\n"


# Signals


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals here")
def test_signals_stop_the_loop_and_queue_calls() -> None:
    script = block(PAGE, "signal.SIGTERM").replace("loop.run(", "print('runs', flush=True)\nloop.run(")
    words = [sys.executable, "-u", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        limit = threading.Timer(PATIENCE, process.kill)
        limit.start()
        assert process.stdout.readline() == "runs\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "read the settings again\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\n"
        assert process.wait() == 0
        limit.cancel()
        limit.join()
