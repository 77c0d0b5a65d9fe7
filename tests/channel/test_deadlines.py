# SPDX-License-Identifier: MIT
"""Deadlines of dispatchers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cyncore
from cyncore import ExitNow, Loop, asynchat, asyncore

SHORT = 0.02


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peer = socket.socketpair()
    yield ours, peer
    ours.close()
    peer.close()


class Timed(asyncore.dispatcher):
    def __init__(self, sock: socket.socket | None, loop: Loop) -> None:
        self.kinds: list[str] = []
        self.closed = False
        super().__init__(sock, loop.map)

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.recv(4096)

    def handle_timeout(self, kind: str) -> None:
        self.kinds.append(kind)
        super().handle_timeout(kind)

    def handle_close(self) -> None:
        self.closed = True
        self.close()


class Lines(asynchat.async_chat):
    def __init__(self, sock: socket.socket, loop: Loop) -> None:
        self.kinds: list[str] = []
        self.lines = 0
        super().__init__(sock, loop.map)
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        pass

    def found_terminator(self) -> None:
        self.lines += 1

    def handle_timeout(self, kind: str) -> None:
        self.kinds.append(kind)
        self.close()


def run_until(loop: Loop, is_done: Callable[[], object]) -> None:
    while not is_done():
        loop.poll(0.01)


def keep_sending(loop: Loop, peer: socket.socket, data: bytes) -> None:
    """Has the peer send ``data`` again and again, for longer than a deadline of 0.3 seconds."""
    begin = loop.time()
    while loop.time() < begin + 0.5:
        peer.send(data)
        loop.poll(0.01)


@pytest.mark.parametrize("kind", ["first_byte", "idle", "life"])
def test_a_silent_peer_is_closed(loop: Loop, pair: tuple[socket.socket, socket.socket], kind: str) -> None:
    channel = Timed(pair[0], loop)
    channel.set_deadlines(**{kind: SHORT})
    loop.run()
    assert (channel.kinds, channel.closed) == ([kind], True)


def test_input_pushes_the_idle_deadline_back(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Timed(pair[0], loop)
    channel.set_deadlines(idle=0.3)
    keep_sending(loop, pair[1], b"x")
    assert channel.kinds == []
    channel.close()


def test_the_first_byte_ends_its_deadline(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Timed(pair[0], loop)
    pair[1].send(b"x")
    loop.poll(1)
    channel.set_deadlines(first_byte=SHORT, life=0.1)
    pair[1].send(b"x")
    loop.run()
    assert channel.kinds == ["life"]


def test_a_peer_that_takes_nothing_passes_the_write_deadline(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Writer(Timed):
        def writable(self) -> bool:
            return True

        def handle_write(self) -> None:
            self.send(bytes(65536))

    channel = Writer(pair[0], loop)
    channel.set_deadlines(write=0.05, idle=SHORT)
    loop.run()
    assert channel.kinds == ["write"]


def test_a_peer_that_takes_what_comes_passes_no_write_deadline(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    channel = Lines(pair[0], loop)
    channel.set_deadlines(write=0.3)
    channel.push(bytes(60_000_000))
    pair[1].setblocking(False)
    begin = due = loop.time()
    while loop.time() < begin + 0.7:
        if loop.time() >= due:  # little by little
            due += 0.01
            try:
                pair[1].recv(65536)
            except BlockingIOError:
                pass
        loop.poll(0.005)
    assert channel.kinds == []
    channel.close()


def test_output_of_a_chat_that_nobody_takes_passes_the_write_deadline(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    channel = Lines(pair[0], loop)
    channel.push(bytes(4_000_000))
    channel.set_deadlines(write=SHORT, idle=SHORT)
    loop.run()
    assert channel.kinds == ["write"]


def test_single_bytes_of_a_line_win_no_time(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Lines(pair[0], loop)
    channel.set_deadlines(idle=0.05)
    while not channel.kinds:
        try:
            pair[1].send(b"x")
        except BrokenPipeError:  # closed just now
            pass
        loop.poll(0.005)
    assert channel.kinds == ["idle"]


def test_whole_lines_push_the_idle_deadline_back(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Lines(pair[0], loop)
    channel.set_deadlines(idle=0.3)
    keep_sending(loop, pair[1], b"x\n")
    assert channel.kinds == []
    assert channel.lines
    channel.close()


def test_pieces_found_by_a_get_terminator_of_the_program_s_count(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Own(Lines):
        def get_terminator(self) -> Any:
            return b"\n"

    channel = Own(pair[0], loop)
    channel.set_deadlines(idle=0.3)
    keep_sending(loop, pair[1], b"x\n")
    assert channel.kinds == []
    channel.close()


def test_a_chat_without_a_terminator_counts_bytes(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Lines(pair[0], loop)
    channel.set_terminator(None)
    channel.set_deadlines(idle=0.3)
    keep_sending(loop, pair[1], b"x")
    assert channel.kinds == []
    channel.close()


def test_a_channel_that_is_kept_is_told_again(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    class Kept(Timed):
        def handle_timeout(self, kind: str) -> None:
            self.kinds.append(kind)
            if len(self.kinds) == 3:
                self.close()

    channel = Kept(pair[0], loop)
    channel.set_deadlines(life=SHORT)
    loop.run()
    assert channel.kinds == ["life"] * 3


def test_a_closed_channel_leaves_no_timer(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Timed(pair[0], loop)
    channel.set_deadlines(idle=3600)
    assert loop.next_deadline() is not None
    channel.close()
    assert loop.next_deadline() is None


def test_a_channel_taken_out_of_the_map_by_hand_leaves_no_timer(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    channel = Timed(pair[0], loop)
    channel.set_deadlines(idle=3600)
    loop.poll(0)
    del loop.map[pair[0].fileno()]
    loop.poll(0)
    assert loop.next_deadline() is None
    channel.close()


def test_deadlines_are_replaced_and_ended(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    channel = Timed(pair[0], loop)
    channel.set_deadlines(idle=3600, life=3600)
    channel.set_deadlines(life=7200)
    due = loop.next_deadline()
    assert due is not None
    assert due > loop.time() + 3600
    channel.set_deadlines()
    assert loop.next_deadline() is None
    channel.close()


def test_a_connect_that_does_not_end_passes_its_deadline(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = []
        for _ in range(4):  # a full backlog takes no more
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        channel = Timed(None, loop)
        channel.create_socket()
        channel.connect(listener.getsockname())
        channel.set_deadlines(connect=0.05, idle=SHORT)
        run_until(loop, lambda: channel.kinds)
        assert channel.kinds == ["connect"]
        for filler in fillers:
            filler.close()


def test_the_time_of_a_connection_begins_when_it_is_there(loop: Loop) -> None:
    class Client(Timed):
        def writable(self) -> bool:
            return not self.connected

        def handle_connect(self) -> None:
            self.connected_at = loop.time()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = Client(None, loop)
        channel.create_socket()
        channel.set_deadlines(connect=3600, first_byte=SHORT)
        channel.connect(listener.getsockname())
        run_until(loop, lambda: channel.kinds)
        assert channel.kinds == ["first_byte"]
        assert loop.time() >= channel.connected_at + SHORT


def test_a_handler_that_blocks_does_not_make_the_peer_late(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    channel = Timed(pair[0], loop)
    channel.set_deadlines(idle=0.05)

    def block() -> None:
        begin = loop.time()
        while loop.time() < begin + 0.1:
            pass
        pair[1].send(b"in time")

    loop.call_soon(block)
    loop.poll(0)
    loop.poll(0)
    assert channel.kinds == []
    channel.close()


def test_what_handle_timeout_raises_is_the_channel_s_error(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Wrong(Timed):
        failed = False

        def handle_timeout(self, kind: str) -> None:
            raise ValueError(kind)

        def handle_error(self) -> None:
            self.failed = True
            self.close()

    channel = Wrong(pair[0], loop)
    channel.set_deadlines(idle=SHORT)
    loop.run()
    assert channel.failed


def test_handle_timeout_may_leave_the_loop(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    class Leaving(Timed):
        def handle_timeout(self, kind: str) -> None:
            raise ExitNow

    channel = Leaving(pair[0], loop)
    channel.set_deadlines(idle=SHORT)
    with pytest.raises(ExitNow):
        loop.run()
    channel.close()


def test_a_channel_without_a_socket_has_no_deadlines(loop: Loop) -> None:
    channel = Timed(None, loop)
    with pytest.raises(RuntimeError, match="in no map"):
        channel.set_deadlines(connect=1)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_time_below_zero_is_refused(loop: Loop, pair: tuple[socket.socket, socket.socket], seconds: float) -> None:
    channel = Timed(pair[0], loop)
    with pytest.raises(ValueError, match="idle deadline"):
        channel.set_deadlines(idle=seconds)
    channel.close()


def test_the_inherited_handle_timeout_logs_and_closes(
    loop: Loop, pair: tuple[socket.socket, socket.socket], capsys: pytest.CaptureFixture[str]
) -> None:
    class Plain(cyncore.dispatcher_with_send):
        ignore_log_types = frozenset()

    channel = Plain(pair[0], loop.map)
    channel.set_deadlines(idle=SHORT)
    loop.run()
    assert "warning: idle deadline" in capsys.readouterr().out
    assert channel.socket.fileno() == -1
