from typing import final

from typing_extensions import Buffer

__all__ = ["Utf8Validator", "valid"]

def valid(data: Buffer) -> bool: ...

@final
class Utf8Validator:
    def feed(self, data: Buffer) -> bool: ...
    @property
    def complete(self) -> bool: ...
    def reset(self) -> None: ...
