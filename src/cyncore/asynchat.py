# SPDX-License-Identifier: MIT
"""The names of the old ``asynchat`` module: conversations in lines, or in pieces of known length.

``import cyncore.asynchat as asynchat``, or run an unchanged program with ``python -m cyncore SCRIPT``.
docs/asynchat.md says how it works, docs/compatibility.md what differs from the old one.
"""

from __future__ import annotations

from collections import deque as deque

from . import asyncore as asyncore
from ._async_chat import async_chat as async_chat
from ._async_chat import simple_producer as simple_producer
from ._plain_chat import LimitExceeded as LimitExceeded
from ._plain_chat import find_prefix_at_end as find_prefix_at_end
