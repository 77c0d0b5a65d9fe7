"""The peers: the servers that are compared, how each is started, and which of them are installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import sys
import warnings
from dataclasses import dataclass

from benchmarks.run.certificate import FILES
from benchmarks.run.compiler import program

RAW = "raw C epoll"
RAW_TLS = "C with OpenSSL"
OURS = "cyncore"
STREAM = "cyncore stream"
NATIVE = "cyncore native handler"  # a stream with its handler in Cython
BATCHES = "cyncore stream joined"  # which takes the lines of one read together
TOGETHER = "cyncore batches"  # which takes the datagrams of one system call together
WATCHED = "cyncore deadlines"  # a stream with deadlines
UVLOOP = "uvloop"
JOINED = "uvloop joined"
PYFTPDLIB = "pyftpdlib"
OLD = "asyncore"
OLD_MAIL = "smtpd"


@dataclass(frozen=True)
class Peer:
    name: str
    module: str | None  # that must be importable; None: the server is a C program
    package: str | None = None  # the distribution that has the module
    server: str = "echo_epoll"  # a module of servers/, or a C program of loads/
    arguments: tuple[str, ...] = ()
    scans: bool = False  # its loop asks every channel at every turn, which takes long where there are many

    def command(self) -> list[str]:
        """The command that starts its server."""
        if self.module is None:
            return [str(program(self.server)), *self.arguments]
        return [sys.executable, "-m", f"benchmarks.servers.{self.server}", *self.arguments]

    def missing(self) -> str | None:
        """Why it cannot take part, or None."""
        if self.module is None:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                importlib.import_module(self.module)
        except ImportError as error:
            return f"{error} (pip install {self.package})"
        except Exception as error:  # a peer that is broken is left out, with this as the reason
            return f"it does not import: {error!r}"
        return None

    def version(self) -> str:
        if self.module is None:
            return f"benchmarks/loads/{self.server}.c"
        if self.package is None or self.module in sys.stdlib_module_names:
            return f"the standard library's, Python {platform.python_version()}"
        try:
            version = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:  # importable and not installed, as in a checkout
            module = importlib.import_module(self.module.partition(".")[0])
            version = f"{getattr(module, '__version__', 'of no known version')}, not installed"
        return f"{self.package} {version}{', ' + engine() if self.package == OURS else ''}"


def engine() -> str:
    """Which engine cyncore uses: figures of the plain Python one must not be taken for those of the compiled one."""
    try:
        native = importlib.import_module("cyncore._engine").native
    except Exception as error:  # its servers will report more
        return f"engine unknown, {error!r}"
    return "compiled" if native else "NOT COMPILED"


WITH_SEND = ("--base", "dispatcher_with_send")

ECHO = [
    Peer(RAW, None),
    Peer(OURS, "cyncore.asyncore", "cyncore", "cyncore_echo"),
    Peer("cyncore with_send", "cyncore.asyncore", "cyncore", "cyncore_echo", WITH_SEND),
    Peer(STREAM, "cyncore._stream.stream", "cyncore", "cyncore_stream"),
    Peer(NATIVE, "benchmarks.servers.compiled_echo", "cyncore", "cyncore_native"),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_echo"),
    Peer("rloop", "rloop", "rloop", "rloop_echo"),
    Peer(PYFTPDLIB, "pyftpdlib.ioloop", "pyftpdlib", "pyftpdlib_echo"),
    Peer("pyftpdlib push", "pyftpdlib.ioloop", "pyftpdlib", "pyftpdlib_echo", ("--push",)),
    Peer("gevent", "gevent.server", "gevent", "gevent_echo"),
    Peer("Twisted", "twisted.internet.epollreactor", "Twisted", "twisted_echo"),
    Peer(OLD, "asyncore", "pyasyncore", "asyncore_echo", scans=True),
    Peer("asyncore with_send", "asyncore", "pyasyncore", "asyncore_echo", WITH_SEND, scans=True),
    Peer("asyncio", "asyncio", None, "asyncio_echo"),
]
LINES = [
    Peer(RAW, None, server="lines_epoll"),
    Peer(OURS, "cyncore.asynchat", "cyncore", "cyncore_lines"),
    Peer(STREAM, "cyncore._stream.stream", "cyncore", "cyncore_stream", ("--lines",)),
    Peer(BATCHES, "cyncore._stream.stream", "cyncore", "cyncore_stream", ("--batches",)),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_lines"),
    Peer(JOINED, "uvloop", "uvloop", "uvloop_lines", ("--joined",)),
    Peer("uvloop streams", "uvloop", "uvloop", "uvloop_lines", ("--streams",)),
    Peer("asynchat", "asynchat", "pyasynchat", "asynchat_lines", scans=True),
    Peer("asyncio", "asyncio", None, "asyncio_lines"),
    Peer("Twisted", "twisted.protocols.basic", "Twisted", "twisted_lines"),
]
TLS = [
    Peer(RAW_TLS, None, server="tls_epoll", arguments=FILES),
    Peer(STREAM, "cyncore._stream.stream", "cyncore", "cyncore_stream", ("--tls", *FILES)),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_echo", ("--tls", *FILES)),
    Peer("asyncio", "asyncio", None, "asyncio_echo", ("--tls", *FILES)),
]
CHAT = [
    Peer(STREAM, "cyncore._stream.stream", "cyncore", "cyncore_stream", ("--chat",)),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_chat"),
]
DATAGRAMS = [
    Peer(RAW, None, server="datagrams_epoll"),
    Peer(OURS, "cyncore._datagram", "cyncore", "cyncore_datagrams"),
    Peer(TOGETHER, "cyncore._datagram", "cyncore", "cyncore_datagrams", ("--batches",)),
    Peer("cyncore without offload", "cyncore._datagram", "cyncore", "cyncore_datagrams", ("--plain",)),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_datagrams"),
    Peer("asyncio", "asyncio", None, "asyncio_datagrams"),
]
MAIL = [
    Peer(OURS, "cyncore.smtpd", "cyncore", "cyncore_mail"),
    Peer(OLD_MAIL, "smtpd", "standard-smtpd", "smtpd_mail", scans=True),
    Peer("aiosmtpd", "aiosmtpd.smtp", "aiosmtpd", "aiosmtpd_mail"),
]


def split(peers: list[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can take part, and for each of the others the reason why not."""
    reasons = {peer.name: peer.missing() for peer in peers}
    here = [peer for peer in peers if reasons[peer.name] is None]
    return here, {name: reason for name, reason in reasons.items() if reason is not None}
