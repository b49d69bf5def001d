"""``--replay``: the messages of a recording, printed as if they arrived now."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Callable, Optional, Tuple

from picows_client.cli.arguments import Arguments
from picows_client.cli.console import Console
from picows_client.cli.listening import Progress, QuietListener, VerboseListener
from picows_client.cli.rendering import Rendering
from picows_client.cli.session import LOST, SUCCESS, WRONG_USAGE, MakeConsole, handle_signals
from picows_client.testing import Record, RecordingError, replay
from picows_codec import WSError

__all__ = ["ReplaySession"]


class ReplaySession:
    """:meth:`run` returns the exit code.

    :param make_rendering: gets the arguments, and ``clock``, which tells when a message arrived.
    """

    def __init__(
        self,
        arguments: Arguments,
        make_rendering: Callable[..., Rendering],
        make_console: MakeConsole,
    ) -> None:
        self._arguments = arguments
        self._moments: Tuple[int, int] = (0, 0)
        self._rendering = make_rendering(arguments, clock=lambda: self._moments)
        self._progress = Progress(arguments.count)
        self._console: Console = make_console(self._output_gone, self._progress.resume)
        self._output_error: Optional[OSError] = None
        self._stopped = asyncio.Event()

    async def run(self) -> int:
        """Replay."""
        handle_signals(self._stop)
        try:
            code = await self._replay()
            await self._console.drain()
        finally:
            self._console.close()
        if self._output_error is not None:
            self._console.complain(f"standard output: {self._output_error}")
            return LOST
        return code

    def _stop(self) -> None:
        if self._stopped.is_set():
            self._console.close()  # do not wait for a slow reader
        self._stopped.set()

    def _output_gone(self, error: Optional[OSError]) -> None:
        self._output_error = error
        self._stopped.set()

    async def _replay(self) -> int:
        path = str(self._arguments.replayed)
        options = {"enable_auto_pong": not self._arguments.is_verbose}
        work = asyncio.ensure_future(
            replay(path, self._listener, on_record=self._note_moments, **options)
        )
        events = (self._stopped, self._progress.is_satisfied)
        others = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait({work, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, *others):
                task.cancel()
            await asyncio.wait({work, *others})
        try:
            with contextlib.suppress(asyncio.CancelledError):
                work.result()
        except OSError as error:
            self._console.complain(error)
            return WRONG_USAGE
        except RecordingError as error:
            self._console.complain(error)
            return LOST
        except WSError as error:  # no endpoint of ours would have had this connection
            self._console.complain(f"{path} cannot be replayed: {error}")
            return LOST
        if self._progress.failure is not None:
            return LOST
        if self._progress.lacks_messages and not self._stopped.is_set():
            self._console.complain(self._progress.shortage)
            return LOST
        return SUCCESS

    def _note_moments(self, record: Record) -> None:
        self._moments = (record.time_ns, record.monotonic_ns)

    def _listener(self) -> QuietListener:
        kind = VerboseListener if self._arguments.is_verbose else QuietListener
        return kind(self._arguments, self._console, self._rendering, self._progress)
