# SPDX-License-Identifier: MIT
"""The connections of a mail server, to be counted."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet


class Connections:
    """The connections of a server, and how many of them each host has.

    A connection counts until it is removed, or until nothing refers to it any more: a program that never closes one
    cannot make the count wrong for good.
    """

    def __init__(self) -> None:
        # The host that a connection came from. Its `peer` may be changed later, by XCLIENT or the PROXY protocol.
        self._host_of: WeakKeyDictionary[Any, Hashable] = WeakKeyDictionary()
        self._from_host: dict[Hashable, WeakSet[Any]] = {}

    def __len__(self) -> int:
        return len(self._host_of)

    def count_of(self, host: Hashable) -> int:
        """How many connections the host has."""
        return len(self._from_host.get(host, ()))

    def add(self, connection: object, host: Hashable) -> None:
        self._host_of[connection] = host
        self._from_host.setdefault(host, WeakSet()).add(connection)

    def remove(self, connection: object) -> None:
        """Does nothing for a connection that was removed before, or never added."""
        host = self._host_of.pop(connection, None)
        same = self._from_host.get(host)
        if same is not None:
            same.discard(connection)
            if not same:
                del self._from_host[host]
