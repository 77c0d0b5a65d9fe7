# SPDX-License-Identifier: MIT
"""What `python -m cyncore check` looks for: each module has the rules of one subject."""
