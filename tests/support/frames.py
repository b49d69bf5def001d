"""Build and parse frames in plain Python, to compare the library with; payloads."""

from __future__ import annotations

from typing import List, Tuple

from picows_codec.testing.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Frame,
    accept_of,
    build,
    close_payload,
    header,
    mask,
    parse,
    parse_all,
    size_of,
    upgrade_request,
    upgrade_response,
)

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "KEY",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "accept_of",
    "build",
    "close_payload",
    "header",
    "mask",
    "mixed_flood",
    "parse",
    "parse_all",
    "pattern",
    "size_of",
    "upgrade_request",
    "upgrade_response",
]


def pattern(size: int) -> bytes:
    """A payload of which no two neighbouring parts are alike."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def mixed_flood(count: int) -> List[Tuple[int, bytes]]:
    """Opcodes and payloads of ``count`` (at most 1000) each: pings, texts, binary messages."""
    return [
        (opcode, b"%3d " % number * (number % most))
        for number in range(count)
        for opcode, most in ((PING, 30), (TEXT, 41), (BINARY, 997))
    ]
