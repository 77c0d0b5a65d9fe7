# SPDX-License-Identifier: MIT
"""The sessions of noxfile.py: CI runs all of them, and whoever names one names one that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHERE = ["noxfile.py", "CONTRIBUTING.md", ".github/workflows/ci.yml", ".ci/run"]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sessions() -> set[str]:
    functions = [node for node in ast.parse(text_of("noxfile.py")).body if isinstance(node, ast.FunctionDef)]
    return {one.name for one in functions if any("nox.session" in ast.unparse(what) for what in one.decorator_list)}


def test_ci_runs_every_session() -> None:
    text = re.sub(r'"([a-z]+)\([a-z]+\)"', r"\1", text_of(".ci/run"))  # of a session with backends, its name
    listed = re.findall(r"sessions\+?=\(([^)]*)\)", text)
    assert set(re.findall(r"[a-z]{2,}|\bc\b", " ".join(listed))) - {"version"} == sessions()


@pytest.mark.parametrize("page", WHERE)
def test_sessions_that_are_named_are_there(page: str) -> None:
    named = re.findall(r"\bnox -s \"?([a-z]+)", text_of(page))
    assert set(named) - sessions() == set()


def test_workflow_runs_sessions_that_are_there() -> None:
    (listed,) = re.findall(r"^ +session: \[(.*)\]$", text_of(".github/workflows/ci.yml"), re.MULTILINE)
    assert {name.partition("-")[0] for name in listed.split(", ")} - sessions() == set()


def test_commit_hooks_are_the_linters_of_the_dev_extra() -> None:
    hooks = re.findall(r"repo: \S+/([\w-]+)\n +rev: v?(\S+)", text_of(".pre-commit-config.yaml"))
    pins = dict(re.findall(r'"([\w-]+)==([^"]+)"', text_of("pyproject.toml")))
    assert len(hooks) == text_of(".pre-commit-config.yaml").count("repo:")
    assert {(name, pins.get(re.sub("^mirrors-|-pre-commit$", "", name))) for name, _ in hooks} == set(hooks)
