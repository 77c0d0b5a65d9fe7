"""Echo on the old asyncore: the standard library's until Python 3.11, the package pyasyncore since."""

import warnings

from benchmarks.servers.echo_dispatcher import serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import asyncore

serve(asyncore)
