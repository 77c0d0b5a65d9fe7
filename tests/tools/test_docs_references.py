# SPDX-License-Identifier: MIT
"""What README.md and docs/ refer to is there: tests by their names, pages, headings, files, rules of the check."""

from __future__ import annotations

import ast
import re

import pytest

from cyncore._check.rule import RULES
from tests.support.docs import FENCE, PAGES, ROOT

TESTS = ROOT / "tests"


def text_of(page: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))


def functions_of(name: str) -> set[str]:
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def anchor_of(heading: str) -> str:
    """The name that a heading gets as the target of a link."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("\\_", "_").lower())
    return kept.replace(" ", "-")


def anchors_of(page: str) -> set[str]:
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_are_named_are_there(page: str) -> None:
    files = set(re.findall(r"\btests/(\w+/test_\w+\.py)\b", text_of(page)))
    assert {name for name in files if not (TESTS / name).exists()} == set()
    named = re.findall(r"\btests/(\w+/test_\w+\.py)::(test_\w+)", text_of(page))
    known = {name: functions_of(name) for name, _ in named}
    assert [f"{name}::{function}" for name, function in named if function not in known[name]] == []


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
