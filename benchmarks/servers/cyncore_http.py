"""HTTP on cyncore: examples/http_fast.py, or examples/http_server.py with `--program http_server`."""

import argparse

import cyncore
from benchmarks.servers.example import load
from benchmarks.servers.listening import announce

parser = argparse.ArgumentParser()
parser.add_argument("--program", choices=("http_fast", "http_server"), default="http_fast")
parser.add_argument("folder")
options = parser.parse_args()
cyncore.install()  # both are programs for asyncore
program, http_server = load(options.program), load("http_server")
server = program.Server(http_server.Site(options.folder), "127.0.0.1", 0, False)
announce(server.socket.getsockname()[1])
cyncore.Loop.of(cyncore.socket_map).run()
