"""Lines of standard input, read without blocking the event loop and without a thread."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from typing import Deque, List, Optional

__all__ = ["InputLines", "UnreadableInput"]

_CHUNK = 65536


class UnreadableInput(Exception):
    """The event loop cannot wait for this input."""


class InputLines:
    """The lines of a pipe, a file or a terminal, which edits lines itself.

    The descriptor stays in blocking mode, because the mode belongs to the open file, which other
    processes (the shell) use, too: it is read once for each time that the loop calls it readable.

    :param descriptor: None is an empty input.
    :raises UnreadableInput: the loop, that of Windows, cannot wait for what is no file.
    """

    def __init__(self, descriptor: Optional[int]) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: Deque[bytes] = deque()
        self._unfinished: List[bytes] = []  # the parts of a line whose end has not been read
        self._is_at_end = descriptor is None
        self._is_always_readable = descriptor is None or self._needs_no_wait(descriptor)

    async def read_line(self) -> Optional[bytes]:
        """Return the next line without its end, or None after the last one."""
        while not self._lines:
            if self._is_at_end:
                return None
            await self._wait_until_readable()
            self._take(self._read())
        return self._lines.popleft()

    def _read(self) -> Optional[bytes]:
        if self._descriptor is None:
            return b""
        try:
            return os.read(self._descriptor, _CHUNK)
        except BlockingIOError:  # another process has set the mode, and was faster
            return None
        except OSError:  # a terminal that has hung up
            return b""

    def _take(self, chunk: Optional[bytes]) -> None:
        if chunk is None:
            return
        first, *others = chunk.split(b"\n")
        self._unfinished.append(first)
        if not chunk:
            self._is_at_end = True
        if others or (self._is_at_end and any(self._unfinished)):
            self._lines.append(_without_return(b"".join(self._unfinished)))
            self._lines.extend(map(_without_return, others[:-1]))
            self._unfinished = others[-1:]

    def _needs_no_wait(self, descriptor: int) -> bool:
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):  # kqueue does not report its end
                return True
            self._loop.add_reader(descriptor, _do_nothing)
        except NotImplementedError:
            raise UnreadableInput(
                "input from a pipe or a terminal cannot be read here; take -x, or a file as input"
            ) from None
        except OSError:  # a device that epoll or kqueue refuses, or no descriptor
            return True
        self._loop.remove_reader(descriptor)
        return False

    async def _wait_until_readable(self) -> None:
        if self._descriptor is None or self._is_always_readable:
            await asyncio.sleep(0)
            return
        readable = self._loop.create_future()
        self._loop.add_reader(self._descriptor, _set, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(self._descriptor)


def _without_return(line: bytes) -> bytes:
    return line[:-1] if line.endswith(b"\r") else line


def _do_nothing() -> None:
    pass


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
