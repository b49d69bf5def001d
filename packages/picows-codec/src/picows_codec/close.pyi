from typing import SupportsIndex

from typing_extensions import Buffer

__all__ = ["encode_close_payload"]

def encode_close_payload(
    code: SupportsIndex | None, reason: str | Buffer | None = None
) -> bytes: ...
