"""Reading a recording, record by record."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO, Iterator, List, Tuple, Union

from picows_codec.recording.file_format import (
    FILE_HEAD,
    RECORD_HEAD,
    Record,
    RecordingError,
    check_file_head,
    decode_body,
    file_head,
)

__all__ = ["files_of", "read_recording", "whole_records"]

AnyPath = Union[str, "os.PathLike[str]"]


def read_recording(path: AnyPath) -> Iterator[Record]:
    """Yield the records of one file, in the order in which they were written.

    What a crash left of a last record is ignored.

    :raises RecordingError: the file is no recording, or a record is damaged. What comes before a
        damaged record is yielded.
    :raises OSError: as ``open`` does.
    """
    with open(path, "rb") as file:
        for _, record in whole_records(file, path):
            if record is not None:
                yield record


def whole_records(file: BinaryIO, path: object) -> Iterator[Tuple[int, Union[Record, None]]]:
    """Yield the offset behind each whole record, and the record; None for an unknown kind."""
    head = file.read(FILE_HEAD.size)
    if len(head) < FILE_HEAD.size and file_head().startswith(head):
        return  # a recorder that was killed in its first write, or before it
    check_file_head(head, path)
    offset = FILE_HEAD.size
    while True:
        head = file.read(RECORD_HEAD.size)
        if len(head) < RECORD_HEAD.size:
            return
        size, checksum, own = RECORD_HEAD.unpack(head)
        if zlib.crc32(head[:8]) != own:
            raise RecordingError(f"{path} is damaged: the record at byte {offset}")
        body = file.read(size)
        if len(body) < size:
            return
        try:
            if zlib.crc32(body) != checksum:
                raise ValueError("the checksum is wrong")
            record = decode_body(body)
        except ValueError as error:
            raise RecordingError(
                f"{path} is damaged: the record at byte {offset}: {error}"
            ) from error
        offset += RECORD_HEAD.size + size
        yield offset, record


def files_of(path: AnyPath) -> List[Path]:
    """Return the files of a recording that was rotated, oldest first; ``path`` itself is last."""
    last = Path(path)
    numbered = []
    for each in last.parent.glob(_escaped(last.name) + ".*"):
        suffix = each.name[len(last.name) + 1 :]
        if suffix.isdecimal():
            numbered.append((int(suffix), each))
    return [each for _, each in sorted(numbered)] + [last]


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
