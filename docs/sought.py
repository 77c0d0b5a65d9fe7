# SPDX-License-Identifier: MIT
"""Words that readers type into the search box of the site, and the section that has the answer.

The search counts how often a page has a word: so the first that it found for `timer` was the history of the figures,
and for `backpressure`, which no page says, nothing. These words are put before the headings as entries of the index,
which the search lists first, and which the alphabetical index of the site has, too. Sphinx forgets those of a page that
it does not read again; ``nox -s docs`` has it read all.
"""

from __future__ import annotations

import re

# page: heading: words, those that may be meant in the plural in the plural, which the singular finds as well
SOUGHT = {
    "start": {"Start in five minutes": ["installation", "pip install", "hello world", "getting started"]},
    "migration": {
        "waitress": ["waitress", "WSGI"],
        "From a copy inside a project": ["vendored copies", "vendoring"],
        "From the loop of pyftpdlib": ["pyftpdlib", "ftp"],
    },
    "loop": {
        "Timers": ["timers", "schedule", "periodic calls"],
        "Rules": ["threads", "wakeup", "triggers", "self-pipe", "thread safety"],
        "What the log says": ["logging"],
        "Signals": ["signals", "SIGTERM", "Ctrl-C"],
        "Backends": ["backends", "epoll", "kqueue", "pollers"],
    },
    "streams": {
        "Writing": ["backpressure", "flow control", "high_water"],
        "Frames": ["framing", "lines", "length prefixes"],
        "TLS": ["TLS", "SSL"],
        "Deadlines": ["deadlines", "timeouts", "idle timeouts", "keepalive"],
        "Draining": ["draining", "graceful shutdown"],
        "Pipes": ["proxy", "relay"],
        "Clients": ["clients", "DNS", "reconnect"],
        "Servers": ["servers", "Unix sockets", "max_connections", "reuse_port"],
    },
    "datagrams": {"Datagrams, for new programs": ["UDP", "datagrams", "multicast", "broadcast"]},
    "processes": {"Starting a program": ["subprocesses", "spawn"]},
    "hosting": {
        "cyncore beside another loop": ["Tk", "Qt", "GLib", "Twisted", "trio", "gevent"],
        "asyncio and uvloop host a loop": ["asyncio", "uvloop"],
    },
    "deploy": {
        "Running it as a systemd service": ["systemd", "deployment", "socket activation"],
        "More than one core": ["multiple cores", "multiprocessing", "workers"],
        "Behind a proxy": ["PROXY protocol", "HAProxy", "nginx"],
    },
    "inspection": {"On a page, and for Prometheus": ["Prometheus", "metrics", "monitoring"]},
    "smtpd": {"A mail server": ["SMTP", "mail"]},
    "command": {"The command": ["man page", "command line", "environment variables"]},
    "performance": {"Performance": ["benchmarks", "speed"]},
    "platforms": {"Platforms": ["Windows", "macOS", "PyPy", "free-threaded"]},
}


def with_entries(text: str, page: str) -> str:
    """The Markdown of a page, with the words of each section before its heading; those of the page come after."""
    for heading, words in SOUGHT.get(page, {}).items():
        entries = "```{index} " + ", ".join(f"! {word}" for word in words) + "\n```"
        line = re.search(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)
        if line is None:
            raise ValueError(f"{page} has no section {heading!r}: see docs/sought.py")
        is_title = line[0].startswith("# ")
        found = f"{line[0]}\n\n{entries}\n" if is_title else f"{entries}\n\n{line[0]}"
        text = text[: line.start()] + found + text[line.end() :]
    return text
