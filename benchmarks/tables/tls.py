"""The TLS tables: the echo, handshakes, and the memory of idle connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from benchmarks.run import certificate, columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import RAW_TLS, STREAM, TLS, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude
from benchmarks.run.text import number

SIZES = {1024: "1 KiB", 16384: "16 KiB"}
BY_UVLOOP, BY_RAW = 1.25, 0.9
CLIENTS = 32  # that shake hands at a time
STANDING, NEW, RESUMED, QUIET = range(4)  # --sessions of load_tls
WANTED = {NEW: 1.15, RESUMED: 1.3}  # handshakes by uvloop's
IDLE = 2000  # connections
MOST_KIB = 15
TOLD = {NEW: "new", RESUMED: "resumed", QUIET: "after the handshake", STANDING: "after 16 KiB both ways"}
PROGRAMS = ("load_tls", "tls_epoll")


@dataclass(frozen=True)
class Tls(Shape):
    PROGRAM: ClassVar[str] = "load_tls"

    sessions: int = STANDING

    def label(self) -> str:
        return f"{SIZES.get(self.size, self.size)}, {TOLD.get(self.sessions, '')}, {self.connections} connections"

    def record(self) -> dict[str, object]:
        return {**super().record(), "sessions": self.sessions}


Found = dict[tuple[str, Shape], Series]  # by the peer and the shape


def sessions_of(series: Series) -> int:
    assert isinstance(series.shape, Tls)
    return series.shape.sessions


SIZE = Column("size", lambda series: SIZES[series.shape.size])
SESSIONS = Column("handshake", lambda series: TOLD[sessions_of(series)])
WHEN = Column("when", lambda series: TOLD[sessions_of(series)])


def by(found: Found, name: str) -> Callable[[Series], Series | None]:
    return lambda series: found.get((name, series.shape))


def tls_columns(unit: str, found: Found) -> list[Column]:
    return [
        columns.figure(unit, rate),
        columns.SPREAD,
        columns.ratio("by C", by(found, RAW_TLS)),
        columns.ratio("by uvloop", by(found, UVLOOP)),
        columns.USER,
        columns.SYSTEM,
        columns.ratio("CPU by C", by(found, RAW_TLS), Sample.cpu_us),
        columns.ratio("CPU by uvloop", by(found, UVLOOP), Sample.cpu_us),
        columns.P50,
        columns.P99,
        columns.BUSY,
        columns.LOAD_BUSY,
        columns.TAKEN,
    ]


def measure(peers: list[Peer], shapes: list[Tls], plan: Plan) -> tuple[list[Series], Found]:
    certificate.make()
    every = measure_loads(peers, shapes, plan)
    return every, {(series.peer.name, series.shape): series for series in every}


def tls(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the echo. Returns it as text, and its record."""
    connections = plan.most(plan.connections)
    shapes = [Tls(connections, connections, size, plan.seconds, plan.warmup) for size in SIZES]
    every, found = measure(peers, shapes, plan)
    reached: list[Reached] = []
    for shape in shapes:
        ours = found.get((STREAM, shape))
        for name, told, wanted in ((UVLOOP, "uvloop", BY_UVLOOP), (RAW_TLS, "C", BY_RAW)):
            target = Target(f"TLS echo of {SIZES[shape.size]}, stream by {told}", wanted)
            other = found.get((name, shape))
            reached.append((target, rate_ratio(ours, other), quiet(ours, other)))
    title = f"TLS echo over {connections} connections, medians, {plan.rounds} x {plan.seconds:g} s"
    rows = sorted(every, key=lambda series: series.shape.size)
    text = render_series(title, [columns.NAME, SIZE], tls_columns("messages/s", found), rows)
    return conclude(text, reached, series=[series.record() for series in every])


def cpu_rate(sample: Sample) -> float:
    """Handshakes for a second of the server's CPU time: the load may have less left than it needs."""
    return 1e6 / sample.cpu_us()


def handshakes(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures handshakes. Returns them as text, and the record."""
    # SCHED_FIFO starves the threads of the kernel, which have a part in every connect
    plan = replace(plan, placement=plan.placement.ordinary())
    shapes = [Tls(CLIENTS, CLIENTS, 64, plan.seconds, plan.warmup, sessions=kind) for kind in WANTED]
    every, found = measure(peers, shapes, plan)
    reached: list[Reached] = []
    for shape in shapes:
        ours, uvloop = found.get((STREAM, shape)), found.get((UVLOOP, shape))
        target = Target(
            f"TLS handshakes, {TOLD[shape.sessions]}, stream by uvloop, of the same CPU", WANTED[shape.sessions]
        )
        reached.append((target, ours.ratio(uvloop, cpu_rate) if ours else None, quiet(ours, uvloop)))
    title = f"TLS handshakes of {CLIENTS} clients, 64 bytes echoed after each, "
    title += f"medians, {plan.rounds} x {plan.seconds:g} s"
    cells = [*tls_columns("handshakes/s", found), columns.figure("a CPU second", cpu_rate)]
    text = render_series(title, [columns.NAME, SESSIONS], cells, sorted(every, key=sessions_of))
    return conclude(text, reached, series=[series.record() for series in every])


def kib(series: Series | None) -> float | None:
    """KiB by which the resident memory of the server grew for each connection."""
    if series is None or not series.samples:
        return None
    return series.median(lambda sample: sample.server_grown_bytes / series.shape.connections / 1024)


def tls_idle(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures memory. Returns it as text, and its record."""
    count = plan.most(IDLE)
    shapes = [Tls(count, 1, 16384, 0.2, 0.1, 60.0, sessions=kind) for kind in (QUIET, STANDING)]
    every, found = measure(peers, shapes, replace(plan, rounds=min(plan.rounds, 3)))
    reached: list[Reached] = []
    for shape in shapes:
        target = Target(f"an idle TLS stream {TOLD[shape.sessions]}, KiB", MOST_KIB, at_least=False)
        reached.append((target, kib(found.get((STREAM, shape))), True))
    cells = [Column("KiB/conn.", lambda series: number(kib(series), 1)), columns.ROUNDS]
    title = f"Memory of {count:,} idle TLS connections, medians"
    text = render_series(title, [columns.NAME, WHEN], cells, sorted(every, key=sessions_of, reverse=True))
    return conclude(text, reached, series=[series.record() for series in every])


TABLE = Table("tls", peers=TLS, run=tls, programs=PROGRAMS, shapes=len(SIZES), missing=certificate.missing)
HANDSHAKES = Table(
    "handshakes", peers=TLS, run=handshakes, programs=PROGRAMS, shapes=len(WANTED), missing=certificate.missing
)
MEMORY = Table(
    "tls-idle", peers=TLS, run=tls_idle, programs=PROGRAMS, shapes=2, window=10.0, missing=certificate.missing
)
