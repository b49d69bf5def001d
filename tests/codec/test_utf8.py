from __future__ import annotations

import codecs
import ctypes
from itertools import product
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec import utf8 as utf8_module
from picows_codec.simd import available_levels, level, set_level
from picows_codec.utf8 import (
    Utf8Validator,
    valid,
)
from tests.support.capi import c_function

# The first and last byte of every range of RFC 3629, 4, and their neighbours.
EDGES = bytes.fromhex("00 7F 80 8F 90 9F A0 BF C0 C1 C2 DF E0 E1 EC ED EE EF F0 F1 F3 F4 F5 FF")
FEWER_EDGES = bytes.fromhex("61 80 8F 90 9F A0 BF C3 E0 E4 ED F0 F1 F4")

# Every length of code point, and stretches of ASCII that fill the widest vectors.
MIXED = (
    "price \u20ac 12.50 \u2014 na\u00efve \U0001f600\U0001f680 \u6771\u4eac \u041c\u043e\u0441"
    "\u043a\u0432\u0430 \ud7ff\ue000 \U00010000\U0010ffff \u0080\u07ff\u0800\uffff"
    * 2
    + "plain " * 60
    + "\u00e9\U0001f600\u20ac" * 30
).encode()

ws_utf8_valid = c_function(
    utf8_module, "ws_utf8_valid", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
)
ws_utf8_feed = c_function(
    utf8_module,
    "ws_utf8_feed",
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
)


def oracle(data: bytes) -> Optional[bool]:
    """Whether the text may end here; None if data cannot begin a valid text. Python's decoder."""
    try:
        _, consumed = codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return None
    rest = data[consumed:]
    # It takes the first two bytes of a surrogate for a beginning, which they cannot be here.
    if rest and not any(
        decodes(rest + filling * size) for filling in (b"\x80", b"\xbf") for size in (1, 2, 3)
    ):
        return None
    return not rest


def decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def verdict(pieces: Iterable[bytes]) -> Optional[bool]:
    """oracle()'s answer by the validator, which is given the text in pieces."""
    validator = Utf8Validator()
    possible = [validator.feed(piece) for piece in pieces]
    assert possible == sorted(possible, reverse=True)  # once False, always False
    if not all(possible):
        assert not validator.complete
        return None
    return validator.complete


def in_front(data: bytes) -> bytes:
    return data + b"." * 80


def at_the_end(data: bytes) -> bytes:
    return b"." * 80 + data


def in_the_middle(data: bytes) -> bytes:
    return b"." * 61 + data + b"." * 70


def in_foreign_text(data: bytes) -> bytes:
    return "\u20ac\U0001f600\u00e9.".encode() * 9 + data + "\u00e9\U0001f600\u20ac".encode() * 9


PLACES: List[Callable[[bytes], bytes]] = [
    bytes,
    in_front,
    at_the_end,
    in_the_middle,
    in_foreign_text,
]


@pytest.fixture(params=available_levels())
def each_level(request: pytest.FixtureRequest) -> Iterator[str]:
    previous = level()
    set_level(request.param)
    yield request.param
    set_level(previous)


@pytest.fixture(scope="module")
def sequences() -> Dict[bytes, Optional[bool]]:
    """Short sequences and what Python thinks of them: all of one and two bytes, most of three."""
    found = {b"": True}
    for size, choices in enumerate(
        [[range(256)], [range(256)] * 2, [EDGES] * 3, [FEWER_EDGES] * 4]
    ):
        for data in map(bytes, product(*choices)):
            assert len(data) == size + 1
            found[data] = oracle(data)
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("each_level")
def test_sequences(
    sequences: Dict[bytes, Optional[bool]],
    place: Callable[[bytes], bytes],
) -> None:
    ends_with_it = place in {bytes, at_the_end}
    for data, expected in sequences.items():
        if len(data) == 4 and place is in_foreign_text:
            continue
        validator = Utf8Validator()
        possible = validator.feed(place(data))
        if ends_with_it:
            assert possible == (expected is not None), data
            assert validator.complete == bool(expected), data
        else:  # what follows is no continuation
            assert possible == bool(expected), data
        assert valid(place(data)) == bool(expected), data


def test_three_bytes_exhaustively() -> None:
    # The kernels share the automaton that walks through short texts: one is enough.
    for first in range(0xE0, 0xF5):
        for second in range(256):
            start = bytes([first, second])
            if oracle(start) is None:
                assert not Utf8Validator().feed(start)
                continue
            for third in range(256):
                data = bytes([first, second, third])
                assert verdict([data]) == oracle(data), data


@pytest.mark.usefixtures("each_level")
def test_wrong_byte_is_found_at_once() -> None:
    for wrong in ("c0", "c1", "f5", "ff", "80", "e080", "eda0", "f080", "f490", "c241", "e28241"):
        data = bytes.fromhex(wrong)
        assert [verdict([data[: end + 1]]) is None for end in range(len(data))] == [
            end == len(data) - 1 for end in range(len(data))
        ]
        assert verdict([data]) is None
        assert verdict([MIXED, data]) is None
        assert verdict([MIXED + data]) is None


