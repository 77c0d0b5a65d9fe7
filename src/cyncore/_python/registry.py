# SPDX-License-Identifier: MIT
"""One entry of a loop's map: what it wants, and how its events are delivered.

A slot is made when an entry is first seen and dropped when the entry goes: the identity of the slot is the generation
that docs/design.md speaks of: an event whose slot is no longer the loop's belongs to a descriptor that was closed.
"""

from __future__ import annotations

import array
import os
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final
from weakref import WeakKeyDictionary

from .._report import WARNING, report
from .calls import RERAISED
from .channel import DISCONNECTED, NO_ROOM, BufferedChannel, Channel, defines, kind_defines
from .poller import ERR, GONE, PRI, READ, WRITE, Wants, gone_now

try:
    import fcntl
    import termios
except ImportError:  # Windows, where select() reports no hang-up either
    pass


_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_LOG_EVERY: Final = 1.0


class Slot:
    """``obj`` under the descriptor ``fd``."""

    def __init__(self, fd: int, obj: Any) -> None:
        self.fd = fd
        self.obj = obj
        self.mask = 0  # what it wants, as the poller knows it
        self.gone = False  # is it no longer the loop's?
        self.usual = False  # has nothing happened since it was found that its predicates decide everything?
        self.stale = True  # its predicates are to be asked
        self.served = 0  # the wait whose event it had last
        self.more = True  # its socket may hold data that the kernel does not know of; from an earlier loop, too
        self._readable = False
        self._writable = False
        self._state: tuple[bool, ...] = ()
        self._failed = False  # asking it has raised
        self._hidden = False  # hung up, unread bytes in the kernel, and nobody wants them now
        self._pause = 0.0
        self._logged = -_LOG_EVERY
        self.quiet_until = 0.0  # a listener without room for what it accepts

    # What it wants

    def settle(self, everyone: bool) -> None:
        """Asks the predicates that the entry defines, if ``everyone`` is asked or its own answers are out of date."""
        if self._failed and not (everyone or self.stale):
            return  # once is enough until something has happened
        try:
            self._ask(everyone)
        except RERAISED:
            raise
        except BaseException:  # a predicate's trouble is the channel's, like a handler's
            self.fail()

    def fail(self) -> None:
        self.stale = self._readable = self._writable = self.usual = False
        self._failed = True
        self.obj.handle_error()

    def _ask(self, everyone: bool) -> None:
        obj = self.obj
        if isinstance(obj, Channel):
            state = (*obj._state(), obj._paused)
            self.stale = self.stale or state != self._state
            self._state = state
        if not (everyone or self.stale):
            return
        self.stale = self._failed = False
        if isinstance(obj, Channel):
            self._readable = not defines(obj, "readable") or bool(obj.readable())
            self._writable = not _asks_writable(obj) or bool(obj.writable())
        else:
            self._readable = bool(obj.readable())
            self._writable = bool(obj.writable() and not obj.accepting)

    def survey(self, wants: Wants, held: list[int]) -> None:
        """`settle` and `told`, whatever its answers depend on."""
        self.usual = False
        self.settle(True)
        self.told(wants, held)

    def becomes_usual(self, buffered: bool) -> bool:
        """Are its predicates all that its answers depend on from here on? ``buffered``: or its own buffer."""
        if self._hidden or self.more or self.obj._paused or self.obj._muted_in:
            return False
        self.stale = self._failed = False
        self._writable = buffered
        self.mask = -1  # so that what comes next is taken
        self.usual = True
        return True

    def answered(self, readable: bool, writable: bool, wants: Wants, held: list[int]) -> None:
        """The predicates have been asked, and what comes of it is to be looked at more closely."""
        self.usual = False
        self._readable, self._writable = readable, writable
        self.told(wants, held)

    def told(self, wants: Wants, held: list[int]) -> None:
        """Puts its `interest` into ``wants``, and its descriptor into ``held`` if its socket holds data."""
        mask = self.interest()
        if self.gone:
            return
        if mask != self.mask:
            self.mask = mask
            wants.put(self.fd, mask)
        if self.more and self.holds_data():
            held.append(self.fd)

    def take(self, mask: int, wants: Wants) -> None:
        """Its predicates have said something else than before, and ``mask`` comes of it."""
        self._readable = mask & READ != 0
        self._writable = self._writable or mask & WRITE != 0
        self.mask = mask
        wants.put(self.fd, mask)

    def touch(self) -> None:
        """Something has happened to it: its predicates are to be asked, and may not be all."""
        self.stale = True
        self.usual = False

    def interest(self) -> int:
        """`wants`, and nothing where asking fails: a class may have made properties of the state."""
        if self._failed:
            return 0
        try:
            return self.wants()
        except RERAISED:
            raise
        except BaseException:  # as in settle()
            self.fail()
            return 0

    def wants(self, of: int = READ | WRITE | PRI) -> int:
        """The interest of this moment: what was answered last, and the state that nobody needs to be asked for.

        ``of``: what is to be told; READ at least.
        """
        obj = self.obj
        if not isinstance(obj, Channel):
            mask = (READ | PRI if self._readable else 0) | (WRITE if self._writable else 0)
        elif obj.accepting:
            reads = self._readable and not obj._paused and time.monotonic() >= self.quiet_until
            mask = READ if reads else 0
        else:
            mask = self._wants_connected(obj, of)
        if self._hidden:
            self._hidden = not mask & READ
        return 0 if self._hidden else mask

    def _wants_connected(self, obj: Channel, of: int) -> int:
        muted = obj._muted_in is not None and obj._muted_in == obj._state() and not _reads(obj)
        mask = READ if self._readable and not obj._paused and not muted else 0
        if mask and of & PRI and (defines(obj, "handle_expt") or defines(obj, "handle_expt_event")):
            mask |= PRI
        if not of & WRITE:
            return mask
        writes = self._writable
        if not _asks_writable(obj) and isinstance(obj, BufferedChannel):
            writes = obj._output or _connecting(obj)
        if writes and (_connecting(obj) or defines(obj, "handle_write") or defines(obj, "handle_write_event")):
            mask |= WRITE
        return mask

    def holds_data(self) -> bool:
        """Does its socket (TLS) hold data that was taken from the kernel already?"""
        if not self.more:
            return False
        try:
            self.more = self._pending() > 0
        except RERAISED:
            raise
        except BaseException:  # as in settle()
            self.more = False
            self.fail()
        return self.more and bool(self.interest() & READ)

    # How its events are delivered

    def deliver(self, ready: int, current: Callable[[Slot], bool]) -> bool:
        """Calls the handlers for ``ready``, while ``current(slot)``. Returns whether there was one to call."""
        obj = self.obj
        self.touch()
        try:
            gone, called = self._steps(ready, current)
        except RERAISED:
            raise
        except OSError as error:
            if error.errno in DISCONNECTED:  # as readwrite() did: the connection is lost
                obj.handle_close()
            else:
                obj.handle_error()
            return True
        except BaseException:  # as readwrite() did: whatever it is, it is the channel's own trouble
            obj.handle_error()
            return True
        if gone:
            obj.handle_close()
        return called or gone

    def _steps(self, ready: int, current: Callable[[Slot], bool]) -> tuple[bool, bool]:
        """Returns whether the entry is to be closed, and whether a handler was called."""
        obj = self.obj
        wants = self.wants(READ)
        before = self._unread() if ready & GONE else 0
        failed = ready & GONE == ERR and not (isinstance(obj, Channel) and _connecting(obj))
        # An error by itself may be a datagram's (ICMP): reading tells of it, and then it is over.
        reads = bool((ready | (READ if failed else 0)) & wants & READ)
        called = reads
        if reads:
            self._read(obj)
        if ready & WRITE and current(self) and self.wants(READ | WRITE) & WRITE:
            called = True
            obj.handle_write_event()
        if ready & PRI and current(self) and self.wants() & PRI:
            called = True
            obj.handle_expt_event()
        if not ready & GONE or not current(self):
            return False, called
        if reads:
            consumed = isinstance(obj, Channel) and obj._recv_said in ("data", "end")
            if ready & READ and (consumed or self._unread() < before):
                return False, called
            return not failed or gone_now(self.fd), called
        if not wants & READ and before > 0:
            self._hidden = True
            return False, called
        return True, called

    def _read(self, obj: Any) -> None:
        if not isinstance(obj, Channel):
            obj.handle_read_event()
            return
        obj._recv_said = ""
        obj._accept_errno = 0
        accepts = bool(obj.accepting)
        try:
            obj.handle_read_event()
        except OSError as error:
            if isinstance(error, BlockingIOError) and obj._recv_said == "again":
                return  # a spurious event: there was nothing to read
            if not (accepts and error.errno in NO_ROOM and error.errno == obj._accept_errno):
                raise
        if accepts and obj._accept_errno in NO_ROOM:  # whether or not a handler of its own has caught the error
            self._back_off(obj._accept_errno)  # the connection waits in the backlog until there is room
            return
        self._pause = 0.0
        if not accepts and not obj._recv_said and not _reads(obj):
            obj._muted_in = obj._state()
        self.more = self._pending() > 0

    def _back_off(self, error: int) -> None:
        now = time.monotonic()
        self._pause = min(self._pause * 2, _LONGEST_PAUSE) or _FIRST_PAUSE
        self.quiet_until = now + self._pause
        if now - self._logged >= _LOG_EVERY:
            self._logged = now
            report(WARNING, "%r cannot accept and waits %.1f s: %s", self.obj, self._pause, os.strerror(error))

    def _unread(self) -> int:
        """Bytes that wait in the kernel and in the socket; 0 where nobody can tell."""
        count = array.array("i", [0])
        try:
            fcntl.ioctl(self.fd, termios.FIONREAD, count)
        except OSError:  # a listener, for one
            pass
        return count[0] + self._pending()

    def _pending(self) -> int:
        if not isinstance(self.obj, Channel):
            return 0
        try:
            pending = getattr(self.obj._plain_socket(), "pending", None)
            if not callable(pending):
                return 0
            held = pending()
        except (OSError, ValueError):  # shut down meanwhile: nothing is held
            return 0
        return held if isinstance(held, int) else 0


