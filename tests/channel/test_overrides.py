# SPDX-License-Identifier: MIT
"""What programs override, and when: in the class, in the instance, at class level, late, through several bases."""

from __future__ import annotations

import abc
import errno
import socket
import sys
import threading
from typing import Any
from unittest import mock

import pytest

from cyncore import Loop, asynchat, asyncore, dispatcher
from tests.support.loops import every_backend
from tests.support.peers import Peers, Recorder, poll_until


def polls(loop: Loop, rounds: int = 5) -> int:
    return sum(loop.poll() for _ in range(rounds))


class Quiet(asyncore.dispatcher):
    """Logs nothing."""

    def log_info(self, message: object, type: str = "info") -> None:
        pass


# handle_*_event


def test_own_handle_read_event_is_called(loop: Loop, peers: Peers) -> None:
    class Own(Recorder):
        def handle_read_event(self) -> None:
            self.seen.append("event")
            super().handle_read_event()

    channel, far = peers.channel(Own, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert channel.seen == ["event", "read"]


def test_own_handle_write_event_is_called(loop: Loop, peers: Peers) -> None:
    class Own(Quiet):
        calls = 0

        def handle_write_event(self) -> None:
            self.calls += 1

    channel, _ = peers.channel(Own, loop.map)
    assert polls(loop, 3) == 3
    assert channel.calls == 3


def test_own_handle_connect_event_is_called(loop: Loop) -> None:
    class Own(Recorder):
        def handle_connect_event(self) -> None:
            self.seen.append("event")
            super().handle_connect_event()

        def handle_connect(self) -> None:
            self.seen.append("connect")

    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = Own(None, loop.map)
        channel.create_socket()
        channel.connect(server.getsockname())
        poll_until(loop, lambda: channel.connected)
        assert channel.seen == ["event", "connect"]
        channel.close()


def test_own_handle_expt_event_is_called(loop: Loop, peers: Peers) -> None:
    class Own(Recorder):
        def handle_expt_event(self) -> None:
            self.seen.append("event")
            self.socket.recv(1, socket.MSG_OOB)

    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    peers.keep(near, far)
    channel = Own(near, loop.map)
    far.send(b"!", socket.MSG_OOB)
    poll_until(loop, lambda: channel.seen)
    assert channel.seen == ["event"]


def test_own_add_and_del_channel_are_called(peers: Peers) -> None:
    calls = []

    class Own(Recorder):
        def add_channel(self, map: Any = None) -> None:
            calls.append("add")
            super().add_channel(map)

        def del_channel(self, map: Any = None) -> None:
            calls.append("del")
            super().del_channel(map)

    map: dict[int, Any] = {}
    channel, far = peers.channel(Own, map)
    far.send(b"data")
    asyncore.poll(5, map)
    channel.close()
    assert (calls, channel.got, map) == (["add", "del"], b"data", {})


def test_add_channel_that_does_not_add_keeps_the_channel_out(peers: Peers) -> None:
    class Shy(Recorder):
        def add_channel(self, map: Any = None) -> None:
            pass

    map: dict[int, Any] = {}
    channel, far = peers.channel(Shy, map)
    far.send(b"data")
    asyncore.poll(0, map)
    assert (map, channel.seen) == ({}, [])
    asyncore.dispatcher.add_channel(channel)
    asyncore.poll(5, map)
    assert channel.got == b"data"
    channel.close()


@pytest.mark.parametrize("name", ["add_channel", "set_socket"])
def test_step_that_the_instance_has_itself_is_called(name: str, loop: Loop, peers: Peers) -> None:
    class Own(dispatcher):
        def __init__(self, sock: socket.socket, map: Any) -> None:
            setattr(self, name, lambda *args: calls.append(args))
            dispatcher.__init__(self, sock, map)

    calls: list[Any] = []
    ours, _ = peers.pair()
    Own(ours, loop.map)
    assert len(calls) == 1
    assert loop.map == {}


def test_close_may_take_more_arguments(loop: Loop, peers: Peers) -> None:
    class Own(Recorder):
        def handle_close(self) -> None:
            self.close(manual=False)

        def close(self, manual: bool = True) -> None:
            self.seen.append(f"manual={manual}")
            super().close()

    channel, far = peers.channel(Own, loop.map)
    far.close()
    poll_until(loop, lambda: not loop.map)
    assert channel.seen == ["read", "manual=False"]


def test_own_send_and_recv_are_used(loop: Loop, peers: Peers) -> None:
    class Own(Recorder):
        def recv(self, buffer_size: int) -> bytes:
            return super().recv(buffer_size).upper()

    channel, far = peers.channel(Own, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert channel.got == b"DATA"


def test_default_handle_error_logs_one_line_and_closes(
    loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ValueError("told")

    channel, far = peers.channel(Broken, loop.map)
    far.send(b"data")
    loop.poll(5)
    out = capsys.readouterr().out
    assert out.startswith("error: uncaptured python exception, closing channel <")
    assert "(<class 'ValueError'>:told [" in out
    assert out.count("\n") == 1
    assert (loop.map, channel.connected) == ({}, False)


def test_repr_that_fails_does_not_hide_the_error(loop: Loop, peers: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ValueError("told")

        def __repr__(self) -> str:
            raise TypeError

    _, far = peers.channel(Broken, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert "<__repr__(self) failed for object at " in capsys.readouterr().out


# In the instance, late, at class level


def test_handler_of_an_instance_is_called(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(Quiet, loop.map)
    got: list[bytes] = []
    channel.handle_read = lambda: got.append(channel.recv(100))
    far.send(b"data")
    poll_until(loop, lambda: got == [b"data"])
    channel.close()


def test_write_handler_of_an_instance_is_called_and_can_be_taken_back(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(Quiet, loop.map)
    calls: list[int] = []
    channel.handle_write = lambda: calls.append(1)
    assert polls(loop, 3) == 3
    del channel.handle_write
    assert polls(loop, 3) == 0
    assert calls == [1, 1, 1]
    channel.close()


def test_predicate_of_an_instance_turns_writing_off(loop: Loop, peers: Peers) -> None:
    class Writer(Quiet):
        calls = 0

        def handle_write(self) -> None:
            self.calls += 1

    channel, _ = peers.channel(Writer, loop.map)
    polls(loop, 2)
    channel.writable = lambda: False
    assert polls(loop, 3) == 0
    assert channel.calls == 2
    channel.close()


def test_handler_given_to_the_class_later_is_called(loop: Loop, peers: Peers) -> None:
    class Late(Quiet):
        pass

    channel, far = peers.channel(Late, loop.map)
    polls(loop)
    got: list[bytes] = []
    Late.handle_read = lambda self: got.append(self.recv(100))  # type: ignore[method-assign, func-returns-value]
    far.send(b"data")
    poll_until(loop, lambda: got == [b"data"])
    channel.close()


def test_handler_given_to_a_base_class_later_is_called(loop: Loop, peers: Peers) -> None:
    class Base(Quiet):
        pass

    class Derived(Base):
        pass

    channel, _ = peers.channel(Derived, loop.map)
    assert polls(loop) == 0
    calls: list[int] = []
    Base.handle_write = lambda self: calls.append(1)  # type: ignore[method-assign, func-returns-value]
    poll_until(loop, lambda: calls)
    channel.close()


def test_class_with_a_getattr_of_its_own_is_served(loop: Loop, peers: Peers) -> None:
    class Target:
        word = "from elsewhere"

    class Delegating(Recorder):
        def __getattr__(self, name: str) -> Any:
            return getattr(Target, name)

    channel, far = peers.channel(Delegating, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert (channel.got, channel.word) == (b"data", "from elsewhere")


@pytest.mark.parametrize(
    ("name", "value"), [("connected", True), ("accepting", True), ("connecting", True), ("closing", 1)]
)
def test_state_set_at_class_level_is_honoured(name: str, value: object) -> None:
    kind = type("Set", (asyncore.dispatcher,), {name: value})
    assert getattr(kind(), name) == value


def test_class_level_connected_reads_without_connecting(loop: Loop, peers: Peers) -> None:
    class Always(Recorder):
        connected = True

        def handle_connect(self) -> None:
            self.seen.append("connect")

    near, far = peers.pair()
    channel = Always(None, loop.map)
    channel.set_socket(near)
    far.send(b"data")
    loop.poll(5)
    assert channel.seen == ["read"]


def test_a_class_that_is_always_accepting_accepts(loop: Loop, peers: Peers) -> None:
    class Always(Recorder):
        accepting = True

        def handle_accept(self) -> None:
            self.seen.append("accept")
            self.recv(100)

    ours, theirs = peers.pair()
    channel = Always(None, loop.map)
    channel.set_socket(ours)
    theirs.send(b"x")
    loop.poll(5)
    assert channel.seen == ["accept"]


def test_states_begin_as_false() -> None:
    channel = asyncore.dispatcher()
    assert [channel.connected, channel.accepting, channel.connecting, channel.closing] == [False] * 4


def test_any_attribute_may_be_set() -> None:
    channel = asyncore.dispatcher()
    channel.anything = 1
    assert (channel.anything, channel.__dict__["anything"]) == (1, 1)


def test_a_name_that_is_a_kind_of_str_can_be_set(peers: Peers) -> None:
    class Name(str):
        __slots__ = ()

    channel, _ = peers.channel(Recorder, {})
    setattr(channel, Name("addition"), 1)
    assert channel.addition == 1
    channel.close()


def test_unknown_attribute_is_an_error(peers: Peers) -> None:
    channel, _ = peers.channel(Quiet, {})
    with pytest.raises(AttributeError):
        channel.getsockname  # noqa: B018
    channel.close()


# Several bases, and __init__ at odd times


def test_channel_that_is_a_thread(peers: Peers) -> None:
    map: dict[int, Any] = {}

    class Both(threading.Thread, asyncore.dispatcher):
        def __init__(self, sock: socket.socket) -> None:
            threading.Thread.__init__(self)
            asyncore.dispatcher.__init__(self, sock, map)
            self.got = b""

        def handle_read(self) -> None:
            self.got = self.recv(100)
            self.close()

        def run(self) -> None:
            asyncore.loop(5, map=map)

    near, far = peers.pair()
    channel = Both(near)
    channel.start()
    far.send(b"data")
    channel.join(10)
    assert channel.got == b"data"


def test_channel_that_is_abstract(loop: Loop, peers: Peers) -> None:
    class Abstract(asyncore.dispatcher, abc.ABC):
        @abc.abstractmethod
        def answer(self) -> bytes: ...

        def handle_read(self) -> None:
            self.recv(100)
            self.send(self.answer())

    class Concrete(Abstract):
        def answer(self) -> bytes:
            return b"yes"

    with pytest.raises(TypeError):
        Abstract()  # type: ignore[abstract]
    channel, far = peers.channel(Concrete, loop.map)
    far.send(b"question")
    loop.poll(5)
    assert far.recv(100) == b"yes"
    channel.close()


def test_mixin_before_the_dispatcher_wins(loop: Loop, peers: Peers) -> None:
    class Mixin:
        def handle_read(self) -> None:
            self.mixed = self.recv(100)  # type: ignore[attr-defined]

    class Mixed(Mixin, asyncore.dispatcher):
        pass

    channel, far = peers.channel(Mixed, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert channel.mixed == b"data"
    channel.close()


def test_init_may_run_later_and_on_another_thread(loop: Loop, peers: Peers) -> None:
    """As the Cassandra driver does: the object is made here, and initialised where its loop runs."""

    class Late(Recorder):
        def __init__(self) -> None:
            self.ready = threading.Event()

        def start(self, sock: socket.socket) -> None:
            Recorder.__init__(self, sock, loop.map)
            self.ready.set()

    near, far = peers.pair()
    channel = Late()
    thread = threading.Thread(target=channel.start, args=(near,))
    thread.start()
    thread.join()
    far.send(b"data")
    poll_until(loop, lambda: channel.got == b"data")


def test_channel_without_init_may_be_closed_and_shown() -> None:
    class Never(asyncore.dispatcher):
        def __init__(self) -> None:
            pass

    assert "Never" in repr(Never())


@every_backend
def test_the_error_of_a_property_of_the_class_is_the_channel_s_own(loop: Loop, peers: Peers) -> None:
    class Failing(Recorder):
        broken = False
        connecting = True

        @property
        def connected(self) -> bool:
            if self.broken:
                raise LookupError
            return True

        @connected.setter
        def connected(self, value: bool) -> None: ...

        def handle_error(self) -> None:
            self.broken = False
            Recorder.handle_error(self)

    channel, far = peers.channel(Failing, loop.map)
    sound, other = peers.channel(Recorder, loop.map)
    far.send(b"x")
    poll_until(loop, lambda: channel.got == b"x")
    channel.broken = True
    far.send(b"y")
    other.send(b"z")
    poll_until(loop, lambda: channel.seen[-1] == "error LookupError()" and sound.got == b"z")
    assert list(loop.map.values()) == [sound]


def test_a_state_that_changes_without_a_word_leaves_nothing_armed(loop: Loop, peers: Peers) -> None:
    class Silent(dispatcher):
        connecting = True
        up = False

        @property
        def connected(self) -> bool:  # type: ignore[override]
            return self.up

        @connected.setter
        def connected(self, value: bool) -> None:
            pass

        def handle_connect_event(self) -> None:
            self.up = True

        def handle_read(self) -> None:
            self.recv(10)

    ours, _ = peers.pair()
    channel = Silent(ours, loop.map)
    ended = []
    loop.call_later(0.05, ended.append, True)
    polls = 0
    while not ended:
        loop.poll(5)
        polls += 1
        assert polls < 1000, "it spins"
    channel.close()


def test_lost_connection_that_leaves_a_handler_closes(loop: Loop, peers: Peers) -> None:
    class Losing(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ConnectionResetError(errno.ECONNRESET, "lost")

        def handle_error(self) -> None:
            raise AssertionError("called")

        def handle_close(self) -> None:
            self.close()

    _, far = peers.channel(Losing, loop.map)
    far.send(b"x")
    loop.poll(5)
    assert not loop.map


def test_farewell_that_fails_on_a_lost_connection_is_told_to_handle_error(loop: Loop, peers: Peers) -> None:
    class Polite(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ConnectionResetError(errno.ECONNRESET, "lost")

        def handle_close(self) -> None:
            seen.append("farewell")
            raise BrokenPipeError(errno.EPIPE, "nobody is there")

        def handle_error(self) -> None:
            seen.append(str(sys.exc_info()[1]))
            self.close()

    seen: list[str] = []
    _, far = peers.channel(Polite, loop.map)
    far.send(b"x")
    loop.poll(5)
    assert seen == ["farewell", "[Errno 32] nobody is there"]
    assert not loop.map


@pytest.mark.parametrize("ending", [KeyboardInterrupt, asyncore.ExitNow])
def test_handle_close_of_a_lost_connection_may_end_the_loop(
    ending: type[BaseException], loop: Loop, peers: Peers
) -> None:
    class Last(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ConnectionResetError(errno.ECONNRESET, "lost")

        def handle_close(self) -> None:
            self.close()
            raise ending

    _, far = peers.channel(Last, loop.map)
    far.send(b"x")
    with pytest.raises(ending):
        loop.poll(5)
    assert not loop.map


def test_handlers_and_predicates_that_getattribute_answers_with_are_called(loop: Loop, peers: Peers) -> None:
    class Computed(asyncore.dispatcher):
        def __getattribute__(self, name: str) -> Any:
            if name in answers:
                return answers[name]
            return super().__getattribute__(name)

        def handle_write(self) -> None:
            calls.append("write")

        def writable(self) -> bool:
            return False

    calls: list[Any] = []
    answers: dict[str, Any] = {}
    channel, far = peers.channel(Computed, loop.map)
    answers["handle_read"] = lambda: calls.append(channel.recv(100))
    far.send(b"hello")
    loop.poll(5)
    assert calls == [b"hello"]
    answers["writable"] = lambda: True
    loop.poll(5)
    assert calls == [b"hello", "write"]
    answers["readable"] = answers["writable"] = bool
    far.send(b"more")
    assert not loop.poll(0)
    answers.clear()
    channel.close()


def test_handlers_that_getattribute_hands_through_are_looked_up(loop: Loop, peers: Peers) -> None:
    class Traced(asyncore.dispatcher_with_send):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("handle_"):
                looked_up.append(name)
            return super().__getattribute__(name)

        def handle_read(self) -> None:
            self.send(self.recv(100))

    looked_up: list[str] = []
    channel, far = peers.channel(Traced, loop.map)
    far.send(b"hello")
    loop.poll(5)
    assert far.recv(100) == b"hello"
    assert {"handle_read_event", "handle_read"} <= set(looked_up)
    channel.close()


# Attributes that are deleted


@pytest.mark.parametrize("name", ["connected", "addr", "socket", "_map", "_fileno"])
@pytest.mark.parametrize("kind", [asyncore.dispatcher, asyncore.dispatcher_with_send, asynchat.async_chat])
def test_attribute_that_is_deleted_is_as_in_the_class(peers: Peers, kind: type[Any], name: str) -> None:
    near, _ = peers.pair()
    channel = kind(near, {})
    delattr(channel, name)
    assert not getattr(channel, name, None)


@pytest.mark.parametrize("name", ["ac_in_buffer", "incoming", "producer_fifo", "terminator"])
def test_attribute_of_a_chat_that_is_deleted_is_empty(name: str) -> None:
    channel = asynchat.async_chat(map={})
    channel.set_terminator(b"\n")
    channel.incoming.append(b"data")
    channel.ac_in_buffer = b"data"
    channel.producer_fifo.append(b"data")
    delattr(channel, name)
    assert not getattr(channel, name, None)


@pytest.mark.parametrize("name", ["connected", "accepting", "connecting", "closing"])
@pytest.mark.parametrize("kind", [asyncore.dispatcher, asyncore.dispatcher_with_send, asynchat.async_chat])
def test_state_that_is_no_bool_is_kept_as_it_was_assigned(kind: type[Any], name: str) -> None:
    channel = kind(map={})
    for value in (1700000000.5, "a reason", 1, 0, None, "", True, False):
        setattr(channel, name, value)
        assert getattr(channel, name) is value
    setattr(channel, name, 1)
    setattr(channel, name, getattr(channel, name) + 1)
    assert getattr(channel, name) == 2
    delattr(channel, name)
    assert getattr(channel, name) is False


@pytest.mark.parametrize("kind", [asyncore.dispatcher, asyncore.dispatcher_with_send, asynchat.async_chat])
def test_state_that_is_no_bool_ends_with_the_connection(loop: Loop, peers: Peers, kind: type[Any]) -> None:
    channel, _ = peers.channel(kind, loop.map)
    channel.connected = channel.closing = "since noon"
    assert " connected " in repr(channel)
    channel.close()
    assert channel.connected is channel.accepting is channel.connecting is False
    assert channel.closing == "since noon"
    channel.connected = True
    assert channel.connected is True


def test_property_that_refuses_to_be_deleted_is_not_set() -> None:
    class Own(asyncore.dispatcher):
        @property
        def mode(self) -> Any:
            return 1

        @mode.setter
        def mode(self, value: Any) -> None:
            values.append(value)

        @mode.deleter
        def mode(self) -> None:
            raise NotImplementedError

    values: list[Any] = []
    channel = Own(map={})
    with pytest.raises(NotImplementedError):
        del channel.mode
    assert not values


@every_backend
def test_state_that_is_filled_later_is_what_was_assigned(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(dispatcher, loop.map)
    channel.closing = reasons = []
    reasons.append("idle")
    assert channel.closing is reasons


@every_backend
def test_socket_that_mock_has_replaced_comes_back(loop: Loop, peers: Peers) -> None:
    channel, far = peers.channel(dispatcher, loop.map)
    sock = channel.socket
    with mock.patch.object(channel, "socket") as stand_in:
        stand_in.send.return_value = 3
        assert channel.send(b"abc") == 3
    assert channel.socket is sock
    assert channel.send(b"abc") == 3
    assert far.recv(10) == b"abc"


def test_socket_that_was_deleted_is_no_attribute(loop: Loop, peers: Peers) -> None:
    channel, _ = peers.channel(dispatcher, loop.map)
    sock = channel.socket
    del channel.socket
    with pytest.raises(AttributeError, match="socket"):
        del channel.socket
    channel.socket = sock
    assert channel.socket is sock
