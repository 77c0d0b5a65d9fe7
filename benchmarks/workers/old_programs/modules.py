"""The modules that are called asyncore and asynchat in this process.

Whoever imports this has decided before which these are: the old ones, or cyncore's after cyncore.install().
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

__all__ = ["asynchat", "asyncore"]

if TYPE_CHECKING:
    from cyncore import asynchat, asyncore
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asynchat
        import asyncore
