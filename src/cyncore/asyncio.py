# SPDX-License-Identifier: MIT
"""asyncio and cyncore in one thread, whichever of the two runs (docs/hosting.md).

with cyncore.asyncio.host(loop):                    asyncio runs, and serves the cyncore loop
    await something()

asyncio_loop = cyncore.asyncio.AsyncioLoop(loop)    asyncio's code runs beside the channels of the loop
asyncio_loop.create_task(something())
loop.run()
"""

from __future__ import annotations

from ._hosting.guest import AsyncioLoop
from ._hosting.host import Hosting, host

__all__ = ["AsyncioLoop", "Hosting", "host"]
