from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.http.key import accept_for_key, is_key

# Key

EVERY_BYTE = range(256)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def test_key() -> None:
    assert is_key(KEY.encode())


@given(st.binary(max_size=20))
def test_only_16_bytes_are_a_key(nonce: bytes) -> None:
    assert is_key(base64.b64encode(nonce)) == (len(nonce) == 16)


@pytest.mark.parametrize("position", [0, 10, 21, 22, 23])
def test_every_byte_in_a_key(position: int) -> None:
    for byte in EVERY_BYTE:
        key = bytearray(KEY.encode())
        key[position] = byte
        try:
            nonce = base64.b64decode(key, validate=True)
        except ValueError:
            nonce = b""
        assert is_key(bytes(key)) == (len(nonce) == 16 and base64.b64encode(nonce) == key)


# Accept


def test_accept_of_the_rfc() -> None:
    assert accept_for_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(min_size=16, max_size=16))
def test_accept(nonce: bytes) -> None:
    key = base64.b64encode(nonce).decode()
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert accept_for_key(key) == base64.b64encode(digest).decode()


@given(st.binary(max_size=64))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert is_key(data) in (True, False)
