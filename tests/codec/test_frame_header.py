from __future__ import annotations

import array
from typing import Any, Dict, Optional

import pytest

from picows_codec import (
    WSCloseCode,
    WSInvalidFrameError,
    WSMsgType,
    WSProtocolError,
    decode_frame_header,
    encode_frame_header,
)
from tests.support import frames

# Sizes on both sides of every change of the encoding (RFC 6455, 5.2), and the largest one.
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 2**32 - 1, 2**32, 2**62, 2**63 - 1]
KEYS = [None, frames.KEY, b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", KEYS)
def test_encode_and_decode(size: int, key: Optional[bytes]) -> None:
    encoded = encode_frame_header(WSMsgType.BINARY, size, masking_key=key)
    assert encoded == frames.header(2, size, key=key)
    assert decode_frame_header(encoded) == (len(encoded), 2, True, 0, size, key)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", KEYS)
def test_decode_ignores_what_follows(size: int, key: Optional[bytes]) -> None:
    encoded = frames.header(1, size, key=key)
    assert decode_frame_header(encoded + b"\xff" * 20) == decode_frame_header(encoded)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", KEYS)
def test_decode_waits_for_the_whole_header(size: int, key: Optional[bytes]) -> None:
    encoded = frames.header(1, size, key=key)
    for end in range(len(encoded)):
        assert decode_frame_header(encoded[:end]) is None


@pytest.mark.parametrize("opcode", range(16))
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("rsv", range(8))
def test_first_byte(opcode: int, fin: bool, rsv: int) -> None:
    encoded = encode_frame_header(
        opcode, 5, fin=fin, rsv1=bool(rsv & 4), rsv2=bool(rsv & 2), rsv3=bool(rsv & 1)
    )
    assert encoded == frames.header(opcode, 5, fin=fin, rsv=rsv)
    assert decode_frame_header(encoded) == (2, opcode, fin, rsv, 5, None)


@pytest.mark.parametrize(("size", "width"), [(0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)])
@pytest.mark.parametrize("key", [None, frames.KEY])
def test_length_not_minimal(size: int, width: int, key: Optional[bytes]) -> None:
    encoded = frames.header(2, size, width=width, key=key)
    with pytest.raises(WSProtocolError, match="minimal") as caught:
        decode_frame_header(encoded)
    assert caught.value.code == WSCloseCode.PROTOCOL_ERROR
    assert decode_frame_header(encoded[:-1]) is None


@pytest.mark.parametrize("size", [2**63, 2**64 - 1])
def test_length_with_the_top_bit(size: int) -> None:
    with pytest.raises(WSProtocolError, match="most significant bit") as caught:
        decode_frame_header(frames.header(2, size))
    assert caught.value.code == WSCloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decode_any_buffer(kind: Any) -> None:
    assert decode_frame_header(kind(b"\x82\x05")) == (2, 2, True, 0, 5, None)
    assert decode_frame_header(kind(b"")) is None
    assert decode_frame_header(array.array("B", b"\x82\x05")) == (2, 2, True, 0, 5, None)


@pytest.mark.parametrize("data", [None, "\x82\x05", 5, [0x82, 5], object()])
def test_decode_something_else(data: Any) -> None:
    with pytest.raises(TypeError):
        decode_frame_header(data)


def test_decode_a_buffer_with_gaps() -> None:
    with pytest.raises(BufferError):
        decode_frame_header(memoryview(b"\x82\x00\x05\x00")[::2])


@pytest.mark.parametrize("opcode", [-1, 16, 256, 2**31, 2**64])
def test_encode_opcode_out_of_range(opcode: int) -> None:
    with pytest.raises(WSInvalidFrameError, match=f"0 to 15, not {opcode}"):
        encode_frame_header(opcode, 0)


@pytest.mark.parametrize("size", [-1, 2**63, 2**64, 2**100])
def test_encode_size_out_of_range(size: int) -> None:
    with pytest.raises(WSInvalidFrameError, match=f"not {size}"):
        encode_frame_header(2, size)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_encode_key_of_a_wrong_size(key: bytes) -> None:
    with pytest.raises(WSInvalidFrameError, match=f"4 bytes, not {len(key)}"):
        encode_frame_header(2, 0, masking_key=key)


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ((None, 0), {}),
        ((2.0, 0), {}),
        ((2, 1.5), {}),
        (("2", 0), {}),
        ((2, None), {}),
        ((2, "0"), {}),
        ((2, 0), {"masking_key": "abcd"}),
        ((2, 0), {"masking_key": bytearray(4)}),
        ((2,), {}),
        ((2, 0, True), {}),
        ((2, 0), {"mask": b"abcd"}),
    ],
)
def test_encode_wrong_types(arguments: Any, keywords: Dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        encode_frame_header(*arguments, **keywords)
