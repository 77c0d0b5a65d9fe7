# SPDX-License-Identifier: MIT
"""A row for each public call: what makes it once, from the beginning to the end. `ROWS` has them by their names."""

from __future__ import annotations

import os
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cyncore
from cyncore import asynchat, asyncore, smtpd
from tests.support.streams import tcp_pair

Row = Callable[["Site"], None]
ROWS: dict[str, Row] = {}
COVERS: dict[str, tuple[str, ...]] = {}
SLOW: set[str] = set()  # those that start a process


def row(*names: str, slow: bool = False) -> Callable[[Row], Row]:
    """Says which names of `names.names` the function calls."""

    def note(made: Row) -> Row:
        ROWS[made.__name__] = made
        COVERS[made.__name__] = names
        if slow:
            SLOW.add(made.__name__)
        return made

    return note


def nothing(*words: object) -> None:
    pass


def refused(call: Callable[..., object], *words: Any, **more: Any) -> None:
    """Makes a call that must raise."""
    try:
        call(*words, **more)
    except (TypeError, ValueError, RuntimeError, OSError, AttributeError, OverflowError, asyncore.ExitNow):
        return
    raise AssertionError(f"{call!r} took {words!r}")


# Classes are made here and not in the rows: CPython 3.13 without the GIL never frees one that was made after the first
# thread was started.


class Plain(cyncore.dispatcher):
    def handle_error(self) -> None:
        raise

    def log(self, message: Any) -> None:
        pass


class WithSend(cyncore.dispatcher_with_send):
    def handle_error(self) -> None:
        raise


class Chat(asynchat.async_chat):
    def handle_error(self) -> None:
        raise

    collect_incoming_data = asynchat.async_chat._collect_incoming_data

    def found_terminator(self) -> None:
        self._get_data()


class Stream(cyncore.Stream):
    def handle_data(self, data: bytes) -> None:
        self.got = data

    def handle_error(self, error: BaseException) -> None:
        raise error


class Datagram(cyncore.Datagram):
    count = 0

    def handle_datagram(self, data: bytes, address: Any) -> None:
        self.count += 1


class FailingStream(cyncore.Stream):
    def handle_data(self, data: bytes) -> None:
        raise ValueError


class FailingDatagram(Datagram):
    max_size = 3

    def handle_datagram(self, data: bytes, address: Any) -> None:
        super().handle_datagram(data, address)
        raise ValueError

    def handle_send_error(self, error: BaseException, address: Any) -> None:
        super().handle_send_error(error, address)
        self.count += 1


class Listener(Plain):
    count = 0

    def handle_accepted(self, sock: Any, address: Any) -> None:
        self.count += 1
        sock.close()


class Mails(smtpd.SMTPServer):
    def process_message(self, *words: Any, **more: Any) -> None:
        pass


class Site:
    """What the rows work on: a loop, and what lasts for all of the calls of a row."""

    def __init__(self) -> None:
        self.loop = cyncore.Loop()
        self.kept: dict[str, Any] = {}

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def until(self, done: Callable[[], object]) -> None:
        for _ in range(10_000):
            if done():
                return
            self.loop.poll(0.001)
        raise AssertionError("not done after 10,000 polls")

    def ended(self, stream: Any) -> None:
        self.until(lambda: stream.closing and stream.loop.poll(0) == 0)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return ours, theirs

    def stream(self, kind: Any = Stream) -> tuple[Any, socket.socket]:
        ours, theirs = self.pair()
        stream = kind(ours, loop=self.loop)
        self.until(lambda: stream.connected)
        return stream, theirs

    def close(self) -> None:
        for channel in list(self.loop.map.values()):
            channel.close()
        for one in self.kept.values():
            for part in one if isinstance(one, tuple) else (one,):
                if hasattr(part, "close") and not isinstance(part, type):
                    part.close()
        self.loop.poll(0)
        self.loop.close()


# The loop


