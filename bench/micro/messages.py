"""Messages and libraries of the measurements of compression."""

from __future__ import annotations

import json
import random

__all__ = ["LIBRARIES", "choose_library", "json_message"]

# The modules of picows_codec.deflate.engine that each leaves in use.
LIBRARIES = {
    "none": (),
    "zlib": (),
    "zlib-ng": ("zlib_ng",),
    "ISA-L": ("isal_zlib", "zlib_ng"),
}


def choose_library(name: str) -> None:
    """Deflate and inflate with it: "ISA-L" with zlib-ng beside it, for what picows takes it."""
    from picows_codec.deflate import engine  # noqa: PLC0415

    for module in ("isal_zlib", "zlib_ng"):
        if module not in LIBRARIES[name]:
            setattr(engine, module, None)


def json_message(size: int, seed: int = 0) -> bytes:
    """Return trades in JSON, cut to size."""
    draw = random.Random(seed)
    price, trades, length = 93576.0, [], 0
    while length < size:
        price += draw.uniform(-20, 20)
        trades.append(
            {
                "e": "trade",
                "E": 1735689600000 + draw.randrange(1_000_000),
                "s": draw.choice(("BTCUSDT", "ETHUSDT", "SOLUSDT")),
                "t": draw.randrange(10**10),
                "p": f"{price:.2f}",
                "q": f"{draw.expovariate(3):.5f}",
                "m": draw.random() < 0.5,
            }
        )
        length += len(json.dumps(trades[-1])) + 1
    return json.dumps(trades, separators=(",", ":")).encode()[:size]
