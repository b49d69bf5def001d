"""Recording what connections receive and send, and replaying it."""

from __future__ import annotations

from picows_codec.recording.file_format import Record, RecordingError
from picows_codec.recording.reading import read_recording
from picows_codec.recording.recorder import Recorder
from picows_codec.recording.replaying import replay

__all__ = ["Record", "Recorder", "RecordingError", "read_recording", "replay"]
