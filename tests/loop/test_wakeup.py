# SPDX-License-Identifier: MIT
"""Waking a loop: from other threads, before a wait and during one."""

from __future__ import annotations

import threading

import pytest

from cyncore import BACKENDS, Loop, native
from tests.support.peers import Peers, Recorder, poll_until
from tests.support.script import run_script

THREADS = 8
EACH = 2000


def test_a_wake_up_before_the_wait_ends_it(loop: Loop, peers: Peers) -> None:
    peers.channel(Recorder, loop.map)
    loop.wake()
    assert loop.poll(None) == 0


def test_many_wake_ups_end_one_wait(loop: Loop) -> None:
    for _ in range(100_000):
        loop.wake()
    assert loop.poll(None) == 0
    begun = loop.time()
    loop.poll(0.01)
    assert loop.time() >= begun + 0.01


def test_a_wake_up_from_another_thread_ends_the_wait(loop: Loop) -> None:
    entered = threading.Event()

    def wake() -> None:
        entered.wait()
        loop.wake()

    helper = threading.Thread(target=wake)
    helper.start()
    loop.call_soon(entered.set)
    loop.poll(None)
    helper.join()


def test_a_call_from_another_thread_is_made_in_the_loops(loop: Loop) -> None:
    made: list[int] = []
    entered = threading.Event()

    def queue() -> None:
        entered.wait()
        loop.call_soon_threadsafe(lambda: made.append(threading.get_ident()))
        loop.call_soon_threadsafe(loop.stop)

    helper = threading.Thread(target=queue)
    helper.start()
    loop.call_soon(entered.set)
    loop.run(forever=True)
    helper.join()
    assert made == [threading.get_ident()]


def test_no_call_of_many_threads_is_lost_or_made_twice(loop: Loop) -> None:
    made: list[tuple[int, int]] = []

    def queue(thread: int) -> None:
        for number in range(EACH):
            loop.call_soon_threadsafe(made.append, (thread, number))

    threads = [threading.Thread(target=queue, args=(thread,)) for thread in range(THREADS)]
    for helper in threads:
        helper.start()
    poll_until(loop, lambda: len(made) >= THREADS * EACH, most=THREADS * EACH)
    for helper in threads:
        helper.join()
    loop.poll()
    assert len(made) == THREADS * EACH
    for thread in range(THREADS):
        assert [number for who, number in made if who == thread] == list(range(EACH))


def test_calls_of_one_thread_keep_their_order_whichever_way_they_came(loop: Loop) -> None:
    made: list[int] = []
    for number in range(100):
        (loop.call_soon_threadsafe if number % 3 else loop.call_soon)(made.append, number)
    loop.poll()
    assert made == list(range(100))


def test_events_flow_while_other_threads_wake(loop: Loop, peers: Peers) -> None:
    ended = threading.Event()

    def wake() -> None:
        while not ended.is_set():
            loop.wake()

    channel, peer = peers.channel(Recorder, loop.map, size=1)
    peer.send(b"x" * 500)
    helper = threading.Thread(target=wake)
    helper.start()
    try:
        poll_until(loop, lambda: len(channel.got) == 500, most=100_000)
    finally:
        ended.set()
        helper.join()
    assert channel.seen == ["read"] * 500


def test_a_call_queued_by_a_handler_ends_no_wait_too_late(loop: Loop, peers: Peers) -> None:
    class Queuer(Recorder):
        def handle_read(self) -> None:
            Recorder.handle_read(self)
            loop.call_soon(loop.stop)

    channel, peer = peers.channel(Queuer, loop.map)
    peer.send(b"x")
    loop.run()
    assert channel.got == b"x"


# What has replaced select.select runs other greenlets while it waits, and one of them runs ticks of the same loop: they
# see that the channel can be written, and write once. The wait must end for the rest.
ELSEWHERE = """
import select, socket
from cyncore import Loop, dispatcher

class Writer(dispatcher):
    left = 0
    def readable(self):
        return False
    def writable(self):
        return self.left > 0
    def handle_write(self):
        self.left -= 1
    def handle_error(self):
        raise

def wait(read, write, urgent, timeout=None):
    if writers and timeout != 0:
        writer = writers.pop()
        loop.poll(0)
        writer.left = 3
        loop.poll(0)
        loop.poll(0)
        ready = original(read, write, urgent, 0)
        print("ready" if any(ready) else "nothing to wake for")
        return ready
    return original(read, write, urgent, timeout)

original, writers = select.select, []
select.select = wait
near, far = socket.socketpair()
loop = Loop(backend="epoll")
channel = Writer(near, loop.map)
loop.poll(0)
writers.append(channel)
loop.poll(2)
channel.close()
far.close()
loop.close()
"""


@pytest.mark.skipif(not native or "epoll" not in BACKENDS, reason="of the compiled engine over epoll")
def test_ticks_of_another_greenlet_leave_a_wait_what_it_waits_for() -> None:
    assert run_script(ELSEWHERE) == "ready\n"
