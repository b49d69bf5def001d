"""A compiled program in the manner of picows 0.2.1, built against the installed codec and run."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from picows_client import WSCloseCode, WSMsgType, ws_connect
from tests.conftest import Run
from tests.support.extensions import compile_extension
from tests.support.rawpeer import Frame, RawConnection, raw_peer
from tests.support.servers import PLAIN_BACKENDS

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="clock_gettime is POSIX"),
    pytest.mark.timeout(300),
]

PROGRAM = Path(__file__).parent / "programs" / "compiled_echo_client.pyx"
ROUNDS = 5


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    pytest.importorskip("Cython")
    return compile_extension(
        PROGRAM.stem, PROGRAM.read_text("utf-8"), tmp_path_factory.mktemp("program")
    )


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_echo_client(program: ModuleType, run: Run, backend: str, size: int) -> None:
    """It sends out of its own buffer, gathers what comes back in fragments, and disconnects."""

    async def serve(peer: RawConnection) -> None:
        await peer.accept_upgrade()
        for _ in range(ROUNDS):
            frame = await peer.read_frame()
            assert frame.opcode == WSMsgType.BINARY
            assert len(frame.payload) == size
            third = size // 3
            peer.write_frame(WSMsgType.BINARY, frame.payload[:third], fin=False)
            peer.write_frame(WSMsgType.CONTINUATION, frame.payload[third : 2 * third], fin=False)
            peer.write_frame(WSMsgType.CONTINUATION, frame.payload[2 * third :])
        assert await peer.read_frame() == Frame(WSMsgType.TEXT, b"bye")
        assert await peer.read_frame() == Frame(WSMsgType.CLOSE, b"\x03\xe8done")
        peer.write_frame(WSMsgType.CLOSE, b"\x03\xe8and good bye")

    async def main() -> Any:
        async with raw_peer(serve) as peer:
            transport, listener = await ws_connect(
                peer.url(), lambda: program.EchoClient(size, ROUNDS), backend=backend
            )
            await transport.wait_disconnected()
            await peer.finished()
            return listener

    listener = run(main)
    assert listener.error is None
    assert listener.fragments == 3 * ROUNDS
    assert len(listener.round_trips) == ROUNDS
    assert min(listener.round_trips) > 0
    assert listener.close_code is WSCloseCode.OK
    assert listener.close_message == "and good bye"
    assert (listener.was_connected, listener.is_connected) == (True, False)
    assert listener.transport.is_disconnected


def test_the_constants_are_the_members(program: ModuleType) -> None:
    for name, number in program.OPCODES.items():
        assert WSMsgType[name] == number
    assert len(program.OPCODES) == len(WSMsgType)
    for name, number in program.CLOSE_CODES.items():
        assert WSCloseCode[name] == number
