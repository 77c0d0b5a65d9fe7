"""The exit codes of both gates and of random-old, and the exception that ends them with UNABLE."""

from __future__ import annotations

PASSED = 0
FAILED = 1  # something is worse, or could not be counted
UNABLE = 2  # the gate could not tell


class Unable(Exception):
    """The gate cannot work here; the text says why."""
