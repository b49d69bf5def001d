"""Workers without processes, on a fake clock."""

from __future__ import annotations

from typing import Any, List, Optional

from picows_codec.testing import FakeLoop
from picows_server import WSServerStats
from picows_server.running.workers.messages import Heartbeat
from picows_server.running.workers.slot import Slot
from picows_server.running.workers.worker_process import WorkerState

__all__ = ["FakeWorker", "Launcher"]


class FakeWorker:
    """Does what a test says, and remembers what it was told."""

    def __init__(self, loop: FakeLoop, slot: Slot, pid: int) -> None:
        self._loop = loop
        self.slot = slot.number
        self.owner = slot
        self.pid = pid
        self.state = WorkerState.STARTING
        self.outdated = ""
        self.heartbeat = Heartbeat(None, 0, None)
        self.ready_at: Optional[float] = None
        self.is_past_lifetime = False
        self.is_silent = False
        self.has_sockets = True
        self.failure = ""
        self.age = 0.0
        self.told: List[Any] = []

    @property
    def served(self) -> Optional[float]:
        return None if self.ready_at is None else self._loop.time() - self.ready_at

    # What slots do

    def tick(self) -> None:
        self.told.append("tick")

    def drain(self, grace: Optional[float] = None, *, leaves_waiting: bool = False) -> None:
        if self.state is WorkerState.STARTING:
            self.abort()
            return
        self.state = WorkerState.DRAINING
        self.told.append(("drain", grace, leaves_waiting))

    def abort(self) -> None:
        self.told.append("abort")

    def kill_later(self, delay: float, reason: str = "") -> None:
        self.told.append(("kill later", delay))

    def kill_now(self) -> None:
        self.told.append("kill")

    # What tests do

    def get_ready(self) -> None:
        self.state = WorkerState.READY
        self.ready_at = self._loop.time()
        self.owner.worker_is_ready(self)  # type: ignore[arg-type]
        self._loop.run_ready()

    def stop_accepting(self) -> None:
        self.has_sockets = False
        self.owner.worker_stopped_accepting(self)  # type: ignore[arg-type]
        self._loop.run_ready()

    def die(self) -> None:
        self.state = WorkerState.ENDED
        self.owner.worker_has_ended(self)  # type: ignore[arg-type]
        self._loop.run_ready()

    def count(self, opened: int, connections: int = 0, rss: int = 0) -> None:
        self.heartbeat = Heartbeat(
            rss, connections, WSServerStats(opened=opened, connections=connections)
        )


class Launcher:
    """Starts such workers; ``error`` is raised by the next start."""

    def __init__(self, loop: FakeLoop) -> None:
        self._loop = loop
        self.workers: List[FakeWorker] = []
        self.error: Optional[OSError] = None

    def __call__(self, slot: Slot) -> Any:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        worker = FakeWorker(self._loop, slot, 100 + len(self.workers))
        self.workers.append(worker)
        return worker
