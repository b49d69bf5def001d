"""The program ``picows``."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Callable, Optional, Sequence

from picows_client.cli.arguments import Arguments, parsed
from picows_client.cli.console import Console
from picows_client.cli.input import InputLines, UnreadableInput
from picows_client.cli.line_editor import LineEditor, load_readline
from picows_client.cli.rendering import Rendering
from picows_client.cli.session import LOST, SUCCESS, WRONG_USAGE, Lines, Session
from picows_client.cli.tls_context import tls_context

__all__ = ["main"]

_PROMPT = "> "
_PREFIX = "< "


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the program with ``sys.argv``, or the words given; returns the exit code."""
    arguments = parsed(words)
    if sys.stdout is None:
        return LOST  # a socket would get the descriptor, and be written to
    try:
        # Not uvloop, which sets descriptors to non-blocking mode: the shell uses these, too.
        return asyncio.run(_run(arguments))
    except KeyboardInterrupt:  # where a loop has no signal handlers
        return SUCCESS


async def _run(arguments: Arguments) -> int:
    editor = _editor() if _is_interactive(arguments) else None

    def make_console(
        on_gone: Callable[[Optional[OSError]], object], on_drained: Callable[[], object]
    ) -> Console:
        return Console(on_gone, on_drained, editor)

    if arguments.replayed is not None:
        module = import_module("picows_client.cli.replaying")
        code: int = await module.ReplaySession(arguments, _rendering, make_console).run()
        return code
    with ExitStack() as stack:
        try:
            lines = _lines(arguments, editor)
            context = tls_context(
                is_insecure=arguments.is_insecure,
                authorities=arguments.authorities,
                certificate=arguments.certificate,
                key=arguments.key,
            )
            recorder = None
            if arguments.recording is not None:
                recorder = stack.enter_context(_recorder(arguments.recording))
        except (ValueError, OSError, UnreadableInput) as error:
            if sys.stderr is not None:
                sys.stderr.write(f"picows: {error}\n")
            return WRONG_USAGE
        rendering = _rendering(arguments, prefix="" if editor is None else _PREFIX)
        session = Session(arguments, context, lines, rendering, make_console, recorder)
        if editor is not None:
            editor.start()
        return await session.run()


def _rendering(arguments: Arguments, **options: Any) -> Rendering:
    is_terminal = sys.stdout.isatty()
    return Rendering(
        arguments,
        is_terminal=is_terminal,
        is_coloured=is_terminal and _wants_colour(),
        encoding=sys.stdout.encoding,
        **options,
    )


def _recorder(path: str) -> Any:
    # Recordings are imported by those who ask for one.
    return import_module("picows_client.testing").Recorder(path)


def _is_interactive(arguments: Arguments) -> bool:
    """Whether somebody types messages and sees the others between them."""
    return (
        _reads_input(arguments)
        and sys.stdin is not None
        and sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def _reads_input(arguments: Arguments) -> bool:
    return not arguments.messages and arguments.pings is None and arguments.replayed is None


def _editor() -> Optional[LineEditor]:
    library = load_readline()
    return None if library is None else LineEditor(library, _PROMPT)


def _lines(arguments: Arguments, editor: Optional[LineEditor]) -> Optional[Lines]:
    if not _reads_input(arguments):
        return None
    return editor or InputLines(None if sys.stdin is None else sys.stdin.fileno())


def _wants_colour() -> bool:
    """Unless NO_COLOR (no-color.org) is set, or the terminal knows no colours."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
