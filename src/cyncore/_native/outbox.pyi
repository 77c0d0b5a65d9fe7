from typing import Any

from .channel import BufferedChannel

class OutboxChannel(BufferedChannel):
    debug: bool
    out_buffer: bytes
    def initiate_send(self) -> None: ...
    def handle_write(self) -> None: ...
    def send(self, data: Any) -> None: ...  # type: ignore[override]
    def log_info(self, message: object, type: str = "info") -> None: ...
