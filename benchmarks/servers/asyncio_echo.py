"""Echo on asyncio."""

import asyncio

from benchmarks.servers.echo_protocol import serve

asyncio.run(serve())
