from typing_extensions import disjoint_base

@disjoint_base
class Handle:
    def cancel(self) -> None: ...
    def cancelled(self) -> bool: ...

@disjoint_base
class TimerHandle(Handle):
    def when(self) -> float: ...
