# SPDX-License-Identifier: MIT
"""The class of connections for new programs, and what it is made of: TLS, deadlines, pipes, parts of files."""
