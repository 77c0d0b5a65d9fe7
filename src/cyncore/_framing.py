# SPDX-License-Identifier: MIT
"""How the input of a stream is cut up: lines, frames behind their length, frames of one size.

A framing is a value: it does not change, so any number of streams may use one. The compiled engine finds the frames of
these classes itself; `find` says what it must be true to, and serves the plain-Python engine.
"""

from __future__ import annotations

from ._rules import LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final
else:
    Any = object

INCOMPLETE: Final = (-1, 0, 0)  # what `find` returns where more bytes are needed

_SIZES: Final = (1, 2, 4, 8)


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value <= 0:
        raise ValueError(f"{name} must be above zero: {value!r}")
    return value


def check(framing: object) -> None:
    """TypeError for what is no framing: neither None, nor one of these, nor an object with a `find` like theirs."""
    if framing is None or isinstance(framing, Framing):
        return
    if isinstance(framing, (str, bytes, bytearray)) or not callable(getattr(framing, "find", None)):
        raise TypeError(f"framing must be None, Lines, Prefixed or Exactly, not {framing!r}")
    if isinstance(framing, type):
        raise TypeError(f"framing must be an object, not the class {framing.__qualname__}: {framing.__qualname__}()")


def find(framing: Any, data: bytearray, start: int, searched: int) -> tuple[int, int, int] | None:
    """What ``framing.find`` returns, or None where more bytes are needed. ValueError for a place that cannot be."""
    begin, end, after = framing.find(data, start, searched)
    if begin < 0:
        return None
    if not (start <= begin <= end <= after <= len(data) and start < after):
        raise cannot_be(framing, begin, end, after)
    return begin, end, after


def cannot_be(framing: object, begin: int, end: int, after: int) -> ValueError:
    return ValueError(f"{framing!r} has found a frame at {begin}:{end}, with the next at {after}, which cannot be")


class Framing:
    """What the three ways of framing have in common."""

    __module__ = "cyncore"
    __slots__ = ()

    def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        """Returns where the frame that begins at ``start`` has its content, where that ends, and where the next begins.

        Returns `INCOMPLETE` if more bytes are needed. ``searched``: the length of ``data`` that an earlier call for the
        same frame has seen. LimitExceeded if the frame is too long.
        """
        raise NotImplementedError


class Lines(Framing):
    """Lines: a frame is what comes before each ``end``, and has at most ``limit`` bytes.

    TypeError and ValueError for an end that is no bytes or empty, and a limit that is not above zero.
    """

    __module__ = "cyncore"
    __slots__ = ("end", "limit")

    def __init__(self, end: bytes = b"\n", limit: int = 65536) -> None:
        if not isinstance(end, bytes):
            raise TypeError(f"end must be bytes, not {end!r}")
        if not end:
            raise ValueError("end must not be empty")
        self.end = end
        self.limit = _positive("limit", limit)

    def __repr__(self) -> str:
        return f"cyncore.Lines({self.end!r}, limit={self.limit})"

    def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        width = len(self.end)
        at = data.find(self.end, max(start, searched - width + 1))
        if (at if at >= 0 else len(data) - width + 1) - start > self.limit:
            raise LimitExceeded(f"a line is longer than {self.limit} bytes")
        return INCOMPLETE if at < 0 else (start, at, at + width)


class Prefixed(Framing):
    """Frames behind their length: a number of ``size`` bytes (1, 2, 4 or 8), without sign, in ``order``.

    ``order``: "big" or "little". A frame has at most ``limit`` bytes. ValueError for another size or order.
    """

    __module__ = "cyncore"
    __slots__ = ("limit", "order", "size")

    def __init__(self, size: int = 4, order: str = "big", limit: int = 1048576) -> None:
        if size not in _SIZES:
            raise ValueError(f"size must be 1, 2, 4 or 8, not {size!r}")
        if order not in ("big", "little"):
            raise ValueError(f'order must be "big" or "little", not {order!r}')
        self.size = size
        self.order = order
        self.limit = _positive("limit", limit)

    def __repr__(self) -> str:
        return f"cyncore.Prefixed({self.size}, {self.order!r}, limit={self.limit})"

    def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        begin = start + self.size
        if len(data) < begin:
            return INCOMPLETE
        length = int.from_bytes(data[start:begin], self.order)  # type: ignore[arg-type]
        if length > self.limit:
            raise LimitExceeded(f"a frame of {length} bytes is longer than {self.limit} bytes")
        end = begin + length
        return INCOMPLETE if len(data) < end else (begin, end, end)


class Exactly(Framing):
    """Frames of ``count`` bytes each. ValueError for a count that is not above zero."""

    __module__ = "cyncore"
    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = _positive("count", count)

    def __repr__(self) -> str:
        return f"cyncore.Exactly({self.count})"

    def find(self, data: bytearray, start: int, searched: int) -> tuple[int, int, int]:
        end = start + self.count
        return INCOMPLETE if len(data) < end else (start, end, end)
