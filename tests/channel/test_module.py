# SPDX-License-Identifier: MIT
"""The module itself: its names, what programs and their tests put in the place of them, reports and representations."""

from __future__ import annotations

import errno
import inspect
import os
import pickle
import select
import socket
import sys
import typing
from types import SimpleNamespace
from typing import Any

import pytest

import cyncore
from cyncore import asynchat, asyncore, dispatcher, smtpd
from tests.support.peers import Peers, Recorder

# Everything that 3.11's module had, apart from what begins with two underscores and its deprecation notice.
OLD_NAMES = """
    EAGAIN EALREADY EBADF ECONNABORTED ECONNRESET EINPROGRESS EINVAL EISCONN ENOTCONN EPIPE ESHUTDOWN EWOULDBLOCK
    ExitNow _DISCONNECTED _exception _reraised_exceptions _strerror close_all compact_traceback dispatcher
    dispatcher_with_send errorcode file_dispatcher file_wrapper loop os poll poll2 poll3 read readwrite select socket
    socket_map sys time warnings write
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", OLD_NAMES)
def test_name_of_the_old_module_is_there(name: str) -> None:
    assert hasattr(asyncore, name)


def test_names_are_the_real_modules() -> None:
    assert (asyncore.select, asyncore.socket, asyncore.os, asyncore.sys) == (select, socket, os, sys)
    assert asyncore.EBADF == errno.EBADF


def test_star_import_brings_the_public_names() -> None:
    names: dict[str, Any] = {}
    exec("from cyncore.asyncore import *", names)
    assert {name for name in OLD_NAMES if not name.startswith("_")} <= set(names)


@pytest.mark.parametrize(
    "function",
    [dispatcher.__init__, dispatcher.handle_accepted, asyncore.loop, asynchat.async_chat.push, cyncore.install],
)
def test_annotations_can_be_resolved(function: Any) -> None:
    typing.get_type_hints(function)
    inspect.signature(function)


def test_disconnected_is_the_old_set() -> None:
    names = {"ECONNRESET", "ENOTCONN", "ESHUTDOWN", "ECONNABORTED", "EPIPE", "EBADF"}
    assert {errno.errorcode[number] for number in asyncore._DISCONNECTED} == names


def test_default_map_is_a_dict_and_the_one_that_channels_join(peers: Peers) -> None:
    assert type(asyncore.socket_map) is dict
    channel, _ = peers.channel(Recorder, None)
    assert asyncore.socket_map == {channel.socket.fileno(): channel}
    channel.close()
    assert asyncore.socket_map == {}


# Put in its place


def test_socket_map_put_in_its_place_is_used(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    mine: dict[int, Any] = {}
    monkeypatch.setattr(asyncore, "socket_map", mine)
    channel, far = peers.channel(Recorder, None)
    assert list(mine.values()) == [channel]
    far.send(b"data")
    asyncore.loop(timeout=5, count=1)
    assert channel.got == b"data"
    asyncore.close_all()
    assert mine == {}


@pytest.mark.parametrize(("name", "use_poll"), [("poll", False), ("poll2", True)])
def test_poll_put_in_its_place_is_called_for_each_round(
    monkeypatch: pytest.MonkeyPatch, peers: Peers, name: str, use_poll: bool
) -> None:
    map: dict[int, Any] = {}
    channel, _ = peers.channel(Recorder, map)
    rounds: list[Any] = []

    def own_poll(timeout: float, map: Any) -> None:
        rounds.append((timeout, len(map)))
        if len(rounds) == 3:
            channel.close()

    monkeypatch.setattr(asyncore, name, own_poll)
    asyncore.loop(timeout=0.5, use_poll=use_poll, map=map, count=2)
    assert rounds == [(0.5, 1)] * 2
    asyncore.loop(timeout=0.5, use_poll=use_poll, map=map)
    assert rounds == [(0.5, 1)] * 3
    asyncore.loop(map=map)  # it is empty
    assert len(rounds) == 3


def test_compact_traceback_put_in_its_place_is_logged(monkeypatch: pytest.MonkeyPatch, peers: Peers) -> None:
    class Failing(Recorder):
        def log_info(self, message: Any, type: str = "info") -> None:
            told.append(message)

    told: list[str] = []
    map: dict[int, Any] = {}
    channel, _ = peers.channel(Failing, map)
    monkeypatch.setattr(asyncore, "compact_traceback", lambda: (("", "", ""), ValueError, "text", "[short]"))
    try:
        raise ValueError("text")
    except ValueError:
        asyncore.dispatcher.handle_error(channel)
    assert told[0].endswith("(<class 'ValueError'>:text [short])")


def test_socket_module_put_in_its_place_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        made: Any = None

        def __init__(self, *args: Any) -> None:
            Fake.made = self
            self.args, self.calls = args, []

        def fileno(self) -> int:
            return 4242

        def setblocking(self, flag: bool) -> None:
            self.calls.append(("setblocking", flag))

        def close(self) -> None:
            self.calls.append(("close",))

        def connect_ex(self, address: Any) -> int:
            return errno.EINPROGRESS

    fake = SimpleNamespace(**{name: getattr(socket, name) for name in dir(socket) if name.isupper()}, socket=Fake)
    monkeypatch.setattr(asyncore, "socket", fake)
    map: dict[int, Any] = {}
    channel = asyncore.dispatcher(None, map)
    channel.create_socket(socket.AF_INET, socket.SOCK_STREAM)
    channel.connect(("192.0.2.1", 1))
    assert channel.socket is Fake.made
    assert (Fake.made.args, map) == ((socket.AF_INET, socket.SOCK_STREAM), {4242: channel})
    channel.close()
    assert Fake.made.calls == [("setblocking", False), ("close",)]


# The functions of the old loop


class Told:
    """Notes what it is told, and raises what it is given."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call() -> None:
            self.calls.append(name)
            if self.error is not None and name not in ("handle_close", "handle_error"):
                raise self.error

        return call