class Kinds(dict[type, "_Kind"]):
    """What classes define, each asked once in the life of this: that of one tick, for a class may be changed."""

    def __missing__(self, kind: type) -> _Kind:
        known = _kinds.get(kind)
        try:
            found = _DECISIVE(kind)
        except AttributeError:  # no dispatcher
            found = None
        if known is None or known.found is None or known.found != found:
            known = _kinds[kind] = _Kind(kind, found)
        self[kind] = known
        return known


_NOTHING: Final[dict[str, Any]] = {}

_kinds: WeakKeyDictionary[type, _Kind] = WeakKeyDictionary()

_DECISIVE = attrgetter(
    *("readable", "writable", "accepting", "__getattribute__"),
    *("handle_expt", "handle_expt_event", "handle_write", "handle_write_event"),
)


class _Kind:
    """What `survey` needs to know of a class, which has ``found`` as its decisive attributes."""

    __slots__ = ("asks_readable", "asks_writable", "found", "plain", "reads", "special", "writes")

    def __init__(self, kind: type[Any], found: Any) -> None:
        self.found = found
        self.plain = found is not None and issubclass(kind, Channel) and _is_plain(*found[:4])
        if not self.plain:
            return
        self.asks_readable = kind_defines(kind, "readable")
        self.asks_writable = kind_defines(kind, "writable") and kind.writable is not BufferedChannel.writable
        self.writes = kind_defines(kind, "handle_write") or kind_defines(kind, "handle_write_event")
        if not self.asks_writable and self.writes and not issubclass(kind, BufferedChannel):
            self.plain = False  # it always wants to write
        urgent = kind_defines(kind, "handle_expt") or kind_defines(kind, "handle_expt_event")
        self.reads = READ | PRI if urgent else READ
        # What an instance must not have of its own for the class to say it all, besides `accepting`.
        self.special: tuple[str, ...] = () if self.asks_readable else ("readable",)
        if not self.asks_writable:
            self.special += ("writable", "handle_write", "handle_write_event")


