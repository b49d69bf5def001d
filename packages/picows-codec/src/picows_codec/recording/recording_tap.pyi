from typing import Any, final

from picows_codec.tap import WSTap

__all__ = ["RecordingTap"]

@final
class RecordingTap(WSTap):
    @property
    def number(self) -> int: ...
    @property
    def heads(self) -> list[tuple[bool, bytes]]: ...
    def __init__(
        self, number: int, facts: dict[str, Any], write: Any, ended: Any, redactor: Any
    ) -> None: ...
    def facts_of_continuation(self) -> dict[str, Any]: ...
