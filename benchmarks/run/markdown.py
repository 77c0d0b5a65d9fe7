"""The results of a session as Markdown, and the page that contains them: `python -m benchmarks report FILE.json`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.run.figures import median, spread
from benchmarks.run.peers import OLD, OURS, RAW, UVLOOP
from benchmarks.run.results import SUMMARY, Recorded, Results, ratio
from benchmarks.run.text import number, percent

BEGIN = "<!-- figures: begin (python -m benchmarks report FILE.json --into PAGE) -->"
END = "<!-- figures: end -->"
WIDTH = 100  # of a line of text on a page; tables are as wide as they are


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def targets(results: Results) -> str:
    return "### Wanted and reached\n\n" + markdown(SUMMARY, results.summary())


def loads(results: Results, table: str, shapes: Sequence[str]) -> str:
    """A table of our own loads. `shapes` are the fields of a shape; those that differ become columns."""
    every = results.series(table)
    told = [shape for shape in shapes if len({one.get(shape) for one in every}) > 1]
    head = ["server", *told, "a second", "spread", "by raw C", "by uvloop", "user us", "system us", "p50 us", "p99 us"]
    return f"### {table}\n\n" + markdown(head, [row(results, table, one, told) for one in every])


def row(results: Results, table: str, one: Recorded, told: Sequence[str]) -> list[str]:
    shape = {key: one[key] for key in told}
    samples = one["samples"]
    return [
        one["peer"],
        *(f"{value:,}" if isinstance(value, int) else str(value) for value in shape.values()),
        number(median(samples, "rate")),
        percent(spread(samples, "rate")),
        number(ratio(one, results.find(table, RAW, **shape), "rate"), 2),
        number(ratio(one, results.find(table, UVLOOP, **shape), "rate"), 2),
        *(number(median(samples, figure), 2) for figure in ("user_us", "system_us")),
        *(number(median(samples, figure)) for figure in ("p50_us", "p99_us")),
    ]


def is_load(results: Results, table: str) -> bool:
    """Whether the table was measured by a load of our own. The other tables have other figures."""
    every = results.series(table)
    return bool(every) and all(
        {"rate", "user_us", "p50_us"} <= sample.keys() for one in every for sample in one["samples"].values()
    )


def old_programs(results: Results) -> str:
    """A row for each old program: the figures of cyncore, and their ratios to those of the old modules."""
    head = ["program", "a second", "by asyncore", "CPU us", "by asyncore", "p99 us", "busy", "idle"]
    every = {(one["program"], one["loop"]): one for one in results.series("old")}
    rows = []
    for (name, loop), one in every.items():
        if loop == OURS:
            old = every.get((name, OLD))
            rate, cpu = (number(ratio(one, old, figure), 2) for figure in ("rate", "cpu_us"))
            samples = one["samples"]
            shares = [percent(median(samples, figure), 1) for figure in ("busy", "idle_busy")]
            numbers = [number(median(samples, "rate")), rate, number(median(samples, "cpu_us"), 1), cpu]
            rows.append([name, *numbers, number(median(samples, "p99_us")), *shares])
    return "### old programs\n\n" + markdown(head, rows)


def sections(results: Results) -> Iterator[str]:
    for text in (results.describe(), "; ".join(results.versions())):
        yield textwrap.fill(f"{text}.", WIDTH) + "\n"
    yield targets(results)
    for table in results.tables:
        if is_load(results, table):
            shapes = [key for key in results.series(table)[0] if key not in ("peer", "samples", "failures")]
            yield loads(results, table, shapes)
    if results.series("old"):
        yield old_programs(results)


def report(results: Results) -> str:
    return "\n".join(sections(results))


def renew(page: Path, text: str) -> None:
    """Replaces what stands between the two marks of the page. Raises ValueError where it has none, and OSError."""
    old = page.read_text()
    before, found, rest = old.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
