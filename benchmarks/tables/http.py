"""The http table: wrk asks for a small file over connections that stay open."""

from __future__ import annotations

import http.client
import math
import re
import tempfile
from pathlib import Path

from benchmarks.run.errors import MeasurementError
from benchmarks.run.external_load import per_request, run, watch
from benchmarks.run.figures import Figures
from benchmarks.run.folders import EXAMPLES
from benchmarks.run.peers import OURS, UVLOOP, Peer
from benchmarks.run.plan import Plan
from benchmarks.run.request_table import RequestTable
from benchmarks.run.server import server
from benchmarks.run.table import Table
from benchmarks.run.target import Target

CONNECTIONS = 100
FILE = "echo_server.py"
ALIKE, DIFFERENT = "alike", "different"
REQUESTS = RequestTable(
    name="http",
    load="wrk",
    package="wrk",
    kind="heads",
    unit="requests",
    wanted={
        heads: Target(f"http, heads {heads}, cyncore by uvloop with httptools", 1.0) for heads in (ALIKE, DIFFERENT)
    },
)
PEERS = [
    Peer(OURS, "cyncore", "cyncore", "cyncore_http", (str(EXAMPLES),)),
    Peer("cyncore, old program", "cyncore", "cyncore", "cyncore_http", ("--program", "http_server", str(EXAMPLES))),
    Peer(UVLOOP, "uvloop", "uvloop", "uvloop_http", (str(EXAMPLES),)),
    Peer("uvloop lean", "uvloop", "uvloop", "uvloop_http", ("--lean", str(EXAMPLES))),
]
# Ten thousand request heads in turn, so that a server cannot know the answer from having seen the same head before.
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
    """The latency that this percentage of the requests does not exceed, from the report of wrk."""
    found = re.search(rf"^\s*{share}%\s+([\d.]+)(us|ms|s|m)$", report, re.MULTILINE)
    return float(found[1]) * UNITS[found[2]] if found else math.nan


def read(report: str) -> Figures:
    """The figures in the report of wrk. Raises MeasurementError where an answer was not a good one."""
    wrong = re.search(r"^\s*(Socket errors|Non-2xx or 3xx responses): (.*)$", report, re.MULTILINE)
    if wrong:
        raise MeasurementError(f"{wrong[1]}: {wrong[2]}")
    count = re.search(r"^\s*(\d+) requests in", report, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)$", report, re.MULTILINE)
    if count is None or rate is None or not int(count[1]):
        raise MeasurementError("wrk got no answer")
    return {
        "requests": float(count[1]),
        "rate": float(rate[1]),
        "p50_us": microseconds(report, "50"),
        "p99_us": microseconds(report, "99"),
    }


def ask(port: int) -> None:
    """Asks for the file once. Raises MeasurementError where the answer is anything else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/{FILE}")
        if connection.getresponse().read() != (EXAMPLES / FILE).read_bytes():
            raise MeasurementError("the answer is not the file")
    except (OSError, http.client.HTTPException) as error:
        raise MeasurementError(f"no answer: {error!r}") from None
    finally:
        connection.close()


def take(peer: Peer, heads: str, plan: Plan, script: Path) -> Figures:
    """Starts the server, and runs wrk twice: to warm up, and to measure."""
    seconds = math.ceil(plan.seconds)  # wrk takes whole seconds
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
    """Measures the table. Returns it as text, and its record."""
    size, count = (EXAMPLES / FILE).stat().st_size, plan.most(CONNECTIONS)
    seconds = math.ceil(plan.seconds)
    title = f"HTTP, a file of {size} bytes over {count} connections (wrk), medians, {plan.rounds} x {seconds} s"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "different.lua")
        script.write_text(SCRIPT)

        def measure(peer: Peer, heads: str) -> Figures:
            return take(peer, heads, plan, script)

        return REQUESTS.run(peers, plan, title, measure, connections=count, size=size)


TABLE = Table("http", peers=PEERS, run=http_table, shapes=2, window=3.5)
