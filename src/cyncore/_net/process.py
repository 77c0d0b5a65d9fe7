# SPDX-License-Identifier: MIT
"""Process: a program that the loop has started, its pipes as streams, and its end as an event.

Facts that shape it:
- The kernel keeps a child that has ended until it is waited for. Its number is nobody else's until then, so a signal
  cannot reach a stranger.
- A pidfd is readable when its process has ended (pidfd_open(2), Linux 5.3). Elsewhere SIGCHLD tells that some child
  has, and several of these may come as one.
- A child may leave its pipes to children of its own, which keep them open when it has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from .._descriptor import Descriptor
from .._dispatcher import dispatcher
from .._report import ERROR, WARNING, report
from .._rules import EXITS, number
from .._stream.stream import Stream

UNKNOWN: Final = 255  # as the status of a child that somebody else has waited for
FOREVER: Final = 1e8  # seconds
ROUNDS: Final = 256  # ticks, at most, in which what the child has written is read before `handle_exit`
NAMES: Final = ("stdin", "stdout", "stderr")

# What `subprocess.Popen` would do with the pipes, which are the loop's here.
_REFUSED: Final = frozenset(
    {"bufsize", "close_fds", "creationflags", "encoding", "errors", "startupinfo", "text", "universal_newlines"}
)


class Process:
    """A child of this program, which `Loop.spawn` has started. Derive from it, and define `handle_exit`.

    All methods are to be called from the thread that runs the loop.
    """

    __module__ = "cyncore"

    args: Any = None
    """What was started: a sequence of words, or a text for the shell."""

    pid: int = 0
    """Its number, or 0 before it was started."""

    loop: Any = None
    """The loop that serves it."""

    stdin: Any = None
    """The stream of its standard input, where `Loop.spawn` was given a class of streams for it; so with the others."""

    stdout: Any = None
    stderr: Any = None

    status: int | None = None
    """None while it runs. Then what it has returned, 0 to 255; a signal that has ended it is below zero, as -9."""

    _popen: Any = None
    _network: Any = None
    _watch: Any = None  # the channel of its pidfd
    _kill_timer: Any = None
    _busy = False
    _draining = False
    _rounds = 0

    # Handlers

    def handle_exit(self, status: int) -> None:
        """The child has ended: the last call. What it has written has come before. ``status``: see `status`."""

    def handle_drain(self) -> None:
        """The loop drains. Sends SIGTERM, unless `busy` is true."""
        if not self.busy:
            self.terminate()

    def handle_error(self, error: BaseException) -> None:
        """A handler has raised ``error``: logs it."""
        report(ERROR, "%r: a handler failed", self, error=error)

    # What programs call

    @property
    def running(self) -> bool:
        """False before it was started, and when it has ended."""
        return self.pid > 0 and self.status is None

    @property
    def busy(self) -> bool:
        """True while the child must not be ended by a loop that drains: set by the program."""
        return self._busy

    @busy.setter
    def busy(self, value: Any) -> None:
        self._busy = bool(value)
        if self._draining and not value:
            self.terminate()

    def send_signal(self, number: int) -> None:
        """Sends it the signal ``number``. Does nothing when it has ended. OSError if that is no signal."""
        if not self.running:
            return
        with suppress(ProcessLookupError):  # somebody else has waited for it
            if self._watch is None or not self._watch.send_signal(number):
                os.kill(self.pid, number)

    def terminate(self, deadline: float | None = None) -> None:
        """Sends SIGTERM, and SIGKILL if it has not ended ``deadline`` seconds later; None: never.

        Does nothing when it has ended. The deadline of an earlier call is replaced. ValueError below zero.
        """
        seconds = None if deadline is None else number("deadline", deadline)
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"terminate: the deadline must not be below zero: {deadline!r}")
        if not self.running:
            return
        if self._kill_timer is not None:
            self._kill_timer.cancel()
            self._kill_timer = None
        if seconds is not None and not self.loop.closed:
            self._kill_timer = self.loop.call_later(seconds, self.kill)
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL. Does nothing when it has ended."""
        self.send_signal(signal.SIGKILL)

    def __repr__(self) -> str:
        state = "not started" if not self.pid else "running" if self.status is None else f"status {self.status}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.pid} {state}>"

    # Its end

    def _reap(self) -> None:
        """Has it ended? Then it is waited for, which the kernel requires."""
        if not self.running:
            return
        try:
            found, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # by os.wait() somewhere, or because SIGCHLD is ignored
            report(WARNING, "%r: somebody else has waited for it, so its status is not known", self)
            self._ended(UNKNOWN)
            return
        if found:
            self._ended(os.waitstatus_to_exitcode(status))

    def _ended(self, status: int) -> None:
        self.status = self._popen.returncode = status
        self._popen = None
        if self._kill_timer is not None:
            self._kill_timer.cancel()
            self._kill_timer = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._read_last()

    def _read_last(self) -> None:
        """What it has written comes before `handle_exit`, as far as it is in the pipes and the program wants it."""
        self._rounds += 1
        streams = [stream for stream in (self.stdout, self.stderr) if isinstance(stream, Stream)]
        if self._rounds < ROUNDS and any(map(_has_input, streams)):
            self.loop.call_soon(self._read_last)
        else:
            self.loop.call_soon(self._tell)  # behind the `handle_close` of a stream that ended just now

    def _tell(self) -> None:
        self._network.process_ended(self)
        self._call(self.handle_exit, self.status)

    def _call(self, handler: Callable[..., None], *args: Any) -> None:
        try:
            handler(*args)
        except EXITS:
            raise
        except BaseException as error:
            self.handle_error(error)

    def _drain(self) -> None:
        self._draining = True
        self._call(self.handle_drain)

    def _let_go(self) -> None:
        """The loop closes: nobody here waits for the child any more. `subprocess` does, when it starts another one."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None


class Watch(dispatcher):
    """The channel of a pidfd."""

    def __init__(self, process: Process, fd: int) -> None:
        dispatcher.__init__(self, None, process.loop.map)
        self.process = process
        self.set_socket(Descriptor(fd, True, False))
        self.connected = True

    def writable(self) -> bool:
        return False

    def send_signal(self, number: int) -> bool:
        """Sends the signal to this process and to no other one of its number. Returns False if it was refused."""
        try:
            signal.pidfd_send_signal(self.socket.fileno(), number)
        except ProcessLookupError:
            raise
        except OSError:  # by a sandbox, or because it is no signal: kill(2) says which
            return False
        return True

    def handle_read_event(self) -> None:
        self.process._reap()

    def handle_close(self) -> None:  # the child was waited for by somebody else, as some kernels tell it
        self.process._reap()


class Children:
    """The children of a loop where there is no pidfd: at every SIGCHLD each of them is looked at."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._known: set[Process] = set()
        self._timer: Any = None  # keeps `Loop.run` from ending, as a channel does elsewhere

    def begin(self) -> None:
        """A child is about to be started: from now on its end is noticed. RuntimeError outside of the main thread."""
        self._network.signals.watch("spawn", signal.SIGCHLD, self.look)

    def add(self, process: Process) -> None:
        self._known.add(process)
        if self._timer is None:
            self._stay()
        self._network.loop.call_soon(self.look)  # it may have ended already

    def _stay(self) -> None:
        self._timer = self._network.loop.call_later(FOREVER, self._stay)

    def look(self) -> None:
        """Waits for those that have ended."""
        for process in list(self._known):
            process._reap()
            if process.status is not None:
                self._known.discard(process)
        self.end_if_over()

    def end_if_over(self) -> None:
        if not self._known:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._network.signals.unwatch(signal.SIGCHLD)


