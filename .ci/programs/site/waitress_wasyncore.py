# SPDX-License-Identifier: MIT
"""What waitress' own copy of asyncore has beyond asyncore, on top of the module that is called asyncore.

Its channels log to waitress' logger, forget their socket when they close, and may be told to stay at a failed send.
"""

from __future__ import annotations

import asyncore
import logging
from asyncore import *  # noqa: F403
from asyncore import _DISCONNECTED, EWOULDBLOCK, _exception, _strerror  # noqa: F401 the tests look at them
from typing import Any

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class dispatcher(asyncore.dispatcher):
    logger = logging.getLogger("waitress")

    def send(self, data: Any, do_close: bool = True) -> int:
        if do_close:
            return int(super().send(data))
        try:
            return int(self.socket.send(data))
        except OSError as error:
            if error.errno == EWOULDBLOCK or error.errno in _DISCONNECTED:
                return 0
            raise

    def close(self) -> None:
        super().close()
        self.socket = None

    def log(self, message: str) -> None:
        self.logger.log(logging.DEBUG, message)

    def log_info(self, message: str, type: str = "info") -> None:
        self.logger.log(_LEVELS.get(type, logging.INFO), message)


class file_dispatcher(dispatcher, asyncore.file_dispatcher):
    pass
