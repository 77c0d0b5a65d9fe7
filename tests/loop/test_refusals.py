# SPDX-License-Identifier: MIT
"""The kernel has no room for what is wanted of a descriptor (epoll_ctl(2): ENOMEM, ENOSPC): it is asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyncore import Loop
from tests.support.trace import trace

LISTENER = """
import logging, os, socket
logging.disable()
from cyncore import Loop, dispatcher
from cyncore.asyncore import ExitNow

class Listener(dispatcher):
    def handle_accepted(self, sock, addr):
        sock.close()
        raise ExitNow

loop = Loop()
listener = Listener(map=loop.map)
listener.create_socket()
listener.bind(("127.0.0.1", 0))
listener.listen(5)
client = socket.create_connection(listener.socket.getsockname())
try:
    loop.run_map(5)
except ExitNow:
    assert listener.socket.fileno() in loop.map
else:
    os._exit(3)
os._exit(0)
"""

WAKE = """
import logging, os, threading
logging.disable()
from cyncore import Loop

loop = Loop()
called = []
def call():
    called.append(1)
    loop.stop()
thread = threading.Timer(0.3, loop.call_soon_threadsafe, [call])
loop.call_soon(thread.start)
guard = threading.Timer(20, os._exit, [3])
guard.daemon = True
guard.start()
loop.run(forever=True)
os._exit(0 if called else 4)
"""


def only_with_epoll(loop: Loop) -> None:
    if loop.backend != "epoll":
        pytest.skip(f"with {loop.backend} there is nothing that the kernel could have no room for")


@pytest.mark.parametrize("error", ["ENOMEM", "ENOSPC"])
def test_a_listener_that_is_refused_once_accepts_later(loop: Loop, tmp_path: Path, error: str) -> None:
    only_with_epoll(loop)
    # The first call registers the wake-up, the second the listener.
    calls = trace(LISTENER, "epoll_ctl", tmp_path, f"epoll_ctl:error={error}:when=2")
    assert sum("EPOLL_CTL_ADD" in call for call in calls) >= 3


@pytest.mark.parametrize("error", ["ENOMEM", "ENOSPC"])
def test_a_wake_up_that_is_refused_once_ends_a_later_wait(loop: Loop, tmp_path: Path, error: str) -> None:
    only_with_epoll(loop)
    trace(WAKE, "epoll_ctl", tmp_path, f"epoll_ctl:error={error}:when=1")


def test_what_is_refused_for_long_is_asked_for_ten_times_a_second(loop: Loop, tmp_path: Path) -> None:
    only_with_epoll(loop)
    calls = trace(LISTENER, "epoll_ctl", tmp_path, "epoll_ctl:error=ENOSPC:when=2..4")
    assert 5 <= sum("EPOLL_CTL_ADD" in call for call in calls) <= 8
