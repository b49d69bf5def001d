"""Line editing by the readline library, on the event loop: messages do not garble what is typed.

``input()`` of the standard library waits inside the library and would need a thread of its own,
which nothing can end. So its module is imported, which loads and configures the library, and the
library's interface for event loops is called in that very library by ctypes.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections import deque
from typing import Any, Callable, Deque, Optional

__all__ = ["LineEditor", "load_readline"]

_LINE_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_NEEDED = (
    "rl_callback_handler_install",
    "rl_callback_handler_remove",
    "rl_callback_read_char",
    "rl_forced_update_display",
)


def load_readline() -> Optional[Any]:
    """Return the library, or None where it cannot be called so."""
    try:
        import readline  # noqa: PLC0415 - not every Python has it

        library = ctypes.CDLL(getattr(readline, "__file__", None))  # None: part of the program
    except (ImportError, OSError, TypeError):
        return None
    if all(hasattr(library, name) for name in _NEEDED):
        return library
    return None


class LineEditor:
    """Edits lines on standard input and output, which are a terminal.

    :param library: what :func:`load_readline` returns.
    """

    def __init__(self, library: Any, prompt: str) -> None:
        import readline  # noqa: PLC0415

        self._readline = readline
        self._library = library
        self._prompt = prompt.encode()
        self._loop = asyncio.get_running_loop()
        self._lines: Deque[bytes] = deque()
        self._end = asyncio.Event()
        self._waiter: Optional[asyncio.Future[None]] = None
        self._is_installed = False
        self._handler = _LINE_HANDLER(self._line_typed)  # kept for as long as the library has it
        self._libc = ctypes.CDLL(None)
        self._libc.free.argtypes = (ctypes.c_void_p,)

    def start(self) -> None:
        """Show the prompt and take what is typed."""
        self._install()
        self._loop.add_reader(0, self._library.rl_callback_read_char)
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        if hasattr(self._library, "rl_resize_terminal"):
            self._loop.add_signal_handler(signal.SIGWINCH, self._library.rl_resize_terminal)

    def close(self) -> None:
        """Take prompt and typed line away, and give the terminal back as it was."""
        if not self._is_installed:
            return
        self._clear()
        self._remove()
        self._loop.remove_reader(0)
        self._loop.remove_signal_handler(signal.SIGTSTP)
        self._loop.remove_signal_handler(signal.SIGWINCH)

    async def read_line(self) -> Optional[bytes]:
        """Return the next line that was typed, or None after Ctrl-D."""
        while not self._lines:
            if self._end.is_set():
                return None
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._lines.popleft()

    async def wait_for_end(self) -> None:
        """Return after Ctrl-D, at once, whatever was typed before it."""
        await self._end.wait()

    def print_above(self, print_lines: Callable[[], object]) -> None:
        """Call what prints whole lines, as if the typed line were not there."""
        if not self._is_installed:
            print_lines()
            return
        self._clear()
        print_lines()
        self._library.rl_forced_update_display()

    def _install(self) -> None:
        self._library.rl_callback_handler_install(self._prompt, self._handler)
        self._is_installed = True

    def _remove(self) -> None:
        self._library.rl_callback_handler_remove()
        self._is_installed = False

    def _clear(self) -> None:
        if hasattr(self._library, "rl_clear_visible_line"):
            self._library.rl_clear_visible_line()
        else:  # another library behind the same functions, or one from before 2016
            os.write(1, b"\r\x1b[K")
        self._libc.fflush(None)  # the library's output is C's

    def _line_typed(self, pointer: Optional[int]) -> None:
        """Called by the library, with a line that is ours to free, or with NULL for Ctrl-D."""
        if pointer is None:
            self._end.set()
            self.close()
        else:
            line = ctypes.string_at(pointer)
            self._libc.free(pointer)
            if line:
                self._lines.append(line)
                self._readline.add_history(os.fsdecode(line))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _suspend(self) -> None:
        """Ctrl-Z: give the terminal back to the shell, and take it again afterwards."""
        self._clear()
        self._library.rl_deprep_terminal()
        self._loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)  # the program stops here
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._library.rl_prep_terminal(1)
        self._library.rl_forced_update_display()
