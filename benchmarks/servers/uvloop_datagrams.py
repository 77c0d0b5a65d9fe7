"""Datagrams that are sent back, on uvloop."""

import uvloop

from benchmarks.servers.datagram_protocol import serve

uvloop.run(serve())
