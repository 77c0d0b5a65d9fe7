# SPDX-License-Identifier: MIT
"""For handlers in Cython: what a compiled class of streams finds when it is imported. See docs/cython.md.

``from cyncore.capi cimport NativeStream`` is for Cython; Python needs nothing of this module but `VERSION`.
"""

from __future__ import annotations

from ._engine import StreamChannel, fallback_reason, native
from ._version import __version__

VERSION = 1
"""The version of the interface: one more when a source that was right before must be changed."""

LAYOUT = "Layout_ba258878"

if not native:
    raise ImportError(
        f"a module in Cython that derives from cyncore's NativeStream needs the compiled engine: {fallback_reason}",
        name=__name__,
    )

globals()[LAYOUT] = StreamChannel


def __getattr__(name: str) -> object:
    if name.startswith("Layout_"):
        raise ImportError(
            f"a module in Cython was compiled against another cyncore than {__version__}, which is installed here, "
            f"and whose streams have another layout ({LAYOUT}, not {name}): build that module again",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
