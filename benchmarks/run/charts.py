"""The charts of a session, as PNG and SVG: `python -m benchmarks charts FILE.json FOLDER`, or a run with `--charts`.

The module needs matplotlib, and is imported only where charts are asked for. The colours are those of Okabe and Ito,
which people with any kind of colour vision can tell apart; the figures are written beside the marks as well. The
background is white in every file, so that the text can be read on a dark page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.run.figures import median
from benchmarks.run.peers import OLD, OURS, PYFTPDLIB, RAW, UVLOOP
from benchmarks.run.results import RecordedTarget, Results, ratio
from benchmarks.run.target import MET, MISSED, NO_VERDICT
from benchmarks.run.text import number

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, BLACK, GREY, PALE = "#56B4E9", "#CC79A7", "#222222", "#8C8C8C", "#B8C4CC"
MARKS = {  # of the peers that the idle chart shows
    OURS: (BLUE, "o"),
    RAW: (BLACK, "s"),
    UVLOOP: (ORANGE, "^"),
    OLD: (RED, "v"),
    "asyncio": (GREEN, "D"),
    f"{PYFTPDLIB} push": (PINK, "P"),  # the one of its two that the table has
    "gevent": (SKY, "X"),
}
VERDICTS = {MET: (BLUE, "o", MET), MISSED: (RED, "X", MISSED.lower()), NO_VERDICT: (GREY, "D", NO_VERDICT)}
FAR = (0.05, 20.0)  # a value outside is drawn at the edge; the figure beside it is the true one
STEPS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
WIDTH = 8.4  # inches
CAPTION = 150  # characters in a line of it
DPI = 130
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the picture is the same everywhere
    "font.size": 9.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "cyncore",  # so that the same results make the same file
}


def canvas(rows: int, results: Results, table: str | None = None) -> tuple[Figure, Axes]:
    """A figure for that many rows of a bar chart. Its caption says how it was measured, and who took part."""
    caption = textwrap.wrap(f"{results.describe()}. {'; '.join(results.versions(table))}.", CAPTION)
    figure = Figure(figsize=(WIDTH, 1.35 + 0.32 * rows + 0.15 * len(caption)), layout="constrained")
    figure.supxlabel("\n".join(caption), x=0.01, ha="left", fontsize=7, color="#555555")
    return figure, figure.add_subplot()


def echo(results: Results) -> Figure | None:
    """The rate of every peer as a share of raw C's, with its own figures beside the bar."""
    every = results.series("echo")
    raw = results.find("echo", RAW)
    if raw is None or len(every) < 2:
        return None
    ratios = {one["peer"]: ratio(one, raw, "rate") or 0.0 for one in every}
    every = sorted(every, key=lambda one: ratios[one["peer"]])
    names = [one["peer"] for one in every]
    figure, axes = canvas(len(every), results, "echo")
    bars = axes.barh(names, [ratios[name] for name in names], height=0.68, color=[bar_colour(name) for name in names])
    medians = [(median(one["samples"], "rate"), median(one["samples"], "cpu_us")) for one in every]
    told = [f"{number(rate)}/s, {number(cpu, 1)} us CPU each" for rate, cpu in medians]
    labels = [f"{ratios[name]:.2f}   ({text})" for name, text in zip(names, told, strict=True)]
    axes.bar_label(bars, labels, padding=4, color=BLACK)
    axes.set_xlim(0, 1.6 * max(ratios.values()))
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"Messages echoed per second: {every[0]['size']} bytes, {every[0]['connections']} connections")
    axes.set_xlabel("speed compared with a server in C that does nothing else; longer is better")
    return figure


def bar_colour(name: str) -> str:
    """The rows of cyncore and of raw C stand out from the others."""
    return BLUE if name.startswith(OURS) else BLACK if name == RAW else PALE


def idle(results: Results) -> Figure | None:
    """The rate of one active connection, over the number of connections."""
    every = [one for one in results.series("idle") if one["peer"] in MARKS]
    counts = sorted({one["connections"] for one in every})
    if len(counts) < 2:
        return None
    figure, axes = canvas(9, results, "idle")
    for name, (tint, marker) in MARKS.items():
        here = [one for one in every if one["peer"] == name]
        mine = sorted((one["connections"], median(one["samples"], "rate")) for one in here)
        if mine:
            width = 2.4 if name == OURS else 1.3
            axes.plot(*zip(*mine, strict=True), color=tint, marker=marker, label=name, linewidth=width, markersize=6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    low, high = axes.get_ylim()
    steps = [digit * 10**power for power in range(8) for digit in (1, 2, 5)]
    axes.set_yticks(steps, [f"{step:,}" for step in steps])
    axes.set_ylim(low, high)
    axes.minorticks_off()
    axes.grid(axis="y", color="#E3E3E3", linewidth=0.7)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title("One connection is active, the others are silent")
    axes.set_xlabel("open connections (logarithmic scale)")
    axes.set_ylabel("messages per second (logarithmic scale)")
    return figure


def targets(results: Results) -> Figure | None:
    """Every target that was measured: the value as a share of what was wanted."""
    every = [target for _, target in results.targets() if target.by_wanted() is not None][::-1]
    if not every:
        return None
    figure, axes = canvas(len(every) + 1, results)
    axes.axvline(1, color=BLACK, linewidth=1)
    reached = [min(max(target.by_wanted() or 1.0, FAR[0]), FAR[1]) for target in every]
    for place, target in enumerate(every):
        tint, marker, name = VERDICTS.get(target.verdict, VERDICTS[NO_VERDICT])
        axes.plot([1, reached[place]], [place, place], color=tint, linewidth=2)
        axes.plot(reached[place], place, color=tint, marker=marker, markersize=8, linestyle="", label=name)
    axes.set_yticks(range(len(every)), [label(target) for target in every], fontsize=8)
    axes.set_ylim(-0.7, len(every) - 0.3)
    axes.tick_params(axis="y", length=0)
    low, high = min(0.5, 0.8 * min(reached)), max(2.0, 1.3 * max(reached))
    steps = [step for step in STEPS if low <= step <= high]
    axes.set_xscale("log")
    axes.set_xticks(steps, [f"{step:g}" for step in steps])
    axes.set_xlim(low, high)
    axes.minorticks_off()
    axes.set_title("Targets")
    axes.set_xlabel("figure reached, divided by the target (logarithmic scale)")
    handles, names = axes.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    figure.legend(once.values(), once.keys(), loc="upper left", frameon=False, handletextpad=0.2)
    return figure


def label(target: RecordedTarget) -> str:
    return f"{target.what}\n{target.reached()}, target {target.bound()}"


CHARTS: dict[str, Callable[[Results], Figure | None]] = {"echo": echo, "idle": idle, "targets": targets}


def draw(results: Results, folder: Path) -> list[Path]:
    """Writes every chart that the results have figures for, as PNG and as SVG. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, chart in CHARTS.items():
            figure = chart(results)
            if figure is None:
                continue
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = folder / f"{name}.{kind}"
                figure.savefig(path, dpi=DPI, metadata=metadata)
                written.append(path)
    return written
