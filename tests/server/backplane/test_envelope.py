from __future__ import annotations

from typing import Optional

import pytest

from picows_server.backplane.envelope import (
    ENVELOPE_OVERHEAD,
    PRODUCER_SIZE,
    RECORD_OVERHEAD,
    PublishedRecord,
    decode_envelope,
    encode_published,
    plain_envelope,
    sequence_of,
)

PRODUCER = bytes(range(PRODUCER_SIZE))
RECORDS = [
    (1, 0, None, 1, None, b""),
    (2**63, 1, 0, 2, "", b"x" * 70_000),
    (3, 2, 2**62, 1, "kä\ud800", bytes(range(256))),
    (4, 3, 1, 1, "k" * 70_000, b"x"),
]


def test_round_trip() -> None:
    data = plain_envelope(PRODUCER, [encode_published(*record) for record in RECORDS])
    assert decode_envelope(data) == (None, PRODUCER, RECORDS)
    position, producer, records = decode_envelope(b"\x02ab12 7\n" + data[1:])
    assert position == (7, "ab12")
    assert (producer, records) == (PRODUCER, RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_one_record(record: PublishedRecord) -> None:
    data = plain_envelope(PRODUCER, [encode_published(*record)])
    assert decode_envelope(data) == (None, PRODUCER, [record])


def test_overhead() -> None:
    records = [encode_published(*record) for record in RECORDS]
    assert len(plain_envelope(PRODUCER, records[:1])) <= RECORD_OVERHEAD
    assert len(plain_envelope(PRODUCER, records)) == sum(map(len, records)) + ENVELOPE_OVERHEAD
    assert [sequence_of(record) for record in records] == [record[0] for record in RECORDS]


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello", b"\x02abc", b"\x02a b\n"])
def test_not_ours(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_envelope(data)


@pytest.mark.parametrize("key", [None, "key"])
def test_half_a_record(key: Optional[str]) -> None:
    data = plain_envelope(PRODUCER, [encode_published(1, 0, None, 1, key, b"payload")])
    for size in range(1 + PRODUCER_SIZE + 1, len(data)):
        with pytest.raises(ValueError, match="half a record"):
            decode_envelope(data[:size])
