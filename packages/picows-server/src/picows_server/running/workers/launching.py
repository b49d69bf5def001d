"""A worker as a process: a new interpreter with sockets and one end of a pipe.

``subprocess``, not ``multiprocessing``: the worker has a session of its own from its first
instruction on, so a terminal's Ctrl-C reaches only the supervisor, which decides; descriptors are
passed by number; and there is no helper process that could be left behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence, Tuple

import picows_codec

__all__ = ["describe_status", "launch"]

_OWN_PATH = Path(__file__).parents[3]

# Modules of the current directory are not for a worker unless this process looks there, too: that
# comes with the first message. The packages may lie where only this process looks for them.
_PROGRAM = (
    "import sys; sys.path[:] = dict.fromkeys([each for each in sys.path if each] + {paths!r});"
    " from picows_server.running.workers.worker import run_worker;"
    " run_worker({channel}, {parent})"
)


def launch(
    slot: int, sockets: Sequence[socket.socket]
) -> Tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker; return the process, and the supervisor's end of the pipe.

    The worker gets the sockets under the same numbers, and waits for its first message.
    """
    own, theirs = socket.socketpair()
    try:
        with theirs:
            channel = theirs.fileno()
            process = subprocess.Popen(  # noqa: S603
                _command(slot, channel),
                stdin=subprocess.DEVNULL,
                pass_fds=[channel, *(sock.fileno() for sock in sockets)],
                start_new_session=True,
            )
    except BaseException:
        own.close()
        raise
    return process, own


def _command(slot: int, channel: int) -> List[str]:
    paths = {str(path): None for path in (_OWN_PATH, Path(str(picows_codec.__file__)).parents[1])}
    program = _PROGRAM.format(paths=list(paths), channel=channel, parent=os.getpid())
    # What -O, -W, -X and the like have set is for workers, too.
    flags: List[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    # The last argument is only for those who look at a list of processes.
    return [sys.executable, *flags, "-c", program, f"picows-worker-{slot}"]


def describe_status(status: int) -> str:
    """Say how a process ended, from its return code (negative: a signal)."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
