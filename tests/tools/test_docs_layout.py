# SPDX-License-Identifier: MIT
"""The pages of Markdown: their lines fit a screen, and the index of docs/ leads to each of them."""

from __future__ import annotations

import re

import pytest

from tests.support.docs import FENCE, PAGES, ROOT

WIDTH = 100
OTHERS = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md", "src/cyncore-shim/README.md"]


def prose_of(page: str) -> list[str]:
    """The lines of a page without tables, blocks of code, pictures and what has no space to break at."""
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if not line.startswith(("|", "![", "    "))]
    return [line for line in lines if " " in re.sub(r"^\s*([-*] |\d+\. )?", "", line)]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS])
def test_lines_are_no_wider_than_a_screen(page: str) -> None:
    assert [line for line in prose_of(page) if len(line) > WIDTH] == []


def test_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages
