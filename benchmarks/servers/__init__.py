"""The servers, each written as the documentation of its library shows one.

`python -m benchmarks.servers.NAME` prints "listening PORT", and serves 127.0.0.1 until SIGTERM.
"""
