# SPDX-License-Identifier: MIT
"""TLS of the old dispatchers. The TLS of streams is in `_stream`."""
