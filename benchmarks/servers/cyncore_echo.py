"""Echo on cyncore."""

import cyncore.asyncore as asyncore
from benchmarks.servers.echo_dispatcher import serve

serve(asyncore)
