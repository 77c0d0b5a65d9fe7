# SPDX-License-Identifier: MIT
"""The compiled engine: extension modules, each named for one noun, over the poller and timers in csrc/."""
