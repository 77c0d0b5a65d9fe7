"""HTTP on cyncore: examples/http_fast.py, or examples/http_server.py with `--program http_server`."""

import argparse

import cyncore
from benchmarks.servers.example import load
from benchmarks.servers.listening import announce

parser = argparse.ArgumentParser()
parser.add_argument("--program", choices=("http_fast", "http_server"), default="http_fast")
parser.add_argument("folder")
options = parser.parse_args()
cyncore.install()  # http_server.py is a program for asyncore
program, http_server = load(options.program), load("http_server")
site = http_server.Site(options.folder)
if options.program == "http_server":
    loop = cyncore.Loop.of(cyncore.socket_map)
    port = program.Server(site, "127.0.0.1", 0, False).socket.getsockname()[1]
else:
    loop = cyncore.Loop()
    memory = program.Memory(loop, site)
    port = loop.listen(("127.0.0.1", 0), lambda: program.Connection(memory, False)).address[1]
announce(port)
loop.run()