@pytest.mark.usefixtures("each_level")
def test_every_cut() -> None:
    for cut in range(len(MIXED) + 1):
        assert verdict([MIXED[:cut]]) == oracle(MIXED[:cut])
        assert verdict([MIXED[:cut], MIXED[cut:]]) is True
        assert verdict([MIXED[:cut], b"", MIXED[cut : cut + 1], MIXED[cut + 1 :]]) is True


@pytest.mark.usefixtures("each_level")
def test_byte_by_byte() -> None:
    validator = Utf8Validator()
    for end in range(1, len(MIXED) + 1):
        assert validator.feed(MIXED[end - 1 : end])
        assert validator.complete == oracle(MIXED[:end])


@pytest.mark.parametrize("wrong", [0x00, 0x80, 0xBF, 0xC0, 0xC3, 0xE0, 0xED, 0xF0, 0xF4, 0xFF])
@pytest.mark.usefixtures("each_level")
def test_wrong_byte_anywhere(wrong: int) -> None:
    for index in range(len(MIXED)):
        data = MIXED[:index] + bytes([wrong]) + MIXED[index + 1 :]
        expected = oracle(data)
        assert verdict([data]) == expected
        assert valid(data) == bool(expected)
        cut = index * 7 % len(data)
        assert verdict([data[:cut], data[cut:]]) == expected


@pytest.mark.usefixtures("each_level")
def test_wrong_byte_anywhere_in_ascii() -> None:
    for size in [*range(1, 150), 200, 255, 256, 257, 300]:
        text = b"~" * size
        assert valid(text)
        for index in range(size):
            assert not valid(text[:index] + b"\x80" + text[index + 1 :])
            assert not valid(text[:index] + b"\xc3" + text[index + 1 :])


@pytest.mark.usefixtures("each_level")
def test_neighbours_in_memory_do_not_matter() -> None:
    for around, size in product((b"\xff", b"\xf0", b"\x80", b"a"), range(140)):
        text = MIXED[:size]
        memory = around * 70 + text + around * 70
        piece = memoryview(memory)[70 : 70 + size]
        assert verdict([piece]) == oracle(text), (around, size)


@pytest.mark.usefixtures("each_level")
def test_long_texts() -> None:
    for text in (b"x" * 1_000_003, MIXED * 2000):
        assert valid(text)
        assert not valid(text + b"\xe2\x82")
        assert not valid(b"\x80" + text)
        middle = bytearray(text)
        middle[len(text) // 2] = 0xFF
        assert not valid(middle)


def cut_up(data: bytes, cuts: List[int]) -> List[bytes]:
    bounds = sorted(min(cut, len(data)) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *bounds], [*bounds, len(data)])]


@given(
    text=st.lists(st.one_of(st.text(), st.text("abc \n"), st.binary(max_size=3)), max_size=6),
    repeat=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    name=st.sampled_from(available_levels()),
)
def test_any_text_in_any_pieces(
    text: List[Union[str, bytes]], repeat: int, cuts: List[int], name: str
) -> None:
    data = repeat * b"".join(part.encode() if isinstance(part, str) else part for part in text)
    previous = level()
    set_level(name)
    try:
        assert verdict(cut_up(data, cuts)) == oracle(data)
        assert valid(data) == (oracle(data) is True)
    finally:
        set_level(previous)


@pytest.mark.usefixtures("each_level")
def test_c_functions() -> None:
    state = ctypes.c_uint32(0)
    steps: List[Tuple[bytes, int]] = [(b"\xf0\x9f", 1), (b"", 1), (b"\x98\x80ok", 1), (b"\x80", 0)]
    for piece, expected in steps:
        assert ws_utf8_feed(ctypes.byref(state), piece, len(piece)) == expected
    state.value = 0
    assert ws_utf8_feed(ctypes.byref(state), b"new", 3) == 1
    assert state.value == 0
    assert ws_utf8_valid(None, 0) == 1
    assert ws_utf8_valid(MIXED, len(MIXED)) == 1
    assert ws_utf8_valid(MIXED, len(MIXED) - 1) == 0


def test_validator_from_start_to_reset() -> None:
    validator = Utf8Validator()
    assert validator.complete
    assert validator.feed(b"\xe2\x82")
    assert not validator.complete
    assert not validator.feed(b"\xff")
    assert not validator.feed(b"ascii")
    assert not validator.complete
    validator.reset()
    assert validator.complete
    assert validator.feed(bytearray(b"\xe2"))
    assert validator.feed(memoryview(b"\x82\xac"))
    assert validator.complete


@pytest.mark.parametrize("wrong", ["text", None, 5, memoryview(b"abcd")[::2]])
def test_wrong_type(wrong: object) -> None:
    error = BufferError if isinstance(wrong, memoryview) else TypeError
    with pytest.raises(error):
        valid(wrong)
    with pytest.raises(error):
        Utf8Validator().feed(wrong)
