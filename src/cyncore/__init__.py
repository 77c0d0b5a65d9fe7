# SPDX-License-Identifier: MIT
"""A callback event loop: asyncore's model at the speed of epoll.

An echo server:

    import cyncore

    class Echo(cyncore.Stream):
        def handle_data(self, data):
            self.write(data)

    with cyncore.Loop() as loop:
        loop.listen(("127.0.0.1", 7000), Echo)
        loop.run()

A program that imports asyncore, asynchat or smtpd runs unchanged with
``python -m cyncore program.py``.

Each of these names has a help of its own, for example help(cyncore.Loop):

    Stream                  a connection of a new program: derive from it, and define
                            handle_data; Loop.listen and Loop.connect make them
    Datagram                a socket of datagrams, with handle_datagram; Loop.bind makes it
    Server                  what Loop.listen returns
    Process                 a child that Loop.spawn has started, with handle_exit
    Lines, Prefixed, Exactly
                            cut the input of a stream up into frames
    LimitExceeded           a peer sent too much at once, or left too much unread
    TLSError, TruncatedError  why the TLS of a stream has failed
    dispatcher              a connection or a listener: derive from it, and define
                            handle_read, handle_write, handle_accepted or handle_close
    dispatcher_with_send    the same, but send() keeps what the socket does not take
    Channel                 the base of all of these
    socket_map              the channels that no other map was given for, by descriptor
    Loop                    serves a map of channels, timers and calls of other threads
    LoopStats, ChannelInfo, Histogram
                            what Loop.stats and Loop.channels return
    Handle, TimerHandle     a queued call and a timer, which cancel() takes back
    ExitNow                 leaves the loop when a handler raises it
    inherited()             the sockets that systemd passed, for Loop.listen
    install()               binds the names asyncore, asynchat and smtpd to cyncore's
    InstallError            says who uses another copy of these modules
    asyncore, asynchat      the old modules, and smtpd and wasyncore beside them;
                            they are imported when they are first used
    asyncio                 host() and AsyncioLoop: this loop inside of asyncio, or around it
    BACKENDS                the pollers of this platform, the best one first
    native                  True if the compiled engine is used
    fallback_reason         why the plain-Python engine is used, or None
"""

import sys

from ._dispatcher import dispatcher, dispatcher_with_send
from ._engine import (
    BACKENDS,
    Channel,
    ExitNow,
    Handle,
    Loop,
    TimerHandle,
    fallback_reason,
    native,
    set_network,
    socket_map,
)
from ._rules import LimitExceeded
from ._version import __version__

__all__ = [
    "BACKENDS",
    "Channel",
    "ChannelInfo",
    "Datagram",
    "Exactly",
    "ExitNow",
    "Handle",
    "Histogram",
    "InstallError",
    "LimitExceeded",
    "Lines",
    "Loop",
    "LoopStats",
    "Prefixed",
    "Process",
    "Server",
    "Stream",
    "TLSError",
    "TimerHandle",
    "TruncatedError",
    "__version__",
    "dispatcher",
    "dispatcher_with_send",
    "fallback_reason",
    "inherited",
    "install",
    "native",
    "socket_map",
]

TYPE_CHECKING = False  # by this name type checkers know it: `typing` would take longer to import than all of cyncore
if TYPE_CHECKING:
    from . import asynchat as asynchat
    from . import asyncio as asyncio
    from . import asyncore as asyncore
    from . import smtpd as smtpd
    from . import wasyncore as wasyncore
    from ._datagram import Datagram as Datagram
    from ._framing import Exactly as Exactly
    from ._framing import Lines as Lines
    from ._framing import Prefixed as Prefixed
    from ._inspection import ChannelInfo as ChannelInfo
    from ._inspection import Histogram as Histogram
    from ._inspection import LoopStats as LoopStats
    from ._install.error import InstallError as InstallError
    from ._install.names import install as install
    from ._net.inherited import inherited as inherited
    from ._net.process import Process as Process
    from ._net.server import Server as Server
    from ._stream.stream import Stream as Stream
    from ._stream.tls import TLSError as TLSError
    from ._stream.tls import TruncatedError as TruncatedError
else:
    # What is imported when it is first asked for, so that nobody else pays for it: a name, and the module that has it.
    _LATER = {
        "ChannelInfo": "_inspection",
        "Datagram": "_datagram",
        "Exactly": "_framing",
        "Histogram": "_inspection",
        "InstallError": "_install.error",
        "Lines": "_framing",
        "LoopStats": "_inspection",
        "Prefixed": "_framing",
        "Process": "_net.process",
        "Server": "_net.server",
        "Stream": "_stream.stream",
        "TLSError": "_stream.tls",
        "TruncatedError": "_stream.tls",
        "inherited": "_net.inherited",
        "install": "_install.names",
    }

    def __getattr__(name: str) -> object:
        module = f"{__name__}.{_LATER.get(name, name)}"
        if name in _LATER:
            __import__(module)  # importlib is not loaded yet, and more than this needs
            found = globals()[name] = getattr(sys.modules[module], name)
            return found
        if name not in ("asynchat", "asyncio", "asyncore", "smtpd", "wasyncore"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        __import__(module)
        return sys.modules[module]


def _network(loop: Loop) -> object:
    from ._net.network import Network

    return Network(loop)


set_network(_network)
