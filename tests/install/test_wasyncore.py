# SPDX-License-Identifier: MIT
"""`cyncore.wasyncore` is what waitress' own copy of asyncore is to its users, on cyncore's loop.

waitress' tests of its copy run over it in .ci/programs; here are those of what only this module decides, each held
against the copy itself where both can do it.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import cyncore
from cyncore import wasyncore
from tests.support.peers import Peers


def _copy() -> ModuleType:
    """waitress' own module, whatever has been bound to its name."""
    spec = importlib.util.find_spec("waitress")
    assert spec is not None
    assert spec.origin is not None
    path = os.path.join(os.path.dirname(spec.origin), "wasyncore.py")
    found = importlib.util.spec_from_file_location("waitress.wasyncore", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


COPY = _copy()
BOTH = pytest.mark.parametrize("module", [wasyncore, COPY], ids=["ours", "copy"])


class Log(logging.Handler):
    """Remembers what the logger ``waitress`` is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def log() -> Any:
    handler, logger = Log(), logging.getLogger("waitress")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


class Failing:
    """Stands for a socket each of whose calls fails with that error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def fileno(self) -> int:
        return 999

    def setblocking(self, flag: Any) -> None: ...

    def getpeername(self) -> str:
        return "peer"

    def fail(self, *args: Any) -> Any:
        raise self.error

    send = recv = fail

    def close(self) -> None: ...


# Names


def test_every_name_of_the_copy_is_there() -> None:
    assert set(vars(COPY)) - set(vars(wasyncore)) == {"utilities"}  # waitress' own, imported for its logger alone
    for name in "dispatcher", "file_dispatcher", "file_wrapper":
        assert set(dir(getattr(COPY, name))) <= set(dir(getattr(wasyncore, name)))
    assert wasyncore._DISCONNECTED == COPY._DISCONNECTED


def test_its_classes_are_channels_of_cyncore() -> None:
    assert issubclass(wasyncore.dispatcher, cyncore.dispatcher)
    assert issubclass(wasyncore.file_dispatcher, wasyncore.dispatcher)
    assert wasyncore.ExitNow is cyncore.ExitNow


def test_map_is_one_of_its_own(peers: Peers) -> None:
    ours, _ = peers.pair()
    channel = wasyncore.dispatcher(ours)
    assert channel._map is wasyncore.socket_map is not cyncore.socket_map
    assert wasyncore.socket_map == {ours.fileno(): channel}
    assert cyncore.socket_map == {}
    wasyncore.close_all()
    assert wasyncore.socket_map == {}


@BOTH
def test_map_that_is_put_in_the_place_of_its_own_serves(
    module: Any, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = peers.pair()
    other: dict[int, Any] = {}
    monkeypatch.setattr(module, "socket_map", other)
    channel = module.dispatcher(ours)
    seen = []
    channel.handle_read = lambda: seen.append(channel.recv(10))
    assert list(other.values()) == [channel]
    theirs.send(b"hello")
    module.loop(timeout=1, count=1)
    module.poll(0)
    module.close_all()
    assert (seen, other) == ([b"hello"], {})


@BOTH
def test_channels_are_shown_with_the_name_of_the_copy(module: Any) -> None:
    channel = module.dispatcher(map={})
    channel.accepting, channel.addr = True, ("localhost", 8080)
    assert repr(channel).startswith("<waitress.wasyncore.dispatcher listening localhost:8080 at 0x")

    class Mine(module.dispatcher):  # type: ignore[misc]
        def __repr__(self) -> str:
            return "mine"

    assert str(Mine(map={})).startswith(f"<{__name__}.")


@BOTH
@pytest.mark.parametrize("number", [errno.EPIPE, 10**6, -1, 2**70, None, "what"])
def test_words_for_an_error_number(module: Any, number: Any) -> None:
    expected = os.strerror(number) if isinstance(number, int) and number < 2**31 else f"Unknown error {number}"
    assert module._strerror(number) == expected


# Logging


@BOTH
@pytest.mark.parametrize(
    ("kind", "level"), [("info", "INFO"), ("warning", "WARNING"), ("error", "ERROR"), ("anything", "INFO")]
)
def test_channel_logs_to_the_logger_of_waitress(module: Any, log: Log, kind: str, level: str) -> None:
    channel = module.dispatcher(map={})
    assert channel.logger is logging.getLogger("waitress")
    channel.log_info("words", kind)
    channel.log("quietly")
    assert log.lines == [(level, "words"), ("DEBUG", "quietly")]


@BOTH
def test_error_in_a_handler_is_logged_and_closes(module: Any, peers: Peers, log: Log) -> None:
    ours, theirs = peers.pair()
    map: dict[int, Any] = {}

    class Bad(module.dispatcher):  # type: ignore[misc]
        def handle_read(self) -> None:
            raise ValueError("mine")

    Bad(ours, map)
    theirs.send(b"x")
    module.loop(timeout=1, map=map)
    [(level, text), (_, last)] = log.lines
    assert level == "ERROR"
    assert text.startswith("uncaptured python exception, closing channel <")
    assert "(<class 'ValueError'>:mine [" in text
    assert last == "unhandled close event"


@BOTH
def test_channel_whose_repr_fails_is_reported_and_closed(module: Any, log: Log) -> None:
    class Bad(module.dispatcher):  # type: ignore[misc]
        def __repr__(self) -> str:
            raise ValueError

    channel = Bad(map={})
    try:
        raise KeyError("mine")
    except KeyError:
        channel.handle_error()
    assert f"closing channel <__repr__(self) failed for object at {id(channel):0x}> (" in log.lines[0][1]


@BOTH
def test_traceback_of_its_own_is_what_an_error_is_told_by(module: Any, log: Log) -> None:
    channel = module.dispatcher(map={})
    channel.compact_traceback = lambda: (None, "kind", "value", "text")
    channel.handle_error()
    assert log.lines[0][1].endswith("(kind:value text)")


# The socket


@BOTH
def test_socket_is_forgotten_when_the_channel_closes(module: Any, peers: Peers) -> None:
    ours, _ = peers.pair()
    map: dict[int, Any] = {}
    channel = module.dispatcher(ours, map)
    channel.close()
    channel.close()
    assert (channel.socket, channel._fileno, channel.connected, map) == (None, None, False, {})
    assert ours.fileno() == -1
    closed = []
    channel.handle_close = lambda: closed.append(1)
    channel.handle_expt_event()
    assert closed == [1]


@BOTH
@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.EBADF])
@pytest.mark.parametrize("do_close", [True, False])
def test_lost_peer_closes_at_a_send_only_where_that_is_allowed(module: Any, number: int, do_close: bool) -> None:
    for error in OSError(number, "words"), OSError(number):
        channel = module.dispatcher(Failing(error), {})
        closed: list[int] = []
        channel.handle_close = lambda closed=closed: closed.append(1)
        assert channel.send(b"data", do_close=do_close) == 0
        assert closed == [1] * do_close


