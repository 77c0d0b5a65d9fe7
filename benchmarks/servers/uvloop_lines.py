"""Lines on uvloop."""

import uvloop

from benchmarks.servers.lines_protocol import serve

uvloop.run(serve())
