# SPDX-License-Identifier: MIT
"""Detour: what takes the place of a channel's handlers while its TLS waits for something else than the program does.

Facts that shape it:
- A handshake has to read or to write at times of its own, whatever the protocol above it waits for. And `recv` may have
  to write, as `send` may have to read: the peer has asked for new keys, and does not read.
- Both engines look for handlers and predicates on the channel itself before they look into its class. So a detour sets
  its own there, and takes them away when it ends. The channel stays in its map, and `close` works as ever.
- A program may pause and resume reading meanwhile, which must not stop TLS. What it asked for last counts afterwards.
- A channel that is closed, or taken out of its map by `del_channel`, ends its detour.
"""

from __future__ import annotations

from .._engine import Channel, is_paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
else:
    Any = object
    Final = object

READ: Final = 1
WRITE: Final = 2


class Detour:
    """Stands in for the handlers of ``channel`` from `enter` to `leave`. ``wants``: READ or WRITE."""

    __slots__ = ("before", "channel", "is_entered", "wants", "was_paused", "wish")

    names: tuple[str, ...] = (
        *("readable", "writable", "handle_read_event", "handle_write_event"),
        *("pause_reading", "resume_reading", "del_channel"),
    )

    def __init__(self, channel: Any, wants: int) -> None:
        self.channel = channel
        self.wants = wants
        self.is_entered = False
        self.was_paused = False
        self.wish = ""  # what the program has called last: "pause_reading" or "resume_reading"
        self.before: dict[str, Any] = {}  # what the channel itself had under the names that are used here

    def enter(self) -> None:
        """Takes the place of the handlers."""
        self.was_paused = is_paused(self.channel)
        self.is_entered = True
        self.set(self.names)
        if self.was_paused:
            Channel.resume_reading(self.channel)

    def leave(self, is_closing: bool = False) -> None:
        """Gives the handlers their place back. Does nothing the second time."""
        if not self.is_entered:
            return
        self.is_entered = False
        self.unset(tuple(self.before))
        if is_closing:
            return
        if self.was_paused:
            Channel.pause_reading(self.channel)
        if self.wish:
            getattr(self.channel, self.wish)()

    def set(self, names: tuple[str, ...]) -> None:
        """Puts its own methods of these names on the channel, past a ``__setattr__`` of the program's."""
        own = self.channel.__dict__
        for name in names:
            self.before[name] = own.get(name)
            Channel.__setattr__(self.channel, name, getattr(self, name))

    def unset(self, names: tuple[str, ...]) -> None:
        """Takes them away, unless the program has put something else in their place."""
        own = self.channel.__dict__
        for name in names:
            before = self.before.pop(name)
            if own.get(name) != getattr(self, name):
                continue
            if before is None:
                Channel.__delattr__(self.channel, name)
            else:
                Channel.__setattr__(self.channel, name, before)

    # What the channel has meanwhile

    def readable(self) -> bool:
        return self.wants == READ

    def writable(self) -> bool:
        return self.wants == WRITE

    def handle_read_event(self) -> None:
        self.goes_on()

    def handle_write_event(self) -> None:
        self.goes_on()

    def goes_on(self) -> None:
        """The socket is ready for what was wanted."""

    def pause_reading(self) -> None:
        self.wish = "pause_reading"

    def resume_reading(self) -> None:
        self.wish = "resume_reading"

    def del_channel(self, map: Any = None) -> None:
        self.leave(True)
        self.channel.del_channel(map)


def detour_of(channel: Any) -> Detour | None:
    """The detour that has the place of the handlers of ``channel``."""
    entered = getattr(channel.__dict__.get("del_channel"), "__self__", None)
    return entered if isinstance(entered, Detour) else None


class Crossing(Detour):
    """`recv` has to write first (``wants`` is WRITE), or `send` to read: ends at that event, and tries again."""

    __slots__ = ()

    def goes_on(self) -> None:
        channel, wants = self.channel, self.wants
        self.leave()
        try:
            if wants == WRITE:
                channel.handle_read_event()
            else:
                channel.handle_write_event()
        except BlockingIOError:  # recv has nothing yet, and the handler did not catch it: as at a read event
            pass
