"""A pipe that is written without blocking, until its reader leaves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Any, List, Optional

import pytest

from picows_client.cli.output import StandardOutput
from tests.support.loops import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs poll")


class Calls:
    def __init__(self) -> None:
        self.gone: List[Optional[OSError]] = []
        self.drained = 0
        self.event = asyncio.Event()

    def on_gone(self, error: Optional[OSError]) -> None:
        self.gone.append(error)
        self.event.set()

    def on_drained(self) -> None:
        self.drained += 1


def opened(descriptor: int) -> Any:
    calls = Calls()
    return StandardOutput(descriptor, calls.on_gone, calls.on_drained), calls


async def read_all(descriptor: int, size: int) -> bytes:
    os.set_blocking(descriptor, False)
    data = b""
    while len(data) < size:
        with contextlib.suppress(BlockingIOError):
            data += os.read(descriptor, 65536)
        await asyncio.sleep(0)
    return data


def test_what_fits_is_written_at_once() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output, calls = opened(writer)
        output.write(b"one\n")
        output.write(b"two\n")
        assert os.read(reader, 100) == b"one\ntwo\n"
        assert not output.is_full
        await output.drain()
        output.close()
        assert calls.gone == []
        os.close(reader)
        os.close(writer)

    run(main)


def test_slow_reader() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output, calls = opened(writer)
        data = os.urandom(1_000_000)
        output.write(data[:400_000])
        output.write(data[400_000:])
        assert output.is_full
        assert os.get_blocking(writer)
        assert await read_all(reader, len(data)) == data
        await output.drain()
        assert calls.drained == 1
        assert not output.is_full
        output.close()
        os.close(reader)
        os.close(writer)

    run(main)


def test_reader_leaves_while_nothing_is_written() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output, calls = opened(writer)
        os.close(reader)
        await calls.event.wait()
        output.write(b"more")
        await output.drain()
        assert calls.gone == [None]
        os.close(writer)

    run(main)


def test_reader_leaves_in_the_middle() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output, calls = opened(writer)
        output.write(bytes(1_000_000))
        os.close(reader)
        await output.drain()
        assert calls.gone == [None]
        os.close(writer)

    run(main)


def test_broken_pipe_at_a_write() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output, calls = opened(writer)
        os.close(reader)
        output.write(b"more")
        assert calls.gone == [None]
        os.close(writer)

    run(main)


def test_file(tmp_path: Path) -> None:
    async def main() -> None:
        with (tmp_path / "output").open("wb") as file:
            output, _ = opened(file.fileno())
            output.write(bytes(1_000_000))
            await output.drain()
            assert os.fstat(file.fileno()).st_size == 1_000_000
            output.close()

    run(main)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk() -> None:
    async def main() -> None:
        descriptor = os.open("/dev/full", os.O_WRONLY)
        output, calls = opened(descriptor)
        output.write(b"more")
        [error] = calls.gone
        assert error.errno == errno.ENOSPC
        os.close(descriptor)

    run(main)


def test_a_descriptor_in_non_blocking_mode() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        output, _ = opened(writer)
        output._is_writable = lambda: True  # another process has filled it in between
        output.write(bytes(200_000))
        del output._is_writable
        assert len(await read_all(reader, 200_000)) == 200_000
        await output.drain()
        output.close()
        os.close(reader)
        os.close(writer)

    run(main)


def test_closed_with_something_queued() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        output, calls = opened(writer)
        output.write(bytes(1_000_000))
        output.close()
        await output.drain()
        assert calls.gone == []
        os.close(reader)
        os.close(writer)

    run(main)