def spawn(
    network: Any,
    args: Sequence[Any] | str | bytes | os.PathLike[Any],
    factory: Callable[[], Process],
    *,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    **options: Any,
) -> Process:
    """See `Loop.spawn`."""
    refused = _REFUSED.intersection(options)
    if refused:
        raise TypeError(f"spawn() has no {', '.join(sorted(refused))}: the pipes of a child are streams of bytes")
    process = factory()
    if not isinstance(process, Process):
        raise TypeError(f"the factory of spawn() must return a cyncore.Process, not {process!r}")
    if process.pid:
        raise RuntimeError(f"{process!r} was started already: a Process is one child")
    process.loop, process._network, process.args = network.loop, network, args
    pipes = Pipes(dict(zip(NAMES, (stdin, stdout, stderr), strict=True)))
    children = None if _has_pidfd() else network.children()
    try:
        pipes.open()
        if children is not None:
            children.begin()
        process._popen = subprocess.Popen(args, **pipes.theirs, **options)
        process.pid = process._popen.pid
    except BaseException:
        pipes.close_ours()
        if children is not None:
            children.end_if_over()
        raise
    finally:
        pipes.close_theirs()
    network.processes.add(process)
    try:
        _watch(process, children)
        pipes.serve(process)
    except BaseException:
        pipes.close_ours()
        process.kill()
        raise
    return process


