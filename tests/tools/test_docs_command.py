# SPDX-License-Identifier: MIT
"""docs/command.md and the manual page docs/cyncore.1 name what the command takes, and nothing that it does not."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess

import pytest

from cyncore import _check
from cyncore.__main__ import USAGE, main
from tests.support.docs import ROOT
from tests.support.examples import tool_environment

MANUAL = (ROOT / "docs/cyncore.1").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/command.md").read_text(encoding="utf-8")


def options_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z]+", text))


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with contextlib.suppress(SystemExit):
        main([command, "--help"])
    return capsys.readouterr().out


def test_manual_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    taken = options_of(USAGE) | {"--help"}
    taken |= options_of(help_of("check", capsys)) | options_of(help_of("top", capsys))
    assert options_of(MANUAL.replace("\\-", "-").replace("Fl -", "Fl --")) - {"--port", "--listen"} == taken


def test_page_has_every_option_of_the_command_itself() -> None:
    assert options_of(PAGE) - {"--its"} == options_of(USAGE) | {"--help"}


def test_manual_and_page_name_the_same_variables() -> None:
    variables = set(re.findall(r"\bCYNCORE_\w+", MANUAL))
    assert variables == set(re.findall(r"\bCYNCORE_\w+", PAGE)) == {"CYNCORE_BACKEND", "CYNCORE_DEBUG"}


def test_exit_status_of_a_check_is_as_the_manual_has_it() -> None:
    assert _check.main.__doc__ is not None
    assert "1 where there is" in _check.main.__doc__
    assert "ends with 1 where it has findings" in MANUAL


def test_manual_is_well_formed() -> None:
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(
        [mandoc, "-T", "lint", "-W", "warning", ROOT / "docs/cyncore.1"],
        env=tool_environment(),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_manual_is_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[tool.setuptools.data-files]\n"share/man/man1" = ["docs/cyncore.1"]\n' in text
