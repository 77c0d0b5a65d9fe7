# SPDX-License-Identifier: MIT
"""Random old programs: what a seed makes, what is found of it, and what is told; not how fast anything is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.script import ENGINE_FOLDER, run_script

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # it is there already, unless somebody says `pytest` and not `python -m pytest`

from benchmarks.random_old import command  # noqa: E402
from benchmarks.random_old.finding import Finding  # noqa: E402
from benchmarks.random_old.sample import Sample, Way, read, take  # noqa: E402
from benchmarks.run.placement import Placement  # noqa: E402
from benchmarks.workers.random_old.traits import CHOICES, draw, parse_fixed  # noqa: E402

FIGURES = {"rate": 1000.0, "cpu_us": 10.0, "idle_busy": 0.0, "p50_us": 1.0, "p99_us": 1.0, "busy": 1.0, "taken": 0.0}
SMALL = {"idle": 0, "clients": 1, "depth": 1, "block": 0, "churn": 0}
LOST = Sample("lost a message")

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="its client is forked")
OLD_MODULES = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("asyncore", "asynchat")), reason="they are not here"
)


def whole(**figures: float) -> Sample:
    return Sample("whole", {**FIGURES, **figures})


def finding(ours: list[Sample], old: list[Sample]) -> Finding:
    return Finding(7, draw(7), ours, old)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes find the cyncore that this one has."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ENGINE_FOLDER]))
    monkeypatch.setenv("PYTHONPATH", path)


# The programs


def test_a_seed_is_the_same_program_everywhere() -> None:
    assert draw(104).describe() == (
        "kind=list answer=queue writable=queue readable=global idle=30 loop=loop clients=1 depth=1 size=1 block=0"
        " counter=class own_map=False churn=0 defaults=False out=attribute mixin=none"
    )


def test_a_fixed_trait_leaves_the_others_as_they_are() -> None:
    drawn, fixed = draw(104).describe(), draw(104, {"idle": 450}).describe()
    assert fixed == drawn.replace("idle=30", "idle=450")


def test_a_trait_is_read_as_it_is_told() -> None:
    told = dict(parse_fixed(word) for word in draw(104).describe().split())
    assert draw(1, told) == draw(104)


@pytest.mark.parametrize("text", ["colour=red", "kind=socket", "idle"])
def test_a_trait_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"there are|but one of"):
        parse_fixed(text)


def test_every_choice_is_drawn() -> None:
    drawn = [draw(seed) for seed in range(500)]
    for name, choices in CHOICES.items():
        assert set(choices) <= {getattr(traits, name) for traits in drawn}, name


def test_every_seed_makes_a_class_and_has_a_loop() -> None:
    run_script(f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import cyncore; cyncore.install()
from benchmarks.workers.random_old.composition import compose
from benchmarks.workers.random_old.loops import LOOPS
from benchmarks.workers.random_old.traits import draw
for seed in range(500):
    traits = draw(seed)
    assert compose(traits).handle_read
    assert LOOPS[traits.loop]
""")


@FORK
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("answer", ["peer", "queue", "thread", "refill"])
def test_a_random_program_answers_everything(answer: str) -> None:
    fixed = {**SMALL, "kind": "list", "answer": answer, "idle": 30, "clients": 4, "churn": 20}
    sample = take("cyncore", 1, Way(sys.executable, 0.05, Placement(pin=False), fixed))
    assert sample.end == "whole"
    assert sample.figures["messages"] > 0
    assert sample.figures["cpu_us"] > 0


BROKEN = """
import os, sys; sys.path.insert(0, {root!r})
import cyncore; cyncore.install()
from benchmarks.workers.random_old.composition import compose
from benchmarks.workers.random_old.measurement import measure
from benchmarks.workers.random_old.program import Program
from benchmarks.workers.random_old.traits import draw
traits = draw(1, {small!r} | {{"kind": "bytes", "answer": "own", "writable": "own", "readable": "true"}})
class Broken(compose(traits)):
    def answer(self, data):
        {answer}
program = Program(traits, Broken)
print(measure(program, 0.05, patience=0.2)["end"], flush=True)
os._exit(0)  # as the worker ends, with all its sockets open
"""


@FORK
@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ("pass", "lost a message"),
        ("self.emit(2 * data)", "sent more than it was asked for"),
        ("self.close()", "closed a connection"),
    ],
)
def test_a_program_that_does_not_answer_as_it_should_is_noticed(answer: str, end: str) -> None:
    assert run_script(BROKEN.format(root=str(ROOT), small=SMALL, answer=answer)) == f"{end}\n"


def test_the_end_of_a_process_is_read() -> None:
    assert read(-11, "", "").end == "was killed by SIGSEGV"
    assert read(-11, "", "").killed()
    assert read(1, "", "Traceback\n  line\nOSError: bad\n").end == "crashed: OSError: bad"
    assert read(0, '{"end": "lost a message"}', "IndexError: pop\n").end == "lost a message, IndexError: pop"
    assert read(0, '{"end": "whole", "rate": 1.0}', "") == Sample("whole", {"rate": 1.0})


