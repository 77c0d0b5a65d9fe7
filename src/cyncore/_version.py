# SPDX-License-Identifier: MIT
"""The version, in one place: setup reads it from here."""

__version__ = "0.1.0"
