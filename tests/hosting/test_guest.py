# SPDX-License-Identifier: MIT
"""`cyncore.asyncio.AsyncioLoop`: asyncio's code on the thread of a cyncore loop, whichever of the two runs."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from cyncore import BACKENDS, Loop, Stream, asyncore
from cyncore.asyncio import AsyncioLoop
from tests.support.certificates import certificate_fixture as certificate_fixture
from tests.support.certificates import client_tls_fixture as client_tls_fixture
from tests.support.certificates import server_tls_fixture as server_tls_fixture
from tests.support.peers import Peers, Recorder

PATIENCE = 10  # seconds until what hangs is given up

Main = Callable[[], Coroutine[Any, Any, Any]]


class Both:
    """A cyncore loop, asyncio on its thread, and a way to run a coroutine there."""

    def __init__(self, loop: Loop, way: str) -> None:
        self.loop = loop
        self.guest = AsyncioLoop(loop)
        self.way = way

    def run(self, main: Main) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(main(), PATIENCE)

        if self.way == "asyncio runs":
            return self.guest.run_until_complete(limited())
        task = self.guest.create_task(limited())
        task.add_done_callback(lambda _: self.loop.stop())
        self.loop.run()
        return task.result()


@pytest.fixture(params=BACKENDS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(backend=request.param) as made:
        yield made


@pytest.fixture(params=["asyncio runs", "cyncore runs"])
def both(request: pytest.FixtureRequest, loop: Loop) -> Iterator[Both]:
    made = Both(loop, request.param)
    yield made
    made.guest.run_until_complete(made.guest.shutdown_asyncgens())
    made.guest.run_until_complete(made.guest.shutdown_default_executor())
    made.guest.close()
    assert loop.map == {}


class Echo(Stream):
    def handle_data(self, data: bytes) -> None:
        self.write(data)


# What asyncio promises


def test_sleeps_end_in_order(both: Both) -> None:
    async def main() -> list[int]:
        woken: list[int] = []

        async def sleep(number: int) -> None:
            await asyncio.sleep(number / 100)
            woken.append(number)

        await asyncio.gather(sleep(3), sleep(1), sleep(2), sleep(0))
        return woken

    assert both.run(main) == [0, 1, 2, 3]


def test_sleep_is_not_too_short(both: Both) -> None:
    async def main() -> float:
        begin = time.monotonic()
        await asyncio.sleep(0.02)
        return time.monotonic() - begin

    assert both.run(main) >= 0.0199


def test_streams_echo(both: Both) -> None:
    async def main() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(100_000))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 100_000)
        got = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return got

    assert both.run(main) == b"x" * 100_000


def test_tls_echo(both: Both, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(5))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_tls, server_hostname="localhost"
        )
        writer.write(b"hello")
        got = await reader.readexactly(5)
        writer.close()
        server.close()
        await asyncio.sleep(0.05)
        return got

    assert both.run(main) == b"hello"


def test_sockets_of_the_program(both: Both, peers: Peers) -> None:
    ours, theirs = peers.pair()
    theirs.setblocking(False)

    async def main() -> bytes:
        running = asyncio.get_running_loop()
        receiver = asyncio.ensure_future(running.sock_recv(theirs, 10))
        await asyncio.sleep(0)
        await running.sock_sendall(ours, b"x")
        return await receiver

    assert both.run(main) == b"x"


def test_executor(both: Both) -> None:
    async def main() -> list[int]:
        running = asyncio.get_running_loop()
        return list(await asyncio.gather(*(running.run_in_executor(None, abs, -number) for number in range(50))))

    assert both.run(main) == list(range(50))


def test_subprocess(both: Both) -> None:
    async def main() -> tuple[bytes, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(input())", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(b"hello\n")
        return out, process.returncode

    assert both.run(main) == (b"hello\n", 0)


def test_cancelled_task_says_so(both: Both) -> None:
    async def main() -> bool:
        task = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert both.run(main)


def test_time_limit_passes(both: Both) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)

    both.run(main)


def test_calls_of_threads_are_made_in_order(both: Both) -> None:
    async def main() -> list[int]:
        running = asyncio.get_running_loop()
        called: list[int] = []
        done = asyncio.Event()

        def work() -> None:
            for number in range(1000):
                running.call_soon_threadsafe(called.append, number)
            running.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=work)
        thread.start()
        await done.wait()
        thread.join()
        return called

    assert both.run(main) == list(range(1000))


def test_handler_of_a_signal(both: Both) -> None:
    async def main() -> None:
        running = asyncio.get_running_loop()
        came = asyncio.Event()
        running.add_signal_handler(signal.SIGUSR1, came.set)
        timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR1])
        timer.start()
        await came.wait()
        timer.join()
        running.remove_signal_handler(signal.SIGUSR1)

    both.run(main)


def test_datagrams(both: Both) -> None:
    async def main() -> bytes:
        running = asyncio.get_running_loop()
        got = running.create_future()

        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                got.set_result(data)

        receiver, _ = await running.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
        sender, _ = await running.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
        )
        sender.sendto(b"x")
        data: bytes = await got
        receiver.close()
        sender.close()
        await asyncio.sleep(0)
        return data

    assert both.run(main) == b"x"


def test_timer_that_was_cancelled_is_not_called(both: Both) -> None:
    async def main() -> list[str]:
        called: list[str] = []
        asyncio.get_running_loop().call_later(0.01, called.append, "never").cancel()
        asyncio.get_running_loop().call_later(0.02, called.append, "timer")
        await asyncio.sleep(0.03)
        return called

    assert both.run(main) == ["timer"]


def test_handles_know_who_has_made_them(both: Both) -> None:
    both.guest.set_debug(True)
    for handle in (both.guest.call_soon(int), both.guest.call_later(60, int)):
        assert handle._source_traceback[-1].filename == __file__  # type: ignore[union-attr]
        handle.cancel()


def test_aiohttp_serves_and_asks(both: Both) -> None:
    web = pytest.importorskip("aiohttp.web")
    import aiohttp

    async def answer(request: Any) -> Any:
        return web.Response(text=f"{request.path} {await request.text()}")

    async def main() -> list[str]:
        application = web.Application()
        application.router.add_post("/{tail:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (address,) = runner.addresses
        async with aiohttp.ClientSession() as session:

            async def ask(number: int) -> str:
                url = f"http://{address[0]}:{address[1]}/{number}"
                async with session.post(url, data=b"x" * number) as response:
                    return str(await response.text())

            answers = await asyncio.gather(*(ask(number) for number in range(20)))
        await runner.cleanup()
        return list(answers)

    assert both.run(main) == [f"/{number} {'x' * number}" for number in range(20)]


# Beside cyncore's channels


def test_channels_are_served_beside_it(both: Both) -> None:
    async def main() -> bytes:
        server = both.loop.listen(("127.0.0.1", 0), Echo)
        reader, writer = await asyncio.open_connection(*server.address)
        got = b""
        for _ in range(10):
            writer.write(b"hello")
            got += await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        server.close()
        return got

    assert both.run(main) == b"hello" * 10


def test_both_are_in_one_thread(both: Both, peers: Peers) -> None:
    threads: set[int] = set()

    class Reader(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            threads.add(threading.get_ident())
            both.guest.call_soon(done.set)

    async def main() -> None:
        threads.add(threading.get_ident())
        channel, peer = peers.channel(Reader, both.loop.map)
        peer.send(b"x")
        await done.wait()
        channel.close()

    done = asyncio.Event()
    both.run(main)
    assert threads == {threading.get_ident()}


def test_handler_of_a_channel_may_make_a_task(both: Both, peers: Peers) -> None:
    async def main() -> bytes:
        channel, peer = peers.channel(Spawning, both.loop.map)
        peer.send(b"x")
        await tasks.wait()
        channel.close()
        return await made[0]

    class Spawning(Recorder):
        def handle_read(self) -> None:
            made.append(both.guest.create_task(later(self.recv(10))))
            tasks.set()

    async def later(data: bytes) -> bytes:
        await asyncio.sleep(0.01)
        return data * 2

    tasks = asyncio.Event()
    made: list[asyncio.Task[bytes]] = []
    assert both.run(main) == b"xx"


def test_timers_of_both_are_called(both: Both) -> None:
    async def main() -> list[str]:
        called: list[str] = []
        both.loop.call_later(0.01, called.append, "cyncore 10")
        asyncio.get_running_loop().call_later(0.02, called.append, "asyncio 20")
        both.loop.call_later(0.03, called.append, "cyncore 30")
        while len(called) < 3:
            await asyncio.sleep(0.01)
        return called

    assert sorted(both.run(main)) == ["asyncio 20", "cyncore 10", "cyncore 30"]


def test_error_of_a_task_does_not_end_the_loop(both: Both, peers: Peers) -> None:
    told: list[Any] = []
    both.guest.set_exception_handler(lambda _, context: told.append(context["exception"]))

    async def main() -> bytes:
        asyncio.get_running_loop().call_soon(bad)
        await asyncio.sleep(0)
        channel, peer = peers.channel(Recorder, both.loop.map)
        peer.send(b"x")
        while not channel.got:
            await asyncio.sleep(0)
        channel.close()
        got: bytes = channel.got
        return got

    def bad() -> None:
        raise ValueError("of asyncio")

    assert both.run(main) == b"x"
    assert [str(error) for error in told] == ["of asyncio"]


def test_error_of_a_channel_stays_there(both: Both, peers: Peers) -> None:
    class Bad(Recorder):
        def handle_read(self) -> None:
            raise ValueError("of cyncore")

    async def main() -> list[str]:
        channel, peer = peers.channel(Bad, both.loop.map)
        peer.send(b"x")
        while not channel.seen:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        seen: list[str] = channel.seen
        return seen

    assert both.run(main)[0].startswith("error ValueError")


class Leaving(Recorder):
    """What its handler raises leaves the loop."""

    error: type[BaseException] = ValueError

    def handle_read(self) -> None:
        self.close()
        raise self.error("leaves the loop")

    def handle_error(self) -> None:
        raise


def test_error_that_leaves_the_cyncore_loop_is_told_to_asyncio(loop: Loop, peers: Peers) -> None:
    both = Both(loop, "asyncio runs")
    told: list[Any] = []
    both.guest.set_exception_handler(lambda _, context: told.append(context["exception"]))

    async def main() -> None:
        _, peer = peers.channel(Leaving, loop.map)
        peer.send(b"x")
        while not told:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)

    both.run(main)
    both.guest.close()
    assert [str(error) for error in told] == ["leaves the loop"]


def test_error_that_leaves_the_cyncore_loop_leaves_its_own_run(loop: Loop, peers: Peers) -> None:
    guest = AsyncioLoop(loop)
    _, peer = peers.channel(Leaving, loop.map)
    peer.send(b"x")
    with pytest.raises(ValueError, match="leaves the loop"):
        loop.run()
    assert guest.run_until_complete(asyncio.sleep(0, "goes on")) == "goes on"
    guest.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_leaves_both(both: Both, error: type[BaseException]) -> None:
    async def main() -> None:
        both.loop.call_soon(leave)
        await asyncio.sleep(60)

    def leave() -> None:
        raise error

    with pytest.raises(error):
        both.run(main)
    tasks = asyncio.all_tasks(both.guest)
    for task in tasks:
        task.cancel()
    both.guest.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def test_close_all_does_not_make_asyncio_deaf(both: Both, peers: Peers) -> None:
    ours, theirs = peers.pair()
    theirs.setblocking(False)

    async def main() -> bytes:
        asyncore.close_all(both.loop.map)
        asyncio.get_running_loop().call_later(0.01, ours.send, b"x")
        return await asyncio.get_running_loop().sock_recv(theirs, 10)

    assert both.run(main) == b"x"


# Ends


def test_stop_of_asyncio_ends_the_run_of_either(both: Both) -> None:
    both.guest.call_later(0.01, both.guest.stop)
    if both.way == "asyncio runs":
        both.guest.run_forever()
    else:
        both.loop.run()


def test_stop_of_cyncore_ends_the_run_of_either(both: Both) -> None:
    both.loop.call_later(0.01, both.loop.stop)
    if both.way == "asyncio runs":
        both.guest.run_forever()
    else:
        both.loop.run()


def test_stop_of_cyncore_does_not_take_a_future_from_who_waits(loop: Loop) -> None:
    both = Both(loop, "asyncio runs")

    async def main() -> str:
        loop.stop()
        await asyncio.sleep(0.01)
        return "done"

    assert both.run(main) == "done"
    both.guest.close()


def test_coroutine_may_be_run_inside_a_handler(loop: Loop) -> None:
    guest = AsyncioLoop(loop)
    found: list[int] = []
    loop.call_soon(lambda: found.append(guest.run_until_complete(asyncio.sleep(0.01, 7))))
    loop.call_later(0.05, loop.stop)
    loop.run()
    guest.close()
    assert found == [7]


def test_a_loop_of_its_own_is_closed_with_it() -> None:
    guest = AsyncioLoop()
    inner = guest.cyncore_loop
    assert guest.run_until_complete(asyncio.sleep(0, 7)) == 7
    guest.close()
    guest.close()
    assert inner.closed


def test_it_cannot_be_closed_while_it_runs() -> None:
    guest = AsyncioLoop()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="running event loop"):
            guest.close()

    guest.run_until_complete(main())
    guest.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is of Python 3.11")
def test_runner_takes_it() -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__name__

    with asyncio.Runner(loop_factory=AsyncioLoop) as runner:
        assert runner.run(main()) == "AsyncioLoop"


def test_socket_map_of_old_programs(peers: Peers) -> None:
    guest = AsyncioLoop(Loop.of(asyncore.socket_map))
    channel, peer = peers.channel(Recorder, None)

    async def main() -> None:
        peer.send(b"x")
        while not channel.got:
            await asyncio.sleep(0)
        guest.call_soon(close)

    def close() -> None:
        channel.close()
        guest.cyncore_loop.stop()

    guest.create_task(main())
    asyncore.loop()
    guest.close()
    assert channel.got == b"x"


def test_idle_loops_do_nothing(both: Both) -> None:
    rounds: list[float | None] = []
    selector = both.guest._selector  # type: ignore[attr-defined]
    select = selector.select

    def counting(timeout: float | None = None) -> Any:
        rounds.append(timeout)
        return select(timeout)

    selector.select = counting

    async def main() -> int:
        await asyncio.sleep(0.01)
        before = len(rounds)
        await asyncio.sleep(0.2)
        return len(rounds) - before

    assert both.run(main) < 10
    del selector.select
