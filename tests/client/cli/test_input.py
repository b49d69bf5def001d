"""Lines of a pipe, a file, a terminal, or nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import List, Optional

import pytest

from picows_client.cli.input import InputLines, UnreadableInput
from tests.support.loops import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs add_reader for pipes")


async def all_lines(descriptor: Optional[int]) -> List[bytes]:
    lines = InputLines(descriptor)
    found = []
    while True:
        line = await lines.read_line()
        if line is None:
            assert await lines.read_line() is None
            return found
        found.append(line)


CASES = [
    (b"", []),
    (b"one\n", [b"one"]),
    (b"one", [b"one"]),
    (b"one\r\ntwo\r", [b"one", b"two"]),
    (b"\n\na\n\n", [b"", b"", b"a", b""]),
    (b"x" * 200_000 + b"\nshort", [b"x" * 200_000, b"short"]),
]


@pytest.mark.parametrize(("data", "lines"), CASES)
def test_pipe(data: bytes, lines: List[bytes]) -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert run(lambda: all_lines(reader)) == lines
    finally:
        thread.join()
        os.close(reader)


@pytest.mark.parametrize(("data", "lines"), CASES)
def test_file(tmp_path: Path, data: bytes, lines: List[bytes]) -> None:
    path = tmp_path / "input"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert run(lambda: all_lines(file.fileno())) == lines


def test_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kqueue, unlike epoll, takes a file, but never reports its end; others run between reads."""
    path = tmp_path / "input"
    path.write_bytes(b"x" * 200_000 + b"\nshort")
    iterations = 0

    async def main() -> List[bytes]:
        def count() -> None:
            nonlocal iterations
            iterations += 1
            loop.call_soon(count)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_reader", lambda *_: None)
        loop.call_soon(count)
        with path.open("rb") as file:
            return await all_lines(file.fileno())

    assert run(main) == [b"x" * 200_000, b"short"]
    assert iterations > 3


def test_loop_without_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: files can be read, others are refused."""
    path = tmp_path / "input"
    path.write_bytes(b"one\n")

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        with path.open("rb") as file:
            assert await all_lines(file.fileno()) == [b"one"]
        reader, writer = os.pipe()
        with pytest.raises(UnreadableInput, match="take -x"):
            InputLines(reader)
        os.close(reader)
        os.close(writer)

    run(main)


def test_byte_by_byte() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        lines = InputLines(reader)
        task = asyncio.ensure_future(lines.read_line())
        for byte in b"on":
            os.write(writer, bytes([byte]))
            await asyncio.sleep(0.001)
        assert not task.done()
        os.write(writer, b"e\nt")
        assert await task == b"one"
        os.close(writer)
        assert await lines.read_line() == b"t"
        assert await lines.read_line() is None
        os.close(reader)

    run(main)


def test_cancelled() -> None:
    """Nothing is left, and nothing is lost."""

    async def main() -> None:
        reader, writer = os.pipe()
        lines = InputLines(reader)
        task = asyncio.ensure_future(lines.read_line())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert not asyncio.get_running_loop().remove_reader(reader)
        os.write(writer, b"one\n")
        assert await lines.read_line() == b"one"
        os.close(reader)
        os.close(writer)

    run(main)


def test_a_descriptor_in_non_blocking_mode() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        lines = InputLines(reader)
        assert lines._read() is None
        lines._take(None)
        os.write(writer, b"one\n")
        assert await lines.read_line() == b"one"
        os.close(reader)
        os.close(writer)

    run(main)


def test_no_input() -> None:
    assert run(lambda: all_lines(None)) == []
    with open(os.devnull, "rb") as file:
        assert run(lambda: all_lines(file.fileno())) == []
