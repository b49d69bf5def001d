"""Standard output, written without blocking the event loop, until its reader leaves."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from typing import Callable, Optional

__all__ = ["StandardOutput"]

_CHUNK = 4096  # PIPE_BUF of Linux: a pipe that is writable takes so much at once
_HIGH_WATERMARK = 65536


class StandardOutput:
    """A queue before a descriptor, which stays in blocking mode, as that of ``InputLines``.

    :param on_gone: called once when nothing can be written any more: with None if its reader has
        left, else with the error.
    :param on_drained: called when the queue is empty after it was full.
    """

    def __init__(
        self,
        descriptor: int,
        on_gone: Callable[[Optional[OSError]], object],
        on_drained: Callable[[], object],
    ) -> None:
        self._descriptor = descriptor
        self._on_gone = on_gone
        self._on_drained = on_drained
        self._loop = asyncio.get_running_loop()
        self._queue = bytearray()
        self._poll: Optional[select.poll] = None
        self._is_gone = False
        self._is_waiting = False
        self._was_full = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._is_watched = False
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                # It never has anything to read. Its reader's end makes it readable.
                self._loop.add_reader(descriptor, self._gone, None)
                self._is_watched = True

    @property
    def is_full(self) -> bool:
        """Whether whoever writes should wait for ``on_drained``."""
        return self._was_full

    def write(self, data: bytes) -> None:
        """Write now what fits, the rest as soon as it does. Without effect after ``on_gone``."""
        if self._is_gone:
            return
        self._queue += data
        if not self._is_waiting:
            self._write_what_fits()
        self._was_full = self._was_full or len(self._queue) > _HIGH_WATERMARK

    async def drain(self) -> None:
        """Return when everything is written, or nobody reads it."""
        await self._empty.wait()

    def _write_what_fits(self) -> None:
        written = 0
        try:
            with memoryview(self._queue) as queue:
                while written < len(queue) and self._is_writable():
                    written += os.write(self._descriptor, queue[written : written + _CHUNK])
        except BlockingIOError:  # another process has set the mode
            pass
        except BrokenPipeError:
            self._gone(None)
            return
        except OSError as error:  # a full disk, a terminal that has hung up
            self._gone(error)
            return
        del self._queue[:written]
        if self._queue:
            self._empty.clear()
            self._wait()
            return
        self._stop_waiting()
        self._empty.set()
        if self._was_full:
            self._was_full = False
            self._on_drained()

    def _is_writable(self) -> bool:
        return self._poll is None or bool(self._poll.poll(0))

    def _wait(self) -> None:
        if not self._is_waiting:
            self._loop.add_writer(self._descriptor, self._write_what_fits)
            self._is_waiting = True

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._loop.remove_writer(self._descriptor)
            self._is_waiting = False

    def _gone(self, error: Optional[OSError]) -> None:
        if not self._is_gone:
            self.close()
            self._on_gone(error)

    def close(self) -> None:
        """Drop what is queued."""
        self._is_gone = True
        self._stop_waiting()
        if self._is_watched:
            self._loop.remove_reader(self._descriptor)
            self._is_watched = False
        self._queue = bytearray()
        self._empty.set()
