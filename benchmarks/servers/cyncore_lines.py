"""Lines on cyncore."""

import cyncore.asynchat as asynchat
import cyncore.asyncore as asyncore
from benchmarks.servers.lines_chat import serve

serve(asyncore, asynchat)
