"""The measurement: a program is warmed up, then its clients talk, then they are silent."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from benchmarks.workers.random_old.load import PATIENCE, WHOLE, Load, Talk, Unanswered
from benchmarks.workers.random_old.program import Program
from benchmarks.workers.scheduler import spend

WARMUP = 0.2  # seconds, in which everything is made that is made once
ENOUGH = 300  # messages that warm up as well
REST = 0.4  # seconds
GO_ON, GIVE_UP = b"x", b"!"


def describe(talk: Talk) -> dict[str, float]:
    turns = sorted(talk.turns)
    return {
        "rate": talk.messages / talk.seconds,
        "messages": talk.messages,
        "p50_us": 1e6 * turns[len(turns) // 2],
        "p99_us": 1e6 * turns[int(0.99 * len(turns))],
    }


class Child:
    """The process of the load. It ends the loop of the program after each phase, and waits until that has noticed."""

    def __init__(self, program: Program, seconds: float, core: int, patience: float) -> None:
        (self.report, report), (go, self.go) = os.pipe(), os.pipe()
        self.reported = False
        self.pid = os.fork()
        if self.pid:
            os.close(report)
            return
        try:
            os.close(self.go)  # so that the process notices when the program is no more
            if core >= 0:
                os.sched_setaffinity(0, {core})
            load(program, seconds, patience, go, report)
        except BaseException as error:
            os.write(report, json.dumps({"end": f"its load failed: {error!r}"}).encode())
            program.stopper.send(GIVE_UP)
        finally:
            os._exit(0)

    def go_on(self) -> None:
        os.write(self.go, b"x")

    def read_report(self) -> dict[str, Any]:
        """What the load has found. It leaves then."""
        self.reported = True
        return dict(json.loads(os.read(self.report, 65536)))

    def end(self) -> None:
        if not self.reported:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def load(program: Program, seconds: float, patience: float, go: int, report: int) -> None:
    """What the process of the load does."""

    def end_phase() -> None:
        program.stopper.send(GO_ON)
        os.read(go, 1)

    clients = Load(program.address, program.traits, patience)
    try:
        clients.talk(WARMUP, ENOUGH)
        end_phase()
        talk = clients.talk(seconds)
        end_phase()
        time.sleep(REST)
        os.write(report, json.dumps({"end": WHOLE, **describe(talk)}).encode())
        end_phase()
    except (Unanswered, OSError) as error:  # a connection may have been reset, too
        os.write(report, json.dumps({"end": str(error)}).encode())
        program.stopper.send(GIVE_UP)
    finally:
        clients.close()


def measure(program: Program, seconds: float, core: int = -1, patience: float = PATIENCE) -> dict[str, Any]:
    """Runs the program. Returns how it ended, and the figures where it has answered everything."""
    child = Child(program, seconds, core, patience)
    program.start_threads()
    spent = []
    try:
        for _ in ("warm-up", "talk", "rest"):
            spent.append(spend(program.run))
            if not program.stop.said:
                return {"end": "its loop ended by itself"}
            if program.stop.said == GIVE_UP:
                return child.read_report()
            child.go_on()
        report = child.read_report()
    finally:
        child.end()
    (_, (cpu, elapsed, delay), (idle_cpu, idle_elapsed, _)) = spent
    return {
        **report,
        "cpu_us": 1e6 * cpu / report["messages"],
        "busy": cpu / elapsed,
        "idle_busy": idle_cpu / idle_elapsed,
        "taken": delay / elapsed,
    }
