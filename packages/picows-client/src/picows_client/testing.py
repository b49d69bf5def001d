"""Unit tests without a network: :func:`connected` opens a connection in memory.

It needs no test framework. See docs/testing.md.
"""

from __future__ import annotations

from picows_codec.testing import Connected, FakeClock, FakeLoop, Frame, connected

__all__ = ["Connected", "FakeClock", "FakeLoop", "Frame", "connected"]
