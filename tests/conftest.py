# SPDX-License-Identifier: MIT
"""What every test is held to: it leaves no channel, no descriptor and no thread behind."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator

import pytest

import cyncore
from cyncore import Loop, socket_map
from tests.support.peers import Peers

_FDS = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
_FAILED = pytest.StashKey[bool]()


def pytest_report_header() -> str:
    with Loop() as loop:
        engine = "compiled" if cyncore.native else "plain Python"
        return f"cyncore {cyncore.__version__}: {engine}, backend {loop.backend}"


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _keep_what_is_there() -> None:
    """What is there by now stays, and need not be looked through after every test."""
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy's collector has none
        gc.freeze()


def pytest_collection_finish() -> None:
    _keep_what_is_there()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    yield
    if nextitem is not None and nextitem.path != item.path:
        _keep_what_is_there()  # modules that these tests imported, and the reports on them


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def _open_descriptors() -> dict[int, str]:
    """Every open descriptor, and what it is, as far as the system says."""
    Loop.of(socket_map).close()  # the only loop that is kept without anyone's doing
    pipe = sys.modules.get("cyncore._stream.pipe")
    while pipe is not None and pipe._spare:  # kept for the next streams that are joined
        pipe.close_pipe(pipe._spare.pop())
    found = {}
    for name in os.listdir(_FDS):
        try:
            found[int(name)] = os.readlink(f"{_FDS}/{name}") if _FDS.startswith("/proc") else str(os.fstat(int(name)))
        except OSError:  # the one that listdir() itself had open
            pass
    return found


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves something behind, and names it."""
    before = _open_descriptors()
    threads = set(threading.enumerate())
    yield
    left = dict(socket_map)
    socket_map.clear()
    if request.node.stash.get(_FAILED, False) or request.session.exitstatus == pytest.ExitCode.INTERRUPTED:
        return  # what failed, or was stopped, may hold on to anything, and is reported already
    assert not left, "channels left in socket_map"
    started = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in started:
        thread.join(5)
    assert not [thread for thread in started if thread.is_alive()], "threads left running"
    gc.collect()  # not before the test too: PyPy looks through all that pytest has collected each time
    after = _open_descriptors()
    assert {fd: what for fd, what in after.items() if before.get(fd) != what} == {}, "descriptors left open"


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


@pytest.fixture
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    """Over the backend that the environment names, or over each where a test is marked with `every_backend`."""
    made = Loop(backend=getattr(request, "param", None))
    yield made
    made.close()