@BOTH
@pytest.mark.parametrize("do_close", [True, False])
def test_socket_without_room_takes_nothing(module: Any, do_close: bool) -> None:
    for error in BlockingIOError(errno.EWOULDBLOCK, "words"), OSError(errno.EWOULDBLOCK):
        channel = module.dispatcher(Failing(error), {})
        assert channel.send(b"data", do_close) == 0


@BOTH
@pytest.mark.parametrize(
    ("kind", "words"), [(OSError, (errno.EIO, "words")), (OSError, ("words",)), (ValueError, ("words",))]
)
def test_other_errors_reach_who_sends_or_receives(module: Any, kind: type[Exception], words: tuple[Any, ...]) -> None:
    error = kind(*words)
    channel = module.dispatcher(Failing(error), {})
    calls: list[Callable[[], Any]] = [
        lambda: channel.send(b"data"),
        lambda: channel.send(b"data", False),
        lambda: channel.recv(10),
    ]
    for call in calls:
        with pytest.raises(kind, match="words"):
            call()


@BOTH
def test_what_handle_close_raises_in_a_send_is_not_taken_for_the_send_s(module: Any) -> None:
    channel = module.dispatcher(Failing(OSError(errno.EPIPE, "words")), {})

    def fail() -> None:
        raise OSError(errno.EBADF, "mine")

    channel.handle_close = fail
    with pytest.raises(OSError, match="mine"):
        channel.send(b"data")
    with pytest.raises(OSError, match="mine"):
        channel.recv(10)


@BOTH
def test_lost_peer_is_an_end_to_who_receives(module: Any) -> None:
    for error in OSError(errno.ECONNRESET, "words"), OSError(errno.ECONNRESET):
        channel = module.dispatcher(Failing(error), {})
        closed: list[int] = []
        channel.handle_close = lambda closed=closed: closed.append(1)
        assert channel.recv(10) == b""
        assert closed == [1]


@BOTH
def test_peer_that_has_gone_is_left_to_the_loop_by_a_send_that_may_not_close(module: Any, peers: Peers) -> None:
    ours, theirs = peers.pair()
    map: dict[int, Any] = {}
    channel = module.dispatcher(ours, map)
    theirs.close()
    assert channel.send(b"data", do_close=False) == 0
    assert (channel.socket, list(map.values())) == (ours, [channel])
    channel.close()
    with pytest.raises(AttributeError, match=r"has no (attribute 'send'|send)"):
        channel.send(b"data", do_close=False)


@BOTH
def test_send_that_may_not_close_goes_to_the_socket_that_the_channel_has_now(module: Any, peers: Peers) -> None:
    channel = module.dispatcher(map={})
    for _ in range(2):
        ours, theirs = peers.pair()
        channel.socket = ours
        assert channel.send(b"data", False) == 4
        assert theirs.recv(10) == b"data"


