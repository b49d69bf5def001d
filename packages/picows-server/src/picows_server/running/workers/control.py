"""What the supervisor makes a worker do, and what it hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Optional

from picows_server.running.process import Commands, Control
from picows_server.running.workers.channel import Channel
from picows_server.running.workers.memory import resident_set_size
from picows_server.running.workers.messages import (
    Abort,
    Drain,
    Failed,
    Heartbeat,
    Leaving,
    Ready,
    StoppedAccepting,
)
from picows_server.server import WSServer

__all__ = ["WorkerControl"]

# Seconds for the last messages of a worker.
_LAST_WORDS = 2.0


class WorkerControl(Control):
    """Stands in a worker where a process of its own has signals.

    When the application is imported, which may take long, it begins to send a heartbeat every
    ``interval`` seconds, made in the loop: a loop that is blocked sends none.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, interval: float
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._channel = Channel(loop, sock, self._received, self._supervisor_died)
        self._commands: Optional[Commands] = None
        self._server: Optional[WSServer] = None
        self._timer: Optional[asyncio.TimerHandle] = None
        loop.add_signal_handler(signal.SIGTERM, self._channel.send, Leaving())

    # What serve_process() calls

    def bind(self, commands: Commands) -> None:
        self._commands = commands
        self._beat()

    def started(self, server: WSServer) -> None:
        self._server = server
        self._beat()
        self._channel.send(Ready())

    def stopped_accepting(self) -> None:
        self._channel.send(StoppedAccepting())

    def stopped(self) -> None:
        self._beat()  # the last numbers

    # From the supervisor

    def failed(self, reason: str) -> None:
        """Tell why the worker ends."""
        self._channel.send(Failed(reason))

    def close(self) -> None:
        """Say the last words."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_signal_handler(signal.SIGTERM)
        self._channel.finish(_LAST_WORDS)

    def _received(self, message: object) -> None:
        if self._commands is None:
            return  # whoever has sent no heartbeat is killed instead
        if isinstance(message, Drain):
            self._commands.drain(message.grace, leaves_waiting=message.leaves_waiting)
        elif isinstance(message, Abort):
            self._commands.abort(0)

    def _supervisor_died(self) -> None:
        # Nobody else will ever end this worker, and its sockets would keep their port.
        os._exit(1)

    def _beat(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._interval, self._beat)
        server = self._server
        self._channel.offer(
            Heartbeat(
                resident_set_size(),
                0 if server is None else server.connections,
                None if server is None else server.stats(),
            )
        )
