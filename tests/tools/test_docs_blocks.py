# SPDX-License-Identifier: MIT
"""Every fenced block of README.md and docs/ is run by a test, or it says here who runs it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyncore._check.rule import RULES
from tests.support.docs import PAGES, ROOT, Block, blocks

TESTS = ROOT / "tests"
RUNNERS = frozenset({"block", "run_block"})  # what the tests call, with words of the block that they run

# Commands that no test can run here, by their first words: the file that runs them, and the words that do it there.
ELSEWHERE = {
    "python -m pip install . && python": ("noxfile.py", 'readme_command("python -m pip install . &&")'),
    "python -m pip install -e '.[test]'": ("noxfile.py", "readme_command(\"python -m pip install -e '.[test]'\")"),
    "python -m pip install . -r benchmarks": ("noxfile.py", '"install", "-qq", "-r", "benchmarks/requirements.txt"'),
    "python -m benchmarks gate": ("noxfile.py", '"-m", "benchmarks", "gate"'),
    "python -m benchmarks old-gate": ("noxfile.py", '"-m", "benchmarks", "old-gate"'),
    "python -m benchmarks charts": ("tests/tools/test_benchmarks.py", '"-m", "benchmarks", "charts"'),
    "python -m cyncore top 1234": ("tests/stats/test_top.py", '"-m", "cyncore", "top", str(process.pid)'),
    "openssl req -x509": ("tests/tools/test_docs_tutorial.py", 'block(PAGE, "openssl req -x509")'),
    "bash .ci/programs/run": ("noxfile.py", '"bash", ".ci/programs/run"'),
}


def text_of(node: ast.expr, constants: dict[str, str]) -> str:
    """The text that an argument is, also where a constant of the file stands for it; else nothing."""
    if isinstance(node, ast.Name):
        return constants.get(node.id, "")
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def words_of(path: Path) -> Iterator[tuple[str, str]]:
    """The page and the words of every block that a file of tests runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in RUNNERS:
            continue
        texts = [text for one in node.args if (text := text_of(one, constants))]
        page = next((one for one in texts if one in PAGES), "docs/migration.md")
        yield from ((page, text) for text in texts if text not in PAGES)


@functools.cache
def run_by_tests() -> set[tuple[str, str]]:
    files = TESTS.glob("tools/test_docs_*.py")
    return {found for path in files for found in words_of(path)}


@functools.cache
def text_of_tests() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__))


def lines(block: Block) -> list[str]:
    """The commands of a block of sh, without what explains them."""
    return [line.partition("  #")[0].strip() for line in block.text.splitlines() if line.strip()]


ALL = [one for page in PAGES for one in blocks(page)]


@pytest.mark.parametrize("block", [one for one in ALL if one.language in ("python", "cython", "ini")], ids=str)
def test_python_is_run_by_a_test(block: Block) -> None:
    if block.page == "docs/check.md":  # check/test_rules.py has all examples, test_docs_check.py all cures
        assert block.section[:6] in RULES
        return
    assert [words for page, words in run_by_tests() if page == block.page and words in block.text] != []


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "sh"], ids=str)
def test_commands_are_run_by_a_test(block: Block) -> None:
    for first, (where, words) in ELSEWHERE.items():
        if block.text.startswith(first):
            assert words in (ROOT / where).read_text(encoding="utf-8")
            return
    assert [line for line in lines(block) if f'"{line}"' not in text_of_tests()] == []


def test_every_block_has_a_language_that_is_looked_at() -> None:
    assert [str(one) for one in ALL if one.language not in ("python", "cython", "ini", "sh")] == []


def test_nothing_is_listed_that_is_not_there() -> None:
    assert [first for first in ELSEWHERE if not any(one.text.startswith(first) for one in ALL)] == []