@BOTH
def test_send_from_a_thread_reaches_the_peer(module: Any, peers: Peers) -> None:
    ours, theirs = peers.pair()
    channel = module.dispatcher(ours, {})
    thread = threading.Thread(target=channel.send, args=(b"hello",), kwargs={"do_close": False})
    thread.start()
    thread.join()
    assert theirs.recv(10) == b"hello"
    channel.close()


def test_channel_made_with_a_socket_is_connected_and_knows_its_peer(peers: Peers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ours, address = server.accept()
        channel = wasyncore.dispatcher(ours, {})
        assert (channel.connected, channel.addr) == (True, address)
        assert address == client.getsockname()
        assert wasyncore.dispatcher(server, {}).connected is False
        channel.close()


# Functions


class Told:
    """Remembers which handlers were called; one of them raises."""

    def __init__(self, raising: BaseException | None = None) -> None:
        self.seen: list[str] = []
        self.raising = raising

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith(("handle", "close")):
            raise AttributeError(name)

        def call() -> None:
            self.seen.append(name)
            if self.raising is not None and name.endswith(("_event", "close")):
                raising, self.raising = self.raising, None
                raise raising

        return call


@BOTH
@pytest.mark.parametrize(
    ("error", "last"),
    [
        (None, "handle_close"),
        (OSError(errno.ECONNRESET), "handle_close"),
        (OSError(errno.ECONNRESET, "words"), "handle_close"),
        (OSError(errno.EIO, "words"), "handle_error"),
        (ValueError(), "handle_error"),
    ],
)
def test_handlers_are_called_for_the_flags_of_poll(module: Any, error: BaseException | None, last: str) -> None:
    told = Told(error)
    module.readwrite(told, module.select.POLLIN | module.select.POLLOUT | module.select.POLLPRI | module.select.POLLHUP)
    before = ["handle_read_event"] if error else ["handle_read_event", "handle_write_event", "handle_expt_event"]
    assert told.seen == [*before, last]


@BOTH
@pytest.mark.parametrize("function", ["read", "write", "_exception", "readwrite"])
def test_exit_leaves_the_functions(module: Any, function: str) -> None:
    told = Told(module.ExitNow())
    with pytest.raises(module.ExitNow):
        getattr(module, function)(told, *([module.select.POLLIN] if function == "readwrite" else []))


@BOTH
def test_closing_all_passes_over_what_is_closed_already(module: Any) -> None:
    for error in OSError(errno.EBADF), OSError(errno.EBADF, "words"):
        map: dict[int, Any] = {1: Told(error), 2: Told()}
        module.close_all(map)
        assert map == {}
    for raised in OSError(errno.EIO, "words"), ValueError():
        with pytest.raises(type(raised)):
            module.close_all({1: Told(raised)})
        module.close_all({1: Told(raised)}, ignore_all=True)
    with pytest.raises(module.ExitNow):
        module.close_all({1: Told(module.ExitNow())}, ignore_all=True)


@pytest.mark.skipif(os.name != "posix", reason="pipes are no channels here")
@BOTH
def test_pipe_is_a_channel(module: Any) -> None:
    read, write = os.pipe()
    map: dict[int, Any] = {}
    seen = []

    class Reader(module.file_dispatcher):  # type: ignore[misc]
        def handle_read(self) -> None:
            seen.append(self.recv(10))
            self.close()

        def writable(self) -> bool:
            return False

    with os.fdopen(read, "rb") as file:
        reader = Reader(file, map)
        assert reader.connected
        assert reader.socket.fileno() != read
        os.write(write, b"hello")
        module.loop(timeout=5, map=map)
    os.close(write)
    assert (seen, reader.socket) == ([b"hello"], None)


def test_this_is_not_what_others_have_bound() -> None:
    assert sys.modules.get("waitress.wasyncore") is not COPY


@pytest.mark.parametrize("flag", ["POLLIN", "POLLOUT", "POLLPRI", "POLLHUP"])
def test_flag_calls_its_own_handler_alone(flag: str) -> None:
    handlers = {
        "POLLIN": "handle_read_event",
        "POLLOUT": "handle_write_event",
        "POLLPRI": "handle_expt_event",
        "POLLHUP": "handle_close",
    }
    told: list[str] = []
    thing = SimpleNamespace(**{name: lambda name=name: told.append(name) for name in handlers.values()})
    wasyncore.readwrite(thing, getattr(select, flag))
    assert told == [handlers[flag]]


def test_urgent_data_of_a_sound_socket_reaches_its_handler(peers: Peers) -> None:
    ours, _ = peers.pair()
    channel = wasyncore.dispatcher(ours, {})
    told: list[str] = []
    channel.handle_expt, channel.handle_close = lambda: told.append("expt"), lambda: told.append("close")
    channel.handle_expt_event()
    assert told == ["expt"]
