# SPDX-License-Identifier: MIT
"""The names of the old ``asyncore`` module, on cyncore's loop.

``import cyncore.asyncore as asyncore``, or run an unchanged program with ``python -m cyncore SCRIPT``.
docs/compatibility.md says what is kept and what is cured.
"""

from __future__ import annotations

import os as os
import select as select
import socket as socket
import sys as sys
import time as time
import types
import warnings as warnings
from errno import EAGAIN as EAGAIN
from errno import EALREADY as EALREADY
from errno import EBADF as EBADF
from errno import ECONNABORTED as ECONNABORTED
from errno import ECONNRESET as ECONNRESET
from errno import EINPROGRESS as EINPROGRESS
from errno import EINVAL as EINVAL
from errno import EISCONN as EISCONN
from errno import ENOTCONN as ENOTCONN
from errno import EPIPE as EPIPE
from errno import ESHUTDOWN as ESHUTDOWN
from errno import EWOULDBLOCK as EWOULDBLOCK
from errno import errorcode as errorcode

from ._engine import ExitNow as ExitNow
from ._engine import Loop
from ._engine import socket_map as socket_map
from ._rules import DISCONNECTED as _DISCONNECTED
from ._rules import EXITS as _reraised_exceptions
from .dispatcher import _strerror as _strerror
from .dispatcher import compact_traceback as compact_traceback
from .dispatcher import dispatcher as dispatcher
from .dispatcher import dispatcher_with_send as dispatcher_with_send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

if os.name == "posix":
    from .dispatcher import file_dispatcher as file_dispatcher
    from .dispatcher import file_wrapper as file_wrapper

_classes = sys.modules[dispatcher.__module__]  # the name in the package is that of the class

# Windows has no poll(), so its `select` lacks the flags that readwrite() takes.
_POLLIN = getattr(select, "POLLIN", 1)
_POLLPRI = getattr(select, "POLLPRI", 2)
_POLLOUT = getattr(select, "POLLOUT", 4)
_GONE = getattr(select, "POLLERR", 8) | getattr(select, "POLLHUP", 16) | getattr(select, "POLLNVAL", 32)


def read(obj: Any) -> None:
    """Calls ``obj.handle_read_event()``; what it raises goes to ``obj.handle_error()``, as in `readwrite`."""
    try:
        obj.handle_read_event()
    except _reraised_exceptions:
        raise
    except BaseException:  # the old rule: whatever it is, it is the channel's own trouble
        obj.handle_error()


def write(obj: Any) -> None:
    """Calls ``obj.handle_write_event()``; what it raises goes to ``obj.handle_error()``."""
    try:
        obj.handle_write_event()
    except _reraised_exceptions:
        raise
    except BaseException:  # as in read()
        obj.handle_error()


def _exception(obj: Any) -> None:
    try:
        obj.handle_expt_event()
    except _reraised_exceptions:
        raise
    except BaseException:  # as in read()
        obj.handle_error()


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
        if error.errno in _DISCONNECTED:
            obj.handle_close()
        else:
            obj.handle_error()
    except BaseException:  # as in read()
        obj.handle_error()


def poll(timeout: float | None = 0.0, map: Any = None) -> None:
    """Waits at most ``timeout`` seconds (None: without end) for events of the channels in ``map`` and handles them.

    ``map`` None: `socket_map`. An empty map returns at once. ValueError for a timeout below zero.
    """
    chosen = socket_map if map is None else map
    if chosen or timeout is None or timeout < 0:
        Loop.of(chosen).run_map(timeout, 1)  # an empty map need not get a loop that nobody keeps


poll2 = poll3 = poll


def loop(timeout: float | None = 30.0, use_poll: bool = False, map: Any = None, count: int | None = None) -> None:
    """Handles events until ``map`` is empty, or ``count`` rounds are done, each waiting at most ``timeout`` seconds.

    ``use_poll`` is accepted and ignored: the best poller of the platform serves either way. Called in a second thread
    for the same map, it waits for its turn: no two threads ever handle events of one map at the same time.
    """
    chosen = socket_map if map is None else map
    Loop.of(chosen).run_map(timeout, count)


def close_all(map: Any = None, ignore_all: bool = False) -> None:
    """Calls ``close()`` on everything in ``map`` (None: `socket_map`) and empties it.

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
            if not ignore_all and not (isinstance(error, OSError) and error.errno == EBADF):
                raise
    chosen.clear()


class _OldModule(types.ModuleType):
    """Passes on what programs and their tests put in place of a name here to the module that uses the name.

    The old module was one file, so that ``asyncore.socket = fake`` or ``asyncore.socket_map = {}`` reached its classes.
    """

    _SHARED = frozenset({"os", "socket", "socket_map", "sys", "warnings"})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._SHARED:
            setattr(_classes, name, value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _OldModule
