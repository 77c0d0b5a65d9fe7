"""RESP on uvloop."""

import uvloop

from benchmarks.servers.resp_protocol import serve

uvloop.run(serve())
