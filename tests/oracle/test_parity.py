# SPDX-License-Identifier: MIT
"""The two engines, side by side in one process: the same script leaves the same trace of calls, results and errors."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cyncore

from .parity import ERRORS, KINDS, WRONG, Op, World, engine_in_python

pytestmark = pytest.mark.skipif(not cyncore.native, reason="there is but one engine here")

_ats = st.integers(-1, 4)
_attributes = st.sampled_from(("connected", "accepting", "connecting", "closing", "wants_read", "wants_write"))
_keys = st.sampled_from((None, None, -7, 2**40, "key", 1.5))
_events = st.sampled_from(("read", "write", "close", "error", "collect", "found", "accepted", "read event"))

# What may be done anywhere, also in a handler or in a call.
_simple: st.SearchStrategy[Op] = st.one_of(
    st.tuples(st.just("peer"), _ats, st.sampled_from(("send", "send", "close", "end", "take"))),
    st.tuples(st.just("send"), _ats, st.sampled_from((b"", b"x", b"some words\n"))),
    st.tuples(st.just("call"), _ats, st.sampled_from(("close", "pause_reading", "resume_reading", "close_when_done"))),
    st.tuples(st.just("set"), _ats, _attributes, st.booleans()),
    st.tuples(st.just("put"), _ats, _keys),
    st.tuples(st.just("take"), _ats),
    st.tuples(st.just("later"), st.sampled_from(("soon", "threadsafe", "later", "past", "never")), st.just([])),
    st.tuples(st.just("cancel"), _ats),
    st.tuples(st.just("loop"), st.sampled_from(("wake", "stop", "close"))),
    st.tuples(st.just("wrong"), st.sampled_from(sorted(WRONG))),
)
_ticks: st.SearchStrategy[Op] = st.tuples(st.just("tick"), st.sampled_from(("poll", "poll", "poll", "run_map")))
_raises: st.SearchStrategy[Op] = st.tuples(st.just("raise"), st.sampled_from(sorted(ERRORS)))
_inner = st.lists(st.one_of(_simple, _simple, _ticks, _raises), max_size=3)
_later: st.SearchStrategy[Op] = st.tuples(
    st.just("later"), st.sampled_from(("soon", "threadsafe", "later", "past")), _inner
)
_makes: st.SearchStrategy[Op] = st.tuples(
    st.just("make"), st.sampled_from(KINDS), st.dictionaries(_events, _inner, max_size=3)
)
_scripts = st.lists(st.one_of(_makes, _makes, _simple, _ticks, _ticks, _ticks, _later), min_size=3, max_size=25)


def check(script: list[Op]) -> None:
    worlds = []
    try:
        worlds.append(World(cyncore))
        worlds[0].run(script)
        worlds.append(World(engine_in_python(), order=worlds[0].ticks))
        worlds[1].run(script)
    finally:
        for world in worlds:
            world.close()
    native, python = (world.trace for world in worlds)
    for at, (one, other) in enumerate(zip(native, python, strict=False)):
        assert one == other, f"native {one}, python {other}, after {native[max(0, at - 12) : at]}"
    assert native[len(python) :] == python[len(native) :] == []


@settings(max_examples=300, deadline=None, derandomize=True)
@given(script=_scripts)
def test_the_engines_leave_the_same_trace(script: list[Op]) -> None:
    check(script)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=_scripts)
def test_the_engines_leave_the_same_trace_for_long(script: list[Op]) -> None:
    check(script)


@pytest.mark.parametrize("name", sorted(WRONG))
def test_the_engines_refuse_an_argument_in_the_same_words(name: str) -> None:
    check([("make", "plain", {}), ("wrong", name)])


@pytest.mark.parametrize("name", sorted(WRONG))
def test_the_engines_refuse_it_in_a_handler_too(name: str) -> None:
    check([("make", "plain", {"read": [("wrong", name)]}), ("peer", 0, "send"), ("tick", "poll")])
