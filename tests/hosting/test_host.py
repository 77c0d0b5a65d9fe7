# SPDX-License-Identifier: MIT
"""`cyncore.asyncio.host`: an asyncio loop serves a cyncore loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import cyncore
from cyncore import Loop, Stream, dispatcher_with_send
from cyncore.asyncio import Hosting, host
from cyncore.asyncore import ExitNow, file_dispatcher
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder

pytestmark = every_backend
PATIENCE = 10  # seconds until what hangs is given up

Main = Callable[[], Coroutine[Any, Any, Any]]


def run_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    running = uvloop.new_event_loop()
    try:
        return running.run_until_complete(main)
    finally:
        running.close()


try:
    import uvloop
except ImportError:  # no wheel of it for this Python
    HOSTS = {"asyncio": asyncio.run}
else:
    HOSTS = {"asyncio": asyncio.run, "uvloop": run_uvloop}
    run_uvloop(asyncio.sleep(0))  # it keeps a pipe for good, which no test has left behind


@pytest.fixture(params=HOSTS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs a coroutine in a loop of that library, with a limit."""

    def in_time(main: Main) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(main(), PATIENCE)

        return HOSTS[request.param](limited())

    return in_time


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


async def settled() -> None:
    """Lets the asyncio loop make a few rounds."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_server_of_streams_answers_clients_of_asyncio(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> bytes:
        server = loop.listen(("127.0.0.1", 0), Echo)
        with host(loop):
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"hello")
            answer = await reader.readexactly(5)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        server.close()
        return answer

    assert run(main) == b"hello"


def test_timer_set_by_either_side_is_called(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> list[str]:
        done = asyncio.get_running_loop().create_future()
        called: list[str] = []
        with host(loop):
            loop.call_later(60, called.append, "late")
            loop.call_later(0.01, loop.call_later, 0.01, lambda: done.set_result(called.append("inner")))
            loop.call_later(0.005, called.append, "early")
            await done
        return called

    assert run(main) == ["early", "inner"]


def test_timer_that_was_set_before_it_was_hosted_is_called(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        done = asyncio.get_running_loop().create_future()
        loop.call_later(0.01, done.set_result, None)
        with host(loop):
            await done

    run(main)


def test_timer_that_was_taken_back_is_not_called(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> list[str]:
        called: list[str] = []
        with host(loop):
            loop.call_later(0.01, called.append, "never").cancel()
            await asyncio.sleep(0.03)
        return called

    assert run(main) == []


def test_calls_are_made_in_order(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> list[int]:
        done = asyncio.get_running_loop().create_future()
        called: list[int] = []
        with host(loop):
            for number in range(5):
                loop.call_soon(called.append, number)
            loop.call_soon(loop.call_soon, done.set_result, None)
            await done
        return called

    assert run(main) == [0, 1, 2, 3, 4]


def test_call_of_a_thread_is_made(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        done = asyncio.get_running_loop().create_future()
        with host(loop):
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set_result, None))
            thread.start()
            await done
            thread.join()

    run(main)


def test_channel_that_asyncio_code_makes_is_served(loop: Loop, peers: Peers, run: Callable[[Main], Any]) -> None:
    async def main() -> bytes:
        done = asyncio.get_running_loop().create_future()

        class Reader(Recorder):
            def handle_read(self) -> None:
                done.set_result(self.recv(10))

        with host(loop):
            await settled()
            _, peer = peers.channel(Reader, loop.map)
            peer.send(b"x")
            found: bytes = await done
            return found

    assert run(main) == b"x"


def test_output_of_asyncio_code_is_sent(loop: Loop, peers: Peers, run: Callable[[Main], Any]) -> None:
    async def main() -> int:
        channel, peer = peers.channel(dispatcher_with_send, loop.map)
        peer.setblocking(False)
        with host(loop):
            await settled()
            channel.send(bytes(3_000_000))
            got = 0
            while got < 3_000_000:
                got += len(await asyncio.get_running_loop().sock_recv(peer, 65536))
        return got

    assert run(main) == 3_000_000


def test_reading_that_asyncio_code_resumes_goes_on(loop: Loop, peers: Peers, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        channel, peer = peers.channel(Recorder, loop.map)
        with host(loop):
            channel.pause_reading()
            peer.send(b"x")
            await settled()
            assert channel.got == b""
            channel.resume_reading()
            while not channel.got:
                await asyncio.sleep(0)

    run(main)


def test_attribute_that_asyncio_code_sets_changes_an_answer(
    loop: Loop, peers: Peers, run: Callable[[Main], Any]
) -> None:
    class Writer(cyncore.dispatcher):
        wants = False

        def writable(self) -> bool:
            return self.wants

        def handle_write(self) -> None:
            self.wants = False
            self.send(b"x")

    async def main() -> bytes:
        channel, peer = peers.channel(Writer, loop.map)
        peer.setblocking(False)
        with host(loop):
            await settled()
            channel.wants = True
            return await asyncio.get_running_loop().sock_recv(peer, 10)

    assert run(main) == b"x"


def test_idle_loop_is_not_polled(loop: Loop, peers: Peers, run: Callable[[Main], Any]) -> None:
    polls: list[int] = []

    class Counted(Hosting):
        def _serve(self) -> None:
            polls.append(1)
            super()._serve()

    async def main() -> None:
        peers.channel(Recorder, loop.map)
        loop.call_later(60, print)
        with Counted(loop, asyncio.get_running_loop()):
            await asyncio.sleep(0.05)
            before = len(polls)
            await asyncio.sleep(0.2)
            assert len(polls) == before

    run(main)


def test_each_event_has_one_tick(loop: Loop, peers: Peers) -> None:
    ticks: list[int] = []

    class Counted(Hosting):
        def _serve(self) -> None:
            ticks.append(1)
            super()._serve()

    async def main() -> None:
        got: asyncio.Queue[bytes] = asyncio.Queue()

        class Reader(Recorder):
            def handle_read(self) -> None:
                got.put_nowait(self.recv(10))

        _, peer = peers.channel(Reader, loop.map)
        with Counted(loop, asyncio.get_running_loop()):
            await settled()
            before = len(ticks)
            for _ in range(10):
                peer.send(b"x")
                await got.get()
            await settled()
            assert len(ticks) - before == 10

    asyncio.run(main())


@pytest.mark.skipif(not cyncore.native, reason="the engine in plain Python has a tick for whatever is changed")
def test_output_that_is_sent_at_once_has_no_tick(loop: Loop, peers: Peers) -> None:
    ticks: list[int] = []

    class Counted(Hosting):
        def _serve(self) -> None:
            ticks.append(1)
            super()._serve()

    async def main() -> bytes:
        ours, theirs = peers.pair()
        stream = Stream(ours, loop=loop)
        with Counted(loop, asyncio.get_running_loop()):
            await settled()
            before = len(ticks)
            for _ in range(10):
                stream.write(b"x")
                await settled()
            assert len(ticks) == before
        stream.abort()
        return theirs.recv(100)

    assert asyncio.run(main()) == b"x" * 10


def test_stop_ends_it_and_another_may_begin(loop: Loop, peers: Peers, run: Callable[[Main], Any]) -> None:
    async def main() -> bytes:
        channel, peer = peers.channel(Recorder, loop.map)
        hosting = host(loop)
        assert not hosting.ended
        hosting.stop()
        hosting.stop()
        assert hosting.ended
        await hosting.wait()
        peer.send(b"x")
        await settled()
        assert channel.got == b""
        with host(loop):
            while not channel.got:
                await asyncio.sleep(0)
        got: bytes = channel.got
        return got

    assert run(main) == b"x"


def test_it_can_be_run_by_itself_afterwards(loop: Loop, peers: Peers) -> None:
    async def main() -> None:
        with host(loop):
            await settled()

    asyncio.run(main())
    called: list[str] = []
    channel, peer = peers.channel(Recorder, loop.map)
    peer.send(b"x")
    loop.call_later(0.02, called.append, "timer")
    loop.call_later(0.03, loop.stop)
    loop.run()
    assert (channel.got, called) == (b"x", ["timer"])


def test_stop_of_the_loop_ends_it(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        with host(loop) as hosting:
            loop.call_later(0.01, loop.stop)
            await hosting.wait()
            assert hosting.error is None

    run(main)


def test_stop_by_a_thread_ends_it(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        with host(loop) as hosting:
            thread = threading.Thread(target=loop.stop)
            thread.start()
            await hosting.wait()
            thread.join()

    run(main)


def test_drain_ends_it(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        loop.listen(("127.0.0.1", 0), Echo)
        with host(loop) as hosting:
            loop.drain(0.1)
            await hosting.wait()

    run(main)


def test_handler_of_a_signal_may_stop_it(loop: Loop) -> None:
    async def main() -> None:
        before = signal.signal(signal.SIGUSR1, lambda number, frame: loop.stop())
        try:
            with host(loop) as hosting:
                await settled()
                limit = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR1])
                limit.start()
                await asyncio.wait_for(hosting.wait(), PATIENCE)
                limit.join()
        finally:
            signal.signal(signal.SIGUSR1, before)

    asyncio.run(main())


def failing(error: type[BaseException]) -> type[Recorder]:
    class Failing(Recorder):
        def handle_read(self) -> None:
            self.recv(100)
            raise error("by a handler")

        def handle_error(self) -> None:
            raise

    return Failing


def test_error_that_leaves_the_loop_is_told_to_asyncio_and_ends_it(
    loop: Loop, peers: Peers, run: Callable[[Main], Any]
) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        _, peer = peers.channel(failing(ValueError), loop.map)
        peer.send(b"x")
        with host(loop) as hosting:
            with pytest.raises(ValueError, match="by a handler"):
                await hosting.wait()
            assert hosting.ended
        (context,) = told
        assert context["exception"] is hosting.error
        assert context["cyncore_loop"] is loop
        assert "is served no more" in context["message"]

    run(main)


def test_exit_now_ends_it_and_is_told_to_who_waits(loop: Loop, peers: Peers, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        _, peer = peers.channel(failing(ExitNow), loop.map)
        peer.send(b"x")
        with host(loop) as hosting, pytest.raises(ExitNow):
            await hosting.wait()
        assert told == []

    run(main)


def test_error_of_a_handler_stays_in_its_channel(
    loop: Loop, peers: Peers, run: Callable[[Main], Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Bad(Recorder):
        def handle_read(self) -> None:
            raise ValueError("by a handler")

        def handle_error(self) -> None:
            self.close()

    async def main() -> bytes:
        bad, to_bad = peers.channel(Bad, loop.map)
        good, to_good = peers.channel(Recorder, loop.map)
        with host(loop) as hosting:
            to_bad.send(b"x")
            to_good.send(b"x")
            while bad.socket is not None and bad._fileno is not None:
                await asyncio.sleep(0)
            while not good.got:
                await asyncio.sleep(0)
            assert not hosting.ended
        got: bytes = good.got
        return got

    assert run(main) == b"x"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_ends_asyncio(loop: Loop, peers: Peers, error: type[BaseException]) -> None:
    _, peer = peers.channel(failing(error), loop.map)
    peer.send(b"x")

    async def main() -> None:
        with host(loop) as hosting:
            await hosting.wait()

    with pytest.raises(error):
        asyncio.run(main())


def test_loop_that_was_closed_ends_it(loop: Loop, run: Callable[[Main], Any]) -> None:
    async def main() -> None:
        made = Loop(backend=loop.backend)
        with host(made) as hosting:
            made.call_soon(print)  # something to do, when it is not there any more
            asyncio.get_running_loop().call_soon(hosting.stop)
            await hosting.wait()
        made.close()

    run(main)


def test_close_of_the_loop_ends_it_and_leaves_nothing_watched(loop: Loop, run: Callable[[Main], Any]) -> None:
    """asyncio went on to watch a number that was another file's by then, and uvloop aborted the process."""

    async def main() -> None:
        made = Loop(backend=loop.backend)
        hosting = host(made)
        made.close()
        assert hosting.ended
        await hosting.wait()
        await asyncio.sleep(0)
        with host(Loop(backend=loop.backend)) as other:
            other.loop.call_soon(other.loop.stop)
            await other.wait()
        other.loop.close()

    run(main)


