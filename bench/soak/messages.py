"""Numbered messages, and what was counted of them."""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import List, Tuple

ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
NUMBER = struct.Struct("!8s8s")  # of connection and message, as text: both fit a TEXT message


class Contents:
    """The payload of every message, made from its numbers, so that nobody has to keep it."""

    def __init__(self, seed: int) -> None:
        choice = random.Random(seed)
        self._block = bytes(choice.choices(ALPHABET, k=1 << 20))

    def make(self, connection: int, message: int, size: int) -> bytes:
        """The payload of a message: 16 bytes of numbers and ``size`` more."""
        start = (connection * 7919 + message * 104_729) % (len(self._block) - size)
        return b"%08x%08x" % (connection, message) + self._block[start : start + size]


def numbers_of(payload: bytes) -> Tuple[int, int]:
    """The numbers of connection and message at the front of a payload."""
    connection, message = NUMBER.unpack_from(payload)
    return int(connection, 16), int(message, 16)


class Tally:
    """What was counted, and what was wrong."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: List[str] = []

    def check(self, condition: object, message: str, *details: object) -> None:
        """Note a violation unless the condition holds."""
        if not condition:
            self.violations.append(" ".join([message, *map(str, details)]))
