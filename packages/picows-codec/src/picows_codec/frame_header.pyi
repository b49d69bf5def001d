from typing import SupportsIndex

from typing_extensions import Buffer

def encode_frame_header(
    opcode: SupportsIndex,
    payload_size: SupportsIndex,
    *,
    fin: bool = True,
    rsv1: bool = False,
    rsv2: bool = False,
    rsv3: bool = False,
    masking_key: bytes | None = None,
) -> bytes: ...
def decode_frame_header(data: Buffer) -> tuple[int, int, bool, int, int, bytes | None] | None: ...
