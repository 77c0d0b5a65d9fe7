# SPDX-License-Identifier: MIT
"""How long a peer that seems to be late is given, in case that we were."""

from __future__ import annotations


def patience(late: float, limit: float) -> float:
    """The seconds that a peer is given after a limit of ``limit`` seconds, which was looked at ``late`` seconds late.

    While this process was busy the peer could not be served, and may have waited for a reply.
    """
    return limit if late > limit / 10 else late