@pytest.mark.skipif(not hasattr(select, "poll"), reason="no poll(2) flags")
@pytest.mark.parametrize(
    ("names", "calls"),
    [
        ("POLLIN", "handle_read_event"),
        ("POLLOUT", "handle_write_event"),
        ("POLLPRI", "handle_expt_event"),
        ("POLLHUP", "handle_close"),
        ("POLLERR", "handle_close"),
        ("POLLNVAL", "handle_close"),
        ("POLLHUP POLLPRI POLLOUT POLLIN", "handle_read_event handle_write_event handle_expt_event handle_close"),
    ],
)
def test_readwrite_calls_in_the_old_order(names: str, calls: str) -> None:
    told = Told()
    asyncore.readwrite(told, sum(getattr(select, name) for name in names.split()))
    assert told.calls == calls.split()


def test_readwrite_takes_a_lost_connection_for_a_close() -> None:
    told = Told(OSError(errno.EPIPE, "gone"))
    asyncore.readwrite(told, 1)
    assert told.calls == ["handle_read_event", "handle_close"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ValueError()])
def test_readwrite_takes_anything_else_for_an_error(error: Exception) -> None:
    told = Told(error)
    asyncore.readwrite(told, 1)
    assert told.calls == ["handle_read_event", "handle_error"]


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (asyncore.read, "handle_read_event"),
        (asyncore.write, "handle_write_event"),
        (asyncore._exception, "handle_expt_event"),
    ],
)
def test_read_write_and_exception_call_their_handler(function: Any, call: str) -> None:
    told = Told(ConnectionResetError(errno.ECONNRESET, "gone"))
    function(told)
    assert told.calls == [call, "handle_error"]


