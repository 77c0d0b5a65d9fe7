# SPDX-License-Identifier: MIT
"""What viewers are sent: the figures and the channels as JSON, and as the text that Prometheus reads."""

from __future__ import annotations

from typing import Any

from .._inspection import ChannelInfo, Histogram, LoopStats
from .._version import __version__

COUNTERS = {
    "ticks": "Rounds in which the loop has looked for events.",
    "events": "Events that were delivered to channels.",
    "calls": "Queued calls and timers that were made.",
    "sweeps": "Rounds in which all predicates were asked.",
    "accepts": "Connections that were accepted.",
    "errors": "Exceptions of handlers, predicates and callbacks.",
    "bytes_in": "Bytes that channels have received.",
    "bytes_out": "Bytes that channels have sent.",
}
GAUGES = {
    "channels": "Channels in the loop.",
    "queued_calls": "Calls that wait for the next tick.",
    "timers": "Timers that are set.",
}
HISTOGRAMS = {
    "lag": "For how long the loop has not looked for events.",
    "handler_times": "How long handlers and calls took, of a sample.",
}


def address_text(address: Any) -> str | None:
    """An address as people write it. A program may have set anything: what cannot be shown is named by its class."""
    try:
        return _words(address) or None
    except Exception:  # of its __str__
        return f"<{type(address).__name__}>"


def _words(address: Any) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if isinstance(address, bytes):
        return address.decode("utf-8", "replace").replace("\0", "@")
    return "" if address is None else str(address).replace("\0", "@")


def stats_document(stats: LoopStats) -> dict[str, Any]:
    document = stats._asdict()
    for name in HISTOGRAMS:
        document[name] = document[name]._asdict()
    return document


def channel_document(channel: ChannelInfo) -> dict[str, Any]:
    document = channel._asdict()
    document["peer"] = address_text(channel.peer)
    document["age"] = round(channel.age, 1)
    document["idle"] = None if channel.idle is None else round(channel.idle, 1)
    document["deadline"] = None if channel.deadline is None else round(channel.deadline, 1)
    return document


def since(now: Histogram, before: Histogram) -> dict[str, Any]:
    """What a histogram has had since ``before``: how often, and the seconds that half and 99 % did not exceed."""
    counts = tuple(after - earlier for after, earlier in zip(now.counts, before.counts, strict=True))
    recent = Histogram(now.bounds, counts, sum(counts), now.total - before.total, now.most)
    return {"times": recent.times, "p50": recent.quantile(0.5), "p99": recent.quantile(0.99)}


def prometheus_text(stats: LoopStats) -> str:
    """The figures in the text format of Prometheus, version 0.0.4."""
    lines = [
        "# HELP cyncore_loop_info The loop that these figures are of.",
        "# TYPE cyncore_loop_info gauge",
        f'cyncore_loop_info{{backend="{stats.backend}",version="{__version__}"}} 1',
        "# HELP cyncore_loop_uptime_seconds Seconds since the loop was made.",
        "# TYPE cyncore_loop_uptime_seconds gauge",
        f"cyncore_loop_uptime_seconds {stats.uptime!r}",
    ]
    for name, words in COUNTERS.items():
        metric = f"cyncore_loop_{name.replace('bytes_in', 'received_bytes').replace('bytes_out', 'sent_bytes')}_total"
        lines += [f"# HELP {metric} {words}", f"# TYPE {metric} counter", f"{metric} {getattr(stats, name)}"]
    for name, words in GAUGES.items():
        metric = f"cyncore_loop_{name}"
        lines += [f"# HELP {metric} {words}", f"# TYPE {metric} gauge", f"{metric} {getattr(stats, name)}"]
    for name, words in HISTOGRAMS.items():
        metric = f"cyncore_loop_{name.replace('_times', '')}_seconds"
        times: Histogram = getattr(stats, name)
        lines += [f"# HELP {metric} {words}", f"# TYPE {metric} histogram"]
        below = 0
        for bound, count in zip(times.bounds, times.counts, strict=False):  # the last bucket has no bound
            below += count
            lines.append(f'{metric}_bucket{{le="{bound!r}"}} {below}')
        lines.append(f'{metric}_bucket{{le="+Inf"}} {times.times}')
        lines += [f"{metric}_sum {times.total!r}", f"{metric}_count {times.times}"]
    return "\n".join(lines) + "\n"
