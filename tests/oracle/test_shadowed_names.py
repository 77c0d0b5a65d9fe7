# SPDX-License-Identifier: MIT
"""A class may have an attribute of its own in the way of any name that the engine keeps, in any way that Python knows.

A small session (listen, connect, accept, talk, close) runs over the old modules and over ours, each of its classes with
one name shadowed in one way, and every handler must be told the same in the same state.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

import cyncore.asynchat
import cyncore.asyncore
import cyncore.smtpd
from cyncore import Loop
from cyncore._smtp.options import ServerOptions
from tests.support.old import load, load_asynchat
from tests.support.peers import Peers, Recorder, poll_until

pytestmark = pytest.mark.skipif(not hasattr(select, "poll"), reason="the old module is driven by poll(2)")

ROUNDS = 400  # polls in which a session must have come to its end

# What a name begins with in the old modules: a shadow that begins with it changes nothing there.
OF_DISPATCHER: dict[str, Any] = {
    "socket": None, "addr": None, "_map": None, "_fileno": None, "connected": False, "accepting": False,
    "connecting": False, "closing": False, "debug": False, "ignore_log_types": frozenset({"warning"}),
    "family_and_type": None,
}  # fmt: skip
OF_SEND: dict[str, Any] = {**OF_DISPATCHER, "out_buffer": b"", "debug": True}
OF_CHAT: dict[str, Any] = {
    **OF_DISPATCHER, "ac_in_buffer": b"", "incoming": [], "producer_fifo": deque(), "terminator": b"\n",
    "ac_in_buffer_size": 3, "ac_out_buffer_size": 3, "use_encoding": 0, "encoding": "latin-1",
}  # fmt: skip
OF_SERVER: dict[str, Any] = {
    **OF_DISPATCHER, "data_size_limit": 4096, "enable_SMTPUTF8": False, "_decode_data": False, "_localaddr": None,
    "_remoteaddr": None, "channel_class": None,
}  # fmt: skip
OF_SMTP: dict[str, Any] = {
    **OF_CHAT, "ac_in_buffer_size": 4096, "ac_out_buffer_size": 4096, "smtp_server": None, "conn": None, "peer": None,
    "received_lines": [], "smtp_state": 0, "seen_greeting": "", "mailfrom": None, "rcpttos": [], "received_data": "",
    "fqdn": "", "num_bytes": 0, "data_size_limit": 4096, "enable_SMTPUTF8": False, "_decode_data": False,
    "command_size_limit": 512, "extended_smtp": False,
}  # fmt: skip
NAMES = {
    "dispatcher": OF_DISPATCHER, "dispatcher_with_send": OF_SEND, "async_chat": OF_CHAT, "SMTPServer": OF_SERVER,
    "SMTPChannel": OF_SMTP,
}  # fmt: skip


# Ways to shadow a name: each takes a class and gives one derived from it


def in_class(base: type, name: str, value: Any) -> type:
    return type("Shadowing", (base,), {name: value})


def before_init(base: type, name: str, value: Any) -> type:
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        setattr(self, name, value)
        base.__init__(self, *args, **options)  # type: ignore[misc]

    return type("Shadowing", (base,), {"__init__": __init__})


def property_of(base: type, name: str, value: Any) -> type:
    def get(self: Any) -> Any:
        return self.__dict__.get("its_own", value)

    def put(self: Any, said: Any) -> None:
        self.__dict__["its_own"] = said

    return type("Shadowing", (base,), {name: property(get, put)})


def slot(base: type, name: str, value: Any) -> type:
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        setattr(self, name, value)
        base.__init__(self, *args, **options)  # type: ignore[misc]

    return type("Shadowing", (base,), {"__slots__": (name,), "__init__": __init__})


def getattr_of(base: type, name: str, value: Any) -> type:
    def __getattr__(self: Any, asked: str) -> Any:
        if asked.startswith("__"):
            raise AttributeError(asked)
        self.__dict__.setdefault("asked", set()).add(asked)
        return value

    return type("Shadowing", (base,), {"__getattr__": __getattr__})


WAYS: dict[str, Callable[[type, str, Any], type]] = {
    "class": in_class, "before": before_init, "property": property_of, "slot": slot, "getattr": getattr_of,
}  # fmt: skip


# The session


class Session:
    """One session over one set of modules: `trace` has what each channel was told, by its role."""

    def __init__(self, modules: Any, shadow: Callable[[type], type]) -> None:
        self.modules, self.shadow = modules, shadow
        self.map: dict[Any, Any] = {}
        self.trace: dict[str, list[Any]] = {}
        self.names: dict[str, set[str]] = {}  # of all attributes that its channels have, by their role
        self.done = False

    def tell(self, role: str, channel: Any, what: str, *more: Any) -> None:
        state = [bool(getattr(channel, name)) for name in ("connected", "accepting", "connecting", "closing")]
        sock, fd = channel.socket, channel._fileno
        known = (sock is not None and sock.fileno() >= 0, isinstance(fd, int), channel._map is self.map)
        placed = self.map.get(fd) is channel
        self.names.setdefault(role, set()).update(dir(channel))
        self.trace.setdefault(role, []).append((what, *more, *state, known, placed, channel.addr is not None))

    def made(self, base: type, role: str, **methods: Any) -> type:
        """A class of that base that tells of its errors and its end, and has the name shadowed."""
        session = self

        def handle_error(self: Any) -> None:
            session.trace.setdefault(role, []).append(("error", repr(sys.exc_info()[1])))
            session.done = True
            self.close()

        def handle_close(self: Any) -> None:
            session.tell(role, self, "close")
            self.close()
            session.tell(role, self, "closed")

        def log_info(self: Any, message: object, type: str = "info") -> None:
            if type not in self.ignore_log_types:
                session.trace.setdefault(role, []).append((type, message))

        told = {"handle_error": handle_error, "handle_close": handle_close, "log_info": log_info}
        return self.shadow(type("Told", (base,), {**told, **methods}))

    def run(self) -> None:
        for _ in range(ROUNDS):
            if self.done:
                break
            self.modules.asyncore.poll2(0.02, self.map)
        for channel in list(self.map.values()):
            channel.close()

    def talk(self, base: type, server_methods: dict[str, Any], client_methods: dict[str, Any]) -> None:
        """A listener, a client that connects to it, and what accepts: all of that base."""
        session = self

        def handle_accepted(self: Any, sock: Any, addr: Any) -> None:
            session.tell("listener", self, "accepted")
            accepting(sock, session.map)

        def handle_connect(self: Any) -> None:
            session.tell("client", self, "connect")

        accepting = self.made(base, "server", **server_methods)
        listener = self.made(base, "listener", handle_accepted=handle_accepted)(map=self.map)
        listener.create_socket()
        listener.set_reuse_addr()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        self.tell("listener", listener, "listening")
        client = self.made(base, "client", handle_connect=handle_connect, **client_methods)(map=self.map)
        client.create_socket()
        client.connect(listener.socket.getsockname())
        with contextlib.closing(listener), contextlib.closing(client):
            client_methods["begin"](client)
            self.run()
        for role, channel in ("client", client), ("listener", listener):
            self.tell(role, channel, "end")


def raw(session: Session, base: type) -> None:
    """Bytes, as they come."""

    def read_server(self: Any) -> None:
        data = self.recv(100)
        session.tell("server", self, "read", data)
        if data:
            self.send(data)

    def read_client(self: Any) -> None:
        session.tell("client", self, "read", self.recv(100))
        self.close()
        session.tell("client", self, "closed")

    def write_client(self: Any) -> None:
        if not self.__dict__.get("wrote"):
            self.__dict__["wrote"] = True
            session.tell("client", self, "write")
            self.send(b"hello")
        elif hasattr(base, "initiate_send"):
            base.handle_write(self)  # type: ignore[attr-defined]

    def close_server(self: Any) -> None:
        session.tell("server", self, "close")
        self.close()
        session.tell("server", self, "closed")
        session.done = True

    session.talk(
        base,
        {"handle_read": read_server, "handle_close": close_server, "handle_write": base.handle_write},
        {"handle_read": read_client, "handle_write": write_client, "begin": lambda self: None},
    )


def lines(session: Session, base: type) -> None:
    """Two lines, and an end said by the server."""

    def start(self: Any) -> None:
        self.set_terminator(b"\n")
        self.push(b"first line\nsecond")
        self.push(b" line\n")

    def found(role: str) -> Callable[[Any], None]:
        def found_terminator(self: Any) -> None:
            line = self._get_data()
            session.tell(role, self, "line", line)
            if role == "server":
                self.push(line.upper() + b"\n")
                if line.startswith(b"second"):
                    self.close_when_done()

        return found_terminator

    def init(self: Any, *args: Any, **options: Any) -> None:
        base.__init__(self, *args, **options)  # type: ignore[misc]
        self.set_terminator(b"\n")

    def close_client(self: Any) -> None:
        session.tell("client", self, "close")
        self.close()
        session.done = True

    collect = base._collect_incoming_data  # type: ignore[attr-defined]
    session.talk(
        base,
        {"__init__": init, "found_terminator": found("server"), "collect_incoming_data": collect},
        {"found_terminator": found("client"), "collect_incoming_data": collect, "handle_close": close_client,
         "begin": start},
    )  # fmt: skip


def mail(session: Session, server_base: type, channel_base: type) -> None:
    """One message from a client that is a plain socket."""

    def process_message(self: Any, peer: Any, mailfrom: str, rcpttos: list[str], data: Any, **more: Any) -> None:
        session.tell("listener", self, "message", mailfrom, list(rcpttos), data)

    smtpd = session.modules.smtpd
    channel_kind = session.made(channel_base, "server")
    kind = session.made(server_base, "listener", process_message=process_message, channel_class=channel_kind)
    kind.channel_class = channel_kind  # type: ignore[attr-defined]
    with mock.patch.object(socket, "getfqdn", return_value="host"), contextlib.ExitStack() as stack:
        server = kind(("127.0.0.1", 0), None, map=session.map)
        stack.callback(server.close)
        if not isinstance(server.channel_class, type):
            server.channel_class = channel_kind
        client = stack.enter_context(socket.create_connection(server.socket.getsockname()))
        client.setblocking(False)
        said, text = b"", [
            b"EHLO x\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n",
            b"Subject: x\r\n\r\nline\r\n.\r\n", b"QUIT\r\n",
        ]  # fmt: skip
        replies = 0
        for _ in range(ROUNDS):
            session.modules.asyncore.poll2(0.02, session.map)
            with contextlib.suppress(BlockingIOError):
                part = client.recv(4096)
                said += part
                if not part:
                    break
            complete = [line for line in said.split(b"\r\n")[:-1] if line[3:4] == b" "]
            if len(complete) > replies and text:
                replies = len(complete)
                client.sendall(text.pop(0))
        session.trace["client"] = [said.replace(smtpd.__version__.encode(), b"")]
        for channel in list(session.map.values()):
            channel.close()
        session.tell("listener", server, "end")


def modules_of(kind: str) -> Any:
    if kind == "ours":
        return SimpleNamespace(asyncore=cyncore.asyncore, asynchat=cyncore.asynchat, smtpd=cyncore.smtpd)
    try:
        loop, chat = load_asynchat()
    except ImportError:
        pytest.skip("there is no old module here to compare with (pip install pyasyncore pyasynchat)")
    try:
        smtpd = load("smtpd", asyncore=loop, asynchat=chat)
    except ImportError:
        smtpd = None
    return SimpleNamespace(asyncore=loop, asynchat=chat, smtpd=smtpd)


@pytest.fixture(scope="module")
def old() -> Any:
    return modules_of("old")


def session_over(modules: Any, kind: str, shadow: Callable[[type], type]) -> Session:
    """The session of that kind, its classes shadowed."""

    def shadow_of_kind(base: type) -> type:
        if kind.startswith("SMTP") and not issubclass(base, getattr(modules.smtpd, kind)):
            return base
        return shadow(base)

    session = Session(modules, shadow_of_kind)
    if kind == "async_chat":
        lines(session, modules.asynchat.async_chat)
    elif kind.startswith("SMTP"):
        mail(session, modules.smtpd.SMTPServer, modules.smtpd.SMTPChannel)
    else:
        raw(session, getattr(modules.asyncore, kind))
    return session


def compare(old: Any, kind: str, shadow: Callable[[type], type]) -> None:
    before = session_over(old, kind, shadow)
    after = session_over(modules_of("ours"), kind, shadow)
    assert before.trace["client"], "the old module came nowhere"
    assert after.trace == before.trace
    assert (after.map, before.map) == ({}, {})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_session_is_that_of_the_old_module(old: Any, kind: str, name: str, way: str) -> None:
    if kind.startswith("SMTP") and old.smtpd is None:
        pytest.skip("there is no old smtpd here")
    compare(old, kind, lambda base: WAYS[way](base, name, NAMES[kind][name]))


def put_into_dict(self: Any, name: str, value: Any) -> None:
    self.__dict__[name] = value


@pytest.mark.parametrize("kind", NAMES)
def test_setattr_of_the_program_may_write_to_the_dict(old: Any, kind: str) -> None:
    if kind.startswith("SMTP") and old.smtpd is None:
        pytest.skip("there is no old smtpd here")
    compare(old, kind, lambda base: type("Own", (base,), {"__setattr__": put_into_dict}))


# Names that the old modules do not have: whatever a program calls so is its own affair

# Those that are ours to ask for: documented, and set by programs.
DOCUMENTED = {
    "gather_pushes", "max_incoming", "max_outgoing",
    *(name for name in vars(ServerOptions) if not name.startswith("_")),
}  # fmt: skip
# What the engine still looks up in the instance.
OF_ENGINE = {"_collected", "_output_waits"}
# What is kept beside the attributes of the old modules has a name that begins so.
RESERVED = "_cyncore"


def names_in(session: Session, kind: str) -> set[str]:
    roles = {"SMTPServer": ["listener"], "SMTPChannel": ["server"]}.get(kind, list(session.names))
    return {name for role in roles for name in session.names[role] if not name.startswith(("__", RESERVED))}


@pytest.mark.skipif(not cyncore.native, reason="the engine in plain Python keeps all of its state in attributes")
@pytest.mark.parametrize("way", ["class", "before"])
@pytest.mark.parametrize("kind", NAMES)
def test_names_that_the_old_module_does_not_have_are_the_program_s(old: Any, kind: str, way: str) -> None:
    if kind.startswith("SMTP") and old.smtpd is None:
        pytest.skip("there is no old smtpd here")
    known, ours = (
        names_in(session_over(modules, kind, lambda base: base), kind) for modules in (old, modules_of("ours"))
    )
    new = ours - known - DOCUMENTED - OF_ENGINE
    assert {"pause_reading", "resume_reading"} <= new
    own = {name: f"the program's {name}" for name in sorted(new)}
    channels: list[Any] = []

    def shadow(base: type) -> type:
        def __init__(self: Any, *args: Any, **options: Any) -> None:
            channels.append(self)
            for name in own if way == "before" else ():
                setattr(self, name, own[name])
            base.__init__(self, *args, **options)  # type: ignore[misc]

        return type("Own", (base,), {"__init__": __init__, **(own if way == "class" else {})})

    compare(old, kind, shadow)
    assert channels
    for channel in channels:
        assert {name: getattr(channel, name) for name in own} == own


# The documented ones are options only where a program gives them a value that an option can have


def uses_as_method(base: type, name: str) -> type:
    return type("Own", (base,), {name: lambda self: f"the program's {name}"})


def uses_as_property(base: type, name: str) -> type:
    return type("Own", (base,), {name: property(lambda self: self.not_there)})


def uses_as_attribute(base: type, name: str) -> type:
    return before_init(base, name, [name])


@pytest.mark.parametrize("use", [uses_as_method, uses_as_property, uses_as_attribute])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in ("async_chat", "SMTPChannel")
        for name in ("gather_pushes", "max_incoming", "max_outgoing")
    ]
    + [("SMTPServer", name) for name in vars(ServerOptions) if not name.startswith("_")],
)
def test_name_of_an_option_may_be_used_for_something_else(
    old: Any, kind: str, name: str, use: Callable[[type, str], type]
) -> None:
    if kind.startswith("SMTP") and old.smtpd is None:
        pytest.skip("there is no old smtpd here")
    compare(old, kind, lambda base: use(base, name))


# What the sessions above do not come to


@pytest.mark.parametrize("base", ["dispatcher", "dispatcher_with_send", "async_chat"])
def test_socket_of_a_wrong_type_is_told_by_class_and_attribute(loop: Loop, peers: Peers, base: str) -> None:
    errors: list[str] = []

    class Wrong(getattr(cyncore.asynchat, base, None) or getattr(cyncore.asyncore, base)):  # type: ignore[misc]
        socket = property(lambda self: 5, lambda self, value: None)

        def handle_error(self) -> None:
            errors.append(repr(sys.exc_info()[1]))
            self.del_channel()

        def handle_read(self) -> None:
            self.recv(100)

    _, far = peers.channel(Wrong, loop.map)
    far.send(b"data")
    loop.poll(5)
    assert len(errors) == 1
    assert "Wrong.socket is 5, which has no recv()" in errors[0]


def test_map_of_a_wrong_type_is_told_by_class_and_attribute(peers: Peers) -> None:
    class Wrong(cyncore.asyncore.dispatcher):
        _map = property(lambda self: 5, lambda self, value: None)  # type: ignore[assignment]

    near, _ = peers.pair()
    with pytest.raises(TypeError, match=r"Wrong\._map is 5: a map of channels must be a dict"):
        Wrong().set_socket(near)


def test_output_buffer_of_a_wrong_type_is_told_by_class_and_attribute(loop: Loop, peers: Peers) -> None:
    class Wrong(cyncore.asyncore.dispatcher_with_send):
        out_buffer = property(lambda self: 5, lambda self, value: None)  # type: ignore[assignment]

    channel, _ = peers.channel(Wrong, loop.map)
    with pytest.raises(TypeError, match=r"Wrong\.out_buffer is 5"):
        channel.send(b"data")
    channel.close()


@pytest.mark.parametrize("name", ["ac_in_buffer_size", "ac_out_buffer_size"])
def test_buffer_size_of_a_wrong_type_is_told_by_class_and_attribute(loop: Loop, peers: Peers, name: str) -> None:
    errors: list[str] = []

    class Wrong(cyncore.asynchat.async_chat):
        def handle_error(self) -> None:
            errors.append(repr(sys.exc_info()[1]))
            self.close()

    setattr(Wrong, name, "many")
    channel, far = peers.channel(Wrong, loop.map)
    channel.set_terminator(b"\n")
    far.send(b"data")
    with contextlib.suppress(TypeError):  # out of push() itself, or out of the handler that the loop calls
        channel.push(b"data")
        loop.poll(5)
    try:
        channel.push(b"data")
    except TypeError as error:
        errors.append(repr(error))
    channel.close()
    assert any(f"Wrong.{name} is 'many'" in error for error in errors), errors


def test_state_that_a_property_computes_is_asked_like_a_predicate(loop: Loop, peers: Peers) -> None:
    """Nobody tells when it changes: here it does in another channel's handler."""
    phase = {"connected": True}

    class Computed(Recorder):
        connected = property(lambda self: phase["connected"], lambda self, value: None)  # type: ignore[assignment]
        connecting = property(lambda self: True, lambda self, value: None)  # type: ignore[assignment]

        def handle_connect_event(self) -> None:
            self.seen.append("connect")
            phase["connected"] = True

    class Changing(Recorder):
        def handle_read(self) -> None:
            super().handle_read()
            phase["connected"] = False

    computed, _ = peers.channel(Computed, loop.map)
    _, far = peers.channel(Changing, loop.map)
    loop.poll()
    loop.poll()
    assert computed.seen == []
    far.send(b"data")
    poll_until(loop, lambda: computed.seen)  # a socket that is connecting is told when it is writable
    assert computed.seen == ["connect"]


