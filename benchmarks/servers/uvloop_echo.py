"""Echo on uvloop."""

import uvloop

from benchmarks.servers.echo_protocol import serve

uvloop.run(serve())
