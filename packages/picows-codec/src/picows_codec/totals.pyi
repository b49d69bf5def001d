from typing import Any

__all__ = ["Totals"]

class Totals:
    def failed_before_handshake(self, status: int | None = None) -> None: ...
    def values(self) -> dict[str, Any]: ...
