# SPDX-License-Identifier: MIT
"""What both engines and the public modules agree on: errnos, numbers, and how arguments are checked.

The compiled engine calls the functions here where a loop is made, and where an argument is of an unusual type or wrong:
never once per event. Every import of cyncore loads this module, so it imports only what Python has loaded already.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from errno import (
    EBADF,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    EMFILE,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOTCONN,
    EPIPE,
    ESHUTDOWN,
    errorcode,
)

from ._report import WARNING, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


class ExitNow(Exception):
    """Raised by a handler or a callback to leave the loop."""


class LimitExceeded(Exception):
    """A peer sends more at once than it may, or leaves more unread than it may. The text says which limit it was."""


EXITS = (ExitNow, KeyboardInterrupt, SystemExit)
"""These leave the loop. Any other exception goes to the channel, or to the loop whose call raised it."""

# Errnos

DISCONNECTED = frozenset({ECONNRESET, ENOTCONN, ESHUTDOWN, ECONNABORTED, EPIPE, EBADF})
"""The connection is lost: `handle_close` is called, and no error is raised."""

EARLIER = frozenset({ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH})
"""Errors of a datagram that was sent earlier. What is received or sent now has nothing to do with them."""

EARLIER_MOST = 16
"""How many of them a receive or a send passes over."""

OUT_OF_DESCRIPTORS = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
"""accept(2) has no room for a connection: it stays in the backlog, and the listener waits before it tries again."""

LOST_IN_BACKLOG = frozenset(
    number
    for number, name in errorcode.items()
    if name in ("EAGAIN", "EWOULDBLOCK", "ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN")
    or name in ("ENONET", "EHOSTUNREACH", "ENETUNREACH")
)
"""accept(2) found no connection, or one that was lost before it could be accepted. The listener itself is well."""

# Numbers

ACCEPT_BURST = 16
"""Connections that a listener with the default `handle_accept` accepts for one event."""

BACKOFF_FIRST = 100
"""Milliseconds that a listener waits when it is out of descriptors for the first time; doubled each time after that."""

BACKOFF_LAST = 1000
"""The longest such wait, in milliseconds."""

LOG_INTERVAL = 1.0
"""Seconds between two warnings that listeners are out of descriptors."""

CHUNK = 65536
"""Bytes that `dispatcher_with_send` offers to one send(2): about what a socket buffer takes at once."""

TIMED_EVERY = 128
"""Of so many ticks one has handlers timed, and one of so many calls is timed, for the histogram of `Loop.stats`."""

TIMED_EVENTS = 4
"""Events of such a tick whose handlers are timed."""

LAST_READS = 256
"""Reads after which a stream whose output has failed is given up, although the kernel still holds input."""

LINGER = 2.0
"""Seconds for which a stream that has closed, and sent everything, waits for a peer that still sends to close too."""

LATEST = 9.2e9
"""The latest time of a timer, in seconds of `Loop.time`: 64 bits of nanoseconds hold 292 years."""

TIMERS_SHARE = 0.005
"""Seconds after which a tick leaves the timers that are still due to the next one, and looks for events."""

TIMERS_AT_ONCE = 16
"""Timers that a tick runs before it looks at the clock again."""

LAST_DESCRIPTOR = 2**31 - 1
"""A descriptor is an int of C."""


SLOW_IN_DEBUG_MODE = 0.1
"""`Loop.slow_handler_limit` of a loop in debug mode, in seconds: a human notices that."""

# What is logged. Both engines say the same.

SLOW_HANDLERS = "%r fd %d: its handlers took %.3f seconds, in which the loop served nobody else"
SLOW_PREDICATES = "%r fd %d: its readable() and writable() took %.3f seconds, in which the loop served nobody else"
SLOW_CALL = "%r took %.3f seconds, in which the loop served nobody else"
STILL_RUNS = "%r: a handler or a call runs for %.3f seconds, and the loop serves nobody else; it is here:\n%s"
NOTHING_TO_RUN = (
    "%r: run() returns at once, because nothing was added to this loop. Before it, call listen(), connect() or "
    "call_later(), or give the map of this loop to a channel: dispatcher.__init__(self, sock, loop.map). "
    "run(forever=True) waits for what other threads add"
)

# Arguments


def backend_name(name: Any, known: tuple[str, ...]) -> Any:
    """The backend that a loop was asked for, or else the environment's; None where neither names one.

    ValueError where it is not one of those ``known``.
    """
    if name is None:
        name = os.environ.get("CYNCORE_BACKEND") or None
    if name is not None and name not in known:
        raise ValueError(f"no such backend: {name!r}; there are: {', '.join(known)}")
    return name


def debug_wanted() -> bool:
    """Does the environment, or Python's development mode, ask for the checks of ``Loop(debug=True)``?"""
    return os.environ.get("CYNCORE_DEBUG", "") not in ("", "0") or sys.flags.dev_mode


def spinning(channel: Any) -> RuntimeError:
    """Why a stream that fires without end was closed."""
    return RuntimeError(f"{channel!r} fires without end: nothing that it does ends that")


def slow_limit(seconds: Any) -> float | None:
    """A value of `Loop.slow_handler_limit`: None, or seconds. TypeError for no number, ValueError for none above 0."""
    if seconds is None:
        return None
    limit = number("slow_handler_limit", seconds)
    if not limit > 0.0:
        raise ValueError(f"slow_handler_limit must be above zero, or None: {seconds!r}")
    return limit


def check_map(map: Any) -> None:
    """TypeError where ``map`` is not what a loop can serve: a dict, or an object with the methods of one."""
    if not all(hasattr(map, name) for name in ("items", "get", "__contains__", "__delitem__")):
        words = f"a map of channels must be a dict or behave like one, not {map!r}"
        if hasattr(map, "map"):
            words += ": a loop's is its attribute map"
        elif isinstance(map, str):
            words += f": a backend is named by Loop(backend={map!r})"
        raise TypeError(words)


