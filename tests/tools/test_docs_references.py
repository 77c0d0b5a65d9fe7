# SPDX-License-Identifier: MIT
"""What documents and sources refer to is there: tests by their names, pages, headings, files, rules of the check."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from cyncore._check.rule import RULES
from tests.support.docs import FENCE, PAGES, ROOT

TESTS = ROOT / "tests"
# What else names tests: comments of the sources, and what says which tests run.
SOURCES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("src/**/*.py", "src/**/*.pyx", "src/**/*.pxd", "csrc/*.[ch]", "*.py", "*.toml", "*.in", ".ci/run")
    for path in sorted(ROOT.glob(pattern))
]
# Tests that are not ours, which docs/programs.md names: of CPython, and of waitress.
ELSEWHERE = frozenset({"test_asyncore", "test_asynchat", "test_smtpd", "test_nlst", "test_quick_connect"})


def text_of(page: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))


@functools.cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def missing_tests(text: str) -> list[str]:
    """The tests that a text names and that are not there: files by their path, functions behind theirs or alone."""
    paths = set(re.findall(r"(?<![\w/])tests/[\w/]*\w(?:\.\w+)?", text)) - {"tests/c/build"}
    missing = [name for name in paths if not (ROOT / name).exists()]
    missing += re.findall(r"(?<![\w/])(?:\w+/)?test_\w+\.py", re.sub(r"tests/\w+/test_\w+\.py", "", text))
    named = re.findall(r"(tests/\w+/test_\w+\.py)::(test_\w+)", text)
    missing += [f"{name}::{test}" for name, test in named if name in paths and test not in functions_of(ROOT / name)]
    alone = set(re.findall(r"(?<![\w/:.-])test_\w+(?![\w/.]*\.py)\b", text)) - ELSEWHERE
    known = set().union(*map(functions_of, TESTS.rglob("test_*.py"))) if alone else set()
    return missing + sorted(alone - known)


def anchor_of(heading: str) -> str:
    """The name that a heading gets as the target of a link."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("\\_", "_").lower())
    return kept.replace(" ", "-")


def anchors_of(page: str) -> set[str]:
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_tests_that_are_named_are_there(page: str) -> None:
    assert missing_tests(text_of(page)) == []


def test_tests_that_sources_name_are_there() -> None:
    named = {name: missing_tests((ROOT / name).read_text(encoding="utf-8")) for name in SOURCES}
    assert {name: missing for name, missing in named.items() if missing} == {}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("tests/loop/test_run.py and tests/smtpd/ and `test_run_waits_for_timers`", []),
        ("tests/loop/test_run.py::test_run_waits_for_timers", []),
        ("tests/loop/test_gone.py", ["tests/loop/test_gone.py"]),
        ("test_run.py", ["test_run.py"]),
        ("loop/test_run.py", ["loop/test_run.py"]),
        ("tests/loop/test_run.py::test_gone", ["tests/loop/test_run.py::test_gone"]),
        ("the test `test_gone`", ["test_gone"]),
    ],
)
def test_missing_tests_are_found(text: str, missing: list[str]) -> None:
    assert missing_tests(text) == missing


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    folder = (ROOT / page).parent
    dead = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page)):
        name, _, anchor = target.partition("#")
        file = (folder / name).resolve() if name else ROOT / page
        if not file.exists() or (
            anchor and file.suffix == ".md" and anchor not in anchors_of(file.relative_to(ROOT).as_posix())
        ):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES)
def test_rules_that_are_named_are_there(page: str) -> None:
    assert set(re.findall(r"\bCYN\d{3}\b", text_of(page))) <= set(RULES)
