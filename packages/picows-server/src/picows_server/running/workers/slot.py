"""A slot: sockets, and the workers that serve from them, nearly always one."""

from __future__ import annotations

import asyncio
import socket
from typing import Callable, List, Optional, Sequence

from picows_server.logs import Logger
from picows_server.running.workers.rolling import Replaceable
from picows_server.running.workers.timing import RestartBackoff, Timing
from picows_server.running.workers.worker_process import WorkerOwner, WorkerProcess, WorkerState
from picows_server.stats import WSServerStats

__all__ = ["Slot", "SlotOwner"]

Launch = Callable[["Slot"], WorkerProcess]


class SlotOwner:
    """Who is told what happens to a slot."""

    def slot_changed(self, slot: Slot) -> None:
        """A worker became ready, began to drain, or ended."""

    def worker_could_not_start(self, slot: Slot) -> bool:
        """True: that is the end, so it is not tried again."""
        return False

    def worker_failed_at_its_end(self, slot: Slot, worker: WorkerProcess) -> None:
        """The slot is ending, and so has the worker, because of an error."""

    def slot_is_ending(self, slot: Slot) -> None:
        """No further worker will need the sockets."""

    def slot_stopped_accepting(self, slot: Slot) -> None:
        """No process of the slot has the sockets any more."""

    def wants_replacement(self, worker: WorkerProcess) -> None:
        """The worker asked for it."""


