# SPDX-License-Identifier: MIT
"""Does a command serve the current folder? It is started and asked for README.md: python .ci/served.py COMMAND..."""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path


def fetched(command):
    """Starts the server, and returns the address of README.md with what the server has sent for it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            for line in server.stdout:
                print(line, end="")
                if ready := re.match(r"ready (\S+)", line):
                    address = f"http://{ready[1]}/README.md"
                    with urllib.request.urlopen(address, timeout=10) as answer:
                        return address, answer.read()
        finally:
            server.terminate()
    raise SystemExit(f"{command} ended and named no address")


def main():
    address, body = fetched(sys.argv[1:])
    if body != Path("README.md").read_bytes():
        raise SystemExit(f"{address} is not what README.md is")
    print(f"{address} is what it should be")


if __name__ == "__main__":
    main()
