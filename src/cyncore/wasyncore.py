# SPDX-License-Identifier: MIT
"""The names of ``waitress.wasyncore``, waitress' own copy of asyncore, on cyncore's loop.

``python -m cyncore -m waitress APP`` and an early ``cyncore.install()`` give it to waitress in the copy's place. What
the copy of waitress 3 does otherwise than asyncore is done here as well: channels log to the logger ``waitress``, have
no socket once they are closed, and may be told to stay open at a failed send; an error's number is its first argument;
and ``socket_map`` is one of its own.

One thing is as in asyncore and in waitress 2, for which it makes a difference: a channel that is made with a connected
socket is connected, and knows its peer, from the start. waitress 3 says so itself, right after.
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
from ._rules import DISCONNECTED as _DISCONNECTED
from ._rules import EXITS as _reraised_exceptions
from .asyncore import _GONE, _POLLIN, _POLLOUT, _POLLPRI
from .asyncore import ExitNow as ExitNow
from .asyncore import _exception as _exception
from .asyncore import read as read
from .asyncore import write as write
from .dispatcher import _SHOWN_AS, _unhandled
from .dispatcher import compact_traceback as compact_traceback
from .dispatcher import dispatcher as _dispatcher

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


def _number(error: OSError) -> Any:
    return error.args[0] if error.args else None


def readwrite(obj: Any, flags: int) -> None:
    """Calls the handlers of ``obj`` for ``flags`` of poll(2), in the order read, write, urgent data, close.

    ExitNow, KeyboardInterrupt and SystemExit pass through; an OSError that means a lost connection calls
    ``handle_close``; anything else ``handle_error``.
    """
    try:
        if flags & _POLLIN:
            obj.handle_read_event()
        if flags & _POLLOUT:
            obj.handle_write_event()
        if flags & _POLLPRI:
            obj.handle_expt_event()
        if flags & _GONE:
            obj.handle_close()
    except _reraised_exceptions:
        raise
    except OSError as error:
        if _number(error) in _DISCONNECTED:
            obj.handle_close()
        else:
            obj.handle_error()
    except BaseException:  # the old rule: whatever it is, it is the channel's own trouble
        obj.handle_error()


def poll(timeout: float | None = 0.0, map: Any = None) -> None:
    """As `cyncore.asyncore.poll`; ``map`` None: the `socket_map` of this module."""
    _asyncore.poll(timeout, socket_map if map is None else map)


poll2 = poll3 = poll


def loop(timeout: float | None = 30.0, use_poll: bool = False, map: Any = None, count: int | None = None) -> None:
    """As `cyncore.asyncore.loop`; ``map`` None: the `socket_map` of this module."""
    _asyncore.loop(timeout, use_poll, socket_map if map is None else map, count)


def close_all(map: Any = None, ignore_all: bool = False) -> None:
    """Calls ``close()`` on everything in ``map`` (None: the `socket_map` of this module) and empties it.

    An OSError of EBADF is passed over; any other exception too if ``ignore_all``, ExitNow, KeyboardInterrupt and
    SystemExit excepted.
    """
    chosen = socket_map if map is None else map
    for channel in list(chosen.values()):
        try:
            channel.close()
        except _reraised_exceptions:
            raise
        except BaseException as error:
            if not ignore_all and not (isinstance(error, OSError) and _number(error) == EBADF):
                raise
    chosen.clear()


class _Sender(_dispatcher):
    """Sends for a channel whose own `handle_close` is not to be called, and is in no map.

    It sends as every channel does, without letting go of the GIL. A worker thread that let go of it would get it back
    only after the loop's thread: waitress answered a third as many requests when `socket.socket.send` sent for it.
    """

    def handle_close(self) -> None:
        """A lost peer is the loop's to find."""


class dispatcher(_dispatcher):
    """asyncore's dispatcher, with what waitress added to it.

    ``sock`` and ``map``: as there, but a socket that is broken is no error, and ``map`` None is the `socket_map` of
    this module. The thread rules are asyncore's; `send` with ``do_close`` False may be called from any thread.
    """

    logger = logging.getLogger("waitress")
    compact_traceback = staticmethod(compact_traceback)
    _sender: _Sender | None = None

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
        except OSError:  # not connected, or not any more: the loop will tell, or the program knows
            return
        self.connected = True

    def __str__(self) -> str:
        return dispatcher.__repr__(self)

    def close(self) -> None:
        """Leaves the map, closes the socket and forgets it. Safe to call twice, and from inside any handler."""
        super().close()
        self.socket = None
        if self._sender is not None:
            self._sender = None

    def send(self, data: Any, do_close: bool = True) -> int:
        """Sends what the socket takes now and returns how much. 0 where it takes nothing, or the peer is lost.

        ``do_close``: is `handle_close` to be called where the peer is lost? A thread other than the loop's says False.
        """
        channel = self if do_close else self._sending()
        try:
            return _dispatcher.send(channel, data)
        except OSError as error:
            if error.errno is not None:  # those that mean something were seen to already
                raise
            if _number(error) == EWOULDBLOCK:
                return 0
            if _number(error) not in _DISCONNECTED:
                raise
        channel.handle_close()
        return 0

    def _sending(self) -> _dispatcher:
        sock, sender = self.socket, self._sender
        if sender is None or sender.socket is not sock:
            sender = self._sender = _Sender.__new__(_Sender)
            sender.socket = sock
        return sender

    def recv(self, buffer_size: int) -> bytes:
        """At most ``buffer_size`` bytes. b"" after the peer has closed or is lost, and `handle_close` was called."""
        try:
            return _dispatcher.recv(self, buffer_size)
        except OSError as error:
            if error.errno is not None or _number(error) not in _DISCONNECTED:
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
        _, kind, value, text = self.compact_traceback()
        try:
            name = repr(self)
        except Exception:  # a program's own __repr__ may fail too, and the report must still come out
            name = f"<__repr__(self) failed for object at {id(self):0x}>"
        self.log_info(f"uncaptured python exception, closing channel {name} ({kind}:{value} {text})", "error")
        self.handle_close()

    def log(self, message: object) -> None:
        """Logs ``message`` at the level DEBUG."""
        self.logger.log(logging.DEBUG, message)

    def log_info(self, message: object, type: str = "info") -> None:
        """Logs ``message`` at the level that ``type`` names: ``info`` (or any other word), ``warning`` or ``error``."""
        self.logger.log(_LEVELS.get(type, logging.INFO), message)


if os.name == "posix":
    from .dispatcher import file_wrapper as file_wrapper

    class file_dispatcher(dispatcher):
        """A dispatcher for a pipe, a terminal or a file. ``fd``: a descriptor or an object with ``fileno()``.

        The descriptor is duplicated and made non-blocking (which its other users see too: the flag is shared).
        """

        def __init__(self, fd: Any, map: Any = None) -> None:
            dispatcher.__init__(self, None, map)
            self.connected = True
            number = fd.fileno() if hasattr(fd, "fileno") else fd
            self.set_file(number)
            os.set_blocking(number, False)

        def set_file(self, fd: int) -> None:
            """Takes a duplicate of ``fd`` as the channel's own and adds the channel."""
            self.socket = file_wrapper(fd)
            self._fileno = self.socket.fileno()
            self.add_channel()