class Slot(WorkerOwner, Replaceable):
    """Keeps a worker alive, replaces it, and ends it.

    ``launch`` starts a process; it may raise :class:`OSError`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        sockets: Sequence[socket.socket],
        launch: Launch,
        timing: Timing,
        logger: Logger,
        owner: SlotOwner,
    ) -> None:
        self._loop = loop
        self.number = number
        self.sockets = sockets
        self._launch = launch
        self._timing = timing
        self._logger = logger
        self._owner = owner
        self._backoff = RestartBackoff(timing)
        #: The worker that serves, or is to serve.
        self.worker: Optional[WorkerProcess] = None
        self._successor: Optional[WorkerProcess] = None
        self._replaced: Optional[asyncio.Future[bool]] = None
        #: Workers that drain because they were replaced.
        self.leaving: List[WorkerProcess] = []
        self._restart: Optional[asyncio.TimerHandle] = None
        self.is_ending = False
        self._accepts = True
        #: How many workers died without being told to end.
        self.deaths = 0
        # The numbers of the workers that have gone.
        self._past: Optional[WSServerStats] = None
        # What replace() waits for: that one of those that leave has ended.
        self._departure: Optional[asyncio.Future[None]] = None

    @property
    def workers(self) -> List[WorkerProcess]:
        """All processes."""
        found = [self.worker, self._successor, *self.leaving]
        return [worker for worker in found if worker is not None]

    @property
    def is_ready(self) -> bool:
        """Whether a worker accepts connections, and is not about to stop that."""
        return self.worker is not None and self.worker.state is WorkerState.READY

    @property
    def takes_connections(self) -> bool:
        """Whether new connections are served soon."""
        is_silent = self.worker is not None and self.worker.is_silent
        return self.is_ready and not is_silent and not self.is_ending

    @property
    def is_outdated(self) -> bool:
        return self.is_ready and self.worker is not None and bool(self.worker.outdated)

    @property
    def will_be_outdated(self) -> bool:
        """Whether that is so, or will be as soon as the worker is ready."""
        found = (self.worker, self._successor)
        return any(worker is not None and bool(worker.outdated) for worker in found)

    def keep(self) -> None:
        if self.worker is not None:
            self.worker.outdated = ""

    @property
    def stats(self) -> Optional[WSServerStats]:
        """The numbers of all workers that there are and were, or None; counters never go down."""
        total = self._past
        for worker in self.workers:  # one that has ended is among the past
            stats = worker.heartbeat.stats
            if stats is not None:
                total = stats if total is None else total + stats
        return total

    def start(self) -> None:
        """Start a worker."""
        self._restart = None
        if self.is_ending:  # because another one could not be started
            return
        try:
            self.worker = self._launch(self)
        except OSError as error:
            self._logger.error(  # noqa: TRY400 - the text says enough
                "worker %d could not be started: %s", self.number, error
            )
            if not self._owner.worker_could_not_start(self):
                self._start_later(None)

    def tick(self) -> None:
        """Look after the workers."""
        for worker in self.workers:
            worker.tick()

    async def replace(self) -> bool:
        """Start another worker, and drain this one when that is ready; False if it never was.

        Returns when the old one has gone.
        """
        old = self.worker
        if self.is_ending or old is None or old.state is not WorkerState.READY:
            return True  # the next one to start is new anyway, if there will be one
        self._logger.info("worker %d is replaced: %s", self.number, old.outdated)
        try:
            self._successor = self._launch(self)
        except OSError as error:
            self._logger.error(  # noqa: TRY400 - the text says enough
                "worker %d could not be replaced: %s", self.number, error
            )
            return False
        self._replaced = self._loop.create_future()
        try:
            if not await self._replaced:
                return self.is_ending  # then nobody is wanted in its place
        finally:
            self._replaced = None
        while old in self.leaving:
            self._departure = self._loop.create_future()
            await self._departure
        return True

    # How it ends

    def end(self, grace: Optional[float] = None, *, leaves_waiting: bool = False) -> None:
        """Drain for good; see :class:`Drain`. Workers that were replaced go on to drain."""
        self._begin_to_end()
        if self._successor is not None:
            self._successor.abort()
        if self.worker is not None:
            self.worker.drain(grace, leaves_waiting=leaves_waiting)
            self._limit(self.worker)
        self._check_end()

    def _limit(self, worker: WorkerProcess) -> None:
        if self._timing.drain_limit is not None:
            worker.kill_later(self._timing.drain_limit, "it did not end")

    def _begin_to_end(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if not self.is_ending:
            self.is_ending = True
            # The worker has them, too, until it accepts no more. Then nobody waits in a queue from
            # which nobody will accept.
            self._owner.slot_is_ending(self)

    def abort(self) -> None:
        """Let all workers drop their connections and exit."""
        self._begin_to_end()
        for worker in self.workers:
            worker.abort()
        self._check_end()

    def kill(self) -> None:
        """Kill all workers at once, and wait for that."""
        for worker in self.workers:
            worker.kill_now()

    @property
    def is_gone(self) -> bool:
        """Whether it was ended, and no process is left."""
        return self.is_ending and not self.workers

    def _check_end(self) -> None:
        # Also one that starts, or that was replaced and has not closed them yet, keeps them open.
        if self.is_ending and self._accepts:
            self._accepts = any(worker.has_sockets for worker in self.workers)
            if not self._accepts:
                self._owner.slot_stopped_accepting(self)

    # What the workers say

    def worker_is_ready(self, worker: WorkerProcess) -> None:
        if self.is_ending:
            return  # it was told while it started; once more would kill it
        if worker is self._successor:
            old, self.worker, self._successor = self.worker, worker, None
            if old is not None:
                # The new one accepts from the same sockets already.
                self.leaving.append(old)
                old.drain(0.0, leaves_waiting=True)
                self._limit(old)
            self._settle(is_replaced=True)
        self._owner.slot_changed(self)

    def worker_stopped_accepting(self, worker: WorkerProcess) -> None:
        self._check_end()

    def worker_wants_to_leave(self, worker: WorkerProcess) -> None:
        if worker is self.worker and worker.state is WorkerState.READY and not self.is_ending:
            self._owner.wants_replacement(worker)

    def worker_has_ended(self, worker: WorkerProcess) -> None:
        self._keep_numbers(worker)
        if self.is_ending and worker.failure and worker.ready_at is not None:
            self._owner.worker_failed_at_its_end(self, worker)
        if worker in self.leaving:
            self.leaving.remove(worker)
            self._backoff.ended(worker.served)
            if self._departure is not None and not self._departure.done():
                self._departure.set_result(None)
        elif worker is self._successor:
            self._successor = None
            self._settle(is_replaced=False)
            if self.worker is None:
                self._start_later(None)
        else:
            self.worker = None
            self._worker_died(worker)
        self._check_end()
        self._owner.slot_changed(self)

    def _worker_died(self, worker: WorkerProcess) -> None:
        if self.is_ending:
            return
        self.deaths += 1
        is_end = worker.ready_at is None and self._owner.worker_could_not_start(self)
        if not is_end and self._successor is None:
            self._start_later(worker.served)

    def _settle(self, *, is_replaced: bool) -> None:
        if self._replaced is not None and not self._replaced.done():
            self._replaced.set_result(is_replaced)

    def _start_later(self, served: Optional[float]) -> None:
        if self.is_ending:
            return
        pause = self._backoff.died(served)
        if pause:
            self._logger.info("worker %d is started again in %.1f s", self.number, pause)
        self._restart = self._loop.call_later(pause, self.start)

    def _keep_numbers(self, worker: WorkerProcess) -> None:
        stats = worker.heartbeat.stats
        if stats is not None:
            ended = stats.of_ended()
            self._past = ended if self._past is None else self._past + ended
