"""picows_server.running.workers.slot: one worker after another, on a fake clock."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest

from picows_codec.testing import FakeLoop
from picows_server import WSServerStats
from picows_server.running.workers.slot import Slot, SlotOwner
from picows_server.running.workers.timing import Timing
from picows_server.running.workers.worker_process import WorkerProcess
from tests.support.fake_workers import FakeWorker, Launcher
from tests.support.servers import quiet_logger

TIMING = Timing(first_pause=1.0, longest_pause=8.0, healthy_after=60.0, drain_limit=90.0)


class Owner(SlotOwner):
    def __init__(self) -> None:
        self.events: List[str] = []
        self.gives_up = False

    def worker_could_not_start(self, slot: Slot) -> bool:
        self.events.append("could not start")
        return self.gives_up

    def worker_failed_at_its_end(self, slot: Slot, worker: WorkerProcess) -> None:
        self.events.append("failed at its end")

    def slot_is_ending(self, slot: Slot) -> None:
        self.events.append("ending")

    def slot_stopped_accepting(self, slot: Slot) -> None:
        self.events.append("stopped accepting")

    def wants_replacement(self, worker: WorkerProcess) -> None:
        self.events.append("wants replacement")


class Subject:
    """A slot, and what it is made of."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.launcher = Launcher(self.loop)
        self.owner = Owner()
        loop: Any = self.loop
        self.slot = Slot(loop, 3, [], self.launcher, TIMING, quiet_logger(), self.owner)

    @property
    def workers(self) -> List[FakeWorker]:
        return self.launcher.workers

    def serve(self) -> FakeWorker:
        self.slot.start()
        self.workers[-1].get_ready()
        return self.workers[-1]

    def replace(self) -> asyncio.Task[bool]:
        task = self.loop.create_task(self.slot.replace())
        self.loop.run_ready()
        return task


@pytest.fixture(name="it")
def it_fixture() -> Subject:
    return Subject()


def test_a_worker_that_was_healthy_is_replaced_at_once(it: Subject) -> None:
    worker = it.serve()
    assert it.slot.is_ready
    it.loop.advance(60.0)
    worker.die()
    assert not it.slot.is_ready
    it.loop.advance(0.0)
    assert len(it.workers) == 2
    assert it.slot.deaths == 1


def test_others_after_pauses_that_grow(it: Subject) -> None:
    it.slot.start()
    for longest in (1.0, 2.0, 4.0, 8.0, 8.0):
        count = len(it.workers)
        it.workers[-1].die()
        it.loop.advance(longest / 2 - 0.01)
        assert len(it.workers) == count
        it.loop.advance(longest / 2 + 0.02)
        assert len(it.workers) == count + 1
    assert it.owner.events == ["could not start"] * 5


def test_a_healthy_worker_that_was_replaced_ends_the_growth(it: Subject) -> None:
    it.slot.start()
    for _ in range(4):
        it.workers[-1].die()
        it.loop.advance(8.0)
    it.workers[-1].get_ready()
    it.loop.advance(60.0)
    it.replace()
    it.workers[-1].get_ready()
    it.workers[-2].die()
    count = len(it.workers)
    it.workers[-1].die()
    it.loop.advance(1.0)
    assert len(it.workers) == count + 1


def test_nothing_is_tried_again_when_the_owner_gives_up(it: Subject) -> None:
    it.owner.gives_up = True
    it.slot.start()
    it.workers[0].die()
    assert not it.loop.timers


def test_a_process_that_cannot_be_started(it: Subject) -> None:
    it.launcher.error = OSError("no more processes")
    it.slot.start()
    assert not it.workers
    it.loop.advance(1.0)
    assert len(it.workers) == 1
    assert it.owner.events == ["could not start"]


def test_a_process_that_cannot_be_started_is_the_end(it: Subject) -> None:
    it.owner.gives_up = True
    it.launcher.error = OSError("no more processes")
    it.slot.start()
    it.loop.advance(100.0)
    assert not it.workers


def test_the_new_one_is_ready_before_the_old_one_drains(it: Subject) -> None:
    old = it.serve()
    old.outdated = "reload"
    assert it.slot.is_outdated
    assert it.slot.will_be_outdated
    task = it.replace()
    (_, new) = it.workers
    assert old.told == []
    new.get_ready()
    assert old.told == [("drain", 0.0, True), ("kill later", 90.0)]
    assert it.slot.is_ready
    assert not it.slot.is_outdated
    assert not task.done()
    assert it.slot.workers == [new, old]
    old.stop_accepting()  # from sockets that are the new one's, too
    old.die()
    assert task.result()
    assert it.slot.workers == [new]
    assert it.owner.events == []
    assert it.slot.deaths == 0


def test_the_new_one_cannot_start(it: Subject) -> None:
    old = it.serve()
    task = it.replace()
    it.workers[1].die()
    assert not task.result()
    assert old.told == []
    assert it.slot.is_ready
    assert not it.loop.timers
    it.launcher.error = OSError("no more processes")
    assert not it.replace().result()


def test_the_old_one_dies_first(it: Subject) -> None:
    old = it.serve()
    task = it.replace()
    old.die()
    assert len(it.workers) == 2
    it.workers[1].get_ready()
    assert task.result()
    assert it.slot.is_ready


