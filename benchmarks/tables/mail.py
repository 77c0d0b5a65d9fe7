"""The mail table: messages that an SMTP server accepts and discards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.run import columns
from benchmarks.run.columns import Column, render_series
from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import MAIL, OLD_MAIL, OURS, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.rounds import measure_loads
from benchmarks.run.series import Series, quiet, rate, rate_ratio
from benchmarks.run.table import Table
from benchmarks.run.target import Reached, Target, conclude

CONNECTIONS = 100
BODY = 2048  # bytes
WANTED = 3.0  # the rate as a multiple of the old module's
KINDS = {0: "all messages", 1: "one message"}
Found = dict[tuple[str, Shape], Series]  # by the peer and the shape


@dataclass(frozen=True)
class Mail(Shape):
    """Every client is active. `sessions`: 0 where each keeps its connection, 1 where it opens one for every message."""

    PROGRAM: ClassVar[str] = "load_mail"

    sessions: int = 0

    def label(self) -> str:
        return f"a connection for {KINDS[self.sessions]}"

    def record(self) -> dict[str, object]:
        return {**super().record(), "sessions": self.sessions}


def kind_of(series: Series) -> int:
    assert isinstance(series.shape, Mail)
    return series.shape.sessions


SESSION = Column("a connection", lambda series: KINDS[kind_of(series)])


def mail_columns(found: Found) -> list[Column]:
    def old(series: Series) -> Series | None:
        return found.get((OLD_MAIL, series.shape))

    return [
        columns.figure("messages/s", rate),
        columns.SPREAD,
        columns.ratio("by smtpd", old),
        columns.figure("user us", Sample.user_us),
        columns.figure("system us", Sample.system_us),
        columns.ratio("CPU by smtpd", old, Sample.cpu_us),
        columns.P50,
        columns.P99,
        columns.figure("peak MB", lambda sample: sample.server_peak_bytes / 1e6, 1),
        columns.BUSY,
        columns.LOAD_BUSY,
        columns.TAKEN,
    ]


def mail(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """Measures the table. Returns it as text, and its record."""
    shapes = {kind: Mail(CONNECTIONS, CONNECTIONS, BODY, plan.seconds, plan.warmup, sessions=kind) for kind in KINDS}
    every = measure_loads(peers, list(shapes.values()), plan)
    found = {(series.peer.name, series.shape): series for series in every}
    reached: list[Reached] = []
    for kind, shape in shapes.items():
        ours, old = found.get((OURS, shape)), found.get((OLD_MAIL, shape))
        target = Target(f"mail, a connection for {KINDS[kind]}, cyncore by smtpd", WANTED)
        reached.append((target, rate_ratio(ours, old), quiet(ours, old)))
    title = f"Mail of {BODY:,} bytes from {CONNECTIONS} clients, medians, {plan.rounds} x {plan.seconds:g} s"
    text = render_series(title, [columns.NAME, SESSION], mail_columns(found), sorted(every, key=kind_of))
    return conclude(text, reached, series=[series.record() for series in every])


TABLE = Table("mail", peers=MAIL, run=mail, programs=("load_mail",), shapes=2)
