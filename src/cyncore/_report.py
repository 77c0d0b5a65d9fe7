# SPDX-License-Identifier: MIT
"""What went wrong where no program could catch it, told to the logger ``cyncore``.

``logging`` takes as long to import as all of cyncore, and what is to be reported may be that the process has no
descriptor left, without which nothing can be imported. So it is never imported here first: a program that has not done
so has configured nothing either, and what logging's handler of last resort would write is written without it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object

WARNING = 30  # the levels of the same names of `logging`
ERROR = 40


def report(level: int, text: str, *args: Any, error: BaseException | None = None) -> None:
    """Logs ``text % args`` at ``level`` (`WARNING` or `ERROR`), with the traceback of ``error`` where there is one."""
    if "logging" in sys.modules:
        import logging  # waits for the thread that may be at it

        trace = None if error is None else (type(error), error, error.__traceback__)
        logging.getLogger("cyncore").log(level, text, *args, exc_info=trace)
    elif sys.stderr is not None:
        try:
            text = text % args if args else text
        except Exception:  # a program's own __repr__ may fail, which `logging` survives too
            text = " ".join([text, *(f"<{type(arg).__qualname__}>" for arg in args)])
        try:
            sys.stderr.write(text + "\n")
            if error is not None:
                sys.__excepthook__(type(error), error, error.__traceback__)
        except (OSError, ValueError):
            pass  # as logging has it: a stderr that is closed must not end the loop
