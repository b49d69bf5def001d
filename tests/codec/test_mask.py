from __future__ import annotations

import ctypes
import os
import sys
import threading
from itertools import product
from typing import Iterator, List, Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec import mask as mask_module
from picows_codec.mask import (
    mask,
    mask_in_place,
    new_masking_key,
)
from picows_codec.simd import available_levels, level, set_level
from tests.support.capi import c_function
from tests.support.interpreter import run_python

KEY = bytes([0x12, 0xA5, 0xFF, 0x80])
GUARD = 80  # bytes on both sides, more than the widest vector
SIZES = [*range(301), 511, 512, 640, 1000, *range(2047, 2400, 19), 4096, 65_541, 100_003]
ALIGNMENTS = [0, 1, 2, 7, 31, 63]  # bytes past a multiple of 64
PHASES = [0, 1, 2, 3, 6]

ws_mask = c_function(
    mask_module,
    "ws_mask",
    None,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_char_p,
    ctypes.c_size_t,
)
ws_mask_copy = c_function(
    mask_module,
    "ws_mask_copy",
    None,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_char_p,
    ctypes.c_size_t,
)
ws_masking_key = c_function(mask_module, "ws_masking_key", ctypes.c_int, ctypes.c_char_p)


def byte_by_byte(data: bytes, key: bytes, phase: int) -> bytes:
    return bytes(byte ^ key[(phase + index) % 4] for index, byte in enumerate(data))


def reference(data: bytes, key: bytes, phase: int) -> bytes:
    """byte_by_byte() on one long number: the tests below compare megabytes."""
    start = phase % 4
    keys = (key[start:] + key[:start]) * (len(data) // 4 + 1)
    number = int.from_bytes(data, "little") ^ int.from_bytes(keys[: len(data)], "little")
    return number.to_bytes(len(data), "little")


class Arena:
    """Memory with a range at a chosen alignment and guard bytes around it."""

    def __init__(self, content: bytes, alignment: int) -> None:
        self.size = len(content)
        self.memory = bytearray(os.urandom(2 * GUARD + 128 + self.size))
        self.start = 0
        base = ctypes.addressof((ctypes.c_char * len(self.memory)).from_buffer(self.memory))
        self.start = GUARD + (alignment - base - GUARD) % 64
        self.address = base + self.start
        self.memory[self.start : self.start + self.size] = content
        self.guards = self._outside()

    def _outside(self) -> bytes:
        return bytes(self.memory[: self.start] + self.memory[self.start + self.size :])

    def content(self) -> bytes:
        """What the range holds now; its surroundings must be as they were."""
        assert self._outside() == self.guards
        return bytes(self.memory[self.start : self.start + self.size])


@pytest.fixture(params=available_levels())
def each_level(request: pytest.FixtureRequest) -> Iterator[str]:
    previous = level()
    set_level(request.param)
    yield request.param
    set_level(previous)


@given(st.binary(max_size=50), st.binary(min_size=4, max_size=4), st.integers(0, 20))
def test_reference_is_the_definition_of_the_rfc(data: bytes, key: bytes, phase: int) -> None:
    assert reference(data, key, phase) == byte_by_byte(data, key, phase)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_in_place(each_level: str, alignment: int) -> None:
    for size, phase in product(SIZES, PHASES):
        data = os.urandom(size)
        arena = Arena(data, alignment)
        ws_mask(arena.address, size, KEY, phase)
        assert arena.content() == reference(data, KEY, phase), (each_level, size, phase)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_copy(each_level: str, alignment: int) -> None:
    for size, phase in product(SIZES, PHASES):
        source = Arena(os.urandom(size), 63 - alignment)
        data = source.content()
        arena = Arena(bytes(size), alignment)
        ws_mask_copy(arena.address, source.address, size, KEY, phase)
        assert arena.content() == reference(data, KEY, phase), (each_level, size, phase)
        assert source.content() == data


def test_copy_onto_itself(each_level: str) -> None:
    for size, phase in product(SIZES, PHASES):
        data = os.urandom(size)
        arena = Arena(data, 5)
        ws_mask_copy(arena.address, arena.address, size, KEY, phase)
        assert arena.content() == reference(data, KEY, phase), (each_level, size, phase)


@pytest.mark.usefixtures("each_level")
def test_largest_phase() -> None:
    arena = Arena(b"payload", 0)
    largest = 2 * sys.maxsize + 1
    ws_mask(arena.address, 7, KEY, largest)
    assert arena.content() == byte_by_byte(b"payload", KEY, 3)


@pytest.mark.usefixtures("each_level")
def test_nothing_at_no_address() -> None:
    ws_mask(None, 0, KEY, 1)
    ws_mask_copy(None, None, 0, KEY, 1)


@given(
    data=st.binary(max_size=700),
    key=st.binary(min_size=4, max_size=4),
    cuts=st.lists(st.integers(0, 700), max_size=5),
    name=st.sampled_from(available_levels()),
)
def test_in_pieces(data: bytes, key: bytes, cuts: List[int], name: str) -> None:
    previous = level()
    set_level(name)
    try:
        masked = b""
        bounds = sorted(min(cut, len(data)) for cut in cuts)
        for start, end in zip([0, *bounds], [*bounds, len(data)]):
            masked += mask(data[start:end], key, start)
        assert masked == mask(data, key) == byte_by_byte(data, key, 0)
        assert mask(masked, key) == data
    finally:
        set_level(previous)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_mask_takes_any_bytes_like_object(kind: type) -> None:
    data = kind(b"Hello")
    key = bytes.fromhex("37fa213d")  # the example of RFC 6455, 5.7
    assert mask(data, key) == bytes.fromhex("7f9f4d5158")
    assert data == b"Hello"


def test_mask_in_place_returns_nothing() -> None:
    buffer = bytearray(b"abcdefgh")
    assert mask_in_place(memoryview(buffer)[2:7], KEY, 1) is None
    assert buffer == b"ab" + byte_by_byte(b"cdefg", KEY, 1) + b"h"
    buffer.append(0)  # the buffer is not held


def test_phase_is_any_index() -> None:
    assert mask(b"abcdef", KEY, 10**30 + 1) == byte_by_byte(b"abcdef", KEY, 1)


@pytest.mark.parametrize("function", [mask, mask_in_place])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((bytearray(3), b"123"), ValueError, "exactly 4 bytes .* not 3"),
        ((bytearray(3), b"12345"), ValueError, "exactly 4 bytes .* not 5"),
        ((bytearray(3), bytearray(4)), TypeError, "key"),
        ((bytearray(3), None), TypeError, "key"),
        (("text", KEY), TypeError, "bytes-like"),
        ((bytearray(3), KEY, -1), ValueError, "cannot be negative, got -1"),
        ((bytearray(3), KEY, 0.5), TypeError, "integer"),
    ],
)
def test_misuse(function: object, arguments: tuple, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    "buffer", [b"read-only", memoryview(bytearray(8))[::2]], ids=["read-only", "with gaps"]
)
def test_mask_in_place_needs_a_contiguous_writable_buffer(buffer: object) -> None:
    with pytest.raises(TypeError, match="contiguous writable buffer such as a bytearray"):
        mask_in_place(buffer, KEY)


