"""Datagrams that are sent back, on asyncio."""

import asyncio

from benchmarks.servers.datagram_protocol import serve

asyncio.run(serve())
