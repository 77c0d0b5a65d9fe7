"""HTTP on uvloop, parsed by httptools."""

import uvloop

from benchmarks.servers.http_protocol import serve

uvloop.run(serve())
