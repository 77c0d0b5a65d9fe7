"""The ratios: a small echo table, which shows what counts cannot show. Only a ratio that is far off fails the gate."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.run.compiler import program
from benchmarks.run.peers import ECHO, OURS, RAW, UVLOOP, split
from benchmarks.run.placement import Placement
from benchmarks.run.plan import Plan
from benchmarks.run.target import NO_VERDICT
from benchmarks.tables import echo

FAR_OFF = 0.85  # of the target
ATTEMPTS = 3
TARGETS = (echo.BY_RAW, echo.BY_UVLOOP)


@dataclass(frozen=True)
class Ratio:
    what: str
    value: float | None
    wanted: float
    quiet: bool
    reason: str = ""  # why there is no value

    def failed(self) -> bool:
        return self.quiet and self.value is not None and self.value < FAR_OFF * self.wanted

    def text(self) -> str:
        if self.value is None:
            return f"{self.what}: not measured{', ' if self.reason else ''}{self.reason}"
        verdict = "ok" if self.value >= self.wanted else "below the target, and not far off"
        if self.value < FAR_OFF * self.wanted:
            verdict = (
                f"FAR OFF, below {FAR_OFF * self.wanted:.2f}" if self.quiet else "no verdict, the machine was busy"
            )
        return f"{self.what}: {self.value:.2f} (target {self.wanted:g}), {verdict}"

    def record(self) -> dict[str, object]:
        return {"what": self.what, "value": self.value, "wanted": self.wanted, "quiet": self.quiet}


def measure(limit: int) -> list[Ratio]:
    """Measures the ratios, and measures again where one is far off. `limit`: of descriptors. Raises CompileError."""
    for name in ("load", "echo_epoll"):
        program(name)
    here, missing = split([peer for peer in ECHO if peer.name in (RAW, OURS, UVLOOP)])
    plan = Plan(rounds=3, seconds=0.5, warmup=0.2, placement=Placement(), limit=limit, quick=True)
    ratios: list[Ratio] = []
    for _ in range(ATTEMPTS):
        _, record = echo.echo(here, plan)
        ratios = read(record["targets"], "; ".join(missing.values()))
        if not any(ratio.failed() for ratio in ratios):
            break
    return ratios


def read(targets: object, missing: str) -> list[Ratio]:
    """The ratios among the recorded targets of the echo table. `missing` says why peers are left out."""
    assert isinstance(targets, list)
    names = {target.what: target.wanted for target in TARGETS}
    return [
        Ratio(one["what"], one["value"], one["wanted"], one["verdict"] != NO_VERDICT, missing)
        for one in targets
        if one["what"] in names
    ]