# Masking keys. Two of some thousand random keys may be equal by chance; that two keys in a row
# turn up again has odds of one in 2**64.

KEYS = 600  # more than two blocks


def pairs(keys: List[bytes]) -> Set[bytes]:
    found = {first + second for first, second in zip(keys, keys[1:])}
    assert len(found) == len(keys) - 1
    return found


def test_keys_do_not_repeat() -> None:
    keys = [new_masking_key() for _ in range(20_000)]
    assert {len(key) for key in keys} == {4}
    pairs(keys)
    for column in range(4):
        assert {key[column] for key in keys} == set(range(256))


def test_c_function_and_python_function_draw_from_one_source() -> None:
    out = ctypes.create_string_buffer(b"guarded!", 8)
    keys = []
    for _ in range(KEYS):
        assert ws_masking_key(out) == 0
        keys += [out.raw[:4], new_masking_key()]
    assert out.raw[4:] == b"ded!"
    pairs(keys)


def test_threads_do_not_share_keys() -> None:
    together = threading.Barrier(4)
    keys: List[List[bytes]] = [[] for _ in range(4)]

    def draw(into: List[bytes]) -> None:
        together.wait()
        into.extend(new_masking_key() for _ in range(KEYS))

    threads = [threading.Thread(target=draw, args=(into,)) for into in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*map(pairs, keys))) == 4 * (KEYS - 1)


def test_processes_do_not_share_keys() -> None:
    code = f"""if True:
        from picows_codec.mask import new_masking_key
        print(b"".join(new_masking_key() for _ in range({KEYS})).hex())
    """
    first, second = (
        pairs([data[start : start + 4] for start in range(0, len(data), 4)])
        for data in (bytes.fromhex(run_python(code).stdout) for _ in range(2))
    )
    assert first.isdisjoint(second)


FORKING = f"""if True:
    import os, threading
    from picows_codec.mask import new_masking_key

    def draw(name):
        data = b"".join(new_masking_key() for _ in range({KEYS}))
        os.write(1, f"{{name}} {{data.hex()}}\\n".encode())

    def fork_twice():
        new_masking_key()  # a block is in use
        child = os.fork()
        if child:
            draw("parent")
            assert os.waitpid(child, 0) == (child, 0)
            return
        new_masking_key()
        grandchild = os.fork()
        draw("child" if grandchild else "grandchild")
        if grandchild:
            assert os.waitpid(grandchild, 0) == (grandchild, 0)
        os._exit(0)

    START
    draw("afterwards")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    "start",
    [
        "fork_twice()",
        "thread = threading.Thread(target=fork_twice); thread.start(); thread.join()",
    ],
    ids=["main thread", "other thread"],
)
def test_forked_children_do_not_share_keys(start: str) -> None:
    finished = run_python(FORKING.replace("START", start))
    assert finished.returncode == 0, finished.stderr
    streams = dict(line.split() for line in finished.stdout.splitlines())
    assert streams.keys() == {"parent", "child", "grandchild", "afterwards"}
    found: Set[bytes] = set()
    for stream in map(bytes.fromhex, streams.values()):
        found |= pairs([stream[start : start + 4] for start in range(0, len(stream), 4)])
    assert len(found) == 4 * (KEYS - 1)
