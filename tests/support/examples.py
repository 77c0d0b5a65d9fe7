# SPDX-License-Identifier: MIT
"""What the tests of the examples share: each example runs as a user runs it, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 30.0  # seconds after which a test says that what it waits for does not come
READY = r"^ready \[?(?P<host>[0-9.:]+?)\]?:(?P<port>\d+)$"  # what an example that serves prints


def command(script: str, *args: object) -> list[str]:
    """How the README runs an example that was written for asyncore."""
    return [sys.executable, "-m", "cyncore", str(EXAMPLES / script), *map(str, args)]


class Server:
    """An example that serves: started, and its line with the address has been read."""

    def __init__(self, process: subprocess.Popen[bytes], pattern: str) -> None:
        self.process = process
        self.errors = b""
        self._lines: list[str] = []
        self._ended = False
        self._arrived = threading.Condition()
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()
        self.match = self._await(pattern)

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._arrived:
                self._lines.append(line.decode())
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._arrived:
                self.errors += line
                self._arrived.notify_all()

    def _await(self, pattern: str) -> re.Match[str]:
        compiled = re.compile(pattern)
        with self._arrived:
            self._arrived.wait_for(lambda: self._lines or self._ended, PATIENCE)
            match = compiled.search(self._lines[0]) if self._lines else None
        if match is None:
            self.end()
            pytest.fail(f"no address from {self.process.args}: {self._lines} {self.errors.decode()}")
        return match

    @property
    def address(self) -> tuple[str, int]:
        return self.match["host"], int(self.match["port"])

    def out(self) -> str:
        with self._arrived:
            return "".join(self._lines)

    def await_error_line(self, text: str) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: text.encode() in self.errors, PATIENCE), self.errors.decode()

    def descriptors(self) -> int:
        """How many are open. Pipes do not count: the loop makes one when it first waits for long."""
        folder = Path("/proc", str(self.process.pid), "fd")
        if not folder.exists():
            pytest.skip("no /proc to count descriptors in")
        found = []
        for fd in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed just now
                found.append(os.readlink(fd))
        return sum(not name.startswith("pipe:") for name in found)

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def serving(script: str, *args: object, pattern: str) -> Iterator[Server]:
    process = subprocess.Popen(
        command(script, *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    server = Server(process, pattern)
    try:
        yield server
    finally:
        server.end()


def serving_http(
    folder: Path, *args: object, script: str = "http_server.py"
) -> contextlib.AbstractContextManager[Server]:
    return serving(script, "--port", 0, *args, folder, pattern=READY)


@contextlib.contextmanager
def serving_stream(script: str, *args: object, before: Iterable[str] = ()) -> Iterator[Server]:
    """An example that runs, and that SIGTERM must end in order. ``before``: words of the command before it."""
    words = [*before, sys.executable, str(EXAMPLES / script), "--port", "0", *map(str, args)]
    server = Server(
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE), READY
    )
    try:
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    finally:
        server.end()


def fetch(url: str, *options: str) -> tuple[int, bytes]:
    """The status and the body that curl gets."""
    done = subprocess.run(
        [tool("curl"), "-s", "-w", "%{stderr}%{http_code}", "--path-as-is", "--max-time", "20", *options, url],
        capture_output=True,
        env=tool_environment(),
    )
    return int(done.stderr.decode()[-3:]), done.stdout


@contextlib.contextmanager
def allowing_descriptors(wanted: int) -> Iterator[None]:
    """This process and its children may have so many; where that is not allowed, the test is skipped."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"only {hard} descriptors are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask until it is true; give up after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE} s: {what}"
        time.sleep(0.01)


def tool(name: str) -> str:
    """Path of a program that a test needs. CI installs them all: one that is missing there is a failure."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, although this is CI")
        pytest.skip(f"{name} is not installed")
    return path


def require_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 loopback: {error}")


def tool_environment() -> dict[str, str]:
    """The environment for a program that is not ours: without what a sanitizer build has preloaded into ours."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
