# SPDX-License-Identifier: MIT
"""What is reported reaches the program's logging, or stderr where it has none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from cyncore._report import ERROR, WARNING, report
from tests.support.coverage import not_measured
from tests.support.script import ENGINE_FOLDER


def stderr_of(source: str) -> str:
    """What a Python without logging prints when it runs ``source``."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    done = subprocess.run(
        [sys.executable, "-c", f"from cyncore._report import *\nimport sys\n{source}"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_levels_are_those_of_logging() -> None:
    assert (WARNING, ERROR) == (logging.WARNING, logging.ERROR)


def test_a_program_with_logging_gets_a_record(caplog: pytest.LogCaptureFixture) -> None:
    report(WARNING, "%s of %d", "one", 2)
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("cyncore", logging.WARNING, "one of 2")
    assert record.exc_info is None


def test_the_error_comes_with_the_record(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("why")
    report(ERROR, "failed", error=error)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


WITHOUT = "sys.modules.pop('logging', None)\n"  # the compiled engine does not load it; the other one does


def test_a_program_without_logging_gets_a_line_on_stderr() -> None:
    assert (
        stderr_of(f"{WITHOUT}report(WARNING, '%s of %d', 'one', 2)\nassert 'logging' not in sys.modules")
        == "one of 2\n"
    )


def test_a_program_without_logging_gets_the_traceback() -> None:
    script = f"{WITHOUT}try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    report(ERROR, 'failed', error=error)"
    lines = stderr_of(script).splitlines()
    assert lines[:2] == ["failed", "Traceback (most recent call last):"]
    assert lines[-1] == "ZeroDivisionError: division by zero"


@not_measured("its file of data needs a descriptor")
def test_a_line_is_told_where_no_descriptor_is_left() -> None:
    script = f"""{WITHOUT}
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
report(WARNING, 'cannot accept')
"""
    assert stderr_of(script) == "cannot accept\n"


def test_a_closed_stderr_is_nobodys_trouble() -> None:
    script = f"""{WITHOUT}
import os
os.close(2)
report(WARNING, 'to a closed descriptor')
try:
    sys.stderr.close()
except OSError:  # a buffered one tells here what it could not write
    pass
report(WARNING, 'to a closed file')
sys.stderr = None
report(WARNING, 'to nothing')
"""
    assert stderr_of(script) == ""
