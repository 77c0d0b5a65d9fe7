"""The results of a session as Markdown: `python -m benchmarks report FILE.json`, with `--into` to renew a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.run.peers import OLD, OURS, RAW, UVLOOP
from benchmarks.run.results import Results, Series, against, median
from benchmarks.run.table import number
from benchmarks.run.target import NOT_MEASURED

BEGIN = "<!-- figures: begin (python -m benchmarks report FILE.json --into PAGE) -->"
END = "<!-- figures: end -->"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def targets(results: Results) -> str:
    rows = [[target.what, target.bound(), target.reached(), target.verdict] for _, target in results.targets()]
    rows += [[f"{name}: the table failed", "-", "-", NOT_MEASURED] for name in results.failed()]
    return "### Wanted and reached\n\n" + markdown(["target", "wanted", "reached", "verdict"], rows)


def peers(results: Results, table: str, shapes: Sequence[str]) -> str:
    """A table of the C loads: the shapes' names are columns of it, and tell its series apart."""
    every = results.series(table)
    told = [shape for shape in shapes if len({one.get(shape) for one in every}) > 1]
    head = ["server", *told, "a second", "spread", "by raw C", "by uvloop", "user us", "system us", "p50 us", "p99 us"]
    return f"### {table}\n\n" + markdown(head, [row(results, table, one, told) for one in every])


def row(results: Results, table: str, one: Series, told: Sequence[str]) -> list[str]:
    shape = {key: one[key] for key in told}
    rates = [sample["rate"] for sample in one["samples"].values()]
    return [
        one["peer"],
        *(f"{value:,}" if isinstance(value, int) else str(value) for value in shape.values()),
        number(median(one, "rate")),
        f"{100 * (max(rates) - min(rates)) / median(one, 'rate'):.0f} %",
        number(against(one, results.find(table, RAW, **shape), "rate"), 2),
        number(against(one, results.find(table, UVLOOP, **shape), "rate"), 2),
        *(number(median(one, figure), 2) for figure in ("user_us", "system_us")),
        *(number(median(one, figure)) for figure in ("p50_us", "p99_us")),
    ]


def is_load(results: Results, table: str) -> bool:
    """Whether it was made by a load of ours: the others have columns of their own, which only they know."""
    every = results.series(table)
    return bool(every) and all(
        {"rate", "user_us", "p50_us"} <= sample.keys() for one in every for sample in one["samples"].values()
    )


def programs(results: Results) -> str:
    """The old programs, a row each: what cyncore did, and what it is by the old modules."""
    head = ["program", "a second", "by asyncore", "CPU us", "by asyncore", "p99 us", "busy", "idle"]
    every = {(one["program"], one["loop"]): one for one in results.series("old")}
    rows = []
    for (name, loop), one in every.items():
        if loop == OURS:
            old = every.get((name, OLD))
            rate, cpu = (number(against(one, old, figure), 2) for figure in ("rate", "cpu_us"))
            shares = [f"{100 * median(one, figure):.1f} %" for figure in ("busy", "idle_busy")]
            numbers = [number(median(one, "rate")), rate, number(median(one, "cpu_us"), 1), cpu]
            rows.append([name, *numbers, number(median(one, "p99_us")), *shares])
    return "### old programs\n\n" + markdown(head, rows)


def sections(results: Results) -> Iterator[str]:
    yield f"{results.describe()}.\n\n{'; '.join(results.versions())}.\n"
    yield targets(results)
    for table in results.tables:
        if is_load(results, table):
            shapes = [key for key in results.series(table)[0] if key not in ("peer", "samples", "failures")]
            yield peers(results, table, shapes)
    if results.series("old"):
        yield programs(results)


def report(results: Results) -> str:
    return "\n".join(sections(results))


def renew(page: Path, text: str) -> None:
    """Puts it between the page's two marks. ValueError where it has none."""
    old = page.read_text()
    before, found, rest = old.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
