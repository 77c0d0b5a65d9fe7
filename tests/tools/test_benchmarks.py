# SPDX-License-Identifier: MIT
"""The benchmarks work: what they print and record, not how fast anything is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.script import ENGINE_FOLDER

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # it is there already, unless somebody says `pytest` and not `python -m pytest`

from benchmarks.__main__ import TABLES, main, parse  # noqa: E402
from benchmarks.run import markdown, peers, progress, results, session  # noqa: E402
from benchmarks.run.placement import Placement  # noqa: E402
from benchmarks.run.plan import Plan  # noqa: E402
from benchmarks.run.table import Table  # noqa: E402
from benchmarks.run.target import Target  # noqa: E402
from benchmarks.run.text import render  # noqa: E402
from benchmarks.run.worker import work  # noqa: E402
from benchmarks.tables import echo, old, timers  # noqa: E402
from benchmarks.workers import timer_calls  # noqa: E402

RATIO = Target("cyncore by raw C", 0.95)
TIME = Target("us a message", 0.3, at_least=False)
TINY = Plan(1, 0.05, 0.02, Placement(pin=False), limit=256, quick=True, connections=4)
NATIVE_LOAD = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which(os.environ.get("CC", "cc")),
    reason="the load needs Linux and a compiler",
)


def with_engine() -> dict[str, str]:
    """The environment of a process that is to find the cyncore that this one has."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    return {**os.environ, "PYTHONPATH": path}


def sample(rate: float) -> dict[str, float]:
    return {"rate": rate, "user_us": 0.5, "system_us": 5.0, "cpu_us": 5.5, "p50_us": 90, "p99_us": 200}


def made_up() -> dict[str, Any]:
    """A session's record: an echo table of two rounds, an idle one of two counts, and a table that failed."""
    rates = {"raw C epoll": (100.0, 200.0), "cyncore": (90.0, 190.0), "uvloop": (50.0, 160.0)}
    shape = {"active": 1, "size": 64, "failures": []}
    every = [
        {"peer": name, "connections": 100, **shape, "samples": {"0": sample(pair[0]), "1": sample(pair[1])}}
        for name, pair in rates.items()
    ]
    silent = [
        {"peer": name, "connections": count, **shape, "samples": {"0": sample(100.0)}}
        for name in rates
        for count in (10, 9000)
    ]
    targets = [RATIO.record(0.9), TIME.record(0.2), TIME.record(0.5, quiet=False), RATIO.record(None)]
    versions = {"versions": {"cyncore": "cyncore 1.0", "uvloop": "uvloop 0.9"}, "left_out": {}}
    return {
        "machine": "a machine",
        "placement": "pinned",
        "plan": {"rounds": 2, "seconds": 1.0, "quick": False},
        "peers": {"echo": versions, "idle": versions, "broken": versions},
        "tables": {
            "echo": {"series": every, "targets": targets},
            "idle": {"series": silent, "targets": []},
            "broken": {"failed": "OSError()", "series": [], "targets": []},
        },
    }


# Targets


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [(RATIO, 0.95, "met"), (RATIO, 0.94, "MISSED"), (TIME, 0.3, "met"), (TIME, 0.31, "MISSED"), (TIME, 0.0, "met")],
)
def test_a_target_is_met_or_missed(target: Target, value: float, verdict: str) -> None:
    assert target.record(value)["verdict"] == verdict
    assert target.judge(value).endswith(f", {verdict}")


def test_a_machine_that_others_used_gives_no_verdict() -> None:
    assert RATIO.record(0.5, quiet=False)["verdict"] == "no verdict"
    assert "NO VERDICT" in RATIO.judge(0.5, quiet=False)


def test_what_was_not_measured_is_not_missed() -> None:
    assert RATIO.record(None)["verdict"] == "not measured"
    assert "not measured (wanted: 0.95 or more)" in RATIO.judge(None)


def test_a_row_with_a_remark_does_not_widen_the_columns() -> None:
    rows = [["a", "12", "3"], ["b", "did not start, for a long and winding reason"]]
    assert render("title", ["name", "rate", "more"], rows).splitlines()[2] == "name  rate  more"


# The command line


def test_every_table_has_a_name_of_its_own() -> None:
    names = [table.name for table in TABLES]
    assert len(set(names)) == len(names)


def test_without_words_everything_is_measured_with_everybody() -> None:
    options = parse([])
    assert options.tables == []
    assert {"raw C epoll", "cyncore", "uvloop", "gevent", "Twisted", "rloop", "pyftpdlib"} <= set(options.peers)


@pytest.mark.parametrize(
    "words", [["nonsense"], ["--peers", "cyncore,nobody"], ["--rounds", "0"], ["--seconds", "0"], ["--size", "9000"]]
)
def test_a_word_that_makes_no_sense_ends_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_run_needs_no_matplotlib() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import benchmarks.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30, env=with_engine())


