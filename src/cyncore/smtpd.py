# SPDX-License-Identifier: MIT
"""The names of the old ``smtpd`` module, on cyncore's loop: a mail server to derive from.

``import cyncore.smtpd as smtpd``, or ``python -m cyncore.smtpd -n -c DebuggingServer localhost:8025``. Derive from
`SMTPServer`, define ``process_message``, and run ``asyncore.loop()``. docs/smtpd.md says what was kept, what was cured,
and what is new: timeouts, caps and TLS, all of them off until asked for.

A program may replace ``DEBUGSTREAM`` and ``__version__`` (it stands in the greeting), and its tests ``socket``.
"""

from __future__ import annotations

import collections as collections  # these and those below for programs that reach them through the module
import errno as errno
import getopt as getopt
import os as os
import socket as socket
import sys as sys
import time as time
import typing as typing
from typing import Any
from warnings import warn as warn

from . import asynchat as asynchat
from . import asyncore as asyncore
from ._smtp import host as _host
from ._smtp import program as _program
from ._smtp import server as _server
from ._smtp import settings as _settings
from ._smtp.channel import SMTPChannel as SMTPChannel
from ._smtp.program import Options as Options
from ._smtp.program import program as program
from ._smtp.program import usage as usage
from ._smtp.proxy import MailmanProxy as MailmanProxy
from ._smtp.proxy import PureProxy as PureProxy
from ._smtp.server import DebuggingServer as DebuggingServer
from ._smtp.server import SMTPServer as SMTPServer
from ._smtp.settings import COMMASPACE as COMMASPACE
from ._smtp.settings import DATA_SIZE_DEFAULT as DATA_SIZE_DEFAULT
from ._smtp.settings import DEBUGSTREAM as DEBUGSTREAM
from ._smtp.settings import NEWLINE as NEWLINE
from ._smtp.settings import Devnull as Devnull
from ._smtp.settings import __version__ as __version__
from .asyncore import _pass_on

__all__ = ["DebuggingServer", "MailmanProxy", "PureProxy", "SMTPChannel", "SMTPServer"]

if not typing.TYPE_CHECKING:  # for it, every name would be one of the module's

    def __getattr__(name: str) -> Any:
        """The functions of the email package that the old module had imported, which would take long to import."""
        if name in ("get_addr_spec", "get_angle_addr"):
            from email import _header_value_parser

            return getattr(_header_value_parser, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parseargs() -> Options:
    """Reads ``sys.argv``. SystemExit where it asks for help or the version, or cannot be understood.

    ``-d`` points `DEBUGSTREAM` at stderr.
    """
    options = _program.parseargs()
    if options.debug:
        setattr(sys.modules[__name__], "DEBUGSTREAM", sys.stderr)  # noqa: B010 - so that it is passed on
    return options


_pass_on(
    __name__,
    {
        "DEBUGSTREAM": (_settings,),
        "__version__": (_settings,),
        "socket": (_host, _server),
        "time": (_server,),
    },
)

if __name__ == "__main__":
    from cyncore import smtpd  # not this one, which a class that derives from it would not find

    _program.main(smtpd)
