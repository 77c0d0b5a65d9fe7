"""Loops that a program writes itself, around loop(count=1) or poll()."""

from __future__ import annotations

from benchmarks.workers.old_programs.modules import asyncore
from benchmarks.workers.old_programs.program import Channel, Program, connect, stand


def counted() -> None:
    try:
        while True:
            asyncore.loop(timeout=30.0, use_poll=True, count=1)
    except asyncore.ExitNow:
        pass


def polled() -> None:
    try:
        while True:
            asyncore.poll2(30.0)
    except asyncore.ExitNow:
        pass


def loop_count(idle: int) -> Program:
    stand(Channel, idle)
    return connect([Channel], fed=True, run=counted)


def poll(idle: int) -> Program:
    stand(Channel, idle)
    return connect([Channel], fed=True, run=polled)