# Peers


def test_every_peer_has_its_server() -> None:
    for peer in [*peers.ECHO, *peers.LINES, *peers.MAIL]:
        where = ROOT / "benchmarks" / (f"loads/{peer.server}.c" if peer.module is None else f"servers/{peer.server}.py")
        assert where.exists(), peer.name


def test_one_install_brings_every_peer() -> None:
    listed = (ROOT / "benchmarks" / "requirements.txt").read_text()
    packages = {peer.package for table in TABLES for peer in table.peers} - {None, "cyncore", "standard-smtpd"}
    assert packages <= set(re.findall(r"^[\w-]+", listed, re.MULTILINE))


def test_who_is_not_here_is_left_out_with_the_reason() -> None:
    absent = peers.Peer("absent", "a_module_that_is_not_there", "package")
    here, reasons = peers.split([absent, peers.Peer("here", "json")])
    assert [peer.name for peer in here] == ["here"]
    assert "a_module_that_is_not_there" in reasons["absent"]
    assert "pip install package" in reasons["absent"]


def test_a_plan_leaves_descriptors_for_more_than_connections() -> None:
    assert replace(TINY, limit=1024).most(10_000) == 924
    assert replace(TINY, limit=20_000).most(10_000) == 10_000


# Sessions


def table(name: str, run: Any) -> Table:
    return Table(name, peers=[], run=run)


