# SPDX-License-Identifier: MIT
"""asyncio and a cyncore loop in one thread: `host` has asyncio serve the loop, `guest` has the loop serve asyncio."""
