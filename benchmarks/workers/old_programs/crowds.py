"""Crowds: idle channels with predicates, beside one that is active or beside an echo."""

from __future__ import annotations

from benchmarks.workers.old_programs.program import Channel, Predicated, Program, connect, stand


def predicates(idle: int, active: int = 1) -> Program:
    stand(Predicated, idle)
    return connect([Predicated] * active)


def echo(idle: int, active: int) -> Program:
    """An echo beside idle channels with predicates."""
    stand(Predicated, idle)
    return connect([Channel] * active, fed=True)


def idle(idle: int) -> Program:
    """Nothing happens."""
    stand(Predicated, idle)
    return connect([Predicated])
