from typing import SupportsIndex

from typing_extensions import Buffer

__all__ = [
    "mask",
    "mask_in_place",
    "new_masking_key",
]

def mask(data: Buffer, key: bytes, phase: SupportsIndex = 0) -> bytes: ...
def mask_in_place(buffer: Buffer, key: bytes, phase: SupportsIndex = 0) -> None: ...
def new_masking_key() -> bytes: ...
