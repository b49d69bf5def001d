"""Cutting a stream of bytes into the pieces in which a decoder gets it."""

from __future__ import annotations

from itertools import cycle
from typing import Callable, List

import pytest

__all__ = [
    "Feeding",
    "byte_by_byte",
    "every_feeding",
    "in_halves",
    "in_odd_pieces",
    "in_pairs",
    "whole",
]

# The pieces of a stream. Joined, they are the stream; an empty piece is a legal one.
Feeding = Callable[[bytes], List[bytes]]


def whole(stream: bytes) -> List[bytes]:
    return [stream]


def byte_by_byte(stream: bytes) -> List[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def in_halves(stream: bytes) -> List[bytes]:
    return [stream[: len(stream) // 2], stream[len(stream) // 2 :]]


def in_pairs(stream: bytes) -> List[bytes]:
    """Small enough that no two frames, and no whole frame, arrive together."""
    return [stream[i : i + 2] for i in range(0, len(stream), 2)]


def in_odd_pieces(stream: bytes) -> List[bytes]:
    """Pieces of many sizes, which cut frames at every place."""
    pieces = []
    sizes = cycle((1, 2, 3, 5, 7, 11, 61, 127, 1009, 4099))
    start = 0
    while start < len(stream):
        end = start + next(sizes)
        pieces.append(stream[start:end])
        start = end
    return pieces


every_feeding = pytest.mark.parametrize("feeding", [whole, byte_by_byte, in_halves])
