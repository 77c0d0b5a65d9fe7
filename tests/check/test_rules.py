# SPDX-License-Identifier: MIT
"""Every rule of ``python -m cyncore check`` finds its example in docs/check.md, and not the cure beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cyncore._check import check
from cyncore._check.rule import NOTE, RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "check.md"


def examples() -> dict[str, list[str]]:
    """The blocks of Python under each code of the page."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        found[section[:6]] = re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    return found


def codes(folder: Path, source: str) -> set[str]:
    (folder / "program.py").write_text(source, encoding="utf-8")
    return {one.code for one in check([str(folder)]).findings}


def test_every_rule_about_programs_is_on_the_page() -> None:
    assert sorted(examples()) == [code for code in RULES if not code.startswith("CYN0")]


def test_every_rule_about_files_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"**{code}**" in text for code in RULES if code.startswith("CYN0"))


@pytest.mark.parametrize("code", sorted(examples()))
def test_titles_on_the_page_are_those_of_the_rules(code: str) -> None:
    line = f"### {code}: {RULES[code].title}".replace("__init__", r"\_\_init\_\_")
    assert line in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("code", sorted(examples()))
def test_example_is_found(code: str, tmp_path: Path) -> None:
    assert code in codes(tmp_path, examples()[code][0])


@pytest.mark.parametrize("code", sorted(examples()))
def test_example_of_the_cure_has_no_finding(code: str, tmp_path: Path) -> None:
    left = {one for one in codes(tmp_path, examples()[code][1]) if RULES[one].severity != NOTE or one == code}
    assert left == set()
