# SPDX-License-Identifier: MIT
"""Who has the names of the old modules, and what `cyncore.install` and cyncore-shim do about it."""