@row("Loop.close", "Loop.time", "Loop.next_deadline", "Loop.fileno", "Loop.poll")
def loop_of_its_own(site: Site) -> None:
    with cyncore.Loop() as loop:
        loop.time()
        loop.next_deadline()
        loop.call_later(1, nothing)
        loop.next_deadline()
        try:
            loop.fileno()
        except RuntimeError:
            pass
        loop.poll(0)
    refused(loop.poll, 0)


@row("Loop.of")
def loop_of_a_map(site: Site) -> None:
    assert cyncore.Loop.of({}).map == {}
    refused(cyncore.Loop.of, 5)


@row("Loop.call_soon", "Handle.cancel", "Handle.cancelled")
def calls(site: Site) -> None:
    site.loop.call_soon(nothing, 1)
    handle = site.loop.call_soon(nothing)
    handle.cancel()
    assert handle.cancelled()
    site.loop.poll(0)
    refused(site.loop.call_soon, 5)


@row("Loop.call_later", "Loop.call_at", "TimerHandle.cancel", "TimerHandle.when")
def timers(site: Site) -> None:
    site.loop.call_later(0, nothing, 1)
    site.loop.call_at(site.loop.time(), nothing)
    far = site.loop.call_later(100, nothing, object())
    far.when()
    far.cancel()
    site.loop.poll(0)
    refused(site.loop.call_later, -1, nothing)
    refused(site.loop.call_at, "x", nothing)


@row("Loop.call_soon_threadsafe", "Loop.wake", "Loop.stop", "Loop.run")
def wake_ups(site: Site) -> None:
    site.loop.call_soon_threadsafe(nothing, 1)
    site.loop.wake()
    site.loop.poll(None)
    site.loop.stop()
    site.loop.run()
    site.loop.call_soon_threadsafe(site.loop.stop)
    site.loop.run(forever=True)
    refused(site.loop.call_soon_threadsafe, None)


@row("Loop.run_map")
def runs_of_a_map(site: Site) -> None:
    site.loop.run_map(0, 1)


@row("Loop.handle_exception")
def failing_calls(site: Site) -> None:
    def fail() -> None:
        raise ValueError

    site.loop.call_soon(fail)
    site.loop.poll(0)


@row("Loop.channels", "Loop.stats", "Histogram.quantile")
def figures(site: Site) -> None:
    site.keep("stream", site.stream)
    site.loop.stats().lag.quantile(0.5)
    assert site.loop.channels()


@row("Loop.serve_stats")
def stats_page(site: Site) -> None:
    server = site.loop.serve_stats(("127.0.0.1", 0))
    with socket.create_connection(server.address) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        sock.setblocking(False)
        got: list[bytes] = []

        def done() -> bool:
            try:
                got.append(sock.recv(65536))
            except BlockingIOError:
                return False
            return not got[-1]

        site.until(done)
    server.close()
    site.loop.poll(0)


@row("Loop.watch_handlers")
def watch(site: Site) -> None:
    site.loop.watch_handlers(5)
    site.loop.poll(0)
    watchdogs = [thread for thread in threading.enumerate() if thread.name == "cyncore watchdog"]
    assert watchdogs
    site.loop.watch_handlers(None)
    for thread in watchdogs:
        thread.join()  # else what it still holds would be counted with some calls, and not with others