@pytest.mark.parametrize("function", [asyncore.read, asyncore.write, asyncore._exception])
@pytest.mark.parametrize("kind", [asyncore.ExitNow, KeyboardInterrupt, SystemExit])
def test_exits_pass_through(function: Any, kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        function(Told(kind()))


# Reports


def test_compact_traceback_names_every_frame() -> None:
    def inner() -> None:
        raise ValueError("told")

    try:
        inner()
    except ValueError as error:
        raised = error
        (file, function, line), kind, value, text = asyncore.compact_traceback()
    assert (kind, value) == (ValueError, raised)
    assert (os.path.basename(file), function) == ("test_module.py", "inner")
    assert text.count("[") == 2
    assert text.endswith(f"[{file}|inner|{line}]")


def test_compact_traceback_needs_an_exception() -> None:
    with pytest.raises(AssertionError, match="traceback does not exist"):
        asyncore.compact_traceback()


def test_log_writes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    asyncore.dispatcher().log("words")
    assert capsys.readouterr() == ("", "log: words\n")


def test_log_info_prints_what_is_not_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    channel = asyncore.dispatcher()
    channel.log_info("words")
    channel.log_info("loud", "error")
    channel.log_info("silent", "warning")
    assert capsys.readouterr() == ("info: words\nerror: loud\n", "")


def test_ignored_types_may_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    channel = asyncore.dispatcher()
    channel.ignore_log_types = frozenset({"info"})
    channel.log_info("silent")
    channel.handle_read()
    assert capsys.readouterr().out == "warning: unhandled read event\n"


def test_strerror_has_words_for_any_number() -> None:
    assert asyncore._strerror(errno.EPERM) == os.strerror(errno.EPERM)
    assert asyncore._strerror(-1)
    assert asyncore._strerror(10**30)


# Representations


def test_repr_of_a_bare_dispatcher_is_as_before() -> None:
    channel = asyncore.dispatcher()
    assert repr(channel) == f"<asyncore.dispatcher at {id(channel):#x}>"


def test_repr_of_the_classes_of_asynchat_and_smtpd_names_the_old_modules(peers: Peers) -> None:
    assert repr(asynchat.async_chat(map={})).startswith("<asynchat.async_chat at ")
    near, _ = peers.pair()
    assert repr(smtpd.SMTPChannel(None, near, "peer", map={})).startswith("<smtpd.SMTPChannel connected ")


def test_repr_names_the_class_and_the_state(peers: Peers) -> None:
    map: dict[int, Any] = {}
    listener = Recorder(None, map)
    listener.create_socket()
    listener.bind(("127.0.0.1", 0))
    assert repr(listener) == f"<tests.support.peers.Recorder 127.0.0.1:0 at {id(listener):#x}>"
    listener.listen(1)
    assert repr(listener) == f"<tests.support.peers.Recorder listening 127.0.0.1:0 at {id(listener):#x}>"
    listener.close()
    channel, _ = peers.channel(Recorder, map)
    assert repr(channel).startswith("<tests.support.peers.Recorder connected ")
    channel.close()


def test_repr_shows_an_address_of_any_kind() -> None:
    channel = asyncore.dispatcher()
    channel.addr = ("::1", 80, 0, 0)
    assert repr(channel) == f"<asyncore.dispatcher ('::1', 80, 0, 0) at {id(channel):#x}>"
    channel.addr = ("host", 80)
    channel.connected = True
    assert repr(channel) == f"<asyncore.dispatcher connected host:80 at {id(channel):#x}>"


PUBLIC_CLASSES = """
    asyncore.dispatcher asyncore.dispatcher_with_send asyncore.file_dispatcher asyncore.file_wrapper
    asynchat.async_chat asynchat.simple_producer smtpd.SMTPChannel smtpd.SMTPServer smtpd.DebuggingServer
    smtpd.PureProxy smtpd.MailmanProxy
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", PUBLIC_CLASSES)
def test_class_is_known_and_pickled_by_a_public_name(name: str) -> None:
    module, _, last = name.partition(".")
    kind = getattr(getattr(cyncore, module), last)
    assert not any(part.startswith("_") for part in kind.__module__.split("."))
    assert pickle.loads(pickle.dumps(kind)) is kind
