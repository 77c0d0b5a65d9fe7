# SPDX-License-Identifier: MIT
"""The error of `cyncore.install`."""

from __future__ import annotations


class InstallError(RuntimeError):
    """Names cannot be bound: another copy is in use, so that binding its name would leave a program with two loops, or
    what was given to be replaced is nothing that cyncore has a module for.

    ``uses`` has the names that are taken, each with what uses the other copy, one sentence a use.
    """

    __module__ = "cyncore"  # where users find it

    def __init__(self, message: str, uses: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.uses = uses
