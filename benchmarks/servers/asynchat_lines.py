"""Lines on the old asynchat: the standard library's until Python 3.11, a package since."""

import warnings

from benchmarks.servers.lines_chat import serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import asynchat
    import asyncore

serve(asyncore, asynchat)
