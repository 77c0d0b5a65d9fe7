# SPDX-License-Identifier: MIT
"""The engine in plain Python: where nothing is compiled, and what the compiled one is compared with in the tests."""
