# SPDX-License-Identifier: MIT
"""Mixed load and idle connections: for moments, so that the commands work, and on request for as long as they take."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.soak.__main__ import Row, judge
from tests.soak.idle import measure, raise_limit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read in /proc")

MINUTES = float(os.environ.get("CYNCORE_SOAK_MINUTES", "30"))


def row(minute: float, rss: int = 20_000, blocks: int = 50_000, fds: int = 200) -> Row:
    return Row(minute, rss, blocks, fds, 100, 5.0, 1000, 0.1, 1.0, 2.0)


def soak(minutes: float) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.soak", "--minutes", str(minutes)], stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stdout.decode()


def test_a_server_that_holds_the_same_all_the_time_passes() -> None:
    assert judge([row(n, rss=20_000 + n % 5 * 50) for n in range(30)], row(0), row(31), []) == []


@pytest.mark.parametrize(("name", "step"), [("rss", 100), ("blocks", 60), ("fds", 2)])
def test_what_grows_from_minute_to_minute_is_found(name: str, step: int) -> None:
    rows = [row(n, **{name: 20_000 + step * n}) for n in range(30)]
    found = judge(rows, row(0), row(31), [])
    assert [line.split()[0] for line in found] == [name]


def test_what_is_left_at_the_end_is_found() -> None:
    assert judge([row(n) for n in range(30)], row(0), row(31, fds=201), ["a wrong answer"]) == [
        "a wrong answer",
        "fds: 1 more than at the beginning are left when all clients have gone",
    ]


@pytest.mark.parametrize("has_deadlines", [False, True])
def test_a_server_with_idle_connections_never_wakes_up(has_deadlines: bool) -> None:
    used = measure(100, 0.5, has_deadlines)
    assert (used.switches, used.ticks) == (0, 0)


@pytest.mark.soak  # it judges times, which a machine that does other things as well may not keep
@pytest.mark.timeout(180)
def test_mixed_load_for_a_moment_finds_nothing_wrong() -> None:
    soak(0.2)


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 180)
def test_mixed_load_finds_nothing_wrong() -> None:
    soak(MINUTES)


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("has_deadlines", [False, True])
def test_a_server_with_a_crowd_of_idle_connections_never_wakes_up_in_a_minute(has_deadlines: bool) -> None:
    raise_limit(10_000)
    used = measure(9500 if os.environ.get("CYNCORE_BACKEND") in (None, "epoll") else 900, 60, has_deadlines)
    assert (used.switches, used.ticks) == (0, 0)
