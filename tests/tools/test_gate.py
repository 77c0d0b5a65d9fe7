# SPDX-License-Identifier: MIT
"""The gate tells what is worse, and by which name; what the tools count is made up here."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.support.script import ENGINE_FOLDER, run_script

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # it is there already, unless somebody says `pytest` and not `python -m pytest`

pytest.importorskip("resource", reason="the gate needs POSIX")

from benchmarks.__main__ import COMMANDS  # noqa: E402
from benchmarks.gate import command, comparison, counters, measurement, ratios, reference, report  # noqa: E402
from benchmarks.gate.baseline import BASELINE, Baseline, Figure, Figures, Known  # noqa: E402
from benchmarks.gate.comparison import OTHER_PYTHON, SAME_PYTHON, STRICT, Finding, allow, compare  # noqa: E402
from benchmarks.gate.counters import CountError, Engine, count_names, slope, split_windows  # noqa: E402
from benchmarks.gate.environment import Environment, built_by  # noqa: E402
from benchmarks.gate.old.command import tell as tell_of_old  # noqa: E402
from benchmarks.gate.old.cost import Cost, count_window  # noqa: E402
from benchmarks.gate.old.finding import Finding as OldFinding  # noqa: E402
from benchmarks.gate.old.rows import ROWS as OLD_ROWS  # noqa: E402
from benchmarks.gate.repository import Repository, RepositoryError  # noqa: E402
from benchmarks.gate.rows import BYTES, CALLS, INSTRUCTIONS, KINDS, ROWS, Row  # noqa: E402
from cyncore._engine import native  # noqa: E402

HERE = Environment("3.11", "x86_64", "CPython 3.11.7, GCC 12", "gcc 12, Cython 3.3", "glibc 2.36")
PATCHED = replace(HERE, interpreter="CPython 3.11.9, GCC 14")
NEWER = replace(HERE, python="3.13", interpreter="CPython 3.13.0, GCC 12")
ELSEWHERE = replace(NEWER, machine="aarch64")
ECHO: Figure = {"epoll_wait": 1, "recvfrom": 1, "sendto": 1}
ROW = Row(INSTRUCTIONS, "echo", "echo")


def figures(echo: float = 2000, calls: Figure = ECHO, idle: float = 400) -> Figures:
    return {INSTRUCTIONS: {"echo": echo}, CALLS: {"echo": calls}, BYTES: {"idle": idle}}


def found(was: Figures, now: Figures, bounds: comparison.Bounds = STRICT) -> dict[str, str]:
    """The verdict on every row."""
    return {one.title(): one.verdict for one in compare(was, now, bounds, KINDS)}


def the(findings: list[Finding], title: str) -> Finding:
    return next(one for one in findings if one.title() == title)


# The comparison


def test_what_is_as_it_was_is_the_same() -> None:
    assert set(found(figures(), figures()).values()) == {"same"}


@pytest.mark.parametrize(("echo", "verdict"), [(2060, "same"), (2061, "WORSE"), (1940, "same"), (1939, "better")])
def test_instructions_may_grow_by_three_per_cent(echo: float, verdict: str) -> None:
    assert found(figures(), figures(echo=echo))["instructions: echo"] == verdict


@pytest.mark.parametrize(("idle", "verdict"), [(420, "same"), (421, "WORSE"), (379, "better")])
def test_bytes_may_grow_by_five_per_cent(idle: float, verdict: str) -> None:
    assert found(figures(), figures(idle=idle))["bytes: idle"] == verdict


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        ({**ECHO, "fcntl": 1}, "WORSE"),
        ({"epoll_wait": 2, "recvfrom": 1, "sendto": 1}, "WORSE"),
        ({"epoll_wait": 1, "recvfrom": 1}, "better"),
        ({"epoll_wait": 1, "read": 1, "sendto": 1}, "changed"),
    ],
)
def test_not_one_system_call_more(calls: Figure, verdict: str) -> None:
    assert found(figures(), figures(calls=calls))["system calls: echo"] == verdict


def test_a_regression_names_the_row_both_figures_and_the_percentage() -> None:
    worse = the(compare(figures(), figures(echo=2100), STRICT, KINDS), "instructions: echo")
    assert worse.text() == "WORSE  instructions: echo: 2,000 -> 2,100, +5.0 % (at most +3 %)"


def test_a_new_system_call_is_named() -> None:
    worse = the(compare(figures(), figures(calls={**ECHO, "fcntl": 2}), STRICT, KINDS), "system calls: echo")
    assert "3 -> 5, +66.7 %" in worse.text()
    assert worse.text().endswith("(fcntl 0 -> 2)")


def test_a_row_that_was_not_measured_is_missing() -> None:
    now = figures()
    now[CALLS] = {}
    assert found(figures(), now)["system calls: echo"] == "MISSING"
    assert "MISSING" in comparison.FAILING


def test_a_kind_that_was_left_out_is_not_missing() -> None:
    assert compare(figures(), {}, STRICT, []) == []


def test_a_row_that_the_baseline_lacks_is_new_and_does_not_fail() -> None:
    now = figures()
    now[INSTRUCTIONS]["timer"] = 900
    assert found(figures(), now)["instructions: timer"] == "new"
    assert "new" not in comparison.FAILING


def test_system_calls_are_strict_in_every_environment() -> None:
    now = figures(echo=2400, calls={**ECHO, "fcntl": 1})
    for bounds in (SAME_PYTHON, OTHER_PYTHON):
        assert found(figures(), now, bounds) == {
            "instructions: echo": "same",
            "system calls: echo": "WORSE",
            "bytes: idle": "same",
        }


def test_what_a_new_baseline_allows_is_allowed_elsewhere_in_proportion() -> None:
    dearer = figures(echo=2200, calls={**ECHO, "fcntl": 1})
    allowed = allow(figures(echo=3000, idle=500), figures(), dearer)
    assert allowed == {
        INSTRUCTIONS: {"echo": pytest.approx(3300)},
        CALLS: {"echo": {**ECHO, "fcntl": 1}},
        BYTES: {"idle": 500},
    }


def test_what_a_new_baseline_promises_is_not_demanded_elsewhere() -> None:
    assert allow(figures(), figures(), figures(echo=1000))[INSTRUCTIONS] == {"echo": 2000}


# The baseline


def test_an_update_can_be_read_again(tmp_path: Path) -> None:
    baseline = Baseline()
    baseline.renew(HERE, figures())
    baseline.renew(NEWER, figures(echo=2500))
    file = tmp_path / "baseline.json"
    file.write_text(baseline.render())
    again = Baseline.read(file)
    assert again == baseline
    assert again.environments[NEWER.name()] == Known("3.13", "x86_64", figures(echo=2500))


def test_the_file_has_a_row_a_line_and_is_sorted() -> None:
    baseline = Baseline()
    baseline.renew(NEWER, figures())
    baseline.renew(HERE, {INSTRUCTIONS: {"b": 2.0, "a": 1.0}, CALLS: {"echo": ECHO}})
    lines = [line.strip() for line in baseline.render().splitlines()]
    assert lines.index('"a": 1,') + 1 == lines.index('"b": 2')
    assert '"echo": {"epoll_wait": 1, "recvfrom": 1, "sendto": 1}' in lines
    assert baseline.render().index(HERE.name()) < baseline.render().index(NEWER.name())


def test_an_update_leaves_alone_what_is_as_good_as_equal() -> None:
    baseline = Baseline()
    baseline.renew(HERE, figures())
    before = baseline.render()
    baseline.renew(HERE, figures(echo=2009.4, idle=403.9))
    assert baseline.render() == before
    baseline.renew(HERE, figures(echo=2012))
    assert baseline.environments[HERE.name()].figures[INSTRUCTIONS]["echo"] == 2012


def test_an_update_of_some_rows_keeps_the_others() -> None:
    baseline = Baseline()
    baseline.renew(HERE, figures())
    baseline.renew(HERE, {INSTRUCTIONS: {"timer": 900.2}})
    assert baseline.environments[HERE.name()].figures[INSTRUCTIONS] == {"echo": 2000, "timer": 900}
    assert CALLS in baseline.environments[HERE.name()].figures


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert Baseline.read(tmp_path / "none").nearest(HERE) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"environments": {"one": {}}}', '{"environments": [1]}'])
def test_a_file_that_is_no_baseline_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"baseline|line 1 column 2"):
        Baseline.parse(text)


def test_the_baseline_of_the_tree_has_every_row() -> None:
    text = BASELINE.read_text()
    baseline = Baseline.parse(text)
    assert baseline.environments
    assert baseline.render() == text
    for known in baseline.environments.values():
        assert {(row.kind, row.name) for row in ROWS} == {(kind, row) for kind in KINDS for row in known.figures[kind]}


# Which figures to compare with


class NoRepository:
    def __init__(self, folder: Path) -> None:
        raise RepositoryError("no repository")


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """reference.choose() for an environment, with a baseline of one other, and of one that is like it."""

    def choose(environment: Environment, *known: Environment) -> reference.Reference:
        baseline = Baseline()
        for one in known:
            baseline.renew(one, figures())
        monkeypatch.setattr(reference, "Repository", NoRepository)
        monkeypatch.setattr(reference.Baseline, "read", lambda: baseline)
        options = argparse.Namespace(against=None, base=None, repository=ROOT)
        return reference.choose(options, measurement.Measured(environment), [ROW], Engine())

    return choose


def test_a_known_environment_is_strict(choose) -> None:  # type: ignore[no-untyped-def]
    reference = choose(HERE, HERE, NEWER)
    assert (reference.bounds, reference.strict) == (STRICT, True)


def test_without_a_repository_the_nearest_environment_is_taken(choose) -> None:  # type: ignore[no-untyped-def]
    reference = choose(PATCHED, ELSEWHERE, HERE, NEWER)
    assert HERE.name() in reference.what
    assert (reference.bounds, reference.strict) == (SAME_PYTHON, False)


def test_the_nearest_of_another_python_gets_a_wider_bound(choose) -> None:  # type: ignore[no-untyped-def]
    reference = choose(HERE, ELSEWHERE, NEWER)
    assert NEWER.name() in reference.what
    assert (reference.bounds, reference.strict) == (OTHER_PYTHON, False)


def test_without_any_baseline_the_gate_does_not_pass(choose) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(command.Unable, match="no baseline"):
        choose(HERE)


def test_an_unknown_environment_is_compared_with_a_commit_measured_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class OneCommit:
        def __init__(self, folder: Path) -> None:
            assert folder == tmp_path

        def base(self) -> str:
            return "0123456789abcdef"

        def commit(self, name: str) -> str:
            return name

        def build(self, commit: str, folder: Path) -> Path:
            return folder / commit

        def baseline(self, commit: str) -> Baseline:
            return made(1000)

    def made(echo: float) -> Baseline:
        baseline = Baseline()
        baseline.renew(HERE, figures(echo=echo))
        return baseline

    def take(engine: Engine, rows: object, what: str, keep: object = None) -> measurement.Measured:
        assert engine.path is not None
        assert engine.path.name == "0123456789abcdef"
        return measurement.Measured(NEWER, figures(echo=3000))

    monkeypatch.setattr(reference, "Repository", OneCommit)
    monkeypatch.setattr(reference, "take", take)
    monkeypatch.setattr(reference.Baseline, "read", lambda: made(1100))
    options = argparse.Namespace(against=None, base=None, repository=tmp_path)
    chosen = reference.choose(options, measurement.Measured(NEWER, figures()), [ROW], Engine())
    assert (chosen.what, chosen.bounds, chosen.strict) == ("commit 0123456789ab", STRICT, True)
    assert chosen.figures[INSTRUCTIONS]["echo"] == pytest.approx(3300)


def test_a_base_that_is_not_there_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneCommit:
        def __init__(self, folder: Path) -> None: ...
        def base(self) -> str:
            return "before"

        def commit(self, name: str) -> str:
            if name == "known":
                return "found"
            raise RepositoryError(name)

    monkeypatch.setattr(reference, "Repository", OneCommit)
    options = argparse.Namespace(base="known", repository=ROOT)
    assert reference.base(options) == "found"
    options.base = "0" * 40
    assert reference.base(options) == "before"


def test_a_commit_of_which_nothing_could_be_counted_is_no_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class OneCommit:
        def __init__(self, folder: Path) -> None: ...
        def commit(self, name: str) -> str:
            return name

        def build(self, commit: str, folder: Path) -> Path:
            return folder

    monkeypatch.setattr(reference, "Repository", OneCommit)
    monkeypatch.setattr(reference, "take", lambda *_: measurement.Measured(HERE, {}, {"bytes: idle": "why"}))
    with pytest.raises(RepositoryError, match="no row"):
        reference.build(tmp_path, "main", measurement.Measured(HERE), [ROW], Engine(), Baseline())


def test_a_commit_that_another_compiler_built_is_no_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class OneCommit:
        def __init__(self, folder: Path) -> None: ...
        def commit(self, name: str) -> str:
            return name

        def build(self, commit: str, folder: Path) -> Path:
            return folder

    monkeypatch.setattr(reference, "Repository", OneCommit)
    monkeypatch.setattr(reference, "take", lambda *_: measurement.Measured(replace(HERE, build="clang 17"), figures()))
    with pytest.raises(command.Unable, match="clang 17"):
        reference.build(tmp_path, "main", measurement.Measured(HERE), [ROW], Engine(), Baseline())


def test_the_commit_before_is_head_once_something_is_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("init", "-q")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git here")
    for text in "ab":
        (tmp_path / "file").write_text(text)
        git("add", "file")
        git("commit", "-q", "-m", text)
    repository = Repository(tmp_path)
    assert repository.base() == git("rev-parse", "HEAD^")
    (tmp_path / "file").write_text("c")
    assert repository.base() == git("rev-parse", "HEAD")
    assert repository.baseline("HEAD") == Baseline()
    with pytest.raises(RepositoryError):
        repository.commit("no-such-commit")


def test_a_folder_without_git_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError):
        Repository(tmp_path)


# What is told


def tell(findings: list[Finding], failures: dict[str, str] | None = None, *, strict: bool = True) -> bool:
    chosen = reference.Reference("the baseline", {}, STRICT if strict else OTHER_PYTHON, strict)
    return report.tell(chosen, findings, failures or {}, [])


def test_a_regression_fails_the_gate_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tell(compare(figures(), figures(echo=2100), STRICT, KINDS))
    said = capsys.readouterr().out
    assert said.rstrip().endswith("gate: FAILED: instructions: echo")


def test_an_improvement_passes_and_asks_for_an_update(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(compare(figures(), figures(echo=1000), STRICT, KINDS))
    said = capsys.readouterr().out
    assert "better  instructions: echo: 2,000 -> 1,000, -50.0 %" in said
    assert "gate --update" in said
    assert said.rstrip().endswith("gate: passed")


def test_in_markdown_a_regression_stands_before_what_is_folded_away() -> None:
    chosen = reference.Reference("the baseline", {}, STRICT, True)
    said = report.markdown(chosen, compare(figures(), figures(echo=2100), STRICT, KINDS), {}, False)
    assert said.startswith("### The gate: FAILED\n")
    shown, _, folded = said.partition("<details>")
    assert "| instructions: echo | 2,000 | 2,100 | +5.0 % | WORSE |" in shown
    assert "WORSE" not in folded
    assert "| same |" in folded


def test_a_row_that_could_not_be_counted_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tell([], {"bytes: idle": "too few descriptors"})
    assert "NOT COUNTED  bytes: idle: too few descriptors" in capsys.readouterr().out


def test_a_comparison_with_another_environment_says_that_it_is_not_strict(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(compare(figures(), figures(), OTHER_PYTHON, KINDS), strict=False)
    assert "NOT STRICT" in capsys.readouterr().out


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(counters.shutil, "which", lambda name: None)
    assert COMMANDS["gate"](["--skip-ratios"]) == command.UNABLE
    said = capsys.readouterr().err
    assert "valgrind is not installed" in said
    assert "strace is not installed" in said


SKIPPED = ["--skip-instructions", "--skip-calls", "--skip-bytes"]


@pytest.mark.parametrize(("rate", "outcome"), [(1.0, command.PASSED), (0.5, command.FAILED)])
def test_ratios_are_judged_alone_where_no_row_is_counted(
    rate: float, outcome: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "measure", lambda limit: [ratios.Ratio("echo by C", rate, 0.95, quiet=True)])
    assert COMMANDS["gate"](SKIPPED) == outcome
    assert f"echo by C: {rate:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--skip-ratios"], ["--update"], ["echo"]])
def test_where_no_row_is_counted_there_is_nothing_else_to_do(words: list[str]) -> None:
    assert COMMANDS["gate"]([*SKIPPED, *words]) == command.UNABLE


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ([1900], command.PASSED),
        ([2100, 2040], command.PASSED),
        ([2100, 2110], command.FAILED),
        (["killed", 2040], command.PASSED),
        (["killed", "killed"], command.FAILED),
        ([2100, "killed"], command.FAILED),
    ],
)
def test_a_row_that_fails_is_counted_once_more_elsewhere_in_memory(
    counts: list[float | str], outcome: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = (row for row in ROWS if row.title() == "instructions: idle tick, 10 channels")
    coming = iter(counts)
    moved = []

    def count(row: Row, engine: Engine, keep: Path | None) -> Figure:
        moved.append(engine.is_moved)
        match next(coming):
            case str(why):
                raise CountError(why)
            case figure:
                return figure

    chosen = reference.Reference("the baseline", {row.kind: {row.name: 2000}}, STRICT, True)
    monkeypatch.setattr(measurement, "count", count)
    monkeypatch.setattr(Engine, "run", lambda engine, words: json.dumps(asdict(HERE)))
    for name, made in {"choose": lambda *words: chosen, "clock": Path, "missing": lambda kind: None}.items():
        monkeypatch.setattr(command, name, made)
    assert command.main([row.title()]) == outcome
    assert list(coming) == []
    assert moved == [False, True][: len(counts)]


@pytest.mark.parametrize(
    ("value", "quiet", "failed"), [(0.95, True, False), (0.81, True, False), (0.8, True, True), (0.8, False, False)]
)
def test_a_ratio_fails_only_far_off_and_on_a_quiet_machine(value: float, quiet: bool, failed: bool) -> None:
    assert ratios.Ratio("echo by raw C", value, 0.95, quiet).failed() == failed


def test_a_ratio_that_is_far_off_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.1, 0.99, 0.5])
    monkeypatch.setattr(ratios, "program", lambda name: name)
    monkeypatch.setattr(
        ratios.echo, "echo", lambda here, plan: ("", {"targets": [ratios.echo.BY_RAW.record(next(values))]})
    )
    (ratio,) = ratios.measure(1000)
    assert (ratio.value, ratio.failed()) == (0.99, False)


# Counting


def test_what_is_between_marks_is_counted_by_name() -> None:
    trace = """