def _watch(process: Process, children: Children | None) -> None:
    """Has the end of the child noticed."""
    if children is None:
        try:
            process._watch = Watch(process, os.pidfd_open(process.pid))
            return
        except OSError as error:
            report(WARNING, "%r: there is no descriptor for it (%s): SIGCHLD must tell its end", process, error)
            children = process._network.children()
            try:
                children.begin()
            except RuntimeError:  # another thread: nobody would hear of its end
                process._network.processes.discard(process)
                process.kill()
                process.status = process._popen.wait()
                raise
    children.add(process)


def _has_pidfd() -> bool:
    """Has the system descriptors for processes? A sandbox may refuse them, with ENOSYS or EPERM."""
    if not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        from errno import EMFILE, ENFILE

        if error.errno in (EMFILE, ENFILE):
            raise
        return False
    return True


def _has_input(stream: Stream) -> bool:
    """Is there something in the pipe, or its end, that the stream will read?"""
    return stream.reading and isinstance(stream.socket, Descriptor) and stream.socket.has_input()


class Pipes:
    """What a child has as standard input, output and errors; those that are pipes, at both ends."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.wanted = wanted
        self.theirs: dict[str, Any] = {}  # what `subprocess.Popen` is given
        self._made: list[int] = []  # ends that are theirs, to be closed here
        self._ours: dict[str, tuple[int, Stream]] = {}

    def open(self) -> None:
        """Makes the pipes, and the streams for them. TypeError for what can be neither."""
        for name, what in self.wanted.items():
            if what == subprocess.PIPE:
                raise TypeError(f"spawn(): {name}=PIPE has nobody to read it: give a class of streams instead")
            if not callable(what) or hasattr(what, "fileno"):
                self.theirs[name] = what
                continue
            stream = what()
            if not isinstance(stream, Stream):
                raise TypeError(f"spawn(): the factory for {name} must return a cyncore.Stream, not {stream!r}")
            reader, writer = os.pipe()
            mine, yours = (writer, reader) if name == "stdin" else (reader, writer)
            self._made.append(yours)
            self._ours[name] = (mine, stream)
            self.theirs[name] = yours

    def serve(self, process: Process) -> None:
        """The child runs: its pipes become streams of the loop, as attributes of the process."""
        for name in list(self._ours):
            fd, stream = self._ours.pop(name)
            os.set_blocking(fd, False)
            setattr(process, name, stream)
            stream._process = process
            stream._serve_descriptor(Descriptor(fd, name != "stdin", name == "stdin"), process.loop)

    def close_ours(self) -> None:
        while self._ours:
            os.close(self._ours.popitem()[1][0])

    def close_theirs(self) -> None:
        while self._made:
            os.close(self._made.pop())
