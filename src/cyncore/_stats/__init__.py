# SPDX-License-Identifier: MIT
"""A loop that is looked into from outside: the server of its figures, its page, and where its socket is."""