def test_attribute_put_in_the_way_later_keeps_the_socket(loop: Loop, peers: Peers) -> None:
    class Late(Recorder):
        pass

    channel, far = peers.channel(Late, loop.map)
    loop.poll()
    Late.socket = None
    loop.poll()
    far.send(b"data")
    loop.poll(5)
    assert channel.got == b"data"
    assert channel.socket is not None
    del Late.socket
    loop.poll()
    far.send(b"more")
    poll_until(loop, lambda: channel.got == b"datamore")
    channel.close()


def test_tls_like_socket_put_in_the_place_of_a_shadowed_one_is_used(loop: Loop, peers: Peers) -> None:
    class Loud:
        def __init__(self, sock: socket.socket) -> None:
            self.sock, self.fileno, self.close = sock, sock.fileno, sock.close

        def recv(self, size: int) -> bytes:
            return self.sock.recv(size).upper()

    class Starting(Recorder):
        socket = None

    channel, far = peers.channel(Starting, loop.map)
    far.send(b"quiet ")
    loop.poll(5)
    channel.socket = Loud(channel.socket)
    far.send(b"loud")
    loop.poll(5)
    assert channel.got == b"quiet LOUD"


def test_getattr_is_not_asked_for_names_of_the_engine_s_own(loop: Loop, peers: Peers) -> None:
    asked: list[str] = []

    class Delegating(Recorder):
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return lambda: None

    channel, far = peers.channel(Delegating, loop.map)
    far.send(b"data")
    loop.poll(5)
    channel.close()
    channel.close()
    assert (asked, channel._fileno) == ([], None)
