"""Frames to bytes: encoding, masking keys, and a transport that cannot write."""

from __future__ import annotations

import contextlib

import pytest

from picows_codec import WSDisconnectKind, WSState, WSStateError
from picows_codec.testing.memory_transport import InjectedFault
from tests.support import frames
from tests.support.connection import Connection, both_roles
from tests.support.frames import BINARY, TEXT, Frame, pattern

# Around every change of the encoding, of the gather write, of the pieces in which a loop's own
# transport gets a large frame (64,512 bytes, the header included), and of the write buffer (128 KiB
# of frames that leave together, 1 MiB of one frame).
SIZES = [0, 1, 125, 126, 127, 4096, 16384, 16385, 64504, 64505, 64508, 64509, 65535, 65536]
SIZES += [129010, 129011, 129014, 129015, 131058, 131059, 131071, 131072, 131073, 400_000]
SIZES += [1048562, 1048563, 1048576, 1048577, 2_500_000]


@both_roles
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corked", [True, False])
def test_sizes(role: str, size: int, corked: bool) -> None:
    connection = Connection(role)
    if corked:
        with connection.ws.cork():
            connection.ws.send(BINARY, pattern(size))
    else:
        connection.ws.send(BINARY, pattern(size))
    written = connection.sent_bytes()
    frame, used = frames.parse(written)
    assert frame is not None
    assert used == len(written)
    assert frame.payload == pattern(size)
    # The length is in its minimal encoding (RFC 6455, 5.2).
    assert written[: len(written) - size] == frames.header(BINARY, size, key=frame.key)


@both_roles
@pytest.mark.parametrize("corked", [True, False])
def test_large_frames_reach_a_transport_in_pieces(role: str, corked: bool) -> None:
    connection = Connection(role)
    with connection.ws.cork() if corked else contextlib.nullcontext():
        connection.ws.send(BINARY, pattern(1_000_000))
    assert connection.sent() == [Frame(BINARY, pattern(1_000_000))]
    assert max(map(len, connection.transport.writes)) <= 64512


@both_roles
@pytest.mark.parametrize("first", [0, 100, 131_000, 131_058, 131_059])
@pytest.mark.parametrize("second", [1, 131_072, 200_000, 1_048_576, 2_000_000])
def test_cork_around_large_frames(role: str, first: int, second: int) -> None:
    """Nothing overtakes anything, and no more than 128 KiB are held back."""
    connection = Connection(role)
    sizes = [first, second, 10, second, first]
    with connection.ws.cork():
        for size in sizes:
            connection.ws.send(BINARY, pattern(size))
            assert connection.ws.write_queue_size < 131_072
    assert connection.sent() == [Frame(BINARY, pattern(size)) for size in sizes]


def test_every_frame_of_a_client_has_a_key_of_its_own() -> None:
    connection = Connection("client")
    for _ in range(1000):
        connection.ws.send(TEXT, b"same")
    found, _ = frames.parse_all(connection.sent_bytes())
    assert len({frame.key for frame in found}) > 990


# A transport that cannot write


@both_roles
@pytest.mark.parametrize("corked", [True, False])
@pytest.mark.parametrize(("size", "nth"), [(10, 1), (200_000, 1), (200_000, 2)])
def test_transport_that_cannot_write(role: str, corked: bool, size: int, nth: int) -> None:
    connection = Connection(role)
    connection.transport.fail_next(nth)

    def send() -> None:
        with connection.ws.cork() if corked else contextlib.nullcontext():
            connection.ws.send(BINARY, b"x" * size)

    with pytest.raises(InjectedFault):
        send()
    # There may be a gap in the stream: nothing can follow.
    assert connection.ws.state is WSState.CLOSING
    with pytest.raises(WSStateError):
        connection.ws.send(TEXT, b"x")
    connection.loop.run_ready()
    assert connection.transport.aborted
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CONNECTION_LOST
    assert "InjectedFault" in str(connection.cause.exception)
