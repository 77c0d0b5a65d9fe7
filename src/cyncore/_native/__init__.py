# SPDX-License-Identifier: MIT
"""The compiled engine: one module a noun, over the C of csrc/."""
