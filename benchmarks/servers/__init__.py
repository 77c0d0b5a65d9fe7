"""The servers, each the way the documentation of its library shows one.

Started as `python -m benchmarks.servers.NAME`; prints "listening PORT" and serves 127.0.0.1 until SIGTERM.
"""