12 openat(AT_FDCWD, "x", O_RDONLY) = 3
12 getppid()                         = 1
12 epoll_wait(4, [{events=EPOLLIN}], 256, 0) = 1
12 recvfrom(5,  <unfinished ...>
13 sendto(6, "x", 1, 0, NULL, 0) = 1
12 <... recvfrom resumed>"x", 8192, 0, NULL, NULL) = 1
12 getppid()                         = 1
12 close(3) = 0
12 getppid()                         = 1
12 epoll_wait(4, [], 256, 0) = 0
12 getppid()                         = 1
"""
    assert [count_names(window) for window in split_windows(trace)] == [
        {"epoll_wait": 1, "recvfrom": 1, "sendto": 1},
        {"epoll_wait": 1},
    ]


def test_calls_that_are_in_every_window_once_are_not_of_an_event() -> None:
    short = [Counter(epoll_ctl=10, recvfrom=4, epoll_wait=5)] * 2
    long = [Counter(epoll_ctl=10, recvfrom=12, epoll_wait=13), Counter(epoll_ctl=10, recvfrom=12, epoll_wait=13, brk=1)]
    assert slope(short, long, turns=8, unit=1) == {"epoll_wait": 1, "recvfrom": 1}


def test_what_a_compiler_left_tells_who_built_it(tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"\0GCC: (Debian 12.2.0-14) 12.2.0\0\0_cython_3_3_1\0_cython_3_3_1\0")
    assert built_by(module) == "gcc 12.2.0, Cython 3.3.1"
    module.write_bytes(b"GCC: (Debian 12.2.0-14) 12.2.0\0Debian clang version 14.0.6\0")
    assert built_by(module) == "clang 14.0.6"
    module.write_bytes(b"stripped")
    assert built_by(module) == "an unknown compiler"


def test_a_worker_that_fails_says_why() -> None:
    with pytest.raises(CountError, match="no_such_module"):
        Engine().run(["benchmarks.gate.no_such_module"])


def test_rows_have_names_of_their_own() -> None:
    assert len({row.title() for row in ROWS}) == len(ROWS)
    assert all(row.short < row.long for row in ROWS)


@pytest.mark.skipif(not native, reason="what is not compiled is not counted")
def test_every_workload_does_its_work() -> None:
    """With few channels and turns; the workloads look themselves whether what was sent came back."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from dataclasses import asdict, replace
