"""The makers: functions that make a program, by their names."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.workers.old_programs.changes import class_attribute, instance_handler, map_by_hand, swapped_class
from benchmarks.workers.old_programs.crowds import echo, idle, predicates
from benchmarks.workers.old_programs.datagrams import datagrams
from benchmarks.workers.old_programs.own_loops import loop_count, poll
from benchmarks.workers.old_programs.pipes import pipes
from benchmarks.workers.old_programs.program import Program
from benchmarks.workers.old_programs.pushes import pushes
from benchmarks.workers.old_programs.relays import relay, relay_list
from benchmarks.workers.old_programs.threads import workers
from benchmarks.workers.old_programs.visits import class_each, visits

MAKERS: dict[str, Callable[..., Program]] = {
    maker.__name__: maker
    for maker in (
        *(relay, relay_list, workers, predicates, echo, idle, pushes, class_attribute, instance_handler),
        *(swapped_class, map_by_hand, loop_count, poll, visits, class_each, pipes, datagrams),
    )
}
