# SPDX-License-Identifier: MIT
"""Mixed load for minutes or hours, and what the server holds meanwhile: ``python -m tests.soak --minutes 30``.

A line a minute tells the memory, the descriptors and the blocks of the server, and the times of answers, over all
clients. It fails where memory, blocks or descriptors grow, where an answer is wrong or missing, where a bad peer is not
ended in its time, and where anything is left when all clients have gone. ``CYNCORE_BACKEND`` chooses what is tried.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.soak.load import STEADY, Load

# What may differ between the first third and the last of the minutes that count.
ALLOWED = {"rss": 1024, "blocks": 500, "fds": 20}  # KiB, blocks, descriptors
LEFT = {"rss": 4096, "blocks": 2000, "fds": 0}  # the same, between the beginning and after the last client has gone
WARM = 0.15  # the part of the minutes that is warming up
BEGINNING = 2.0  # seconds until the loop has opened what it keeps
QUIET = 8.0  # seconds in which the deadlines of the last bad peers pass, and the last children end


@dataclass
class Row:
    """A minute of the server. Times in milliseconds, memory in KiB, the processor's time in percent of one."""

    minute: float
    rss: int
    blocks: int
    fds: int
    channels: int
    cpu: float
    answers: int
    p50: float
    p99: float
    p999: float

    @staticmethod
    def head() -> str:
        return " ".join(f"{field.name:>9}" for field in fields(Row))

    def line(self) -> str:
        values = (getattr(self, field.name) for field in fields(self))
        return " ".join(f"{value:9.2f}" if isinstance(value, float) else f"{value:9}" for value in values)


class Server:
    """The server's process, and what the system says of it."""

    def __init__(self, certificate: Path, log: Path) -> None:
        words = [sys.executable, "-m", "tests.soak.server", str(certificate)]
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.facts = self.read()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server has gone: {self.log.read_text()}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def ask(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("tell\n")
        self.process.stdin.flush()
        return self.read()

    def rss(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self) -> float:
        """Seconds of the processor that it has used."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> str:
        """Ends it. Returns what it has written to its log."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        return self.log.read_text()


def at(times: list[float], part: float) -> float:
    """The time, in milliseconds, within which so many of them were."""
    return 1e3 * times[min(len(times) - 1, int(part * len(times)))] if times else 0.0


async def row(server: Server, minute: float, used: float, times: list[float]) -> Row:
    facts = await asyncio.to_thread(server.ask)
    times.sort()
    figures = (at(times, part) for part in (0.5, 0.99, 0.999))
    return Row(minute, server.rss(), facts["blocks"], server.fds(), facts["channels"], used, len(times), *figures)


async def lowest(server: Server, minute: float, times: list[float]) -> Row:
    """The row with the fewest descriptors of some: a child may run in any of them."""
    rows = []
    for _ in range(8):
        rows.append(await row(server, minute, 0.0, times))
        await asyncio.sleep(0.17)
    return min(rows, key=lambda row: row.fds)


async def run(server: Server, minutes: float, rate: float) -> tuple[list[Row], Row, Row, Load]:
    """The rows of all minutes, one before and one after them, and the load."""
    load = Load(server.facts["ports"], rate)
    await asyncio.sleep(BEGINNING)
    before = await lowest(server, 0.0, [])
    print(Row.head(), before.line(), sep="\n", flush=True)
    await load.begin()
    rows, begun, step = [], time.monotonic(), min(60.0, 6 * minutes)
    while (passed := time.monotonic() - begun) < 60 * minutes - 0.1:
        used, since = server.cpu(), time.monotonic()
        await asyncio.sleep(min(step, 60 * minutes - passed))
        times, load.times = load.times, []
        used = 100 * (server.cpu() - used) / (time.monotonic() - since)
        rows.append(await row(server, (time.monotonic() - begun) / 60, used, times))
        print(rows[-1].line(), flush=True)
    await load.end()
    await asyncio.sleep(QUIET)
    after = await lowest(server, (time.monotonic() - begun) / 60, load.times)
    print(after.line(), flush=True)
    return rows, before, after, load


def thirds(rows: list[Row], name: str) -> tuple[float, float]:
    """The medians of the first third and of the last of the rows that count."""
    rows = rows[int(WARM * len(rows)) :]
    third = max(1, len(rows) // 3)
    values = [getattr(row, name) for row in rows]
    return statistics.median(values[:third]), statistics.median(values[-third:])


def judge(rows: list[Row], before: Row, after: Row, wrong: list[str]) -> list[str]:
    """What is not as it must be."""
    found = list(wrong)
    for name, allowed in ALLOWED.items():
        first, last = thirds(rows, name)
        if last - first > allowed:
            found.append(f"{name} grew from {first:,} to {last:,}")
    for name, left in LEFT.items():
        more = getattr(after, name) - getattr(before, name)
        if more > left:
            found.append(f"{name}: {more:,} more than at the beginning are left when all clients have gone")
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    parser.add_argument("--rate", type=float, default=1.0, help="1 (the default) is some 400 messages a second")
    options = parser.parse_args(words)
    if not 0 < options.minutes <= 1440 or not 0 < options.rate <= 100:
        parser.error("--minutes: above 0 and at most 1440; --rate: above 0 and at most 100")
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "both.pem"), Path(folder, "key.pem")
        words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {key}.made"
        subprocess.run(words.split(), check=True, capture_output=True)
        certificate.write_bytes(key.read_bytes() + Path(f"{key}.made").read_bytes())
        server = Server(certificate, Path(folder, "log"))
        print(f"{server.facts['engine']} engine, {server.facts['backend']}, {sum(STEADY.values())} steady connections")
        try:
            rows, before, after, load = asyncio.run(run(server, options.minutes, options.rate))
            asked = server.ask()["counts"]
            counts = server.ask()["counts"]  # by now all calls have been made that were asked for then
        finally:
            log = server.end()
    found = judge(rows, before, after, load.wrong)
    if counts["bad_children"] or counts["called"] < asked["calls"]:
        found.append(f"children or calls of the other thread were lost: {counts}")
    print("done:", ", ".join(f"{name} {count:,}" for name, count in sorted(load.done.items())))
    print("of the server:", ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    for name in ("rss", "blocks", "fds", "p50", "p99", "p999"):
        first, last = thirds(rows, name)
        print(f"{name}: {first:,.2f} in the first third, {last:,.2f} in the last")
    print(f"the server's log has {len(log.splitlines())} lines", *log.splitlines()[:5], sep="\n  ")
    print(*found, sep="\n")
    print("failed" if found else "passed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
