# SPDX-License-Identifier: MIT
"""What a loop tells of itself and of its channels: the classes of it, which both engines fill.

Imported when it is first asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

KINDS = ("connect", "handshake", "first_byte", "idle", "write", "life")  # of deadlines


class Histogram(NamedTuple):
    """How often something took how long."""

    bounds: tuple[float, ...]
    """Seconds: the upper bounds of all buckets but the last one, which has none."""
    counts: tuple[int, ...]
    """How often it took less than the bound at the same place, and no less than the one before."""
    times: int
    """How often it was measured."""
    total: float
    """Seconds, of all measurements together."""
    most: float
    """Seconds, of the longest one."""

    def quantile(self, share: float) -> float:
        """The seconds that a ``share`` (0 to 1) of the measurements did not exceed: the bound of the bucket, or the
        longest time where that is less. 0.0 if nothing was measured. ValueError for other shares.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"the share must be from 0 to 1: {share!r}")
        if not self.times:
            return 0.0
        left = share * self.times
        for bound, count in zip(self.bounds, self.counts, strict=False):  # the last bucket has no bound
            left -= count
            if left <= 0:
                return min(bound, self.most)
        return self.most


class LoopStats(NamedTuple):
    """What a loop has counted since it was made."""

    backend: str
    """The name of the poller."""
    uptime: float
    """Seconds since the loop was made."""
    ticks: int
    """Rounds in which the loop has waited, or looked, for events."""
    events: int
    """Events that were delivered to channels."""
    calls: int
    """Queued calls and timers that were made."""
    sweeps: int
    """Rounds in which all predicates were asked."""
    accepts: int
    """Connections that `accept` has taken."""
    errors: int
    """Exceptions that handlers, predicates and callbacks have raised, and that did not leave the loop."""
    bytes_in: int
    """Bytes that channels have received by the loop."""
    bytes_out: int
    """Bytes that channels have sent by the loop."""
    channels: int
    """Channels in the loop now."""
    queued_calls: int
    """Calls that wait for the next tick now."""
    timers: int
    """Timers that are set now."""
    lag: Histogram
    """For how long the loop has not looked for events, each time."""
    handler_times: Histogram
    """How long the handlers of an event took, or a call: of a sample, or of all with `slow_handler_limit`."""


class ChannelInfo(NamedTuple):
    """What a loop knows of one channel."""

    fd: int
    """Its descriptor."""
    kind: str
    """The module and the name of its class."""
    peer: Any
    """The address of its peer, that it was bound to, or None."""
    state: str
    """"listening", "connecting", "handshake", "open", "piped", "closing", "unconnected" or "foreign"."""
    interest: tuple[str, ...]
    """What it wants to be told of: "read", "write", "urgent"."""
    paused: str | None
    """Why it does not want to read; None: it does, or nobody knows why not."""
    bytes_in: int
    """Bytes that it has received by the loop."""
    bytes_out: int
    """Bytes that it has sent by the loop."""
    queued: int
    """Bytes that cyncore keeps for it, to be sent."""
    unread: int
    """Bytes that were received and given to no handler yet. Of streams only."""
    age: float
    """Seconds since it has joined the loop."""
    idle: float | None
    """Seconds since bytes moved last, or since it has joined; None: nobody knows."""
    deadlines: dict[str, float]
    """The deadlines that it has, in seconds, by their kinds."""
    deadline: float | None
    """Seconds until its deadlines are looked at next; None: never."""


def histogram(first: int, counts: tuple[int, ...], total: int, most: int) -> Histogram:
    """Of nanoseconds: the first bound is 2 to the power of ``first``, and each of the next is twice the one before."""
    bounds = tuple((1 << first + place) / 1e9 for place in range(len(counts) - 1))
    return Histogram(bounds, counts, sum(counts), total / 1e9, most / 1e9)


def limits(start: int, most: int | None) -> int:
    """How many channels are wanted, or -1 for all. ValueError where it makes no sense."""
    if start < 0 or (most is not None and most < 0):
        raise ValueError(f"channels: neither start nor most may be below zero: {start!r}, {most!r}")
    return -1 if most is None else most


def channel_info(
    channel: Any, timed: Any, now: float, *, peer: Any, state: str, wanted: tuple[bool, ...], **known: Any
) -> ChannelInfo:
    """``timed``: the deadlines of a dispatcher, or None. ``now``: the time of the loop."""
    kind = type(channel)
    has_datagrams = state != "foreign" and hasattr(kind, "wants_destination")
    if has_datagrams:
        peer = channel.remote
    if peer is None and (state == "listening" or has_datagrams):
        try:
            peer = channel.socket.getsockname()
        except Exception:  # of what stands for a socket, perhaps: then it has no address to be told
            pass
    deadlines: dict[str, float] = {}
    timer = None
    if timed is not None:
        deadlines, timer = dict(timed.limits), timed.timer
    elif hasattr(kind, "_deadlines"):  # a stream. A foreign object is not asked: it may have a __getattr__
        for name in KINDS:
            seconds = getattr(channel, f"{name}_deadline", None)
            if seconds is not None:
                deadlines[name] = seconds
        own = channel._deadlines
        timer = getattr(own, "timer", own)  # in the compiled engine they are the timer
    when = None if timer is None else timer.when()
    return ChannelInfo(
        kind=f"{kind.__module__}.{kind.__qualname__}",
        peer=peer,
        state=state,
        interest=tuple(word for word, on in zip(("read", "write", "urgent"), wanted, strict=True) if on),
        deadlines=deadlines,
        deadline=max(when - now, 0.0) if when and deadlines else None,
        **known,
    )


for _told in (Histogram, LoopStats, ChannelInfo):
    _told.__module__ = "cyncore"  # users find them there