def _is_plain(readable: Any, writable: Any, accepting: Any, getter: Any) -> bool:
    """Are the attributes of a class such that asking a channel's predicates is all there is to its answers?"""
    methods = all(getattr(method, "unhandled", method is None) is not True for method in (readable, writable))
    return methods and accepting is False and getter is object.__getattribute__


def survey(slots: dict[int, Slot], entries: Any, kinds: Kinds, wants: Wants) -> list[int]:
    """Asks everyone and says in ``wants`` what comes of it. Returns the descriptors of sockets that hold data.

    The usual case is written out, for it is most of a tick: nothing but the predicates decides, and nothing happened.
    """
    held: list[int] = []
    count = len(entries)
    last: Any = None  # the class of the one before
    for slot in list(slots.values()):
        obj = slot.obj
        if len(entries) != count and not (slots.get(slot.fd) is slot and entries.get(slot.fd) is obj):
            continue  # a predicate of another one has closed it
        if type(obj) is not last:
            last = type(obj)
            kind = kinds[last]
            plain = kind.plain
            if plain:
                asks_readable, asks_writable, reads = kind.asks_readable, kind.asks_writable, kind.reads
                special, buffered = kind.special, issubclass(last, BufferedChannel)
        own = obj.__dict__ if plain else _NOTHING
        if (
            not (plain and (slot.usual or slot.becomes_usual(not asks_writable)))
            or "accepting" in own
            or (special and not own.keys().isdisjoint(special))
        ):
            slot.survey(wants, held)
            continue
        try:
            mask = reads if not asks_readable or obj.readable() else 0
            silent = not (obj.writable() if asks_writable else obj.connecting or (buffered and obj._output))
        except RERAISED:
            raise
        except BaseException:  # as in settle()
            slot.fail()
            slot.told(wants, held)
            continue
        if not silent and not kind.writes:  # it does if it is connecting, or has a handler of its own
            slot.answered(mask != 0, True, wants, held)
            continue
        if mask == READ and ("handle_expt" in own or "handle_expt_event" in own):
            mask = READ | PRI
        if not silent:
            mask |= WRITE
            slot.usual = False  # its answer is not what follows from its mask any more
        if mask != slot.mask and not slot.gone:
            slot.take(mask, wants)
    return held


def interests(slots: dict[int, Slot], wants: Wants) -> list[int]:
    """Says in ``wants`` what everyone wants at this moment, by the last answers. Returns as `survey`."""
    held: list[int] = []
    for slot in list(slots.values()):
        slot.told(wants, held)
    return held


def _connecting(obj: Channel) -> bool:
    return bool(obj.connecting and not obj.connected)


def _reads(obj: Channel) -> bool:
    return defines(obj, "handle_read") or defines(obj, "handle_read_event")


def _asks_writable(obj: Channel) -> bool:
    """A buffered channel's own answer is known."""
    return defines(obj, "writable") and (
        "writable" in getattr(obj, "__dict__", ()) or type(obj).writable is not BufferedChannel.writable
    )
