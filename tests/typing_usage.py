# SPDX-License-Identifier: MIT
"""A program against the public API, for mypy in strict mode: what a user writes must pass, and what is wrong must not.

Each ``type: ignore`` below is a mistake that the types have to catch; mypy reports those that it does not need. No test
imports this file, but it runs: ``python tests/typing_usage.py``.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import cyncore
import cyncore.asyncore as asyncore
import cyncore.wasyncore as wasyncore

HELLO = b"hello"


class Greeter(cyncore.dispatcher):
    """Sends one greeting."""

    def __init__(self, sock: socket.socket, loop: cyncore.Loop) -> None:
        super().__init__(sock, loop.map)
        self.greeted = False

    def writable(self) -> bool:
        return not self.greeted

    def handle_write(self) -> None:
        sent: int = self.send(HELLO)
        self.greeted = sent == len(HELLO)

    def handle_close(self) -> None:
        self.close()


class Listener(cyncore.dispatcher_with_send):
    """Reads until its peer is told enough."""

    def __init__(self, sock: socket.socket, loop: cyncore.Loop) -> None:
        super().__init__(sock, loop.map)
        self.loop = loop
        self.heard = b""

    def handle_read(self) -> None:
        data: bytes = self.recv(8192)
        self.heard += data
        self.pause_reading()
        again: cyncore.TimerHandle = self.loop.call_later(0.0, self.resume_reading)
        if self.heard == b"STARTTLS":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.start_tls(context, server_side=True, deadline=None)
        moment: float = again.when()
        if self.heard == HELLO and moment >= 0:
            self.loop.stop()


class Server(cyncore.dispatcher):
    def __init__(self, loop: cyncore.Loop) -> None:
        super().__init__(map=loop.map)
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", 0))
        self.listen(8)

    def handle_accept(self) -> None:
        pair: tuple[socket.socket, Any] | None = self.accept()
        if pair is not None:
            self.handle_accepted(*pair)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        sock.close()


class PatientLoop(cyncore.Loop):
    """Counts what its callbacks raise."""

    failures = 0

    def handle_exception(self, error: BaseException, handle: cyncore.Handle) -> None:
        self.failures += not handle.cancelled()


class OldEcho(asyncore.dispatcher_with_send):
    """A program of the old kind."""

    def handle_read(self) -> None:
        self.send(self.recv(8192))

    def handle_expt(self) -> None:
        raise asyncore.ExitNow


class Channel(wasyncore.dispatcher):
    """As waitress has them."""

    def handle_write(self) -> None:
        sent: int = self.send(HELLO, do_close=False)
        self.logger.info("sent %d", sent)
        self.log_info(self.compact_traceback()[3], "error")
        wasyncore.loop(use_poll=True, map={}, timeout=0.0)

    def mistakes(self) -> None:
        self.send(HELLO, "yes")  # type: ignore[arg-type]
        cyncore.install(replace_copies=[1])  # type: ignore[list-item]


class Sender(cyncore.Datagram):
    max_output = None

    def handle_datagram(self, data: bytes, address: tuple[str, int]) -> None:
        self.send(data, address)

    def handle_send_error(self, error: Exception, address: object) -> None:
        self.abort()


class Answerer(cyncore.Datagram):
    wants_destination = True

    def handle_datagram(self, data: bytes, address: tuple[str, int], destination: tuple[str, int]) -> None:
        self.send(data, address, source=destination)


def datagrams(loop: cyncore.Loop) -> None:
    sender: Sender = loop.bind(("127.0.0.1", 0), Sender, reuse_port=True)
    answerer: Answerer = loop.bind(None, Answerer, remote=sender.address)
    sender.send("text", answerer.address)  # type: ignore[arg-type]
    sender.join("239.1.2.3", "lo")
    sender.ttl = 3
    waits: int = answerer.output_size
    assert waits == 0
    for one in (sender, answerer):
        one.abort()


class Wrong(cyncore.dispatcher):
    def handle_read(self, data: bytes) -> None:  # type: ignore[override]
        """Handlers take no arguments."""

    def handle_accept(self, sock: socket.socket) -> None:  # type: ignore[override]
        """That is handle_accepted."""

    def readable(self) -> str:  # type: ignore[override]
        """A predicate answers yes or no."""
        return ""

    def mistakes(self, loop: cyncore.Loop) -> None:
        loop.call_soon("not callable")  # type: ignore[arg-type]
        loop.call_later(None, self.close)  # type: ignore[arg-type]
        loop.run(True)  # type: ignore[call-arg]
        loop.backend = "poll"  # type: ignore[misc]
        self.recv("8192")  # type: ignore[arg-type]
        self.connected = None  # type: ignore[assignment]
        asyncore.loop(timeout="1")  # type: ignore[arg-type]


def greet() -> None:
    one, other = socket.socketpair()
    with PatientLoop(backend=None, debug=True) as loop:
        same: PatientLoop = loop
        greeter, listener, server = Greeter(one, loop), Listener(other, loop), Server(loop)
        soon: cyncore.Handle = loop.call_soon(int, "not a number")
        from_a_thread: cyncore.Handle = loop.call_soon_threadsafe(soon.cancelled)
        late: cyncore.TimerHandle = loop.call_at(same.time() + 60.0, print, "too late")
        deadline: float | None = loop.next_deadline()
        stats: cyncore.LoopStats = loop.stats()
        lag: float = stats.lag.quantile(0.99)
        known: list[cyncore.ChannelInfo] = loop.channels(most=10)
        loop.spin_guard = "close"
        loop.watch_handlers(60.0)
        loop.serve_stats(("127.0.0.1", 0), interval=0.5).close()
        loop.run()
        late.cancel()
        delivered: int = loop.poll(0.0)
        for channel in (greeter, listener, server):
            channel.close()
    assert (listener.heard, loop.failures, loop.closed) == (HELLO, 1, True)
    assert (from_a_thread.cancelled(), late.cancelled()) == (False, True)
    assert deadline is not None
    assert delivered >= 0
    assert (lag, len(known)) == (0.0, stats.channels)
    assert loop.backend in cyncore.BACKENDS


def echo_as_ever() -> None:
    one, other = socket.socketpair()
    with other:
        channel = OldEcho(one)
        other.sendall(HELLO)
        asyncore.loop(timeout=1.0, use_poll=True, count=1)
        assert asyncore.socket_map[one.fileno()] is channel
        assert (other.recv(100), channel.out_buffer) == (HELLO, b"")
        asyncore.close_all()


async def wait_within_asyncio() -> str:
    with cyncore.Loop() as loop, cyncore.asyncio.host(loop) as hosting:
        descriptor: int = loop.fileno(timers=False)
        loop.call_later(0.01, loop.stop)
        await hosting.wait()
        ended: bool = hosting.ended
        assert descriptor >= 0
        assert ended
    return "waited"


def run_coroutines() -> None:
    guest = cyncore.asyncio.AsyncioLoop()
    inner: cyncore.Loop = guest.cyncore_loop
    waited: str = guest.run_until_complete(wait_within_asyncio())
    assert waited == "waited"
    guest.close()
    assert inner.closed


def mistake_hosts() -> None:
    cyncore.asyncio.host("loop")  # type: ignore[arg-type]
    cyncore.asyncio.AsyncioLoop(backend="poll")  # type: ignore[call-arg]


if __name__ == "__main__":
    greet()
    echo_as_ever()
    run_coroutines()