# The findings


def test_a_program_that_is_as_fast_is_not_slower() -> None:
    found = finding([whole(rate=910.0, cpu_us=10.9, idle_busy=0.009)], [whole()])
    assert found.worse() == ""
    assert found.line().split() == ["7", "0.91", "1.09", "0.9", "%", "0.0", "%", "1", "ok"]


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"rate": 890.0}, "SLOWER: rate"),
        ({"cpu_us": 11.1}, "SLOWER: CPU"),
        ({"idle_busy": 0.02}, "SLOWER: idle"),
        ({"rate": 100.0, "cpu_us": 20.0, "idle_busy": 1.0}, "SLOWER: rate, CPU, idle"),
    ],
)
def test_a_slower_program_is_told_with_its_traits(figures: dict[str, float], told: str) -> None:
    found = finding([whole(**figures)], [whole()])
    assert found.verdict() == told
    assert found.line().endswith(draw(7).describe())


def test_the_medians_of_the_rounds_are_judged() -> None:
    slow = [whole(rate=500.0), whole(), whole()]
    assert finding(slow, [whole()] * 3).verdict() == "ok"
    assert finding(slow[:2], [whole()] * 2).verdict() == "SLOWER: rate"


def test_a_program_that_loses_messages_is_different() -> None:
    found = finding([LOST, whole(), LOST], [whole()] * 3)
    assert found.verdict() == "DIFFERENT: cyncore lost a message (2 of 3)"


def test_a_program_that_loses_as_many_on_the_old_modules_is_not_judged() -> None:
    assert finding([LOST], [LOST]).verdict() == "not judged: asyncore lost a message (1 of 1)"
    assert finding([whole()], [LOST]).verdict() == "not judged: asyncore lost a message (1 of 1)"


def test_a_process_that_a_signal_ended_is_different_in_any_case() -> None:
    killed = Sample("was killed by SIGSEGV")
    assert finding([killed], [LOST]).verdict() == "DIFFERENT: cyncore was killed by SIGSEGV (1 of 1)"


# The command


def test_only_what_is_worse_has_more_rounds_and_the_sides_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def take(side: str, seed: int, way: Way) -> Sample:
        taken.append(side)
        return whole(rate=100.0) if side == "cyncore" and seed == 1 else whole()

    monkeypatch.setattr(command, "take", take)
    way = Way(sys.executable, 0.1, Placement(pin=False))
    assert command.judge(0, way, 3).verdict() == "ok"
    assert taken == ["asyncore", "cyncore"]
    taken.clear()
    assert command.judge(1, way, 3).verdict() == "SLOWER: rate"
    assert taken == ["asyncore", "cyncore", "cyncore", "asyncore", "asyncore", "cyncore"]


def test_the_summary_names_every_seed_that_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    well, slow = finding([whole()], [whole()]), finding([whole(rate=1.0)], [whole()])
    assert not command.summarize([well, slow, finding([LOST], [whole()]), finding([LOST], [LOST])])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "1 of 4 different: 7 (cyncore lost a message (1 of 1))",
        "1 of 4 slower: 7 (rate)",
        "1 of 4 not judged: 7 (asyncore lost a message (1 of 1))",
        "random old programs: FAILED, 2 of 4",
    ]
    assert command.summarize([well])


@pytest.mark.parametrize(
    "words", [["--seeds", "x"], ["--seeds", "3-2"], ["--rounds", "0"], ["--seconds", "0"], ["--trait", "kind=red"]]
)
def test_a_word_that_makes_no_sense_ends_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parse(words)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_seeds_are_one_or_a_range() -> None:
    assert command.parse(["--seeds", "4"]).seeds == range(4, 5)
    assert command.parse(["--seeds", "4-6"]).seeds == range(4, 7)


def test_a_python_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--python", "a-python-that-is-not-there"]) == 2
    assert "a-python-that-is-not-there" in capsys.readouterr().err


@FORK
@OLD_MODULES
@pytest.mark.usefixtures("engine")
def test_a_seed_runs_on_both_and_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    words = ["--seeds", "8", "--rounds", "1", "--seconds", "0.05", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "random-old", *words], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert done.returncode in (0, 1)  # by the times, which nothing is asserted of
    assert re.search(r"^ +8 +[\d.]+ +[\d.]+ +[\d.]+ % +[\d.]+ % +1  (ok|SLOWER)", done.stdout, re.MULTILINE), done
    assert "random old programs: " in done.stdout
    (program,) = json.loads(file.read_text())["programs"]
    assert [sample["end"] for side in ("cyncore", "asyncore") for sample in program[side]] == ["whole", "whole"]
