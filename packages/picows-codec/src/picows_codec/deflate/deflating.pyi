from typing import final

from typing_extensions import Buffer

__all__ = ["compress_once"]

@final
class Deflater: ...

def compress_once(
    payload: Buffer, window_bits: int, level: int = 1, memory_level: int = 5
) -> bytes: ...
