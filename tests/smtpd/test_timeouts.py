# SPDX-License-Identifier: MIT
"""Peers that take too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from cyncore import asyncore
from cyncore._smtp.deadlines import Deadlines
from tests.support.smtpd import ENVELOPE, GREETING, Mail, Mailbox
from tests.support.smtpd import mail_fixture as mail_fixture

SHORT = 0.05
LONG = 1000.0


class _Timer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class _Clock:
    """Stands for a loop; its time passes when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timer: Any = None
        self.timers = 0
        self.expired_at: list[float] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> _Timer:
        self.timers += 1
        self.timer = _Timer(when, callback)
        return self.timer

    def until(self, end: float) -> None:
        while self.timer.callback is not None and self.timer.when <= end:
            self.now = self.timer.when
            callback, self.timer.callback = self.timer.callback, None
            callback()
        self.now = end

    def stall_until(self, end: float) -> None:
        """The timer is not looked at before ``end``, and then once."""
        self.now = end
        callback, self.timer.callback = self.timer.callback, None
        callback()

    def deadlines(self, **limits: float) -> Deadlines:
        every: dict[str, Any] = {"idle": None, "command": None, "data": None, **limits}
        return Deadlines(self, **every, expired=lambda: self.expired_at.append(self.now))  # type: ignore[arg-type]


def test_silence_ends_at_the_idle_limit() -> None:
    clock = _Clock()
    clock.deadlines(idle=10)
    clock.until(100)
    assert clock.expired_at == [10]


def test_each_command_starts_the_idle_limit_anew() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10)
    for moment in range(5, 50, 5):
        clock.until(moment)
        deadlines.received()
        deadlines.completed()
    clock.until(100)
    assert clock.expired_at == [55]


def test_bytes_of_a_command_do_not_start_it_anew() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10, command=4)
    clock.until(3)
    for moment in range(3, 9):
        clock.until(moment)
        deadlines.received()
    clock.until(100)
    assert clock.expired_at == [7]


def test_command_that_begins_late_has_its_whole_time() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(command=4)
    clock.until(50.5)
    deadlines.received()
    clock.until(100)
    assert clock.expired_at == [54.5]


def test_message_that_drips_in_ends_at_its_limit() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=5, data=20)
    deadlines.received()
    deadlines.completed()
    deadlines.message_begins()
    for moment in range(1, 40):
        clock.until(moment)
        deadlines.received()
    assert clock.expired_at == [20]


def test_message_that_stops_ends_at_the_idle_limit() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=5, data=20)
    deadlines.message_begins()
    clock.until(3)
    deadlines.received()
    clock.until(100)
    assert clock.expired_at == [8]


def test_command_after_a_message_has_its_own_limit_again() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(command=4, data=100)
    deadlines.message_begins()
    clock.until(1)
    deadlines.received()
    deadlines.completed()
    clock.until(2)
    deadlines.received()
    clock.until(50)
    assert clock.expired_at == [6]


def test_commands_cost_no_timers() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10, command=10, data=10)
    for _ in range(1000):
        deadlines.received()
        deadlines.completed()
    assert clock.timers == 1


def test_what_lay_unread_while_the_server_was_busy_is_in_time() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10)
    clock.stall_until(15)
    deadlines.received()
    deadlines.completed()
    clock.until(24)
    assert clock.expired_at == []
    clock.until(100)
    assert clock.expired_at == [25]


def test_silence_while_the_server_was_busy_has_the_limit_once_more() -> None:
    clock = _Clock()
    clock.deadlines(idle=10)
    clock.stall_until(15)
    clock.until(100)
    assert clock.expired_at == [25]


def test_drip_after_a_busy_time_is_still_a_drip() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(command=4)
    deadlines.received()
    clock.stall_until(6)
    for moment in range(7, 20):
        deadlines.received()
        clock.until(moment)
    assert clock.expired_at == [10]


def test_peer_that_came_back_after_one_busy_time_has_its_time_after_the_next() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10)
    clock.stall_until(10.5)
    clock.now = 11
    deadlines.received()
    deadlines.completed()
    clock.stall_until(22)
    assert clock.expired_at == []


def test_time_to_serve_a_command_is_not_the_peer_s() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10)
    clock.until(1)
    deadlines.received()
    deadlines.completed()
    clock.now = 9
    deadlines.answered()
    clock.until(100)
    assert clock.expired_at == [19]


def test_slow_message_handler_costs_nobody_the_connection(mail: Mail) -> None:
    limit = 0.5

    class Slow(Mailbox):
        def process_message(self, *words: Any, **more: Any) -> None:
            time.sleep(limit * 1.5)

    server = mail.server(Slow, idle_timeout=limit)
    sender, other = mail.client(server, GREETING), mail.client(server)
    sender.ask(ENVELOPE, 3)
    sender.say(b"x\r\n.\r\n")
    other.say(b"NOOP\r\n")
    assert other.ask(b"") == ["250 OK"]
    assert sender.ask(b"NOOP\r\n", 2) == ["250 OK", "250 OK"]


def test_cancelled_deadline_does_not_pass() -> None:
    clock = _Clock()
    deadlines = clock.deadlines(idle=10)
    deadlines.cancel()
    deadlines.cancel()
    clock.until(100)
    assert clock.expired_at == []


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"idle_timeout": SHORT}, b""),
        ({"command_timeout": SHORT, "idle_timeout": LONG}, b"NOO"),
        ({"data_timeout": SHORT, "idle_timeout": LONG}, GREETING + ENVELOPE + b"half"),
        ({"idle_timeout": SHORT, "data_timeout": LONG}, GREETING + ENVELOPE + b"half"),
    ],
    ids=["idle", "command", "data", "idle in data"],
)
def test_peer_is_told_and_let_go(mail: Mail, limits: dict[str, float], said: bytes) -> None:
    client = mail.silent_client(mail.server(**limits))
    client.say(said)
    assert client.hear_the_end().split(b"\r\n")[-2].endswith(b" Timeout, closing connection")


def test_peer_that_drips_is_let_go(mail: Mail) -> None:
    client = mail.silent_client(mail.server(idle_timeout=SHORT * 4))
    for _ in range(100_000):
        try:
            client.sock.send(b"N")
        except OSError:
            break
        mail.loop.poll(0.01)
        client.listen()
        if client.over:
            break
    assert b" Timeout, closing connection\r\n" in client.heard or client.over


def test_limits_may_stand_in_a_class(mail: Mail) -> None:
    class Hasty(Mailbox):
        idle_timeout = SHORT

    client = mail.silent_client(mail.server(Hasty))
    assert b" Timeout" in client.hear_the_end()


def test_loop_ends_when_the_last_channel_is_closed() -> None:
    import socket

    map: dict[int, Any] = {}
    server = Mailbox(map, idle_timeout=LONG, command_timeout=LONG)
    with socket.create_connection(("127.0.0.1", server.port), 10) as peer:
        asyncore.loop(timeout=5, map=map, count=1)
        assert len(map) == 2
        server.close()
        peer.sendall(b"QUIT\r\n")
        asyncore.loop(timeout=5, map=map)  # comes back, though the limits are far away
    assert not map
