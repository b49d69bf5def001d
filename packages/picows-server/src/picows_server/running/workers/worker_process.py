"""One worker, as the supervisor sees it."""

from __future__ import annotations

import asyncio
import enum
import random
import signal
import socket
import subprocess
from typing import Optional

from picows_server.logs import Logger
from picows_server.running.workers.channel import Channel
from picows_server.running.workers.launching import describe_status
from picows_server.running.workers.messages import (
    Abort,
    Drain,
    Failed,
    Heartbeat,
    Leaving,
    Ready,
    StartWorker,
    StoppedAccepting,
)
from picows_server.running.workers.timing import Patience, Timing

__all__ = ["WorkerOwner", "WorkerProcess", "WorkerState"]

# Seconds: how often a process is asked whether it has exited after its pipe was closed, and after
# how long the log speaks of it.
_REAP_INTERVAL = 0.02
_REAP_REMARK = 1.0
# Seconds for exiting after the connections were dropped: for the end of the lifespan.
_EXIT_PATIENCE = 10.0


class WorkerState(enum.Enum):
    """What a worker does."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    ENDED = "ended"


class WorkerOwner:
    """Who is told what happens to a worker."""

    def worker_is_ready(self, worker: WorkerProcess) -> None:
        """The worker accepts connections."""

    def worker_stopped_accepting(self, worker: WorkerProcess) -> None:
        """A worker that drains has closed its listening sockets."""

    def worker_wants_to_leave(self, worker: WorkerProcess) -> None:
        """Somebody else sent the worker a SIGTERM."""

    def worker_has_ended(self, worker: WorkerProcess) -> None:
        """The process is gone."""


class WorkerProcess:
    """A process of a slot: its state, its heartbeats, and how it is ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        process: subprocess.Popen[bytes],
        sock: socket.socket,
        start: StartWorker,
        timing: Timing,
        logger: Logger,
        owner: WorkerOwner,
    ) -> None:
        self._loop = loop
        self._process = process
        self._timing = timing
        self._logger = logger
        self._owner = owner
        self.slot = start.slot
        self.pid = process.pid
        self.state = WorkerState.STARTING
        #: Whether it should be replaced, and why.
        self.outdated = ""
        #: What the last heartbeat said.
        self.heartbeat = Heartbeat(None, 0, None)
        #: Why it has ended, if it was an error: it could not start, or its lifespan has failed.
        self.failure = ""
        #: Whether it may have the listening sockets.
        self.has_sockets = True
        self.started_at = loop.time()
        self.ready_at: Optional[float] = None
        self.ended_at = 0.0
        self._lifetime = _lifetime(timing)
        self._answering = Patience(timing.worker_timeout, timing.tick)
        self._starting = Patience(timing.start_timeout, timing.tick)
        self._has_loop = False
        self._is_to_end = False
        self._is_being_killed = False
        self._is_killed = False
        self._is_aborted = False
        self._killing: Optional[asyncio.TimerHandle] = None
        self._killed_at = 0.0
        self._reaping: Optional[asyncio.TimerHandle] = None
        self._pipe_ended_at: Optional[float] = None
        self._is_exit_remarked = False
        self._channel = Channel(loop, sock, self._received, self._reap)
        self._log("started")
        self._channel.send(start)

    @property
    def served(self) -> Optional[float]:
        """Seconds since it was ready, up to its end; None if it never was."""
        if self.ready_at is None:
            return None
        is_over = self.state is WorkerState.ENDED
        return (self.ended_at if is_over else self._loop.time()) - self.ready_at

    @property
    def is_silent(self) -> bool:
        """Whether its loop has not run for some seconds."""
        return self._answering.is_worn

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return self._loop.time() - self.started_at

    @property
    def is_past_lifetime(self) -> bool:
        """Whether it has served for its ``max_lifetime``."""
        served = self.served
        return self._lifetime is not None and served is not None and served >= self._lifetime

    def tick(self) -> None:
        """Look after it; called every ``timing.tick`` seconds."""
        self._channel.receive()  # what has arrived while this process did not run
        if self._is_over():
            return
        if self._process.poll() is not None:
            self._reap()
        elif self._is_being_killed:
            return
        elif self.state is WorkerState.STARTING and self._starting.tick():
            self.kill(f"it was not ready within {self._timing.start_timeout:g} s")
        elif self._has_loop and self._pipe_ended_at is None and self._answering.tick():
            self.kill(f"it did not answer for {self._timing.worker_timeout:g} s")

    def drain(self, grace: Optional[float] = None, *, leaves_waiting: bool = False) -> None:
        """Let it close its connections and exit; see :class:`Drain`."""
        if self.state is WorkerState.STARTING:
            self.abort()
            return
        if self.state is WorkerState.READY:
            self.state = WorkerState.DRAINING
            self._log("drains")
        self._is_to_end = True
        self._channel.send(Drain(grace, leaves_waiting))

    def abort(self) -> None:
        """Let it drop its connections, and kill it if it does not exit then; again: kill it."""
        is_first = not self._is_aborted
        self._is_to_end = self._is_aborted = True
        if self._has_loop and is_first:
            self._channel.send(Abort())
            self.kill_later(_EXIT_PATIENCE, "it did not exit")
        else:
            self.kill_later(0)

    def kill(self, reason: str) -> None:
        """End it, whatever it does: after it was asked for its stack, and had time to write it."""
        if self.state is WorkerState.ENDED:
            return
        self._is_to_end = self._is_being_killed = self._is_killed = True
        self._log("is killed: %s", reason, level="error")
        self._signal(signal.SIGQUIT)
        self.kill_later(self._timing.kill_delay)

    def kill_later(self, delay: float, reason: str = "") -> None:
        """Send SIGKILL after ``delay`` seconds at the latest, if it has not ended by then."""
        if self.state is WorkerState.ENDED:
            return
        if self._killing is not None:
            if self._killed_at <= self._loop.time() + delay:
                return
            self._killing.cancel()
        self._killed_at = self._loop.time() + delay
        self._killing = self._loop.call_later(delay, self._kill_now, reason)

    def kill_now(self) -> None:
        """Send SIGKILL and wait for the end; nobody is told."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._channel.close()

    def _kill_now(self, reason: str) -> None:
        if reason:
            self._log("is killed: %s", reason, level="error")
        self._is_killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # Popen knows whether the process was waited for, so the id is not another's.
        self._process.send_signal(number)

    def _received(self, message: object) -> None:
        self._answering.heard()
        self._has_loop = True
        if isinstance(message, Heartbeat):
            self.heartbeat = message
        elif isinstance(message, Ready):
            if self.state is WorkerState.STARTING:
                self.state = WorkerState.READY
                self.ready_at = self._loop.time()
                self._log("is ready after %.2f s", self.ready_at - self.started_at)
                self._owner.worker_is_ready(self)
        elif isinstance(message, StoppedAccepting):
            self.has_sockets = False
            self._log("accepts no more connections")
            self._owner.worker_stopped_accepting(self)
        elif isinstance(message, Leaving):
            self._owner.worker_wants_to_leave(self)
        elif isinstance(message, Failed):
            self.failure = message.reason

    def _reap(self) -> None:
        """The pipe is closed: the process has ended, or is about to."""
        self._reaping = None
        if self.state is WorkerState.ENDED:
            return
        status = self._process.poll()
        if status is None:
            self._wait_for_exit()
            self._reaping = self._loop.call_later(_REAP_INTERVAL, self._reap)
            return
        self._channel.receive()  # its last words
        if self._is_over():
            return  # that was the end of the pipe, too
        self._channel.close()
        for timer in (self._killing, self._reaping):
            if timer is not None:
                timer.cancel()
        self.state = WorkerState.ENDED
        self.ended_at = self._loop.time()
        self._log_end(status)
        self._owner.worker_has_ended(self)

    def _wait_for_exit(self) -> None:
        """Bound how long it may take: what is left are threads, and what ``atexit`` has."""
        patience = self._timing.exit_time
        if self._pipe_ended_at is None:
            self._pipe_ended_at = self._loop.time()
            self.kill_later(patience, f"it did not exit within {patience:g} s after its loop")
        elif not self._is_exit_remarked and (
            self._loop.time() - self._pipe_ended_at >= _REAP_REMARK
        ):
            self._is_exit_remarked = True
            self._log("has no loop any more and does not exit; it has %g s for that", patience)

    def _is_over(self) -> bool:
        return self.state is WorkerState.ENDED

    def _log_end(self, status: int) -> None:
        how = describe_status(status)
        seconds = self.ended_at - self.started_at
        if self._is_to_end:
            # By a signal that was not sent from here: a crash, or the kernel had no memory left.
            level = "error" if status < 0 and not self._is_killed else "info"
            self._log("ended after %.1f s: %s", seconds, how, level=level)
        elif self.ready_at is None:
            self._log("ended before it was ready: %s", how, level="error")
        else:
            self._log("died after %.1f s: %s", seconds, how, level="error")
        # All that cannot start fail alike, so the others, which are told to end then, say nothing.
        if self.failure and (self.ready_at is not None or not self._is_to_end):
            gap = "\n" if "\n" in self.failure else " "
            self._log(f"says:{gap}%s", self.failure, level="error")

    def _log(self, text: str, *values: object, level: str = "info") -> None:
        write = self._logger.error if level == "error" else self._logger.info
        extra = {"worker_slot": self.slot, "worker_pid": self.pid}
        write(f"worker %d (pid %d) {text}", self.slot, self.pid, *values, extra=extra)


def _lifetime(timing: Timing) -> Optional[float]:
    if timing.max_lifetime is None:
        return None
    return timing.max_lifetime * random.uniform(1 - timing.lifetime_jitter, 1)  # noqa: S311
