"""The http table: a small file, asked for by wrk over connections that stay."""

from __future__ import annotations

import http.client
import math
import re
import tempfile
from pathlib import Path

from benchmarks.run.external_load import missing, per_request, run, watch
from benchmarks.run.load import ROOT, SampleError, server
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.request_table import Key, head, reach, record, row
from benchmarks.run.rounds import Plan
from benchmarks.run.table import Table, render
from benchmarks.run.target import Target
from benchmarks.run.verdicts import conclude
from benchmarks.run.worker import Figures, work_rounds

HEAD = head("heads", "requests")
CONNECTIONS = 100
FOLDER = ROOT / "examples"
FILE = "echo_server.py"
ALIKE, DIFFERENT = "alike", "different"
WANTED = {heads: Target(f"http, heads {heads}, cyncore by uvloop with httptools", 1.0) for heads in (ALIKE, DIFFERENT)}
PEERS = [
    Peer(OURS, "cyncore", "cyncore", "cyncore_http", (str(FOLDER),)),
    Peer("cyncore, old program", "cyncore", "cyncore", "cyncore_http", ("--program", "http_server", str(FOLDER))),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_http", (str(FOLDER),)),
    Peer("uvloop lean", "uvloop", "uvloop", "uvloop_http", ("--lean", str(FOLDER))),
]
# Ten thousand heads in turn, as if each request came from somebody else: what is known of a head helps nobody then.
SCRIPT = """
local heads, turn = {}, 0
function init()
  for i = 1, 10000 do heads[i] = wrk.format("GET", nil, {["X-Request"] = i}) end
end
function request()
  turn = turn % 10000 + 1
  return heads[turn]
end
"""
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


def microseconds(report: str, share: str) -> float:
    """That share's latency, out of wrk's report."""
    found = re.search(rf"^\s*{share}%\s+([\d.]+)(us|ms|s|m)$", report, re.MULTILINE)
    return float(found[1]) * UNITS[found[2]] if found else math.nan


def read(report: str) -> Figures:
    """wrk's report. Raises SampleError where not every answer was a good one."""
    wrong = re.search(r"^\s*(Socket errors|Non-2xx or 3xx responses): (.*)$", report, re.MULTILINE)
    if wrong:
        raise SampleError(f"{wrong[1]}: {wrong[2]}")
    count = re.search(r"^\s*(\d+) requests in", report, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)$", report, re.MULTILINE)
    if count is None or rate is None or not int(count[1]):
        raise SampleError("wrk got no answer")
    return {
        "requests": float(count[1]),
        "rate": float(rate[1]),
        "p50_us": microseconds(report, "50"),
        "p99_us": microseconds(report, "99"),
    }


def ask(port: int) -> None:
    """Asks for the file once. Raises SampleError where it is not what comes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/{FILE}")
        if connection.getresponse().read() != (FOLDER / FILE).read_bytes():
            raise SampleError("the answer is not the file")
    except (OSError, http.client.HTTPException) as error:
        raise SampleError(f"no answer: {error!r}") from None
    finally:
        connection.close()


def take(peer: Peer, heads: str, plan: Plan, script: Path) -> Figures:
    """One server, and wrk twice: to warm up, and to measure."""
    seconds = math.ceil(plan.seconds)  # wrk counts in whole ones
    with server(peer, plan.placement) as (process, port, _):
        ask(port)
        command = ["wrk", "-t1", f"-c{plan.most(CONNECTIONS)}", "--latency"]
        command += ["-s", str(script)] if heads == DIFFERENT else []
        where = f"http://127.0.0.1:{port}/{FILE}"
        run([*command, "-d1s", where], plan.placement, 1)
        report, used = watch(process.pid, [*command, f"-d{seconds}s", where], plan.placement, seconds)
        figures = read(report)
    return {**figures, **per_request(used, figures["requests"])}


def http_table(peers: list[Peer], plan: Plan) -> tuple[str, dict[str, object]]:
    """The table as text, and what it was made of."""
    why = missing("wrk", "wrk")
    if why:
        targets = [target.record(None) for target in WANTED.values()]
        return f"http: {why}\n", {"series": [], "left_out": why, "targets": targets}
    found = {peer.name: peer for peer in peers}
    keys = [(name, heads) for heads in WANTED for name in found]

    def tell(key: Key, figures: Figures | None) -> str:
        return f"heads {key[1]}, {key[0]}" + (f": {figures['rate']:,.0f} requests/s" if figures else "")

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "different.lua")
        script.write_text(SCRIPT)
        taken, failures = work_rounds(keys, plan, lambda key: take(found[key[0]], key[1], plan, script), tell)
    size, count = (FOLDER / FILE).stat().st_size, plan.most(CONNECTIONS)
    seconds = math.ceil(plan.seconds)
    title = f"HTTP, a file of {size} bytes over {count} connections (wrk), medians, {plan.rounds} x {seconds} s"
    text = render(title, HEAD, [row(key, taken, failures) for key in keys])
    return conclude(text, reach(WANTED, taken), **record("heads", taken, failures, connections=count, size=size))


TABLE = Table("http", peers=PEERS, run=http_table, shapes=2, window=3.5)
