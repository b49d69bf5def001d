"""The main function of a worker."""

from __future__ import annotations

import faulthandler
import pickle
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, List, Optional

from picows_codec import WSInvalidOptionError
from picows_server.running.failures import describe_failure
from picows_server.running.forked_children import (
    ForkHook,
    give_up_descriptors,
    give_up_signals,
)
from picows_server.running.workers.channel import receive_blocking, send_blocking
from picows_server.running.workers.main_module import import_main_module
from picows_server.running.workers.messages import Failed, StartWorker
from picows_server.running.workers.parent_death import die_with_parent

__all__ = ["run_worker"]

# Those that a terminal or a service manager sends to all processes. The supervisor gets them, too,
# and tells the workers what to do.
_FOR_THE_SUPERVISOR = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTTIN", "SIGTTOU")


def run_worker(channel: int, parent: int) -> None:
    """Serve until the supervisor says stop, and exit.

    ``channel`` is the descriptor of the pipe; ``parent`` is the supervisor's process id.
    """
    die_with_parent(parent)
    numbers = [getattr(signal, name) for name in _FOR_THE_SUPERVISOR]
    for number in numbers:
        signal.signal(number, _leave_to_supervisor)
    usual = {**dict.fromkeys(numbers, signal.SIG_DFL), signal.SIGINT: signal.default_int_handler}
    ForkHook(lambda: give_up_signals(usual), numbers)
    _show_stack_on_sigquit()
    sock = _own(channel)
    try:
        message = receive_blocking(sock)
    except (EOFError, OSError):
        sys.exit(1)
    if not isinstance(message, StartWorker):
        sys.exit(f"unexpected message: {message!r}")
    sys.exit(_work(sock, message))


def _leave_to_supervisor(_: int, __: Optional[FrameType]) -> None:
    """Do nothing. Not SIG_IGN, which programs that the application starts would inherit."""


def _show_stack_on_sigquit() -> None:
    """The supervisor asks for the stack of a worker that does not answer."""
    # Not in this thread: register() gives the thread that calls it an alternate stack of 16 KiB, on
    # which all handlers of Python 3.10 and newer run then (SA_ONSTACK). Each signal that is pending
    # takes 3 KiB of it on some processors, so that five at once write beyond its end.
    try:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(faulthandler.register, signal.SIGQUIT).result()
    except (OSError, RuntimeError):  # there is no standard error
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)


def _work(sock: socket.socket, start: StartWorker) -> int:
    sockets = [_own(descriptor) for descriptor in start.sockets]
    ForkHook(lambda: give_up_descriptors(_open_ones(sock, *sockets)))
    try:
        sys.path[:] = start.sys_path
        sys.argv[:] = start.argv
        if start.main_module is not None:
            import_main_module(*start.main_module)
        settings = _settings(start)
        # After the user's modules, which may install what makes loops, or change logging.
        from picows_server.running.workers.serving_worker import serve_worker  # noqa: PLC0415

        return serve_worker(sock, start.heartbeat_interval, settings, sockets)
    except BaseException as error:  # whatever user code raises, sys.exit() included
        if sock.fileno() < 0:
            raise  # after its last words
        send_blocking(sock, Failed(describe_failure(error)))
        return 1


def _settings(start: StartWorker) -> Any:
    try:
        return pickle.loads(start.settings)  # noqa: S301 - from the supervisor
    except AttributeError as error:
        if start.main_module is None:
            raise
        raise WSInvalidOptionError(
            f'{error}: define what workers need above if __name__ == "__main__":'
        ) from None


def _open_ones(*sockets: socket.socket) -> List[int]:
    return [sock.fileno() for sock in sockets if sock.fileno() >= 0]


def _own(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    return sock