from benchmarks.gate.rows import BYTES, ROWS
from benchmarks.gate.workloads import memory, standing, window
for row in ROWS:
    if row.kind == BYTES:
        continue
    if "channels" in row.options:
        row = replace(row, options={{"channels": 4}})
    for turns in (1, 3):
        window(row, turns)
    for pair in standing:
        for end in pair:
            end.close()
    if standing:
        from cyncore import asyncore
        asyncore.close_all()
        standing.clear()
"""
    run_script(code)


def test_the_json_has_every_finding(tmp_path: Path) -> None:
    findings = compare(figures(), figures(echo=2100), STRICT, KINDS)
    file = tmp_path / "gate.json"
    chosen = reference.Reference("the baseline", {}, STRICT)
    report.write(file, measurement.Measured(HERE, figures()), chosen, findings, [], False)
    record = json.loads(file.read_text())
    assert record["passed"] is False
    assert {one["verdict"] for one in record["findings"]} == {"same", "WORSE"}


# Old programs

COUNTED = Cost(50_000, {"epoll_wait": 1, "recvfrom": 1}, 0.0)


def both(ours: Cost, old: Cost = COUNTED) -> OldFinding:
    return OldFinding("relay", ours, old)


def test_a_program_that_costs_the_same_is_not_slower() -> None:
    assert both(COUNTED).slower() == []


def test_a_program_of_more_instructions_is_slower() -> None:
    (told,) = both(replace(COUNTED, instructions=54_000.0)).slower()
    assert told == "costs 56,000 with the kernel's part, asyncore 52,000"


def test_a_program_of_more_system_calls_is_slower() -> None:
    assert both(replace(COUNTED, calls={"epoll_wait": 1, "recvfrom": 1, "fcntl": 3})).slower()


def test_a_call_that_saves_instructions_is_not_slower() -> None:
    assert not both(replace(COUNTED, instructions=40_000.0, calls={"epoll_ctl": 4, "recvfrom": 1})).slower()


def test_what_poll_is_given_is_a_part_of_what_it_costs() -> None:
    assert not both(
        replace(COUNTED, calls={"epoll_ctl": 4}), replace(COUNTED, calls={"descriptors of poll": 16})
    ).slower()
    assert both(replace(COUNTED, calls={"epoll_ctl": 8}), replace(COUNTED, calls={"descriptors of poll": 16})).slower()


def test_an_idle_program_is_not_slower_than_one_that_seems_to_cost_less_than_nothing() -> None:
    assert both(Cost(-1_423, {}, 0.0), Cost(-14_491, {}, 0.0)).slower() == []
    assert both(Cost(2_001, {}, 0.0), Cost(-14_491, {}, 0.0)).slower()


def test_a_program_that_is_slow_and_idle_is_slower() -> None:
    (told,) = both(replace(COUNTED, instructions=10_000.0, waited_us=1000.0)).slower()
    assert told == "waits 1,000.0 us for nothing, asyncore 0.0"


def test_descriptors_of_poll_are_counted_and_memory_is_not() -> None:
    text = """\