def broken(here: list[peers.Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    raise OSError("the table broke")


def fine(here: list[peers.Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    return "a fine table", {"series": [], "targets": [RATIO.record(0.96)]}


def test_a_table_that_fails_does_not_keep_the_others_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    found, status = session.Session([table("one", broken), table("two", fine)], [], TINY).run(file)
    said = capsys.readouterr()
    assert status == 1
    assert found.failed() == ["one"]
    assert "a fine table" in said.out
    assert "FAILED: one" in said.out
    assert "the table broke" in said.err
    assert json.loads(file.read_text())["tables"]["two"]["targets"][0]["verdict"] == "met"


def test_a_session_ends_with_what_was_wanted_and_reached(capsys: pytest.CaptureFixture[str]) -> None:
    _, status = session.Session([table("two", fine)], [], TINY).run()
    assert status == 0
    assert re.search(r"cyncore by raw C +at least 0.95 +0.96 +met", capsys.readouterr().out)


def test_the_clock_learns_from_the_tables_before() -> None:
    clock = progress.Clock({"one": 10.0, "two": 30.0})
    assert clock.announce("one") == "table 1 of 2: one, about 10 s; to the end 40 s"
    clock.began -= 20.0
    clock.finish("one")
    assert clock.announce("two") == "table 2 of 2: two, about 60 s; to the end 60 s"


@NATIVE_LOAD
def test_an_echo_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", with_engine()["PYTHONPATH"])
    taking_part = [peer for peer in peers.ECHO if peer.name in ("raw C epoll", "cyncore", "asyncio")]
    text, record = echo.TABLE.run(taking_part, TINY)
    taken = {one["peer"]: one for one in json.loads(json.dumps(record))["series"]}
    assert {name: one["failures"] for name, one in taken.items()} == {peer.name: [] for peer in taking_part}
    assert all(one["samples"]["0"]["messages"] > 0 for one in taken.values())
    assert "echo, cyncore by uvloop: not measured" in text


@pytest.mark.skipif(sys.platform != "linux", reason="it reads its memory from /proc")
@pytest.mark.parametrize("kind", timer_calls.KINDS)
@pytest.mark.parametrize("loop", ["cyncore", "asyncio"])
def test_timers_are_measured(
    loop: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timer_calls, "SECONDS", 0.01)
    timer_calls.main(loop, kind, 1500)
    figures = json.loads(capsys.readouterr().out)
    assert figures["timers"] == 1500
    assert figures["cpu_us"] > 0


def test_a_loop_that_does_not_start_is_a_remark_in_the_table() -> None:
    text, record = timers.TABLE.run([peers.Peer("nobody", "a_module_that_is_not_there")], TINY)
    assert "No module named 'a_module_that_is_not_there'" in text
    assert {target["verdict"] for target in record["targets"]} == {"not measured"}


def test_a_worker_that_fails_says_why() -> None:
    with pytest.raises(Exception, match="a_module_that_is_not_there"):
        work("timer_calls", ["a_module_that_is_not_there", "turned", "1"], TINY.placement)


# Old programs


def old_modules() -> bool:
    return all(importlib.util.find_spec(name) for name in ("asyncore", "asynchat"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="its client is forked")
@pytest.mark.parametrize(
    "loop",
    ["cyncore", pytest.param("asyncore", marks=pytest.mark.skipif(not old_modules(), reason="they are not here"))],
)
@pytest.mark.parametrize(
    "name", ["relay, 20 idle", "worker threads", "short-lived clients", "pipes", "datagrams", "poll()"]
)
def test_an_old_program_is_measured(loop: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", with_engine()["PYTHONPATH"])
    (row,) = [row for row in old.ROWS if row.name == name]
    figures = work("old_programs", [loop, row.maker, json.dumps(row.options), "0.05", "-1"], TINY.placement)
    assert figures["events"] > 0
    assert figures["cpu_us"] > 0
    assert figures["idle_busy"] < 1


def test_an_old_program_is_judged_by_the_old_modules() -> None:
    figures = {"rate": 900.0, "cpu_us": 9.0, "p99_us": 1.0, "busy": 1.0, "idle_busy": 0.002, "taken": 0.0}
    faster = {**figures, "rate": 1800.0, "cpu_us": 4.5}
    reached = old.reach({("relay, 20 idle", "cyncore"): {0: faster}, ("relay, 20 idle", "asyncore"): {0: figures}})
    told = {target.what: target.record(value, quiet=quiet) for target, value, quiet in reached}
    assert told["relay, 20 idle, rate by asyncore's"]["value"] == pytest.approx(2)
    assert told["relay, 20 idle, CPU time by asyncore's"]["value"] == pytest.approx(0.5)
    assert told["pipes, rate by asyncore's"]["verdict"] == "not measured"
    assert told[old.IDLE.what]["value"] == pytest.approx(0.2)


def test_a_report_has_the_old_programs() -> None:
    record = made_up()
    figures = {"rate": 900.0, "cpu_us": 9.0, "p99_us": 1.0, "busy": 0.9, "idle_busy": 0.002}
    faster = {**figures, "rate": 1800.0, "cpu_us": 4.5}
    every = [("cyncore", faster), ("asyncore", figures)]
    series = [{"program": "relay", "loop": loop, "samples": {"0": figures}} for loop, figures in every]
    record["tables"]["old"] = {"series": series, "targets": []}
    text = markdown.report(results.Results(record))
    assert "| relay | 1,800 | 2.00 | 4.5 | 0.50 | 1 | 90.0 % | 0.2 % |" in text


# Results, reports and charts


def test_ratios_are_taken_within_a_round() -> None:
    found = results.Results(made_up())
    ours, raw = found.find("echo", "cyncore"), found.find("echo", "raw C epoll")
    assert ours is not None
    assert results.ratio(ours, raw, "rate") == pytest.approx((0.9 + 0.95) / 2)


def test_a_target_is_compared_upside_down_where_less_is_better() -> None:
    more, less, *_ = [target for _, target in results.Results(made_up()).targets()]
    assert more.by_wanted() == pytest.approx(0.9 / 0.95)
    assert less.by_wanted() == pytest.approx(1.5)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text('{"name": "something else"}')
    with pytest.raises(ValueError, match="was not written by"):
        results.Results.read(file)


def test_a_report_has_every_verdict() -> None:
    text = markdown.report(results.Results(made_up()))
    assert "| cyncore by raw C | at least 0.95 | 0.90 | MISSED |" in text
    assert "| us a message | at most 0.3 | 0.20 | met |" in text
    assert "| us a message | at most 0.3 | 0.50 | no verdict |" in text
    assert "| cyncore by raw C | at least 0.95 | - | not measured |" in text
    assert "| broken: the table failed | - | - | not measured |" in text


def test_a_report_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    file, page = tmp_path / "results.json", tmp_path / "page.md"
    file.write_text(json.dumps(made_up()))
    page.write_text(f"before\n{markdown.BEGIN}\nold figures\n{markdown.END}\nafter\n")
    for _ in range(2):
        assert main(["report", str(file), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert text.count("### Wanted and reached") == 1
    assert "old figures" not in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks\n")
    with pytest.raises(ValueError, match="has no lines"):
        markdown.renew(page, "figures")
    assert page.read_text() == "no marks\n"


def test_the_page_of_the_figures_has_the_marks() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.index(markdown.BEGIN) < text.index(markdown.END)


@pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="charts are drawn with matplotlib")
def test_the_same_results_make_the_same_charts(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(made_up()))
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        words = [sys.executable, "-W", "error", "-m", "benchmarks", "charts", str(file), str(folder)]
        subprocess.run(words, cwd=ROOT, check=True, timeout=50, env=with_engine())
    drawn, again = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert drawn.keys() == {f"{name}.{kind}" for name in ("echo", "idle", "targets") for kind in ("png", "svg")}
    assert drawn == again