@row("Loop.add_signal_handler", "Loop.remove_signal_handler")
def signals(site: Site) -> None:
    site.loop.add_signal_handler(signal.SIGUSR1, nothing, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    site.loop.poll(0)
    assert site.loop.remove_signal_handler(signal.SIGUSR1)
    assert not site.loop.remove_signal_handler(signal.SIGUSR1)
    refused(site.loop.add_signal_handler, 0, nothing)


@row("Loop.drain", "Loop.drain_on_signals", "Stream.handle_drain", "Datagram.handle_drain")
def drains(site: Site) -> None:
    with cyncore.Loop() as loop:
        ours, theirs = site.pair()
        Stream(ours, loop=loop)
        loop.bind(("127.0.0.1", 0), Datagram)
        loop.listen(("127.0.0.1", 0), Stream)
        loop.drain_on_signals(5)
        theirs.close()
        loop.poll(0)
        loop.drain(1)
        loop.run()


# Streams


@row(
    *("Loop.listen", "Loop.connect", "Server.close", "Stream.handle_connect", "Stream.handle_eof"),
    *("Stream.handle_close", "Stream.write", "Stream.write_eof", "Stream.close", "Stream.del_channel"),
)
def connections(site: Site) -> None:
    made: list[Any] = []

    def make() -> Any:
        made.append(Stream())
        return made[-1]

    server = site.loop.listen(("127.0.0.1", 0), make)
    client = site.loop.connect(server.address, Stream)
    client.write(b"hello")
    site.until(lambda: made and hasattr(made[0], "got"))
    client.write_eof()
    site.until(lambda: made[0].closing)
    site.until(lambda: client.closing)
    server.close()
    site.loop.poll(0)
    refused(site.loop.listen, ("127.0.0.1", -1), Stream)
    refused(site.loop.listen, ("127.0.0.1", 0), None)
    refused(site.loop.connect, server.address, None)


@row("Stream.handle_data", "Stream.handle_frame")
def discarded_input(site: Site) -> None:
    stream, theirs = site.keep("stream", lambda: site.stream(cyncore.Stream))
    stream.handle_data(b"x")
    stream.handle_frame(b"x")
    theirs.send(b"hello")
    site.loop.poll(0)


@row("Lines.find", "Prefixed.find", "Exactly.find")
def frames(site: Site) -> None:
    stream, theirs = site.keep("stream", site.stream)
    for framing in (cyncore.Lines(), cyncore.Prefixed(1), cyncore.Exactly(3)):
        framing.find(bytearray(b"\x02ab\n"), 0, 0)
        stream.framing = framing
        theirs.send(b"\x02ab\n\x02cd")
        site.loop.poll(0)
        stream.framing = None
        site.loop.poll(0)
    refused(cyncore.Lines, "x")
    refused(cyncore.Prefixed, 3)
    refused(cyncore.Exactly, 0)


class Batches(Stream):
    framing = cyncore.Lines()

    def handle_frames(self, frames: list[bytes]) -> None:
        self.write(b"".join(frames))


@row()
def batches_of_frames(site: Site) -> None:
    _, theirs = site.keep("stream", lambda: site.stream(Batches))
    theirs.send(b"a\nbb\nccc\n")
    site.loop.poll(0)
    assert theirs.recv(100) == b"abbccc"


class Buffered(Stream):
    def __init__(self, *words: Any, **more: Any) -> None:
        self.space = bytearray(100)
        super().__init__(*words, **more)

    def get_buffer(self, hint: int) -> bytearray:
        return self.space

    def buffer_updated(self, count: int) -> None:
        self.write(self.space[:count])


@row()
def own_buffers(site: Site) -> None:
    _, theirs = site.keep("stream", lambda: site.stream(Buffered))
    theirs.send(b"hello")
    site.loop.poll(0)
    assert theirs.recv(100) == b"hello"


@row()
def frame_above_its_limit(site: Site) -> None:
    stream, theirs = site.stream()
    stream.framing = cyncore.Lines(limit=3)
    theirs.send(b"hello")
    site.ended(stream)
    theirs.close()


@row("Stream.writelines", "Stream.pause_reading", "Stream.resume_reading", "Stream.get_extra_info")
def output(site: Site) -> None:
    stream, theirs = site.keep("stream", site.stream)
    stream.write(bytearray(b"one"))
    stream.writelines([b"two", memoryview(b"three")])
    stream.pause_reading()
    stream.resume_reading()
    stream.get_extra_info("socket")
    stream.get_extra_info("what", 1)
    site.loop.poll(0)
    assert theirs.recv(100) == b"onetwothree"
    refused(stream.write, "text")
    refused(stream.writelines, 5)


@row("Stream.handle_full", "Stream.handle_drained")
def full_output(site: Site) -> None:
    stream, theirs = site.keep("stream", site.stream)
    stream.write(bytes(1 << 20))
    left = 1 << 20
    while left:
        site.loop.poll(0)
        left -= len(theirs.recv(1 << 20))
    site.loop.poll(0)


@row("Stream.abort", "Stream.handle_error")
def failing_handlers(site: Site) -> None:
    stream, theirs = site.stream(FailingStream)
    theirs.send(b"x")
    site.ended(stream)
    stream.abort()
    theirs.close()


@row("Stream.handle_timeout")
def deadlines(site: Site) -> None:
    stream, theirs = site.stream()
    stream.idle_deadline = 0.001
    site.ended(stream)
    theirs.close()


@row("Stream.sendfile")
def files(site: Site) -> None:
    stream, theirs = site.keep("stream", site.stream)
    file = site.keep("file", tempfile.TemporaryFile)
    if not file.tell():
        file.write(bytes(1000))
        file.flush()
    stream.sendfile(file, 0, 1000)
    got = 0
    while got < 1000:
        site.loop.poll(0)
        got += len(theirs.recv(1000))
    refused(stream.sendfile, 5.0)


@row("Stream.pipe")
def joined(site: Site) -> None:
    (one, one_end), (two, two_end) = site.stream(), site.stream()
    one.pipe(two)
    one_end.send(b"hello")
    two_end.setblocking(False)

    def came() -> bool:
        try:
            return two_end.recv(100) == b"hello"
        except BlockingIOError:
            return False

    site.until(came)
    one_end.close()
    two_end.close()
    site.ended(one)
    site.ended(two)


@row()
def reset_by_the_peer(site: Site) -> None:
    kept: list[socket.socket] = []
    peers: Any = SimpleNamespace(keep=lambda *socks: kept.extend(socks))
    ours, theirs = tcp_pair(peers)
    stream = Stream(ours, loop=site.loop)
    site.until(lambda: stream.connected)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    site.ended(stream)


@row("Loop.open_pipe")
def pipes(site: Site) -> None:
    reader, writer = os.pipe()
    stream = site.loop.open_pipe(reader, Stream)
    os.write(writer, b"hello")
    os.close(writer)
    site.ended(stream)
    refused(site.loop.open_pipe, 5.0, Stream)


# Processes


class Child(cyncore.Process):
    status_seen: Any = None

    def handle_exit(self, status: int) -> None:
        super().handle_exit(status)
        self.status_seen = status


@row(
    *("Loop.spawn", "Process.kill", "Process.terminate", "Process.send_signal", "Process.handle_exit"),
    *("Process.handle_drain", "Process.handle_error"),
    slow=True,
)
def children(site: Site) -> None:
    made = [site.loop.spawn(["cat"], Child, stdin=Stream, stdout=Stream) for _ in range(4)]
    made[0].kill()
    made[1].terminate(5)
    made[2].send_signal(signal.SIGINT)
    made[3].stdin.write(b"x")
    made[3].handle_drain()
    made[3].handle_error(ValueError("for the log"))
    site.until(lambda: all(child.status_seen is not None for child in made))
    refused(site.loop.spawn, ["cat"], None)


# Datagrams


@row(
    *("Loop.bind", "Datagram.send", "Datagram.handle_ready", "Datagram.resume_reading", "Datagram.get_extra_info"),
    *("Datagram.close", "Datagram.abort", "Datagram.handle_close", "Datagram.del_channel", "Datagram.handle_datagram"),
)
def datagrams(site: Site) -> None:
    def make() -> Any:
        return tuple(site.loop.bind(("127.0.0.1", 0), Datagram) for _ in range(2))

    one, two = site.keep("datagrams", make)  # the engine keeps some addresses of peers, and these are always the same
    before = two.count
    one.pause_reading()
    one.resume_reading()
    one.send(b"x", two.address)
    one.send(bytearray(b"yy"), two.address)
    site.until(lambda: two.count == before + 2)
    one.get_extra_info("socket")
    refused(one.send, "text", two.address)
    refused(one.send, b"x", ("a name", 5))
    cyncore.Datagram.handle_datagram(two, b"x", None)
    one, two = make()
    one.close()
    two.abort()
    site.loop.poll(0)
    refused(site.loop.bind, ("127.0.0.1", -1), Datagram)


@row("Datagram.handle_truncated", "Datagram.handle_send_error", "Datagram.handle_error")
def failing_datagrams(site: Site) -> None:
    def make() -> Any:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            return site.loop.bind(("127.0.0.1", 0), FailingDatagram), gone.getsockname()

    one, nobody = site.keep("datagram", make)
    before = one.count
    one.send(b"long", one.address)
    one.send(b"x", one.address)
    one.send(b"x", nobody)
    site.until(lambda: one.count >= before + (2 if os.uname().sysname == "Linux" else 1))


@row("Datagram.join", "Datagram.leave", "Datagram.set_multicast_interface")
def groups(site: Site) -> None:
    one = site.keep("datagram", lambda: site.loop.bind(("127.0.0.1", 0), Datagram))
    one.join("239.1.2.3", "127.0.0.1")
    one.set_multicast_interface("127.0.0.1")
    one.leave("239.1.2.3", "127.0.0.1")
    refused(one.leave, "239.1.2.3", "127.0.0.1")
    refused(one.join, "x")


# Dispatchers


@row(
    *("dispatcher.create_socket", "dispatcher.set_reuse_addr", "dispatcher.bind", "dispatcher.listen"),
    *("dispatcher.accept", "dispatcher.handle_accept", "dispatcher.handle_accepted", "dispatcher.connect"),
    *("dispatcher.handle_connect", "dispatcher.handle_connect_event", "dispatcher.close"),
)
def listeners(site: Site) -> None:
    listener = Listener(map=site.loop.map)
    listener.create_socket()
    listener.set_reuse_addr()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    assert listener.accept() is None
    client = Plain(map=site.loop.map)
    client.create_socket()
    client.connect(listener.socket.getsockname())
    site.until(lambda: client.connected and listener.count)
    plain = cyncore.dispatcher(map=site.loop.map)
    plain.handle_accepted(socket.socket(), None)
    plain.handle_connect()
    client.close()
    listener.close()
    refused(listener.listen, "x")


@row(
    *("dispatcher.send", "dispatcher.recv", "dispatcher.readable", "dispatcher.writable", "dispatcher.handle_read"),
    *("dispatcher.handle_write", "dispatcher.handle_expt", "dispatcher.handle_expt_event", "dispatcher.log"),
    *("dispatcher.handle_read_event", "dispatcher.handle_write_event", "dispatcher.pause_reading"),
    *("dispatcher.resume_reading", "dispatcher.add_channel", "dispatcher.del_channel", "dispatcher.log_info"),
    *("dispatcher.handle_error", "dispatcher.handle_timeout", "dispatcher.handle_handshake"),
)
def dispatchers(site: Site) -> None:
    ours, theirs = site.pair()
    channel = cyncore.dispatcher(ours, site.loop.map)
    channel.ignore_log_types = frozenset({"warning", "error", "info"})
    channel.log = nothing  # type: ignore[method-assign]
    channel.send(b"hello")
    theirs.send(b"hello")
    assert channel.recv(100) == b"hello"
    for name in ("readable", "writable", "handle_read", "handle_write", "handle_expt", "handle_expt_event"):
        getattr(channel, name)()
    for name in ("handle_read_event", "handle_write_event", "pause_reading", "resume_reading"):
        getattr(channel, name)()
    channel.del_channel()
    channel.add_channel()
    channel.log_info("x", "info")
    site.loop.poll(0)
    refused(channel.send, "text")
    refused(channel.recv, "x")
    for name in ("handle_timeout", "handle_handshake"):
        handler = getattr(channel, name)
        handler(*(("idle",) if name == "handle_timeout" else ()))
    try:
        raise ValueError
    except ValueError:
        channel.handle_error()
    channel.close()
    theirs.close()


@row("dispatcher.handle_close", "dispatcher.set_socket", "dispatcher.set_deadlines")
def closed_by_the_peer(site: Site) -> None:
    ours, theirs = site.pair()
    channel = Plain(map=site.loop.map)
    channel.set_socket(ours)
    channel.connected = True
    channel.set_deadlines(idle=100)
    theirs.close()
    site.loop.poll(0)
    channel.handle_close()
    refused(channel.set_deadlines, idle=-1)


@row("dispatcher.recvfrom", "dispatcher.sendto")
def dispatchers_of_datagrams(site: Site) -> None:
    def make() -> Any:
        channel = Plain(map={})
        channel.create_socket(type=socket.SOCK_DGRAM)
        channel.bind(("127.0.0.1", 0))
        return channel

    channel = site.keep("channel", make)
    channel.sendto(b"x", channel.socket.getsockname())
    assert channel.recvfrom(10)[0] == b"x"
    refused(channel.recvfrom, 10)


@row("dispatcher.start_tls", "Stream.start_tls")
def refused_tls(site: Site) -> None:
    channel, _ = site.keep("channel", lambda: (Plain(site.keep("pair", site.pair)[0], site.loop.map), None))
    stream, _ = site.keep("stream", site.stream)
    refused(channel.start_tls, "no context")
    refused(stream.start_tls, "no context")
    site.loop.poll(0)


@row(
    *("dispatcher_with_send.send", "dispatcher_with_send.initiate_send", "dispatcher_with_send.handle_write"),
    "dispatcher_with_send.writable",
)
def outboxes(site: Site) -> None:
    ours, theirs = site.pair()
    channel = WithSend(ours, site.loop.map)
    channel.send(b"x" * 1000)
    channel.initiate_send()
    channel.handle_write()
    channel.writable()
    site.loop.poll(0)
    refused(channel.send, 5)
    channel.close()
    theirs.close()


@row(
    *("file_dispatcher.set_file", "file_wrapper.close", "file_wrapper.fileno", "file_wrapper.getsockopt"),
    *("file_wrapper.read", "file_wrapper.send"),
)
def file_channels(site: Site) -> None:
    reader, writer = os.pipe()
    channel = asyncore.file_dispatcher(reader, site.loop.map)
    out = asyncore.file_wrapper(writer)
    out.send(b"hello")
    out.fileno()
    out.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert channel.socket.read(10) == b"hello"
    channel.close()
    out.close()
    os.close(reader)
    os.close(writer)


@row("asyncore.loop", "asyncore.poll", "asyncore.read", "asyncore.write", "asyncore.readwrite", "asyncore.close_all")
def old_functions(site: Site) -> None:
    ours, theirs = site.pair()
    channels: dict[int, Any] = {}
    channel = Plain(ours, channels)
    channel.ignore_log_types = frozenset({"warning"})
    asyncore.loop(0, map=channels, count=1)
    asyncore.poll(0, channels)
    asyncore.read(channel)
    asyncore.write(channel)
    asyncore.readwrite(channel, 1)
    asyncore.close_all(channels)
    theirs.close()
    assert not channels


@row("asyncore.compact_traceback")
def tracebacks(site: Site) -> None:
    try:
        raise ValueError
    except ValueError:
        asyncore.compact_traceback()


# Chats and mail


@row(
    *("async_chat.push", "async_chat.push_with_producer", "async_chat.set_terminator", "async_chat.get_terminator"),
    *("async_chat.initiate_send", "async_chat.send", "async_chat.handle_read", "async_chat.handle_write"),
    *("async_chat.discard_buffers", "async_chat.close_when_done", "async_chat.del_channel", "async_chat.refill_buffer"),
    *("async_chat.handle_close", "async_chat.collect_incoming_data", "async_chat.found_terminator"),
    *("simple_producer.more", "asynchat.find_prefix_at_end"),
)
def chats(site: Site) -> None:
    ours, theirs = site.pair()
    chat = Chat(ours, site.loop.map)
    for terminator in (b"\n", 2, None, b"x", b"\r\n"):
        chat.set_terminator(terminator)
        assert chat.get_terminator() == terminator
        theirs.send(b"hello\nab\r\n")
        site.loop.poll(0)
        chat.handle_write()
    chat._get_data()
    chat.push(b"one")
    chat.push_with_producer(asynchat.simple_producer(b"two" * 400, 100))
    chat.send(b"")
    chat.initiate_send()
    theirs.send(b"x")
    chat.handle_read()
    chat.refill_buffer()
    refused(chat.push, 5)
    asynchat.find_prefix_at_end(b"ab\r", b"\r\n")
    asynchat.simple_producer(b"abc").more()
    near, far = site.pair()
    far.close()
    other = asynchat.async_chat(near, {})
    for call in (lambda: other.collect_incoming_data(b""), other.found_terminator):
        try:
            call()
        except NotImplementedError:
            pass
    other.handle_close()
    chat.discard_buffers()
    chat.push(b"bye")
    chat.close_when_done()
    site.until(lambda: not site.loop.map)
    theirs.close()


COMMANDS = (
    b"HELO x\r\nEHLO x\r\nHELP\r\nNOOP\r\nVRFY a@b\r\nEXPN x\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRSET\r\n"
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na line\r\n.\r\nWHAT\r\nQUIT\r\n"
)


@row(
    *("SMTPServer.handle_accepted", "SMTPChannel.close", "SMTPChannel.push", "SMTPChannel.pause_reading"),
    *("SMTPChannel.resume_reading", "SMTPChannel.discard_buffers", "SMTPServer.process_message"),
    *(f"SMTPChannel.smtp_{name}" for name in ("DATA", "EHLO", "EXPN", "HELO", "HELP", "MAIL", "NOOP", "QUIT")),
    *(f"SMTPChannel.smtp_{name}" for name in ("RCPT", "RSET", "STARTTLS", "VRFY")),
)
def mails(site: Site) -> None:
    server = site.keep("server", lambda: Mails(("127.0.0.1", 0), None, map=site.loop.map))
    ours, theirs = site.pair()
    server.handle_accepted(ours, ("near", 0))
    theirs.send(COMMANDS)
    channel = next(channel for channel in site.loop.map.values() if channel is not server)
    channel.pause_reading()
    channel.resume_reading()
    site.until(lambda: len(site.loop.map) == 1)
    channel.discard_buffers()
    try:
        smtpd.SMTPServer.process_message(server, None, "", [], "")
    except NotImplementedError:
        pass
    theirs.close()


@row()
def attributes(site: Site) -> None:
    """Reads every attribute that is no method, and sets those that can be set to what they are."""

    def make() -> Any:
        ours, theirs = site.pair()
        chat = Chat(ours, site.loop.map)
        datagram = site.loop.bind(("127.0.0.1", 0), Datagram)
        server = site.loop.listen(("127.0.0.1", 0), Stream)
        stream = site.stream()
        return chat, theirs, datagram, server, *stream

    chat, _, datagram, server, stream, _ = site.keep("objects", make)
    handle, timer = site.loop.call_soon(nothing), site.loop.call_later(0, nothing)
    for one in (chat, datagram, server, stream, site.loop, handle, timer, site.loop.stats()):
        for name in dir(type(one)):
            if name.startswith("_") or name in ("socket", "debug", "network", "connected", "accepting"):
                continue
            try:
                value = getattr(one, name)
            except (AttributeError, RuntimeError, OSError):
                continue
            if not callable(value) and not isinstance(one, tuple):
                try:
                    setattr(one, name, value)
                except (AttributeError, TypeError, ValueError, RuntimeError, OSError):
                    pass
    site.loop.poll(0)


@row()
def too_many_arguments(site: Site) -> None:
    """Calls every method with more than it takes, or with what it does not take."""
    stream, _ = site.keep("stream", site.stream)
    for one in (stream, site.loop, cyncore.Lines()):
        for name in dir(type(one)):
            method = getattr(one, name, None)
            if not name.startswith("_") and callable(method) and not isinstance(method, type):
                try:
                    method(*[None] * 12, what=1)
                except TypeError:
                    pass
