"""The report of the gate: the table, a line for everything that is not the same, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gate import comparison
from benchmarks.gate.comparison import Finding, show
from benchmarks.gate.measurement import Measured
from benchmarks.gate.ratios import Ratio
from benchmarks.gate.reference import OWN, Reference
from benchmarks.gate.rows import KINDS
from benchmarks.run.text import render


def table(findings: Sequence[Finding]) -> str:
    head = ["row", "was", "now", "change", ""]
    rows = []
    for one in findings:
        change = one.change()
        percent = f"{100 * change:+.1f} %" if change is not None else "-"
        rows.append([one.title(), show(one.was), show(one.now), percent, one.verdict])
    return render("What one event costs", head, rows)


def markdown(reference: Reference, findings: Sequence[Finding], failures: dict[str, str], passed: bool) -> str:
    """The table for a pull request: what is not the same stands first, and the rest is folded away."""
    head = ["| row | was | now | change | |", "|---|--:|--:|--:|---|"]
    different = [one for one in findings if one.verdict != comparison.SAME]
    same = [one for one in findings if one.verdict == comparison.SAME]
    lines = [f"### The gate: {'passed' if passed else 'FAILED'}", "", f"Compared with {reference.what}."]
    if not reference.strict:
        lines += ["", "Only a large difference is seen here."]
    if different:
        lines += ["", *head, *map(cells, different)]
    lines += [f"\n{title} was not counted: {why}" for title, why in failures.items()]
    if same:
        lines += ["", f"<details><summary>{len(same)} rows are the same</summary>", "", *head, *map(cells, same)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def cells(one: Finding) -> str:
    change = one.change()
    percent = f"{100 * change:+.1f} %" if change is not None else "-"
    words = [one.title(), show(one.was), show(one.now), percent, one.verdict]
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"


def tell(reference: Reference, findings: Sequence[Finding], failures: dict[str, str], ratios: Sequence[Ratio]) -> bool:
    """Prints the table, the differences and the verdict. Returns whether the gate is passed."""
    bounds = ", ".join(f"{kind} {100 * reference.bounds[kind]:+.0f} %" for kind in KINDS)
    print(table(findings))
    print(f"Compared with {reference.what}; allowed: {bounds}.")
    if not reference.strict:
        print("NOT STRICT: only a large difference is seen here. `gate --against REV` in a git checkout is strict.")
    for one in findings:
        if one.verdict != comparison.SAME and one.title() not in failures:
            print(one.text())
    for title, why in failures.items():
        print(f"NOT COUNTED  {title}: {why}")
    for title, why in reference.failures.items():
        print(f"NOT COMPARED  {title}: not counted in {reference.what}: {why}")
    for ratio in ratios:
        print(ratio.text())
    verdicts = {one.verdict for one in findings}
    if verdicts & {comparison.BETTER, comparison.CHANGED, comparison.NEW} and reference.what == OWN:
        print("`python -m benchmarks gate --update` makes the better, changed and new figures the baseline.")
    failed = [one.title() for one in findings if one.verdict in comparison.FAILING]
    failed += [title for title in failures if title not in failed]
    return conclude([*failed, *(ratio.what for ratio in ratios if ratio.failed())])


def tell_ratios(ratios: Sequence[Ratio]) -> bool:
    """Prints the ratios alone and the verdict. Returns whether the gate is passed."""
    for ratio in ratios:
        print(ratio.text())
    return conclude([ratio.what for ratio in ratios if ratio.failed()])


def conclude(failed: Sequence[str]) -> bool:
    """Prints the verdict over what has failed. Returns whether nothing has."""
    print(f"gate: FAILED: {'; '.join(failed)}" if failed else "gate: passed")
    return not failed


def write(
    file: Path,
    now: Measured,
    reference: Reference,
    findings: Sequence[Finding],
    ratios: Sequence[Ratio],
    passed: bool,
) -> None:
    """Writes the figures and the findings as JSON. Raises OSError."""
    record = {
        "environment": now.environment.name(),
        "reference": reference.what,
        "strict": reference.strict,
        "figures": now.figures,
        "failures": now.failures,
        "findings": [one.record() for one in findings],
        "ratios": [one.record() for one in ratios],
        "passed": passed,
    }
    file.write_text(json.dumps(record, indent=1) + "\n")
