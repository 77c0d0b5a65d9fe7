"""HTTP on cyncore: examples/http_fast.py, or examples/http_server.py with `--program http_server`."""

import argparse

import cyncore
from benchmarks.servers.example import load

parser = argparse.ArgumentParser()
parser.add_argument("--program", choices=("http_fast", "http_server"), default="http_fast")
parser.add_argument("folder")
options = parser.parse_args()
cyncore.install()  # both are programs for asyncore
program, http_server = load(options.program), load("http_server")
server = program.Server(http_server.Site(options.folder), "127.0.0.1", 0, False)
print("listening", server.socket.getsockname()[1], flush=True)
cyncore.Loop.of(cyncore.socket_map).run()
