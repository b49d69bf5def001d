"""Unit tests without a network: :func:`connected` opens a connection in memory.

:class:`Recorder` records connections, :func:`replay` replays them.

It needs no test framework. See docs/testing.md.
"""

from __future__ import annotations

from picows_codec.recording import Record, Recorder, RecordingError, read_recording, replay
from picows_codec.testing import Connected, FakeClock, FakeLoop, Frame, connected

__all__ = [
    "Connected",
    "FakeClock",
    "FakeLoop",
    "Frame",
    "Record",
    "Recorder",
    "RecordingError",
    "connected",
    "read_recording",
    "replay",
]
