"""The event loop of a process, from its making to its end."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Coroutine, Set, TypeVar, Union

from picows_codec import WSInvalidOptionError

__all__ = ["LOOPS", "LoopChoice", "check_loop", "new_loop", "run_loop"]

T = TypeVar("T")

#: A name, or a function that makes an event loop.
LoopChoice = Union[str, Callable[[], asyncio.AbstractEventLoop]]
LOOPS = ("auto", "uvloop", "asyncio")


def check_loop(loop: Any) -> None:
    """Raise for what is neither one of ``LOOPS`` nor a function."""
    if isinstance(loop, str):
        if loop not in LOOPS:
            raise WSInvalidOptionError(f"loop must be 'auto', 'uvloop' or 'asyncio', not {loop!r}")
    elif not callable(loop):
        raise TypeError(
            f"loop must be a name or a function that makes a loop, not {type(loop).__name__}"
        )


def new_loop(loop: LoopChoice = "auto") -> asyncio.AbstractEventLoop:
    """Make the loop: ``"auto"`` takes uvloop where it is installed.

    Raises :class:`WSInvalidOptionError` for ``"uvloop"`` where it is not.
    """
    check_loop(loop)
    if not isinstance(loop, str):
        return loop()
    if loop != "asyncio":
        try:
            import uvloop  # noqa: PLC0415 - an extra
        except ImportError:
            if loop == "uvloop":
                raise WSInvalidOptionError(
                    "loop='uvloop' needs uvloop: pip install picows-server[uvloop] (not on Windows)"
                ) from None
        else:
            made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return made
    return asyncio.new_event_loop()


def run_loop(main: Callable[[], Coroutine[Any, Any, T]], loop: LoopChoice = "auto") -> T:
    """Run ``main()`` on a loop of its own; cancel what it has left, and close the loop."""
    running = new_loop(loop)
    try:
        asyncio.set_event_loop(running)
        return running.run_until_complete(main())
    finally:
        try:
            _cancel_tasks(running)
            running.run_until_complete(running.shutdown_asyncgens())
            if hasattr(running, "shutdown_default_executor"):  # Python 3.9
                running.run_until_complete(running.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            running.close()


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks: Set[asyncio.Task[Any]] = asyncio.all_tasks(loop)
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "an exception in a task that was cancelled at the end",
                    "exception": task.exception(),
                    "task": task,
                }
            )
