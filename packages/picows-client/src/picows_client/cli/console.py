"""Where messages and remarks go: standard output and standard error, or a terminal with both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Callable, Optional

from picows_client.cli.line_editor import LineEditor
from picows_client.cli.output import StandardOutput
from picows_client.cli.terminal_text import harmless
from picows_codec.log_text import one_line

__all__ = ["Console"]


class Console:
    """Prints messages to standard output and remarks to standard error.

    :param on_gone, on_drained: see :class:`StandardOutput`.
    :param editor: where a user types between what is printed. Then everything is written at once.
    """

    def __init__(
        self,
        on_gone: Callable[[Optional[OSError]], object],
        on_drained: Callable[[], object],
        editor: Optional[LineEditor] = None,
    ) -> None:
        self._on_gone = on_gone
        self.editor = editor
        self._output = None if editor is not None else StandardOutput(1, on_gone, on_drained)
        self._has_progress = False

    @property
    def is_full(self) -> bool:
        """Whether messages arrive faster than somebody reads the output."""
        return self._output is not None and self._output.is_full

    def print_message(self, rendered: bytes) -> None:
        """Print what a :class:`Rendering` returns."""
        if self._output is not None:
            self._output.write(rendered)
        elif self.editor is not None:
            self.editor.print_above(lambda: self._write_to_terminal(rendered))

    def print_line(self, text: str) -> None:
        """Print a line of the program's own on standard output."""
        self.print_message(f"{text}\n".encode())

    def remark(self, text: str) -> None:
        """Write lines to standard error, harmless for a terminal."""
        self.clear_progress()
        if self.editor is not None:
            self.editor.print_above(lambda: _write_error(f"{harmless(text)}\n"))
        else:
            _write_error(f"{harmless(text)}\n")

    def complain(self, text: object) -> None:
        """Write an error to standard error."""
        self.remark(f"picows: {one_line(text)}")

    def show_progress(self, line: str) -> None:
        """Show a line that the next one replaces, if standard error is a terminal."""
        if sys.stderr is not None and sys.stderr.isatty():
            _write_error(f"\r{line}\x1b[K")
            self._has_progress = True

    def clear_progress(self) -> None:
        """Take that line away."""
        if self._has_progress:
            _write_error("\r\x1b[K")
            self._has_progress = False

    async def drain(self) -> None:
        """Return when everything is written."""
        if self._output is not None:
            await self._output.drain()

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self.editor is not None:
            self.editor.close()
        if self._output is not None:
            self._output.close()

    def _write_to_terminal(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(1, data) :]
        except OSError as error:  # it has hung up
            asyncio.get_running_loop().call_soon(self._on_gone, error)


def _write_error(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None
        sys.stderr.write(text)
        sys.stderr.flush()
