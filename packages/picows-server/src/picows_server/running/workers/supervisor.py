"""The supervisor: as many slots as there should be, until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from typing import Callable, Dict, List, Optional

from picows_server.logs import Logger
from picows_server.running.workers.rolling import RollingReplacement
from picows_server.running.workers.slot import Launch, Slot, SlotOwner
from picows_server.running.workers.slot_sockets import SlotSockets
from picows_server.running.workers.timing import Timing
from picows_server.running.workers.worker_process import WorkerProcess
from picows_server.stats import WSServerStats

__all__ = ["Supervisor"]


class Supervisor(SlotOwner):
    """Starts workers, looks after them, and ends them. Its methods are what signals ask for.

    ``ready`` is called when all workers have become ready, and when they have been replaced.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: SlotSockets,
        launch: Launch,
        timing: Timing,
        logger: Logger,
        *,
        max_rss: Optional[int] = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._launch = launch
        self._timing = timing
        self._logger = logger
        self._max_rss = max_rss
        self._ready = ready
        self._slots: Dict[int, Slot] = {}
        # Of slots that were removed: if they come back, their counters go on.
        self._past: Dict[int, WSServerStats] = {}
        self._rolling = RollingReplacement(
            loop, self._remaining, self._replaced, timing.longest_pause
        )
        self._past_deaths = 0
        self._is_reloading = False
        #: Whether all workers were ready once.
        self.has_started = False
        self.is_ending = False
        self._status = 0
        self._has_ended: asyncio.Future[None] = loop.create_future()
        self._ticker: Optional[asyncio.TimerHandle] = None

    @property
    def slots(self) -> List[Slot]:
        """All slots, also those that are being removed."""
        return list(self._slots.values())

    @property
    def deaths(self) -> int:
        """How many workers died without being told to end."""
        return self._past_deaths + sum(slot.deaths for slot in self._slots.values())

    @property
    def state(self) -> str:
        """A word for those who look."""
        if self.is_ending:
            return "draining"
        if self._rolling.is_under_way:
            return "replacing"
        return "serving" if self.has_started else "starting"

    @property
    def has_ready_worker(self) -> bool:
        """Whether clients may come."""
        return not self.is_ending and any(slot.is_ready for slot in self._slots.values())

    def stats(self) -> Dict[str, WSServerStats]:
        """The numbers by slot; counters never go down."""
        found: Dict[str, WSServerStats] = {}
        for number, slot in sorted(self._slots.items()):
            total, past = slot.stats, self._past.get(number)
            if past is not None:
                total = past if total is None else past + total
            if total is not None:
                found[str(number)] = total
        return found

    async def serve(self, workers: int) -> int:
        """Serve with so many workers until :meth:`stop`; returns the exit status."""
        self._ticker = self._loop.call_later(self._timing.tick, self._tick)
        try:
            if not self.is_ending:  # already
                for number in range(workers):
                    self._add(number)
            for slot in self.slots:
                slot.start()
            await self._has_ended
        finally:
            self._ticker.cancel()
            self._rolling.cancel()
            self._sockets.close()
            for slot in self.slots:  # after an error of the supervisor itself
                slot.kill()
        return self._status

    # What an operator asks for

    def stop(self, signal_number: int) -> None:
        """Drain all workers and end; again: abort; once more: kill.

        There is no ``grace`` for SIGINT, which somebody types, if no worker has a connection.
        """
        if self.is_ending:
            self._logger.warning("aborting")
            self._status = self._status or 128 + signal_number
            for slot in self.slots:
                slot.abort()
            return
        self._logger.info("all workers drain; another signal aborts")
        self.is_ending = True
        self._rolling.cancel()
        is_idle = not any(
            worker.heartbeat.connections for slot in self.slots for worker in slot.workers
        )
        grace = 0.0 if is_idle and signal_number == signal.SIGINT else None
        for slot in self._remaining():
            slot.end(grace, leaves_waiting=self._sockets.are_kept)
        self._forget_gone()

    def replace_all(self) -> None:
        """Replace all workers, one by one; certificates and code are thereby read again."""
        if self.is_ending:
            return
        self._is_reloading = True
        self._logger.info("all workers are replaced, one by one")
        for slot in self._remaining():
            for worker in slot.workers:
                worker.outdated = "reload"
        self._rolling.begin()

    def add_slot(self) -> None:
        """Serve with one worker more."""
        if self.is_ending:
            return
        number = 0
        while number in self._slots:
            number += 1
        self._logger.info("there are %d workers from now on", len(self._remaining()) + 1)
        try:
            slot = self._add(number)
        except OSError as error:
            self._logger.error("no worker could be added: %s", error)  # noqa: TRY400
        else:
            slot.start()

    def remove_slot(self) -> None:
        """Serve with one worker less, down to one."""
        remaining = self._remaining()
        if self.is_ending or len(remaining) < 2:
            self._logger.info("the last worker stays")
            return
        slot = remaining[-1]
        self._logger.info("there are %d workers from now on", len(remaining) - 1)
        # Elsewhere than in sockets of its own, what waits is for the others.
        waits_for_others = bool(self._sockets.shared_because)
        slot.end(self._timing.removal_grace, leaves_waiting=waits_for_others)
        self.slot_changed(slot)

    # What slots say

    def slot_changed(self, slot: Slot) -> None:
        self._choose_slots()
        self._forget_gone()
        if self.is_ending:
            return
        if not self.has_started and all(each.is_ready for each in self._slots.values()):
            self.has_started = True
            self._logger.info("all workers are ready: %s", ", ".join(self._sockets.places))
            self._ready()
        self._rolling.begin()
        self._check_reload()

    def worker_could_not_start(self, slot: Slot) -> bool:
        if self.has_started or self.is_ending:
            return self.is_ending
        self._logger.error("a worker could not start, so this is the end")
        self._fail()
        return True

    def worker_failed_at_its_end(self, slot: Slot, worker: WorkerProcess) -> None:
        if self.is_ending:
            self._status = self._status or 1

    def slot_is_ending(self, slot: Slot) -> None:
        self._choose_slots()  # before, so that nobody new comes into its queue
        self._sockets.release(slot.number)

    def slot_stopped_accepting(self, slot: Slot) -> None:
        self._sockets.forget(slot.number)

    def wants_replacement(self, worker: WorkerProcess) -> None:
        worker.outdated = "SIGTERM"
        self._rolling.begin()

    # Inside

    def _remaining(self) -> List[Slot]:
        return [slot for _, slot in sorted(self._slots.items()) if not slot.is_ending]

    def _add(self, number: int) -> Slot:
        sockets = self._sockets.open(number)
        slot = self._slots[number] = Slot(
            self._loop, number, sockets, self._launch, self._timing, self._logger, self
        )
        self._choose_slots()
        return slot

    def _choose_slots(self) -> None:
        self._sockets.serve_from(
            number for number, slot in self._slots.items() if slot.takes_connections
        )

    def _forget_gone(self) -> None:
        for number, slot in list(self._slots.items()):
            if slot.is_gone:
                del self._slots[number]
                self._past_deaths += slot.deaths
                stats = slot.stats
                if stats is not None:
                    past = self._past.get(number)
                    self._past[number] = stats if past is None else past + stats
        if self.is_ending and not self._slots and not self._has_ended.done():
            self._has_ended.set_result(None)

    def _fail(self) -> None:
        self._status = 1
        self.is_ending = True
        self._rolling.cancel()
        for slot in self.slots:
            slot.abort()
        self._forget_gone()

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(self._timing.tick, self._tick)
        for slot in self.slots:
            slot.tick()
        self._choose_slots()
        if not self.is_ending and not self._rolling.is_pausing:
            for slot in self._remaining():
                self._check_age(slot)
            self._rolling.begin()

    def _check_age(self, slot: Slot) -> None:
        worker = slot.worker
        served = None if worker is None else worker.served
        if worker is None or served is None or worker.outdated:
            return
        rss = worker.heartbeat.rss
        if worker.is_past_lifetime:
            worker.outdated = f"lifetime of {served:.0f} s"
        elif self._max_rss is None or rss is None or rss <= self._max_rss:
            return
        elif served >= self._timing.healthy_after:
            # Not earlier, because it may have that size as soon as it is ready.
            worker.outdated = f"memory of {rss} bytes"

    def _check_reload(self) -> None:
        """Workers may also have become new by dying."""
        if not self._is_reloading or self._rolling.is_under_way:
            return
        self._replaced(is_complete=True)

    def _replaced(self, is_complete: bool) -> None:
        if not self._is_reloading or self.is_ending:
            return
        if is_complete and any(slot.will_be_outdated for slot in self._remaining()):
            return  # one that was started before is not ready yet
        self._is_reloading = False
        if is_complete:
            self._logger.info("all workers have been replaced")
        else:
            self._logger.error("a new worker could not start, so the others are not replaced")
        if self.has_started:
            self._ready()
