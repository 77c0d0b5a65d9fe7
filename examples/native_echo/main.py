# SPDX-License-Identifier: MIT
"""An echo server whose handler is compiled: see README.md.

Try it with ``nc 127.0.0.1 7000``.
"""

from __future__ import annotations

import argparse

from echo import Echo

from cyncore import Loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000, help="0: any")
    options = parser.parse_args()
    with Loop() as loop:
        loop.drain_on_signals(10)
        server = loop.listen((options.host, options.port), Echo)
        print("ready {}:{}".format(*server.address), flush=True)
        loop.run()


if __name__ == "__main__":
    main()
