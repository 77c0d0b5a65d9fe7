# SPDX-License-Identifier: MIT
"""examples/inotify.py and examples/run_commands.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, PATIENCE

# inotify.py


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_changes_below_the_folders_are_told_until_it_is_terminated(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    words = [sys.executable, str(EXAMPLES / "inotify.py"), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.readline
        assert told() == "ready\n"
        (tmp_path / "below" / "one").touch()
        assert told() == f"made {tmp_path}/below/one\n"
        (tmp_path / "new").mkdir()
        while told() != f"made {tmp_path}/new\n":  # touch() has also set the times
            pass
        shutil.move(tmp_path / "below" / "one", tmp_path / "two")
        assert told() == f"moved away {tmp_path}/below/one\n"
        assert told() == f"moved here {tmp_path}/two\n"
        (tmp_path / "two").unlink()
        while told() != f"removed {tmp_path}/two\n":
            pass
        (tmp_path / "new" / "three").write_text("x")  # the folder is watched: its event has come before
        assert told() == f"made {tmp_path}/new/three\n"
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    words = [sys.executable, str(EXAMPLES / "inotify.py"), str(tmp_path / "none")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


# run_commands.py


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "run_commands.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.skipif(os.name != "posix", reason="no pipes that a loop can wait for")
def test_commands_run_with_their_output_and_their_status() -> None:
    done = run("--at-once", "1", "echo one; printf last", "echo wrong >&2; exit 3")
    lines = ["1: one", "1: last", "1 ended with 0", "2 (error): wrong", "2 ended with 3"]
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (lines, "", 1)


@pytest.mark.skipif(os.name != "posix", reason="no pipes that a loop can wait for")
def test_command_that_takes_too_long_is_ended() -> None:
    done = run("--deadline", "0.2", "exec sleep 1000", "echo quick")
    assert sorted(done.stdout.splitlines()) == ["1 was ended by signal 15", "2 ended with 0", "2: quick"]


@pytest.mark.skipif(os.name != "posix", reason="no pipes that a loop can wait for")
def test_signal_ends_all_commands() -> None:
    words = [sys.executable, str(EXAMPLES / "run_commands.py"), "--at-once", "1"]
    with subprocess.Popen(
        [*words, "echo begun; exec sleep 1000", "echo never"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1: begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "1 was ended by signal 15\n"
        assert process.wait(PATIENCE) == 1