def number(name: str, value: Any) -> float:
    """``value`` as a float. TypeError, which names the argument, where it is not a number."""
    if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        return float(value)
    except OverflowError:  # an integer above or below all floats
        return float("inf") if value > 0 else -float("inf")


def not_bytes(data: Any) -> str:
    """What is wrong with ``data`` that cannot be sent. What is long is not repeated."""
    shown = repr(data)
    words = f"bytes, a bytearray or a memoryview can be sent, not {shown if len(shown) <= 60 else type(data).__name__}"
    return words + (": encode() makes bytes of a str" if isinstance(data, str) else "")


def not_callable(callback: Any) -> TypeError:
    """The error for a callback that cannot be called. None is often what the function has returned."""
    words = f"the callback cannot be called: {callback!r}"
    return TypeError(words + ("; pass the function itself, and not what it returns" if callback is None else ""))


def check_bytes(data: Any) -> bytes:
    """``data`` as bytes that do not change. TypeError where it is no bytes, bytearray or memoryview."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(not_bytes(data))
    return data if type(data) is bytes else bytes(data)


def rounds(count: Any) -> int:
    """How many rounds ``while count > 0`` with ``count = count - 1`` makes, as the old loop had it; 0 or more."""
    return int(-(-min(max(0, number("count", count)), LAST_DESCRIPTOR) // 1))


def bad_time(when: float) -> ValueError:
    """The error for a timer at a time that is not finite, or later than `LATEST`."""
    return ValueError(f"the time of a call must be finite, and at most {LATEST:g} seconds, not {when!r}")


# Words


_told: set[tuple[type, str]] = set()


def called_elsewhere(method: str, channel: object, loop: object, owner: int) -> None:
    """A method of an old channel was called by another thread than the one, ``owner``, that runs the loop.

    Old programs do so, and under the GIL it works: it is said once for each class. Without the GIL it raises.
    """
    error = wrong_thread(method, loop, owner)
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise error
    if (type(channel), method) not in _told:
        _told.add((type(channel), method))
        report(WARNING, "%r: %s. Without the GIL it would be refused", channel, error)


def failure(error: int, what: str) -> OSError:
    """An OSError that says which operation failed, behind the system's own text for the errno ``error``."""
    return OSError(error, f"{os.strerror(error)}: {what}")


def not_begun(channel: Any, base: str = "dispatcher") -> str:
    """What is wrong with an object whose class has an ``__init__`` that forgets the one of its base."""
    kind = type(channel).__qualname__
    return f"{kind}.__init__() has not called {base}.__init__(): call super().__init__() first"


def no_socket(channel: Any, sock: Any, name: str) -> AttributeError:
    """The error, which the old module raised too, for a channel whose socket has no method ``name``."""
    if sock is None and channel._map is None:
        return AttributeError(f"{name}(): {not_begun(channel)}")
    text = f"{channel!r}: {type(channel).__qualname__}.socket is {sock!r}, which has no {name}()"
    return AttributeError(text + (": call create_socket() or set_socket() first" if sock is None else ""))


def async_handler(channel: Any, names: tuple[str, ...]) -> TypeError | None:
    """The error for a channel one of whose handlers is a coroutine, which nobody would await; None: none is."""
    for name in names:
        code = getattr(getattr(channel, name, None), "__code__", None)
        if code is not None and code.co_flags & (0x80 | 0x200):  # CO_COROUTINE and CO_ASYNC_GENERATOR
            return TypeError(
                f"{type(channel).__qualname__}.{name} is an async function, which nobody would await: "
                "write it as a plain def, and let a callback go on"
            )
    return None


def send_failure(error: int, address: Any) -> OSError:
    """The error for a datagram to ``address`` (None: it is not known) that was not delivered."""
    return OSError(error, os.strerror(error) if address is None else f"{os.strerror(error)}: {address!r}")


def too_much_output(channel: Any, count: int, size: int, most: int) -> LimitExceeded:
    """What is told where datagrams were dropped, because too much waits."""
    return LimitExceeded(f"{channel!r}: {count} datagrams of {size} bytes were dropped: {most} bytes may wait")


def wrong_target(channel: Any, address: Any, remote: Any) -> ValueError:
    """The error for a datagram without an address, or with one that its channel has no use for."""
    if address is None:
        return ValueError(f"{channel!r}: send() needs an address, because the socket has no remote")
    return ValueError(f"{channel!r} sends to {remote!r} only, not to {address!r}")


def no_deadlines(channel: Any) -> RuntimeError:
    """The error for deadlines of a channel that is in no loop."""
    return RuntimeError(f"{channel!r} is in no map: its deadlines are set when it has its socket")


def closed_loop(method: str, loop: Any, is_made: bool) -> RuntimeError:
    """The error for a method of a loop that is closed, or was never initialised."""
    return RuntimeError(f"{method}: " + (f"{loop!r} is closed" if is_made else not_begun(loop, "Loop")))


def thread_name(ident: int | None) -> str:
    """The name of a running thread, in quotes; its number where Python knows no name of it."""
    threading = sys.modules.get("threading")
    for thread in () if threading is None else threading.enumerate():
        if thread.ident == ident:
            return repr(thread.name)
    return str(ident)


def wrong_thread(method: str, loop: object, owner: int) -> RuntimeError:
    """The error for a method that was called by another thread than the one, ``owner``, that runs the loop."""
    return RuntimeError(
        f"{method}: called in thread {thread_name(get_ident())}, but {loop!r} runs in thread {thread_name(owner)}; "
        "use call_soon_threadsafe"
    )
