# SPDX-License-Identifier: MIT
"""The names of ``waitress.wasyncore``, waitress' own copy of asyncore, on cyncore's loop.

``python -m cyncore -m waitress APP`` and an early ``cyncore.install()`` give it to waitress in place of the copy. It
differs from asyncore where the copy of waitress 3 does: channels log to the logger ``waitress``, have no socket once
they are closed, and can stay open after a send that failed; the number of an error is its first argument; and there is
a ``socket_map`` of its own.

It differs from the copy of waitress 3 in one thing, for waitress 2, which needs it: as in asyncore, a channel that is
made with a connected socket is connected, and knows its peer, from the start. waitress 3 sets both itself.
"""

from __future__ import annotations

import logging as logging
import os as os
import select as select
import socket as socket
import sys as sys
import time as time
import warnings as warnings
from errno import EAGAIN as EAGAIN
from errno import EBADF as EBADF
from errno import ECONNABORTED as ECONNABORTED
from errno import ECONNRESET as ECONNRESET
from errno import EINTR as EINTR
from errno import ENOTCONN as ENOTCONN
from errno import EPIPE as EPIPE
from errno import ESHUTDOWN as ESHUTDOWN
from errno import EWOULDBLOCK as EWOULDBLOCK

from . import asyncore as _asyncore
from ._dispatcher import _SHOWN_AS, _uncaught, _unhandled
from ._dispatcher import compact_traceback as compact_traceback
from ._dispatcher import dispatcher as _dispatcher
from ._rules import DISCONNECTED as _DISCONNECTED
from ._rules import EXITS as _reraised_exceptions  # noqa: F401 - a name of the old module
from ._rules import no_socket as _no_socket
from .asyncore import ExitNow as ExitNow
from .asyncore import _exception as _exception
from .asyncore import read as read
from .asyncore import write as write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

_SHOWN_AS[__name__] = "waitress.wasyncore"

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

socket_map: dict[int, Any] = {}


def _strerror(err: Any) -> str:
    """The system's text for an errno, or something printable for whatever else is given."""
    try:
        return os.strerror(err)
    except (TypeError, ValueError, OverflowError):
        return f"Unknown error {err}"


def _errno_of(error: OSError) -> Any:
    """The number of an error: its first argument, as the copy has it, even where ``errno`` is None."""
    return error.args[0] if error.args else None


def readwrite(obj: Any, flags: int) -> None:
    """As `cyncore.asyncore.readwrite`; an error's number is its first argument."""
    _asyncore._readwrite(obj, flags, _errno_of)


def poll(timeout: float | None = 0.0, map: Any = None) -> None:
    """As `cyncore.asyncore.poll`; ``map`` None: the `socket_map` of this module."""
    _asyncore.poll(timeout, socket_map if map is None else map)


poll2 = poll3 = poll


def loop(timeout: float | None = 30.0, use_poll: bool = False, map: Any = None, count: int | None = None) -> None:
    """As `cyncore.asyncore.loop`; ``map`` None: the `socket_map` of this module."""
    _asyncore.loop(timeout, use_poll, socket_map if map is None else map, count)


def close_all(map: Any = None, ignore_all: bool = False) -> None:
    """As `cyncore.asyncore.close_all`; ``map`` None: the `socket_map` of this module."""
    _asyncore._close_all(socket_map if map is None else map, ignore_all, _errno_of)


class _Sender(_dispatcher):
    """Sends for a channel whose own `handle_close` is not to be called, and is in no map.

    It sends as every channel does, without letting go of the GIL. A worker thread that let go of it would get it back
    only after the loop's thread: waitress answered a third as many requests when `socket.socket.send` sent for it.
    """

    def handle_close(self) -> None:
        """Does nothing: the loop will find that the peer is lost."""


