# SPDX-License-Identifier: MIT
"""Handshake: how TLS begins on a dispatcher.

1. What was queued before leaves in the clear. What is queued from now on waits, and so does the input.
2. The handshake goes on at each event, without the program.
3. The channel has a `TlsSocket`, and the program is told.
"""

from __future__ import annotations

import socket
import ssl

from .._engine import Loop, OutboxChannel
from .._rules import DISCONNECTED
from .._stream.tls import TLSError, in_words, session_of, wrap
from .detour import READ, WRITE, Detour, detour_of
from .patience import patience
from .socket import TlsSocket, peer_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
else:
    Any = object
    Callable = object


def start(
    channel: Any,
    context: ssl.SSLContext,
    arguments: tuple[bool, str | None, Any],
    deadline: float | None,
    done: Callable[[Any], object],
    failed: Callable[[Any, BaseException], object],
    kind: type[TlsSocket] = TlsSocket,
) -> None:
    """Begins TLS. ``arguments``: server_side, server_hostname and session. ``deadline``: seconds, None: any time.
    ``kind``: what the channel gets as its socket.

    Calls ``done(channel)`` or ``failed(channel, error)`` once, unless the channel is closed before; ``failed`` perhaps
    before it returns.
    """
    sock = channel.socket  # what was gathered leaves with this
    if sock is None or channel.accepting:
        raise RuntimeError(f"{channel!r}: start_tls() needs a connection")
    if channel._fileno is None:
        return  # closed: the peer has gone
    if isinstance(sock, (TlsSocket, ssl.SSLSocket)) or detour_of(channel) is not None:
        raise RuntimeError(f"{channel!r}: the connection has TLS already")
    if not isinstance(sock, socket.socket):
        raise TypeError(f"{channel!r}: start_tls() needs a socket, not {sock!r}")
    if not hasattr(context, "wrap_socket"):
        raise TypeError(f"{channel!r}: start_tls() needs an ssl.SSLContext, not {context!r}")
    _refuse_plain_text(channel)
    Handshake(channel, context, arguments, deadline, done, failed, kind).start()


def tell_failure(channel: Any, error: BaseException) -> None:
    """What a failure is to a program: as if its handler had raised it."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in DISCONNECTED:
        channel.handle_close()
        return
    try:
        raise error
    except Exception:
        channel.handle_error()


def _refuse_plain_text(channel: Any) -> None:
    """TLSError if input came behind the command that begins TLS: it would be taken for encrypted (CVE-2011-0411)."""
    if getattr(channel, "ac_in_buffer", b""):
        raise TLSError(f"{peer_of(channel)} has sent plain text behind the start of TLS")


def _has_output(channel: Any) -> bool:
    """Does output wait that is to leave in the clear? Only the old modules' own classes can tell."""
    if isinstance(channel, OutboxChannel):
        return bool(channel.out_buffer)
    return bool(getattr(channel, "producer_fifo", None))


class Handshake(Detour):
    """One that goes on. `tls` is None until what was queued before has left."""

    __slots__ = (
        "arguments",
        "context",
        "deadline",
        "done",
        "due",
        "failed",
        "held",
        "is_late",
        "kind",
        "made",
        "timer",
        "tls",
    )

    def __init__(
        self,
        channel: Any,
        context: ssl.SSLContext,
        arguments: tuple[bool, str | None, Any],
        deadline: float | None,
        done: Callable[[Any], object],
        failed: Callable[[Any, BaseException], object],
        kind: type[TlsSocket],
    ) -> None:
        super().__init__(channel, WRITE)
        self.context = context
        self.arguments = arguments
        self.deadline = deadline
        self.done = done
        self.failed = failed
        self.kind = kind
        self.tls: Any = None
        self.made: Any = None  # the channel's socket, once there is `tls`
        self.timer: Any = None
        self.due = 0.0
        self.is_late = False
        self.held: list[tuple[str, Any]] = []  # what the program has called that makes output, before TLS began

    def start(self) -> None:
        self.enter()
        if self.deadline is not None:
            loop = Loop.of(self.channel._map)
            self.due = loop.time() + self.deadline
            self.timer = loop.call_at(self.due, self.look)
        if _has_output(self.channel):
            self.set(self.output_names())
        else:
            self.begin()

    def output_names(self) -> tuple[str, ...]:
        """The methods that make output of the channel's class."""
        if isinstance(self.channel, OutboxChannel):
            return ("send",)
        return ("push", "push_with_producer", "close_when_done")

    def begin(self) -> None:
        """Everything in the clear has left: puts TLS on the socket."""
        channel = self.channel
        held = tuple(name for name in self.output_names() if name in self.before)
        self.unset(held)
        server_side, hostname, session = self.arguments
        try:
            _refuse_plain_text(channel)
            self.tls = wrap(channel.socket, self.context, server_side, hostname, session)
        except OSError as error:
            self.fail(in_words(error, peer_of(channel), True) if not isinstance(error, TLSError) else error)
            return
        except ValueError:  # a mistake of the program's: the socket is as it was
            self.stop()
            raise
        channel.socket = self.made = self.kind(self.tls, channel)
        self.wants = READ
        calls, self.held = self.held, []
        for name, arguments in calls:
            getattr(channel, name)(*arguments)
        if not server_side and self.is_entered:
            self.step()

    def step(self) -> None:
        """The handshake goes on as far as it can now."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.wants = READ
        except ssl.SSLWantWriteError:
            self.wants = WRITE
        except (OSError, ValueError) as error:
            self.fail(in_words(error, peer_of(self.channel), True))
        else:
            self.stop()
            self.made.open(session_of(self.tls))
            self.done(self.channel)

    def stop(self, is_closing: bool = False) -> None:
        """Nothing is waited for any more."""
        self.leave(is_closing)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def fail(self, error: BaseException) -> None:
        self.give_up()
        self.failed(self.channel, error)

    def give_up(self, is_closing: bool = False) -> None:
        """There will be no TLS, and so there is no more input."""
        self.stop(is_closing)
        if self.made is not None:
            self.made.fail()

    def look(self) -> None:
        """The deadline has passed. There is one more look: what the peer sent in time may not have been read yet."""
        loop = Loop.of(self.channel._map)
        now = loop.time()
        if not self.is_late:
            self.is_late = True
            self.timer = loop.call_at(now + patience(now - self.due, self.deadline or 0.0), self.look)
            return
        text = f"the TLS handshake with {peer_of(self.channel)} took longer than {self.deadline} seconds"
        self.fail(TimeoutError(text))

    # What the channel has meanwhile, beside what every detour has

    def handle_write_event(self) -> None:
        if self.tls is not None:
            self.step()
            return
        channel = self.channel
        before = self.before["handle_write_event"]
        if before is None:
            type(channel).handle_write_event(channel)
        else:
            before()
        if self.is_entered and not _has_output(channel):
            self.begin()

    def goes_on(self) -> None:
        if self.tls is not None:
            self.step()

    def del_channel(self, map: Any = None) -> None:
        self.give_up(True)
        self.channel.del_channel(map)

    def send(self, data: Any) -> None:
        self.held.append(("send", (data,)))

    def push(self, data: Any) -> None:
        self.held.append(("push", (data,)))

    def push_with_producer(self, producer: Any) -> None:
        self.held.append(("push_with_producer", (producer,)))

    def close_when_done(self) -> None:
        self.held.append(("close_when_done", ()))
