"""What all targets share: reading an input, cutting it, checking what must hold, mutating it."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence, Tuple

__all__ = [
    "CORPUS",
    "TARGETS",
    "Finding",
    "Input",
    "check",
    "corpus_of",
    "cut",
    "load",
    "mutations",
    "raise_unraisable",
]

TARGETS = (
    "parser",
    "client_handshake",
    "server_handshake",
    "endpoint",
    "compression",
    "proxy_protocol",
    "client_hello",
)
CORPUS = Path(__file__).resolve().with_name("corpus")

# Bytes that decide something in frames and in HTTP; libFuzzer finds them by watching comparisons.
TOKENS = (
    b"\x00",
    b"\x7d",
    b"\x7e\x00\x7e",
    b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\x80\x00\x00\x00\x00",
    b"\x88\x82\x00\x00\x00\x00\x03\xe8",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xf4\x8f\xbf\xbf",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b":",
    b",",
    b"0",
    b"HTTP/1.0",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Upgrade: websocket\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Sec-WebSocket-Extensions: x\r\n",
    b"Sec-WebSocket-Protocol: chat\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n",
    b"\x16\x03\x01\x00\x01",
    b"\x00\x00\x00\x06\x00\x04\x00\x00\x01a",
)
MAX_MUTANT_SIZE = 4096


class Finding(AssertionError):
    """Something that must hold does not."""


def check(condition: object, message: str, *details: object) -> None:
    """Raise a :class:`Finding` unless the condition holds."""
    if not condition:
        raise Finding(" ".join([message, *map(repr, details)]))


def load(name: str) -> Callable[[bytes], None]:
    """The function of a target."""
    run: Callable[[bytes], None] = importlib.import_module(f"fuzz.targets.{name}").run
    return run


def corpus_of(name: str) -> List[Tuple[str, bytes]]:
    """The committed inputs of a target, with their names."""
    return [(path.name, path.read_bytes()) for path in sorted((CORPUS / name).iterdir())]


class raise_unraisable:  # noqa: N801  a context manager, used like a function
    """Turn exceptions that Python can only print ("Exception ignored in") into findings."""

    def __init__(self) -> None:
        self._seen: List[str] = []

    def __enter__(self) -> None:
        self._before = sys.unraisablehook
        sys.unraisablehook = self._hook

    def __exit__(self, exc_type: object, *_: object) -> None:
        sys.unraisablehook = self._before
        if exc_type is None:
            check(not self._seen, "an exception was lost:", *self._seen)

    def _hook(self, unraisable: Any) -> None:
        self._seen.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")


class Input:
    """An input, read from its front. Beyond its end, numbers are zero and bytes are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def exhausted(self) -> bool:
        """Whether everything was read."""
        return self._position >= len(self._data)

    def byte(self) -> int:
        """The next byte."""
        found = self.take(1)
        return found[0] if found else 0

    def number(self, size: int) -> int:
        """The next ``size`` bytes as a number."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, or fewer at the end."""
        start = self._position
        self._position += size
        return self._data[start : self._position]

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data))


def cut(data: bytes, pattern: int) -> Iterator[bytes]:
    """Cut data into pieces: 0 single bytes, 255 nothing cut, else sizes that the pattern seeds."""
    if pattern == 255:
        yield data
        return
    sizes = random.Random(pattern)
    position = 0
    while position < len(data):
        size = sizes.randint(1, pattern) if pattern else 1
        yield data[position : position + size]
        position += size


def mutations(name: str, inputs: Sequence[bytes], count: int) -> Iterator[bytes]:
    """``count`` mutants of the inputs of a target; the same ones in every run."""
    choice = random.Random(name)
    for _ in range(count):
        data = bytearray(choice.choice(inputs))
        for _ in range(choice.randint(1, 4)):
            choice.choice(MUTATORS)(choice, data, inputs)
        yield bytes(data[:MAX_MUTANT_SIZE])


Mutator = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _flip_bit(choice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)


def _set_byte(choice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[choice.randrange(len(data))] = choice.choice((0, 1, 2, 125, 126, 127, 128, 254, 255))


def _insert_token(choice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    position = choice.randint(0, len(data))
    data[position:position] = choice.choice(TOKENS)


def _overwrite_with_token(choice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    position = choice.randint(0, len(data))
    token = choice.choice(TOKENS)
    data[position : position + len(token)] = token


def _erase(choice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    start = choice.randint(0, len(data))
    del data[start : start + choice.randint(1, 16)]


def _repeat(choice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    start = choice.randint(0, len(data))
    part = data[start : start + choice.randint(1, 32)]
    data[start:start] = part * choice.randint(1, 8)


def _splice(choice: random.Random, data: bytearray, inputs: Sequence[bytes]) -> None:
    other = choice.choice(inputs)
    data[choice.randint(0, len(data)) :] = other[choice.randint(0, len(other)) :]


MUTATORS: Sequence[Mutator] = (
    _flip_bit,
    _set_byte,
    _insert_token,
    _overwrite_with_token,
    _erase,
    _repeat,
    _splice,
)
