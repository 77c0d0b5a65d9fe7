# SPDX-License-Identifier: MIT
"""What docs/loop.md shows is what happens: the first program, hosting by asyncio, the handlers of signals."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from cyncore import Loop, dispatcher, dispatcher_with_send
from cyncore.asyncore import ExitNow
from tests.support.docs import block
from tests.support.examples import PATIENCE
from tests.support.peers import Peers, Recorder
from tests.support.script import run_script

PAGE = "docs/loop.md"


def test_first_program_serves_and_ends() -> None:
    assert run_script(block(PAGE, "class Printer")) == "hello\n"


# Hosted by asyncio


@pytest.fixture
def hosted() -> Iterator[Loop]:
    """A loop that can be hosted."""
    with Loop() as loop:
        yield loop


def host(loop: Loop, body: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    """Runs ``body`` in asyncio as the page says, with a limit to what would hang."""

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.add_reader(loop.fileno(), loop.poll, 0)
        try:
            await asyncio.wait_for(body(running), PATIENCE)
        finally:
            running.remove_reader(loop.fileno())

    asyncio.run(main())


def test_recipe_for_asyncio_is_complete(hosted: Loop) -> None:
    assert run_script(block(PAGE, "add_reader")) == "b'HELLO'\n"


def test_timer_set_by_the_host_is_called(hosted: Loop) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        done = running.create_future()
        hosted.call_later(0.05, done.set_result, None)
        await done
        done = running.create_future()
        hosted.call_later(0.05, hosted.call_later, 0.05, done.set_result, None)
        await done

    host(hosted, body)


def test_call_queued_by_the_host_is_made(hosted: Loop) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        for queue in (hosted.call_soon, hosted.call_soon_threadsafe):
            done = running.create_future()
            queue(queue, done.set_result, None)  # the call that it queues comes, too
            await done

    host(hosted, body)


def test_call_of_a_thread_is_made(hosted: Loop) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        done = running.create_future()
        thread = threading.Thread(target=hosted.call_soon_threadsafe, args=(done.set_result, None))
        thread.start()
        await done
        thread.join()

    host(hosted, body)


def test_channel_made_by_the_host_is_served(hosted: Loop, peers: Peers) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        channel, peer = peers.channel(Recorder, hosted.map)
        peer.send(b"x")
        while not channel.got:
            await asyncio.sleep(0.001)
        channel.close()

    host(hosted, body)


def test_output_that_the_host_leaves_waiting_is_sent(hosted: Loop, peers: Peers) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        channel, peer = peers.channel(dispatcher_with_send, hosted.map)
        peer.setblocking(False)
        data = bytes(3_000_000)
        channel.send(data)
        assert channel.out_buffer
        left = len(data)
        while left:
            left -= len(await running.sock_recv(peer, 65536))
        channel.close()

    host(hosted, body)


def test_reading_that_the_host_resumes_goes_on(hosted: Loop, peers: Peers) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        channel, peer = peers.channel(Recorder, hosted.map)
        channel.pause_reading()
        peer.send(b"x")
        done = running.create_future()
        hosted.call_soon(done.set_result, None)
        await done
        assert not channel.got
        channel.resume_reading()
        while not channel.got:
            await asyncio.sleep(0.001)
        channel.close()

    host(hosted, body)


def test_attribute_that_the_host_sets_changes_an_answer(hosted: Loop, peers: Peers) -> None:
    class Writer(dispatcher):
        wants = False

        def writable(self) -> bool:
            return self.wants

        def handle_write(self) -> None:
            self.wants = False
            self.send(b"x")

    async def body(running: asyncio.AbstractEventLoop) -> None:
        channel, peer = peers.channel(Writer, hosted.map)
        peer.setblocking(False)
        done = running.create_future()
        hosted.call_soon(done.set_result, None)
        await done
        channel.wants = True
        assert await running.sock_recv(peer, 10) == b"x"
        channel.close()

    host(hosted, body)


def test_idle_loop_costs_its_host_nothing(hosted: Loop, peers: Peers) -> None:
    polls = []

    async def main() -> None:
        running = asyncio.get_running_loop()
        channel, _ = peers.channel(Recorder, hosted.map)
        hosted.call_later(PATIENCE * 2, hosted.stop)
        running.add_reader(hosted.fileno(), lambda: polls.append(hosted.poll(0)))
        await asyncio.sleep(0.2)
        before = len(polls)
        await asyncio.sleep(0.2)
        assert len(polls) == before
        running.remove_reader(hosted.fileno())
        channel.close()

    asyncio.run(main())


def failing(error: type[BaseException]) -> type[dispatcher]:
    class Failing(Recorder):
        def handle_read(self) -> None:
            self.recv(100)
            raise error

    return Failing


def test_exit_now_of_a_handler_is_logged_by_asyncio(hosted: Loop, peers: Peers) -> None:
    async def body(running: asyncio.AbstractEventLoop) -> None:
        logged = running.create_future()
        running.set_exception_handler(lambda _, context: logged.set_result(context["exception"]))
        assert type(await logged) is ExitNow

    channel, peer = peers.channel(failing(ExitNow), hosted.map)
    peer.send(b"x")
    host(hosted, body)
    channel.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_ends_asyncio_too(hosted: Loop, peers: Peers, error: type[BaseException]) -> None:
    channel, peer = peers.channel(failing(error), hosted.map)
    peer.send(b"x")

    async def body(running: asyncio.AbstractEventLoop) -> None:
        await running.create_future()

    with pytest.raises(error):
        host(hosted, body)
    channel.close()


def test_loop_in_a_thread_and_asyncio_call_each_other(loop: Loop) -> None:
    thread = threading.Thread(target=loop.run, kwargs={"forever": True})
    thread.start()

    async def main() -> str:
        running = asyncio.get_running_loop()
        done = running.create_future()
        loop.call_soon_threadsafe(running.call_soon_threadsafe, done.set_result, "called")
        return str(await asyncio.wait_for(done, PATIENCE))

    try:
        assert asyncio.run(main()) == "called"
    finally:
        loop.stop()
        thread.join()


# Signals


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals here")
def test_signals_stop_the_loop_and_queue_calls() -> None:
    script = block(PAGE, "signal.SIGTERM").replace("loop.run(", "print('runs', flush=True)\nloop.run(")
    words = [sys.executable, "-u", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        limit = threading.Timer(PATIENCE, process.kill)
        limit.start()
        assert process.stdout.readline() == "runs\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "read the settings again\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\n"
        assert process.wait() == 0
        limit.cancel()
        limit.join()
