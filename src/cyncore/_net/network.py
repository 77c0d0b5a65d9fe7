# SPDX-License-Identifier: MIT
"""Network: the servers and clients of one loop."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object


class Network:
    """What `Loop.listen`, `Loop.connect` and `Loop.drain` do."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
