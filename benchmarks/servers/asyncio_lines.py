"""Lines on asyncio."""

import asyncio

from benchmarks.servers.lines_protocol import serve

asyncio.run(serve())