class dispatcher(_dispatcher):
    """asyncore's dispatcher, with what waitress added to it.

    ``sock`` and ``map``: as there, but a socket that is broken is no error, and ``map`` None is the `socket_map` of
    this module. The thread rules are asyncore's; `send` with ``do_close`` False may be called from any thread.
    """

    logger = logging.getLogger("waitress")
    compact_traceback = staticmethod(compact_traceback)
    _cyncore_sender: _Sender | None = None

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self._map = socket_map if map is None else map
        self._fileno = None
        if not sock:
            self.socket = None
            return
        sock.setblocking(False)  # the socket may come from somewhere that blocks
        self.set_socket(sock, map)
        try:
            _dispatcher._find_peer(self, sock)
        except OSError:  # not connected, or no longer: the program knows, or an event will tell
            return
        self.connected = True

    def __str__(self) -> str:
        return dispatcher.__repr__(self)

    def close(self) -> None:
        """Leaves the map, closes the socket and forgets it. Safe to call twice, and from inside any handler."""
        super().close()
        self.socket = None
        if self._cyncore_sender is not None:
            self._cyncore_sender = None

    def send(self, data: Any, do_close: bool = True) -> int:
        """Sends what the socket takes now and returns how much. 0 where it takes nothing, or the peer is lost.

        ``do_close``: is `handle_close` to be called where the peer is lost? A thread other than the loop's says False.
        """
        channel = self if do_close else _sender_for(self)
        try:
            return _dispatcher.send(channel, data)
        except OSError as error:
            if error.errno is not None:  # the engine has handled those that mean a lost peer, or no room
                raise
            if _errno_of(error) == EWOULDBLOCK:
                return 0
            if _errno_of(error) not in _DISCONNECTED:
                raise
        channel.handle_close()
        return 0

    def recv(self, buffer_size: int) -> bytes:
        """At most ``buffer_size`` bytes. b"" after the peer has closed or is lost, and `handle_close` was called."""
        try:
            return _dispatcher.recv(self, buffer_size)
        except OSError as error:
            if error.errno is not None or _errno_of(error) not in _DISCONNECTED:
                raise
        self.handle_close()
        return b""

    @_unhandled
    def handle_expt_event(self) -> None:
        """Urgent data calls `handle_expt`; an error found in SO_ERROR, or a socket that is gone, `handle_close`."""
        if self.socket is None:
            self.handle_close()
        else:
            super().handle_expt_event()

    def handle_error(self) -> None:
        """An exception left a handler: logs it on one line and calls `handle_close`."""
        self.log_info(_uncaught(self, self.compact_traceback()), "error")
        self.handle_close()

    def log(self, message: object) -> None:
        """Logs ``message`` at the level DEBUG."""
        self.logger.log(logging.DEBUG, message)

    def log_info(self, message: object, type: str = "info") -> None:
        """Logs ``message`` at the level that ``type`` names: ``info`` (or any other word), ``warning`` or ``error``."""
        self.logger.log(_LEVELS.get(type, logging.INFO), message)


def _sender_for(channel: dispatcher) -> _Sender:
    """What sends over the channel's socket; a new one where the channel has got another socket."""
    sock, sender = channel.socket, channel._cyncore_sender
    if sock is None:
        raise _no_socket(channel, sock, "send")
    if sender is None or sender.socket is not sock:
        sender = channel._cyncore_sender = _Sender.__new__(_Sender)
        sender.socket = sock
    return sender


if os.name == "posix":
    from ._dispatcher import _take_file
    from ._dispatcher import file_dispatcher as _file_dispatcher
    from ._dispatcher import file_wrapper as file_wrapper

    class file_dispatcher(dispatcher):
        """A dispatcher for a pipe, a terminal or a file. ``fd``: a descriptor or an object with ``fileno()``.

        The descriptor is duplicated and made non-blocking (which its other users see too: the flag is shared).
        """

        def __init__(self, fd: Any, map: Any = None) -> None:
            dispatcher.__init__(self, None, map)
            _take_file(self, fd)

        set_file = _file_dispatcher.set_file