def test_loop_whose_host_has_been_closed_may_be_hosted_again(loop: Loop) -> None:
    async def forget() -> Hosting:
        return host(loop)

    async def main() -> None:
        hosting = host(loop)
        loop.call_soon(loop.stop)
        await hosting.wait()

    first = asyncio.run(forget())
    asyncio.run(main())
    assert first.ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("closes", [False, True])
def test_child_of_a_fork_takes_nothing_from_the_parents_host(loop: Loop, closes: bool) -> None:
    """In plain Python the child took the wake-up out of the parent's epoll."""

    async def main() -> None:
        made = Loop(backend=loop.backend)
        with host(made) as hosting:
            pid = os.fork()
            if pid == 0:
                if closes:
                    made.close()
                os._exit(0)
            os.waitpid(pid, 0)
            made.call_soon(made.stop)
            await asyncio.wait_for(hosting.wait(), PATIENCE)
        made.close()

    asyncio.run(main())


def test_tls_of_streams_is_served(loop: Loop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> bytes:
        server = loop.listen(("127.0.0.1", 0), Echo, tls=server_tls)
        with host(loop):
            reader, writer = await asyncio.open_connection(*server.address, ssl=client_tls, server_hostname="localhost")
            writer.write(b"x" * 100_000)
            got = await reader.readexactly(100_000)
            writer.close()
            await settled()
        server.close()
        return got

    assert asyncio.run(main()) == b"x" * 100_000


def test_regular_file_is_served(loop: Loop, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text")

    async def main() -> bytes:
        done = asyncio.get_running_loop().create_future()

        class Reader(file_dispatcher):
            def handle_read(self) -> None:
                done.set_result(self.recv(100))
                self.close()

        with host(loop), path.open("rb") as file:
            await settled()
            Reader(file.fileno(), loop.map)
            found: bytes = await asyncio.wait_for(done, PATIENCE)
            return found

    assert asyncio.run(main()) == b"text"


def test_descriptor_that_was_closed_behind_its_back_costs_its_channel(loop: Loop, peers: Peers) -> None:
    closed: list[str] = []

    class Lost(Recorder):
        def handle_close(self) -> None:
            closed.append("lost")
            self.del_channel()

    async def main() -> None:
        ours, theirs = socket.socketpair()
        Lost(ours, loop.map)
        _, peer = peers.channel(Recorder, loop.map)
        with host(loop) as hosting:
            await settled()
            socket.close(ours.fileno())
            while not closed:
                peer.send(b"x")
                await asyncio.sleep(0.002)
            assert not hosting.ended
        ours.detach()
        theirs.close()

    asyncio.run(main())


# What is refused


def test_two_hosts_are_refused(loop: Loop) -> None:
    async def main() -> None:
        with host(loop):
            with pytest.raises(RuntimeError, match="is hosted already"):
                host(loop)
            await settled()

    asyncio.run(main())


def test_loop_that_runs_is_refused(loop: Loop) -> None:
    errors: list[BaseException] = []

    async def main() -> None:
        try:
            host(loop)
        except RuntimeError as error:
            errors.append(error)

    loop.call_soon(lambda: asyncio.run(main()))
    loop.poll(0)
    assert "cannot be hosted while it runs" in str(errors[0])


def test_without_a_running_loop_it_is_refused(loop: Loop) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        host(loop)


def test_loop_that_watches_no_descriptors_is_refused(loop: Loop) -> None:
    class Proactor(asyncio.SelectorEventLoop):
        def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
            raise NotImplementedError

    proactor = Proactor()
    with pytest.raises(NotImplementedError, match="watches no descriptors"):
        host(loop, proactor)
    proactor.close()


def test_closed_loop_is_refused(loop: Loop) -> None:
    loop.close()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="is closed"):
            host(loop)

    asyncio.run(main())
