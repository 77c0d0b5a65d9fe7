# SPDX-License-Identifier: MIT
"""The old name of `cyncore.asyncore`: whoever imports this gets that very module."""

import cyncore.asyncore
from cyncore._install.shim import stand_in

__getattr__ = stand_in(__name__, __file__, cyncore.asyncore)
