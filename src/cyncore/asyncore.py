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

from . import _dispatcher as _classes
from ._dispatcher import _strerror as _strerror
from ._dispatcher import compact_traceback as compact_traceback
from ._dispatcher import dispatcher as dispatcher
from ._dispatcher import dispatcher_with_send as dispatcher_with_send
from ._engine import ExitNow as ExitNow
from ._engine import Loop
from ._engine import socket_map as socket_map
from ._rules import DISCONNECTED as _DISCONNECTED
from ._rules import EXITS as _reraised_exceptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
else:
    Any = object

if os.name == "posix":
    from ._dispatcher import file_dispatcher as file_dispatcher
    from ._dispatcher import file_wrapper as file_wrapper

# Windows has no poll(), so its `select` lacks the flags that readwrite() takes.
_POLLIN = getattr(select, "POLLIN", 1)
_POLLPRI = getattr(select, "POLLPRI", 2)
_POLLOUT = getattr(select, "POLLOUT", 4)
_GONE = getattr(select, "POLLERR", 8) | getattr(select, "POLLHUP", 16) | getattr(select, "POLLNVAL", 32)


def _call(obj: Any, handler: str) -> None:
    try:
        getattr(obj, handler)()
    except _reraised_exceptions:
        raise
    except BaseException:  # the old rule: whatever a handler raises is the channel's own trouble
        obj.handle_error()


def read(obj: Any) -> None:
    """Calls ``obj.handle_read_event()``; what it raises goes to ``obj.handle_error()``, as in `readwrite`."""
    _call(obj, "handle_read_event")


def write(obj: Any) -> None:
    """Calls ``obj.handle_write_event()``; what it raises goes to ``obj.handle_error()``."""
    _call(obj, "handle_write_event")


def _exception(obj: Any) -> None:
    _call(obj, "handle_expt_event")


def readwrite(obj: Any, flags: int) -> None:
    """Calls the handlers of ``obj`` for ``flags`` of poll(2), in the order read, write, urgent data, close.

    ExitNow, KeyboardInterrupt and SystemExit pass through; an OSError that means a lost connection calls
    ``handle_close``; anything else ``handle_error``.
    """
    _readwrite(obj, flags, _errno_of)


def _errno_of(error: OSError) -> Any:
    return error.errno


def _readwrite(obj: Any, flags: int, errno_of: Callable[[OSError], Any]) -> None:
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
        if errno_of(error) in _DISCONNECTED:
            obj.handle_close()
        else:
            obj.handle_error()
    except BaseException:  # as in _call()
        obj.handle_error()


def poll(timeout: float | None = 0.0, map: Any = None) -> None:
    """Waits at most ``timeout`` seconds (None: without end) for events of the channels in ``map`` and handles them.

    ``map`` None: `socket_map`. An empty map returns at once. ValueError for a timeout below zero.
    """
    chosen = socket_map if map is None else map
    if chosen or timeout is None or timeout < 0:
        Loop.of(chosen).run_map(timeout, 1)  # an empty map need not get a loop that nobody keeps


poll2 = poll3 = _own_poll = poll


def loop(timeout: float | None = 30.0, use_poll: bool = False, map: Any = None, count: int | None = None) -> None:
    """Handles events until ``map`` is empty, or ``count`` rounds are done, each waiting at most ``timeout`` seconds.

    ``use_poll`` is accepted and ignored: the best poller of the platform serves either way. Called in a second thread
    for the same map, it waits for its turn: no two threads ever handle events of one map at the same time.

    What a program has put in the place of `poll`, or of `poll2` if ``use_poll``, is called for each round instead.
    """
    chosen = socket_map if map is None else map
    turn = poll2 if use_poll else poll
    if turn is _own_poll:
        Loop.of(chosen).run_map(timeout, count)
        return
    while chosen and (count is None or count > 0):
        turn(timeout, chosen)
        count = None if count is None else count - 1


def close_all(map: Any = None, ignore_all: bool = False) -> None:
    """Calls ``close()`` on everything in ``map`` (None: `socket_map`) and empties it.

    An OSError of EBADF is ignored; any other exception too if ``ignore_all``, except ExitNow, KeyboardInterrupt and
    SystemExit.
    """
    _close_all(socket_map if map is None else map, ignore_all, _errno_of)


def _close_all(chosen: Any, ignore_all: bool, errno_of: Callable[[OSError], Any]) -> None:
    for channel in list(chosen.values()):
        try:
            channel.close()
        except _reraised_exceptions:
            raise
        except BaseException as error:
            if not ignore_all and not (isinstance(error, OSError) and errno_of(error) == EBADF):
                raise
    chosen.clear()


class _OldModule(types.ModuleType):
    """A module that passes on what is assigned to some of its names: to the modules that use them.

    The old modules were one file each, so that what programs and their tests put in the place of a name, as in
    ``asyncore.socket = fake``, reached the classes.
    """

    _used_in: dict[str, tuple[types.ModuleType, ...]]

    def __setattr__(self, name: str, value: Any) -> None:
        for module in self._used_in.get(name, ()):
            setattr(module, name, value)
        super().__setattr__(name, value)


def _pass_on(module: str, used_in: dict[str, tuple[types.ModuleType, ...]]) -> None:
    """Has ``module`` pass on what is assigned to the names in ``used_in``, each to the modules that use it."""
    sys.modules[module].__dict__["_used_in"] = used_in
    sys.modules[module].__class__ = _OldModule


_pass_on(__name__, dict.fromkeys(("compact_traceback", "os", "socket", "socket_map", "sys", "warnings"), (_classes,)))
