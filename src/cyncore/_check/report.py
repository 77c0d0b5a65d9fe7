# SPDX-License-Identifier: MIT
"""The findings of a run, as text for people and as JSON for programs."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter

from .module import Module
from .rule import RULES, SEVERITIES, Finding

SCHEMA = 1  # the version of the JSON; it rises when a key changes its meaning or is removed

_LINE_END = re.compile("\r\n|\r|\n")  # as Python counts lines; str.splitlines() would count form feeds too
_IGNORE = re.compile(r"#\s*cyncore:\s*ignore(?:\[([A-Z0-9,\s]*)\])?", re.IGNORECASE)


class Report:
    """Collects findings, one of a rule at a place. A comment in the line of a finding silences it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.files = 0
        self._places: set[tuple[str, int, str]] = set()
        self._lines: dict[Module, list[str]] = {}

    def add(self, module: Module, node: ast.AST, code: str, message: str, remedy: str = "") -> None:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
        place = module.path, line, code
        if place in self._places or code in self._silenced(module, line):
            return
        self._places.add(place)
        self.findings.append(Finding(module.path, line, column, code, message, remedy or RULES[code].remedy))

    def _silenced(self, module: Module, line: int) -> frozenset[str]:
        if module not in self._lines:
            self._lines[module] = _LINE_END.split(module.text.decode("utf-8", "replace"))
        lines = self._lines[module]
        found = _IGNORE.search(lines[line - 1]) if 0 < line <= len(lines) else None
        if found is None:
            return frozenset()
        if found[1] is None:
            return frozenset(RULES)
        return frozenset(word.strip().upper() for word in found[1].split(","))


def as_text(findings: list[Finding]) -> str:
    """One line a finding: ``file:line: CODE message; remedy``."""
    return "".join(f"{one.path}:{one.line}: {one.code} {one.message}; {one.remedy}\n" for one in findings)


def summary(findings: list[Finding], files: int, hidden: int) -> str:
    """The last line of a run, for people: counts of findings and files."""
    counts = Counter(one.rule.severity for one in findings)
    kinds = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
    found = f"{_many(len(findings), 'finding')} ({kinds})" if findings else "no findings"
    more = f"; {_many(hidden, 'note')} not shown, --all shows them" if hidden else ""
    return f"{found} in {_many(files, 'file')}{more}"


def as_json(findings: list[Finding], files: int, hidden: int) -> str:
    counts = Counter(one.rule.severity for one in findings)
    return json.dumps(
        {
            "schema": SCHEMA,
            "files": files,
            "hidden_notes": hidden,
            "counts": {severity: counts[severity] for severity in SEVERITIES},
            "findings": [
                {
                    "code": one.code,
                    "severity": one.rule.severity,
                    "title": one.rule.title,
                    "path": one.path,
                    "line": one.line,
                    "column": one.column,
                    "message": one.message,
                    "remedy": one.remedy,
                }
                for one in findings
            ],
        },
        indent=2,
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
