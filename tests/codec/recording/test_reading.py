"""The format of recordings, and what is read of damaged files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.recording import Record, RecordingError, read_recording
from picows_codec.recording.file_format import DATA, OPEN, encode_record, file_head
from picows_codec.recording.reading import files_of
from picows_codec.tap_types import WSDirection

DATA_RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=50),
        st.booleans(),
        st.booleans(),
    ),
    max_size=5,
)

CONTINUES = (
    b'{"continues": {"heads": 0, "left": %s, "last": 1, "head": "%s", "in_message": false,'
    b' "is_lost": false}}'
)


def encoded(records: Any) -> List[bytes]:
    return [
        encode_record(DATA, *fields, is_sent=is_sent, is_handshake=is_handshake)
        for *fields, is_sent, is_handshake in records
    ]


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings") / "a.rec"


@given(records=DATA_RECORDS)
def test_round_trip(path: Path, records: Any) -> None:
    path.write_bytes(file_head() + b"".join(encoded(records)))
    found = [
        (
            record.connection,
            record.monotonic_ns,
            record.time_ns,
            record.data,
            record.direction is WSDirection.SENT,
            record.is_handshake,
        )
        for record in read_recording(path)
    ]
    assert found == records


@given(records=DATA_RECORDS, data=st.data())
def test_a_truncated_file(path: Path, records: Any, data: Any) -> None:
    """Everything up to the last whole record is read."""
    pieces = encoded(records)
    whole = file_head() + b"".join(pieces)
    cut = data.draw(st.integers(len(file_head()), len(whole)))
    path.write_bytes(whole[:cut])
    position, count = len(file_head()), 0
    while count < len(pieces) and position + len(pieces[count]) <= cut:
        position += len(pieces[count])
        count += 1
    assert len(list(read_recording(path))) == count


@given(records=DATA_RECORDS.filter(bool), data=st.data())
def test_a_damaged_file(path: Path, records: Any, data: Any) -> None:
    """A byte that is another one is noticed; what comes before it is read."""
    pieces = encoded(records)
    whole = bytearray(file_head() + b"".join(pieces))
    at = data.draw(st.integers(len(file_head()), len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    found: List[Record] = []
    with pytest.raises(RecordingError, match=r"is damaged: the record at byte \d+"):
        found.extend(read_recording(path))  # keeps those before the error
    assert [record.data for record in found] == [data for *_, data, _, _ in records[: len(found)]]


def test_as_documented(path: Path) -> None:
    """By the description in docs/recording.md, without the library's code."""
    body = struct.pack("<BBHIqq", 2, 3, 0, 7, 11, 13) + b"bytes"
    head = struct.pack("<II", len(body), zlib.crc32(body))
    record = head + struct.pack("<I", zlib.crc32(head)) + body
    path.write_bytes(b"\x89PICOWS\n" + struct.pack("<H", 1) + bytes(6) + record)
    (found,) = read_recording(path)
    assert (found.kind, found.connection, found.data) == ("data", 7, b"bytes")
    assert (found.monotonic_ns, found.time_ns) == (11, 13)
    assert found.direction is WSDirection.SENT
    assert found.is_handshake
    assert found.role is None
    assert found.url is None


def test_later_kinds_are_passed_over(path: Path) -> None:
    path.write_bytes(
        file_head()
        + encode_record(99, 1, 0, 0, b"?")
        + encode_record(OPEN, 1, 0, 0, b'{"role": "server", "url": "ws://a/", "more": 1}')
    )
    (record,) = read_recording(path)
    assert (record.role, record.url) == ("server", "ws://a/")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"short", "is not a recording"),
        (b"x" * 40, "is not a recording"),
        (b"\x89PICOWS\n\x02\x00" + bytes(6), "version 2; version 1 can be read"),
        (file_head() + encode_record(OPEN, 1, 0, 0, b"{"), "is damaged: the record at byte 16"),
        *(
            (file_head() + encode_record(OPEN, 1, 0, 0, facts), text)
            for facts, text in (
                (b"5", "is no object"),
                (b"null", "is no object"),
                (b"[[1, 2]]", "is no object"),
                (b"[" * 200_000, "too deeply"),
                (b'{"role": "peer"}', "neither client nor server"),
                (b'{"role": []}', "neither client nor server"),
                (b'{"continues": null}', "continuation"),
                (b'{"continues": {"heads": 1}}', "continuation"),
                (CONTINUES % (b"-1", b"00"), "continuation"),
                (CONTINUES % (b"0", b"0"), "fromhex"),
            )
        ),
    ],
)
def test_wrong_files(path: Path, content: bytes, text: str) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=text):
        list(read_recording(path))
    with pytest.raises(ValueError, match=text):
        list(read_recording(str(path)))


def test_files_of_a_series(tmp_path: Path) -> None:
    for name in ("a.rec", "a.rec.2", "a.rec.10", "a.rec.1", "a.rec.bak", "b.rec.3"):
        (tmp_path / name).touch()
    names = [each.name for each in files_of(tmp_path / "a.rec")]
    assert names == ["a.rec.1", "a.rec.2", "a.rec.10", "a.rec"]
    assert [each.name for each in files_of(tmp_path / "a.rec.2")] == ["a.rec.2"]
