"""The JSON messages of the compressed streams: trades, as an exchange's feed sends them."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import List

from bench.peers.catalogue import C, Peer
from bench.scenarios import Scenario

__all__ = ["payload_options", "stream_messages", "write_payloads"]

# Whole bursts of a source, and more bytes than the largest window, so that no message is repeated
# within it.
COUNTS = {256: 1024, 262: 1024, 4096: 256}


def payload_options(folder: Path, scenario: Scenario, peer: Peer, player: Peer) -> List[str]:
    """Return what is told of the messages to the peer under test, or to ``player`` opposite it."""
    words: List[str] = []
    if scenario.json:
        words += ["--payloads", str(write_payloads(folder, scenario.size))]
    if scenario.deflate and peer.compresses:
        words += ["--deflate", "1"] if player is C else ["--deflate"]
    return words


@lru_cache(maxsize=None)
def write_payloads(folder: Path, size: int) -> Path:
    """Write messages of ``size`` bytes each, one directly after the other, and return the file."""
    file = folder / f"payloads-{size}"
    file.write_bytes(b"".join(stream_messages(size, COUNTS[size])))
    return file


def stream_messages(size: int, count: int) -> List[bytes]:
    """Return messages of ``size`` bytes, the same in every run."""
    source = random.Random(size)
    return [_message(source, size) for _ in range(count)]


def _message(source: random.Random, size: int) -> bytes:
    trades = []
    while True:
        trades.append(
            {
                "p": f"{source.uniform(60000, 61000):.2f}",
                "q": f"{source.random():.5f}",
                "T": 1700000000000 + source.randrange(10**9),
                "m": source.random() < 0.5,
            }
        )
        text = json.dumps({"e": "trade", "s": "BTCUSDT", "t": trades}, separators=(",", ":"))
        if len(text) >= size:
            # Cut off: what matters is how often things are repeated.
            return text[:size].encode()
