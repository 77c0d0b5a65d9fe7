"""The mail table: messages that an SMTP server takes, and forgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.run.load import Sample, Shape
from benchmarks.run.peers import MAIL, OLD_MAIL, OURS, Peer
from benchmarks.run.rounds import Plan, Series, interleave
from benchmarks.run.table import Table, number, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import conclude
from benchmarks.tables.echo import quiet, rate

HEAD = ["server", "a connection", "messages/s", "spread", "by smtpd", "user us", "system us", "CPU by smtpd"]
HEAD += ["p50 us", "p99 us", "peak MB", "busy", "load busy", "taken"]
CONNECTIONS = 100
BODY = 2048  # bytes
WANTED = 3.0  # times the old module
KINDS = {0: "all messages", 1: "one message"}


@dataclass(frozen=True)
class Mail(Shape):
    """Every client active. `sessions` 0: each keeps its connection, 1: each opens one for every message."""

    LOAD: ClassVar[str] = "load_mail"

    sessions: int = 0

    def label(self) -> str:
        return f"a connection for {KINDS[self.sessions]}"

    def record(self) -> dict[str, object]:
        return {**super().record(), "sessions": self.sessions}


def row(series: Series, kind: str, old: Series | None) -> list[str]:
    if not series.samples:
        return [f"{series.peer.name}, {kind}", "; ".join(series.failures) or "not run"]
    return [
        series.peer.name,
        kind,
        number(series.rate()),
        f"{100 * series.spread():.0f} %",
        number(series.against(old, rate), 2),
        number(series.median(Sample.user_us)),
        number(series.median(Sample.system_us)),
        number(series.against(old, Sample.cpu_us), 2),
        number(series.median(lambda sample: sample.p50_us)),
        number(series.median(lambda sample: sample.p99_us)),
        number(series.median(lambda sample: sample.server_peak_bytes / 1e6), 1),
        f"{100 * series.median(Sample.server_busy):.0f} %",
        f"{100 * series.median(Sample.load_busy):.0f} %",
        f"{100 * series.median(Sample.disturbed):.0f} %",
    ]


def mail(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    shapes = {kind: Mail(CONNECTIONS, CONNECTIONS, BODY, plan.seconds, plan.warmup, sessions=kind) for kind in KINDS}
    every = interleave(peers, list(shapes.values()), plan)
    found = {(series.peer.name, series.shape): series for series in every}
    rows, reached = [], []
    for kind, shape in shapes.items():
        ours, old = found.get((OURS, shape)), found.get((OLD_MAIL, shape))
        rows += [row(series, KINDS[kind], old) for series in every if series.shape == shape]
        target = Target(f"mail, a connection for {KINDS[kind]}, cyncore by smtpd", WANTED)
        value, calm = ours.against(old, rate) if ours else None, quiet(ours, old)
        reached.append((target, value, calm))
    title = f"Mail of {BODY:,} bytes from {CONNECTIONS} clients, medians, {plan.rounds} x {plan.seconds:g} s"
    return conclude(render(title, HEAD, rows), reached, series=[series.record() for series in every])


TABLE = Table("mail", peers=MAIL, run=mail, programs=("load_mail",), shapes=2)