def test_both_die(it: Subject) -> None:
    old = it.serve()
    task = it.replace()
    old.die()
    it.workers[1].die()
    assert not task.result()
    it.loop.advance(1.0)
    assert len(it.workers) == 3


def test_others_that_leave_are_not_waited_for(it: Subject) -> None:
    first = it.serve()
    task = it.replace()
    it.workers[1].get_ready()
    task.cancel()
    it.loop.run_ready()
    again = it.replace()
    it.workers[2].get_ready()
    assert not again.done()
    first.die()
    assert not again.done()
    it.workers[1].die()
    assert again.result()


def test_there_is_nothing_to_replace(it: Subject) -> None:
    it.slot.start()
    assert it.replace().result()  # it starts anyway
    it.slot.end()
    assert it.replace().result()


def test_content_with_an_old_one(it: Subject) -> None:
    it.slot.keep()
    worker = it.serve()
    worker.outdated = "reload"
    it.slot.keep()
    assert not it.slot.is_outdated


def test_the_end(it: Subject) -> None:
    worker = it.serve()
    it.slot.end(2.5)
    assert worker.told == [("drain", 2.5, False), ("kill later", 90.0)]
    assert it.owner.events == ["ending"]
    worker.stop_accepting()
    worker.stop_accepting()
    assert it.owner.events == ["ending", "stopped accepting"]
    assert not it.slot.is_gone
    worker.die()
    assert it.slot.is_gone
    assert it.owner.events == ["ending", "stopped accepting"]
    assert not it.loop.timers


def test_the_end_while_a_worker_starts(it: Subject) -> None:
    it.slot.start()
    it.slot.end()
    (worker,) = it.workers
    told = ["abort", ("kill later", 90.0)]
    assert worker.told == told
    worker.get_ready()  # at the same time; it ends by itself, and another abort would kill it
    assert worker.told == told
    worker.die()
    assert it.slot.is_gone
    assert it.owner.events == ["ending", "stopped accepting"]


def test_the_end_during_a_pause(it: Subject) -> None:
    it.serve().die()
    it.slot.end()
    assert it.slot.is_gone
    assert not it.loop.timers


def test_the_end_while_a_worker_is_replaced(it: Subject) -> None:
    old = it.serve()
    task = it.replace()
    it.slot.end()
    assert it.workers[1].told == ["abort"]
    old.stop_accepting()
    # The kernel may send connections to the sockets until the other process has gone, too.
    assert it.owner.events == ["ending"]
    it.workers[1].die()
    assert it.owner.events == ["ending", "stopped accepting"]
    assert task.result()  # nothing has failed
    old.die()
    assert it.slot.is_gone
    assert it.owner.events == ["ending", "stopped accepting"]
    assert not it.loop.timers


def test_the_end_while_a_replaced_worker_has_the_sockets(it: Subject) -> None:
    old = it.serve()
    it.replace()
    (_, new) = it.workers
    new.get_ready()
    it.slot.end()
    new.stop_accepting()
    assert it.owner.events == ["ending"]
    old.stop_accepting()
    assert it.owner.events == ["ending", "stopped accepting"]


def test_a_failure_at_the_end(it: Subject) -> None:
    worker = it.serve()
    it.slot.end()
    worker.failure = "its lifespan has failed"
    worker.die()
    assert "failed at its end" in it.owner.events


def test_a_failure_while_it_starts_is_none_at_the_end(it: Subject) -> None:
    it.slot.start()
    it.slot.end()
    it.workers[0].failure = "it cannot start"
    it.workers[0].die()
    assert "failed at its end" not in it.owner.events


def test_the_end_after_a_worker_was_replaced(it: Subject) -> None:
    old = it.serve()
    it.replace()
    it.workers[1].get_ready()
    count = len(old.told)
    it.slot.end()
    assert len(old.told) == count


def test_aborting_and_killing(it: Subject) -> None:
    worker = it.serve()
    it.slot.abort()
    it.slot.abort()
    assert worker.told == ["abort", "abort"]
    assert it.owner.events == ["ending"]
    it.slot.kill()
    assert worker.told[-1] == "kill"


def test_a_worker_that_wants_to_leave(it: Subject) -> None:
    worker: Any = it.serve()
    it.slot.worker_wants_to_leave(worker)
    assert it.owner.events == ["wants replacement"]
    it.slot.end()
    it.slot.worker_wants_to_leave(worker)
    assert it.owner.events == ["wants replacement", "ending"]


def test_counters_never_go_down(it: Subject) -> None:
    old = it.serve()
    assert it.slot.stats is None
    old.count(opened=10, connections=4)
    assert it.slot.stats == WSServerStats(opened=10, connections=4)
    it.replace()
    new = it.workers[1]
    new.get_ready()
    new.count(opened=3, connections=3)
    assert it.slot.stats == WSServerStats(opened=13, connections=7)
    old.die()
    assert it.slot.stats == WSServerStats(opened=13, connections=3)
    new.die()
    assert it.slot.stats == WSServerStats(opened=13, connections=0)


def test_ticks_reach_every_worker(it: Subject) -> None:
    old = it.serve()
    it.replace()
    it.slot.tick()
    assert old.told == ["tick"]
    assert it.workers[1].told == ["tick"]
