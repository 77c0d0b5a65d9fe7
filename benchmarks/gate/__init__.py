"""The gate: instructions, system calls and bytes of one event, held to a baseline. docs/gate.md says how.

python -m benchmarks gate
"""

from __future__ import annotations


def main(words: list[str]) -> int:
    """Runs the command with these words. Returns its exit code: 0 passed, 1 something is worse, 2 it could not tell."""
    from benchmarks.gate.command import main  # not for the workers, which import this package too

    return main(words)
