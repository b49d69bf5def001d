from typing import Any, final

__all__ = ["Totals"]

@final
class Totals:
    def failed_before_handshake(self, status: int | None = None) -> None: ...
    def values(self) -> dict[str, Any]: ...
