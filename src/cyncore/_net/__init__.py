# SPDX-License-Identifier: MIT
"""Servers and clients: who listens, who connects, how names are found, and how the work of a loop ends."""
