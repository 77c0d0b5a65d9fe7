import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Protocol, TypeVar

from typing_extensions import Self, TypeVarTuple, Unpack, disjoint_base

from .._inspection import ChannelInfo, LoopStats
from .calls import Handle, TimerHandle

BACKENDS: Final[tuple[str, ...]]
socket_map: dict[int, Any]

_Args = TypeVarTuple("_Args")
_Made = TypeVar("_Made")

def set_network(make: Callable[[Any], Any]) -> None: ...

class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int: ...

class Listening(Protocol):
    """What `Loop.listen` returns: a `cyncore.Server`, which is above this module."""

    @property
    def address(self) -> Any: ...
    @property
    def addresses(self) -> list[Any]: ...
    @property
    def closed(self) -> bool: ...
    @property
    def connections(self) -> int: ...
    def close(self) -> None: ...

class ServingStats(Protocol):
    """What `Loop.serve_stats` returns: a server that is above this module."""

    missed: int
    @property
    def address(self) -> Any: ...
    @property
    def closed(self) -> bool: ...
    @property
    def viewers(self) -> int: ...
    def close(self) -> None: ...

@disjoint_base
class Loop:
    @property
    def map(self) -> Any: ...
    @property
    def backend(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def _stops(self) -> int: ...
    @property
    def running(self) -> bool: ...
    debug: bool
    slow_handler_limit: float | None
    spin_guard: Literal["slow", "close"] | None
    def __init__(self, map: Any = None, *, backend: str | None = None, debug: bool | None = None) -> None: ...
    @staticmethod
    def of(map: Any) -> Loop: ...
    def run(self, *, forever: bool = False) -> None: ...
    def run_map(self, timeout: float | None = 30.0, count: int | None = None) -> None: ...
    def poll(self, timeout: float | None = 0.0) -> int: ...
    def stop(self) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...
    def fileno(self, *, timers: bool = True) -> int: ...
    def next_deadline(self) -> float | None: ...
    def time(self) -> float: ...
    def call_soon(self, callback: Callable[[Unpack[_Args]], object], *args: Unpack[_Args]) -> Handle: ...
    def call_soon_threadsafe(self, callback: Callable[[Unpack[_Args]], object], *args: Unpack[_Args]) -> Handle: ...
    def call_later(
        self, seconds: float, callback: Callable[[Unpack[_Args]], object], *args: Unpack[_Args]
    ) -> TimerHandle: ...
    def call_at(
        self, when: float, callback: Callable[[Unpack[_Args]], object], *args: Unpack[_Args]
    ) -> TimerHandle: ...
    network: Any
    hosting: Any
    resolver: Callable[[str, Any], Iterable[Any]] | None
    def listen(
        self,
        address: Any,
        factory: Callable[[], object],
        *,
        tls: ssl.SSLContext | Literal[False] | None = None,
        backlog: int = 1024,
        reuse_port: bool = False,
        mode: int | None = None,
        max_connections: int | None = None,
        max_connections_per_peer: int | None = None,
        proxy: Iterable[str] = (),
    ) -> Listening: ...
    def connect(
        self,
        address: Any,
        factory: Callable[[], _Made],
        *,
        tls: ssl.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        local_address: tuple[str, int] | None = None,
        delay: float = 0.25,
    ) -> _Made: ...
    def open_pipe(self, file: int | HasFileno, factory: Callable[[], _Made]) -> _Made: ...
    def spawn(
        self,
        args: Any,
        factory: Callable[[], _Made],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        cwd: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        env: Mapping[str, str] | Mapping[bytes, bytes] | None = None,
        shell: bool = False,
        executable: Any = None,
        preexec_fn: Callable[[], object] | None = None,
        restore_signals: bool = True,
        start_new_session: bool = False,
        pass_fds: Iterable[int] = (),
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None,
        umask: int = -1,
        process_group: int | None = None,
        pipesize: int = -1,
    ) -> _Made: ...
    def bind(
        self,
        address: Any,
        factory: Callable[[], _Made],
        *,
        remote: Any = None,
        reuse_port: bool = False,
        reuse_address: bool = False,
        broadcast: bool = False,
        mode: int | None = None,
    ) -> _Made: ...
    def drain(self, seconds: float) -> None: ...
    def drain_on_signals(self, seconds: float) -> None: ...
    def serve_stats(
        self,
        address: tuple[str, int] | str | bytes | os.PathLike[str] | None = None,
        *,
        interval: float = 1.0,
        max_viewers: int = 16,
    ) -> ServingStats: ...
    def stats(self) -> LoopStats: ...
    def channels(self, start: int = 0, most: int | None = None) -> list[ChannelInfo]: ...
    def watch_handlers(self, seconds: float | None) -> None: ...
    def _progress(self) -> tuple[int, ...] | None: ...
    def _traffic(self, start: int, most: int) -> tuple[int, list[tuple[int, Any, int, int]]]: ...
    def add_signal_handler(
        self, number: int, callback: Callable[[Unpack[_Args]], object], *args: Unpack[_Args]
    ) -> None: ...
    def remove_signal_handler(self, number: int) -> bool: ...
    def handle_exception(self, error: BaseException, handle: Handle) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
