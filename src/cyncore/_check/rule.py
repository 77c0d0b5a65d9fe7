# SPDX-License-Identifier: MIT
"""What ``python -m cyncore check`` can find: its rules, by code, and one finding of a rule.

docs/check.md shows every rule by an example and its cure, and the tests run the check over both.
"""

from __future__ import annotations

from dataclasses import dataclass

UNREAD = "unread"
SLOW = "slow"
FRAGILE = "fragile"
NOTE = "note"

SEVERITIES = (UNREAD, SLOW, FRAGILE, NOTE)


@dataclass(frozen=True)
class Rule:
    """``severity``: one of `SEVERITIES`. ``remedy``: what helps where a finding does not say better."""

    code: str
    severity: str
    title: str
    remedy: str


@dataclass(frozen=True, order=True)
class Finding:
    """``path`` as it was reached from what the command line named; ``line`` from 1, ``column`` from 1."""

    path: str
    line: int
    column: int
    code: str
    message: str
    remedy: str

    @property
    def rule(self) -> Rule:
        return RULES[self.code]


def _table(*rules: Rule) -> dict[str, Rule]:
    return {rule.code: rule for rule in rules}


RULES = _table(
    Rule("CYN001", UNREAD, "a file that cannot be read", "check the path, its permissions and its encoding"),
    Rule(
        "CYN002", UNREAD, "a file that is no Python of this version", "check it with the Python that it was written for"
    ),
    Rule(
        "CYN101",
        SLOW,
        "a predicate that must be asked",
        "pause_reading() and resume_reading() where it changes, or the buffer of dispatcher_with_send or async_chat",
    ),
    Rule("CYN102", SLOW, "a predicate that always answers the same", "remove it"),
    Rule("CYN103", SLOW, "a predicate that does work", "do the work in a timer: Loop.of(map).call_later()"),
    Rule(
        "CYN104",
        SLOW,
        "a loop of short waits",
        "one loop() without a count; timers by call_later(), calls from other threads by call_soon_threadsafe()",
    ),
    Rule("CYN105", SLOW, "a sleep between polls", "give poll() or loop() the time as its timeout, or use call_later()"),
    Rule("CYN106", SLOW, "a poller of its own over the channels", "loop(), poll() or Loop.run() does it"),
    Rule(
        "CYN107",
        SLOW,
        "output that is copied at every send",
        "derive from dispatcher_with_send, or keep a bytearray and `del buffer[:sent]`",
    ),
    Rule(
        "CYN201",
        FRAGILE,
        "a channel used from another thread",
        "Loop.of(map).call_soon_threadsafe(channel.method, ...) makes the call on the thread of the loop",
    ),
    Rule(
        "CYN202",
        FRAGILE,
        "TLS put in by hand",
        "self.start_tls(context, server_hostname=...), and what comes next in handle_handshake()",
    ),
    Rule(
        "CYN203",
        FRAGILE,
        "a TLS handshake that waits for its peer",
        "self.start_tls(context, server_side=True): the loop does the handshake, with a deadline",
    ),
    Rule(
        "CYN204",
        FRAGILE,
        "always writable: the channel spins",
        "derive from dispatcher_with_send, or let writable() say whether output waits",
    ),
    Rule(
        "CYN205",
        FRAGILE,
        "a call that blocks in a handler",
        "do it in a thread, and hand the result over by call_soon_threadsafe(); instead of sleeping, call_later()",
    ),
    Rule("CYN206", FRAGILE, "a handle_error that raises", "log the exception and close() the channel"),
    Rule("CYN207", FRAGILE, "a handle_error that leaves the channel open", "end it with self.handle_close()"),
    Rule("CYN208", FRAGILE, "a handle_close that does not close", "call self.close() in it"),
    Rule("CYN209", FRAGILE, "everything is caught round the loop", "catch Exception, and let ExitNow through before"),
    Rule("CYN210", FRAGILE, "accept() taken for a pair", "define handle_accepted(sock, addr), or look for None first"),
    Rule("CYN211", FRAGILE, "the map changes while it is walked", "walk over list(map.values()), or call close_all()"),
    Rule("CYN212", FRAGILE, "the channel's own __init__ is not called", "call super().__init__(...)"),
    Rule("CYN213", FRAGILE, "a handler put in behind the channel's back", "assign it: channel.handle_read = function"),
    Rule("CYN214", FRAGILE, "a base that does not go with a channel", "keep it in an attribute"),
    Rule("CYN215", FRAGILE, "a timeout below zero", "None waits without end"),
    Rule("CYN216", FRAGILE, "a process_message without options", "add **kwargs to its parameters"),
    Rule("CYN217", FRAGILE, "a method patched into socket.socket", "derive from socket.socket, or wrap the socket"),
    Rule("CYN218", FRAGILE, "text where bytes are sent", "send bytes: b'...' or text.encode()"),
    Rule(
        "CYN301",
        NOTE,
        "a module that Python 3.12 took out",
        "run it with `python -m cyncore`, call cyncore.install() first, or import it from cyncore",
    ),
    Rule("CYN302", NOTE, "a copy of an old module", "import it from cyncore in its place"),
    Rule("CYN303", NOTE, "use_poll", "drop it"),
    Rule("CYN304", NOTE, "an own handler of raw events", "handle_read() and handle_write() where they do"),
    Rule("CYN305", NOTE, "handle_expt", "remove it unless the protocol has urgent data"),
    Rule("CYN306", NOTE, "the engine's own attributes are set", "set_socket(), add_channel(map) and del_channel(map)"),
    Rule("CYN307", NOTE, "no limit on what a peer may send", "set max_incoming, in bytes, in the class"),
    Rule("CYN308", NOTE, "a fork in a handler", "let the child leave the loop, by os._exit() or ExitNow"),
    Rule("CYN309", NOTE, "a handler that catches everything", "catch Exception"),
    Rule("CYN310", NOTE, "a limit of 1,024 descriptors", "drop it; the system's own limit holds (ulimit -n)"),
    Rule("CYN311", NOTE, "a counted loop", "timers and call_soon_threadsafe() need no turns of the program's own"),
)