7 poll([{fd=3, events=POLLIN}], 1, 0) = 0 (Timeout)
7 getppid() = 1
7 poll([{fd=3, events=POLLIN}, {fd=4, events=POLLIN|POLLPRI}, ...], 203, 30000) = 1 ([{fd=3, revents=POLLIN}])
7 mmap(NULL, 262144, PROT_READ, MAP_PRIVATE, -1, 0) = 0x7f
7 futex(0x7f, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>
8 write(5, "x", 1) = 1
7 <... futex resumed>) = 0
7 getppid() = 1
"""
    assert [count_window(window) for window in split_windows(text)] == [
        Counter({"poll": 1, "descriptors of poll": 203, "write": 1})
    ]


def test_a_slower_program_fails_the_gate_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    slow = both(replace(COUNTED, waited_us=1000.0))
    assert not tell_of_old([slow, both(COUNTED)], {})
    assert "old programs: FAILED: relay\n" in capsys.readouterr().out
    assert tell_of_old([both(COUNTED)], {})


def test_a_program_that_was_not_counted_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tell_of_old([both(COUNTED)], {"pipes": "did not end"})
    assert "NOT COUNTED  pipes: did not end" in capsys.readouterr().out


@pytest.mark.skipif(not native, reason="what is not compiled is not counted")
@pytest.mark.parametrize(
    "name", ["relay, 20 idle", "worker threads", "five pushes a handler", "short-lived clients", "pipes"]
)
def test_an_old_program_runs_in_windows(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks.gate.old.windows", "cyncore", name]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    said = json.loads(done.stdout)
    (row,) = [row for row in OLD_ROWS if row.name == name]
    assert len(said["waited"]) == len(said["turns"]) == 2 + 2 * row.repeats
