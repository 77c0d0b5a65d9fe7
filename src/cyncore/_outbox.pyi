from typing import Any

from typing_extensions import disjoint_base

from ._channel import BufferedChannel

@disjoint_base
class OutboxChannel(BufferedChannel):
    debug: bool
    out_buffer: bytes
    def initiate_send(self) -> None: ...
    def handle_write(self) -> None: ...
    def send(self, data: Any) -> None: ...  # type: ignore[override]
    def log_info(self, message: object, type: str = "info") -> None: ...
