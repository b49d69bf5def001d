"""Unit tests without a network: ``connected`` opens a connection in memory.

It needs no test framework. ``picows_client.testing`` and ``picows_server.testing`` have the same
names.
"""

from __future__ import annotations

from picows_codec.testing.clock import FakeClock, FakeLoop
from picows_codec.testing.connected import Connected, connected
from picows_codec.testing.frames import Frame

__all__ = ["Connected", "FakeClock", "FakeLoop", "Frame", "connected"]
