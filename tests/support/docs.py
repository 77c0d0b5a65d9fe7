# SPDX-License-Identifier: MIT
"""The fenced blocks of the documents, for the tests that run them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cyncore import asynchat, asyncore, smtpd

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    line: int  # of the fence
    section: str  # the heading above it, without the number signs
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block of a page, named as from the repository's root."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        above = text[: match.start()]
        headings = re.findall(r"^#+ (.*)$", FENCE.sub("", above), flags=re.MULTILINE)
        yield Block(page, above.count("\n") + 1, headings[-1], match[1], match[2])


def block(page: str, words: str) -> str:
    """The text of the one block of a page that has those words."""
    (found,) = [one.text for one in blocks(page) if words in one.text]
    return found


def bind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old names stand for cyncore's modules until the test is over."""
    for name, module in (("asyncore", asyncore), ("asynchat", asynchat), ("smtpd", smtpd)):
        monkeypatch.setitem(sys.modules, name, module)


def names_of(text: str) -> dict[str, Any]:
    """Runs a block in this process, and returns what it defined."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(text, "example", "exec"), names)
    return names


def pair_of(code: str) -> tuple[str, str]:
    """The example of a rule on docs/check.md, and its cure."""
    trouble, cure = [one.text for one in blocks("docs/check.md") if one.section.startswith(code)]
    return trouble, cure
