"""picows_server.running.workers.supervisor: slots, on a fake clock and without sockets."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any, Iterable, List, Optional

import pytest

from picows_codec.testing import FakeLoop
from picows_server import WSServerStats
from picows_server.running.workers.slot_sockets import SlotSockets
from picows_server.running.workers.supervisor import Supervisor
from picows_server.running.workers.timing import Timing
from tests.support.fake_workers import FakeWorker, Launcher

TIMING = Timing(healthy_after=60.0, longest_pause=30.0, removal_grace=2.0)


class FakeSockets(SlotSockets):
    def __init__(self) -> None:
        self.places = ("ws://127.0.0.1:1",)
        self.events: List[Any] = []
        self.chosen: List[int] = []
        self.error: Optional[OSError] = None

    def open(self, slot: int) -> List[Any]:
        if self.error is not None:
            raise self.error
        return []

    def serve_from(self, slots: Iterable[int]) -> None:
        self.chosen = list(slots)

    def release(self, slot: int) -> None:
        self.events.append(("release", slot, list(self.chosen)))

    def forget(self, slot: int) -> None:
        self.events.append(("forget", slot))

    def close(self) -> None:
        self.events.append("close")


class Subject:
    def __init__(self, workers: int = 2, *, stopped_by: int = 0, **options: Any) -> None:
        self.loop = FakeLoop()
        self.launcher = Launcher(self.loop)
        self.sockets = FakeSockets()
        self.readies = 0
        loop: Any = self.loop
        self.supervisor = Supervisor(
            loop,
            self.sockets,
            self.launcher,
            TIMING,
            logging.getLogger("picows.test"),
            ready=self._ready,
            **options,
        )
        if stopped_by:
            self.supervisor.stop(stopped_by)
        self.task = self.loop.create_task(self.supervisor.serve(workers))
        self.loop.run_ready()

    def _ready(self) -> None:
        self.readies += 1

    @property
    def workers(self) -> List[FakeWorker]:
        return self.launcher.workers

    def all_ready(self) -> Subject:
        for worker in list(self.workers):
            if worker.ready_at is None:
                worker.get_ready()
        return self

    def end(self) -> int:
        """Let all workers end."""
        for worker in self.workers:
            if worker.state.value != "ended":
                worker.die()
        self.loop.run_ready()
        result: int = self.task.result()
        return result


def test_ready_when_all_are(caplog: pytest.LogCaptureFixture) -> None:
    it = Subject(3)
    assert it.supervisor.state == "starting"
    assert not it.supervisor.has_ready_worker
    it.workers[1].get_ready()
    assert it.sockets.chosen == [1]
    assert it.supervisor.has_ready_worker
    assert it.readies == 0
    it.all_ready()
    assert it.readies == 1
    assert it.supervisor.state == "serving"
    assert it.sockets.chosen == [0, 1, 2]


def test_the_end() -> None:
    it = Subject().all_ready()
    it.supervisor.stop(15)
    assert it.supervisor.state == "draining"
    assert not it.supervisor.has_ready_worker
    assert [worker.told[0] for worker in it.workers] == [("drain", None, False)] * 2
    assert [event[:2] for event in it.sockets.events] == [("release", 0), ("release", 1)]
    for ignored in (it.supervisor.add_slot, it.supervisor.remove_slot, it.supervisor.replace_all):
        ignored()
    assert len(it.workers) == 2
    assert not it.task.done()
    assert it.end() == 0
    assert it.sockets.events[-1] == "close"
    assert not it.loop.timers


@pytest.mark.parametrize(
    ("number", "connections", "grace"),
    [(signal.SIGINT, 0, 0.0), (signal.SIGINT, 1, None), (signal.SIGTERM, 0, None)],
)
def test_there_is_no_grace_for_sigint_without_a_connection(
    number: int, connections: int, grace: Optional[float]
) -> None:
    it = Subject().all_ready()
    it.workers[1].count(connections, connections)
    it.supervisor.stop(number)
    assert [worker.told[-1] for worker in it.workers] == [("drain", grace, False)] * 2


def test_a_second_signal_aborts_and_a_third_kills() -> None:
    it = Subject().all_ready()
    it.supervisor.stop(15)
    it.supervisor.stop(2)
    it.supervisor.stop(15)
    assert [worker.told[-2:] for worker in it.workers] == [["abort", "abort"]] * 2
    assert it.end() == 128 + 2


def test_the_end_while_workers_start() -> None:
    it = Subject()
    it.supervisor.stop(15)
    assert all("abort" in worker.told for worker in it.workers)
    assert it.end() == 0


def test_the_end_before_workers_are_started() -> None:
    it = Subject(stopped_by=15)
    assert not it.workers
    assert it.end() == 0


def test_a_failure_at_the_end_shows_in_the_status() -> None:
    it = Subject(2).all_ready()
    it.workers[1].failure = "its lifespan has failed"
    it.supervisor.remove_slot()
    it.workers[1].die()
    it.workers[0].failure = "its lifespan has failed"
    it.supervisor.replace_all()
    it.loop.run_ready()
    it.workers[2].get_ready()
    it.workers[0].die()
    it.supervisor.stop(15)
    assert it.end() == 0  # the service went on after these
    it = Subject(1).all_ready()
    it.workers[0].failure = "its lifespan has failed"
    it.supervisor.stop(15)
    assert it.end() == 1


def test_a_worker_that_cannot_start_at_the_beginning_ends_all() -> None:
    it = Subject(3)
    it.workers[0].get_ready()
    it.workers[1].die()
    assert it.workers[0].told == ["abort"]
    assert it.workers[2].told == ["abort"]
    it.workers[2].die()
    assert it.end() == 1


def test_later_it_is_tried_again() -> None:
    it = Subject().all_ready()
    it.workers[0].die()
    assert it.sockets.chosen == [1]
    it.loop.advance(1.0)
    it.workers[2].die()
    it.loop.advance(5.0)
    assert not it.supervisor.is_ending
    it.workers[3].get_ready()
    assert it.sockets.chosen == [0, 1]


def test_nobody_is_sent_to_a_worker_that_is_silent() -> None:
    it = Subject(3).all_ready()
    it.workers[1].is_silent = True
    it.loop.advance(1.0)
    assert it.sockets.chosen == [0, 2]
    it.workers[1].is_silent = False
    it.loop.advance(1.0)
    assert it.sockets.chosen == [0, 1, 2]


def test_a_reload_goes_through_all() -> None:
    it = Subject().all_ready()
    it.supervisor.replace_all()
    it.loop.run_ready()
    assert it.supervisor.state == "replacing"
    assert len(it.workers) == 3
    it.workers[2].get_ready()
    assert it.sockets.chosen == [0, 1]
    it.workers[0].die()
    assert len(it.workers) == 4
    it.workers[3].get_ready()
    assert it.readies == 1
    it.workers[1].die()
    assert it.readies == 2
    assert it.supervisor.state == "serving"


def test_a_reload_during_a_reload_replaces_new_ones_too() -> None:
    it = Subject(1).all_ready()
    it.supervisor.replace_all()
    it.loop.run_ready()
    it.supervisor.replace_all()
    it.workers[1].get_ready()
    it.workers[0].die()
    it.workers[2].get_ready()
    it.workers[1].die()
    assert len(it.workers) == 3
    assert it.readies == 2


def test_a_reload_while_workers_start() -> None:
    it = Subject(1)
    it.supervisor.replace_all()
    it.workers[0].get_ready()
    assert len(it.workers) == 2  # it may have read old files


def test_a_reload_while_one_worker_starts_ends_with_that() -> None:
    it = Subject().all_ready()
    it.workers[1].die()
    it.loop.advance(1.0)
    it.supervisor.replace_all()
    it.loop.run_ready()
    it.workers[3].get_ready()
    it.workers[0].die()
    assert it.readies == 1  # the other one may have read old files
    it.workers[2].get_ready()
    it.workers[4].get_ready()
    it.workers[2].die()
    assert it.readies == 2
    assert len(it.workers) == 5


def test_a_reload_of_workers_that_die() -> None:
    it = Subject(1).all_ready()
    it.workers[0].outdated = ""
    it.workers[0].die()
    it.loop.advance(1.0)
    it.supervisor.replace_all()
    it.workers[1].die()
    it.loop.advance(5.0)
    it.workers[2].get_ready()
    assert it.readies == 2
    assert len(it.workers) == 3


def test_a_reload_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    it = Subject().all_ready()
    it.supervisor.replace_all()
    it.loop.run_ready()
    it.workers[2].die()
    assert "the others are not replaced" in caplog.text
    assert it.readies == 2  # the service manager waits for that
    assert not any(worker.outdated for worker in it.workers[:2])


def test_the_end_during_a_reload() -> None:
    it = Subject().all_ready()
    it.supervisor.replace_all()
    it.loop.run_ready()
    it.supervisor.stop(15)
    it.loop.run_ready()
    assert it.workers[2].told == ["abort"]
    assert it.end() == 0
    assert len(it.workers) == 3


def test_slots_come_and_go() -> None:
    it = Subject(1).all_ready()
    it.supervisor.add_slot()
    it.workers[1].count(opened=7, connections=2)
    it.workers[1].get_ready()
    assert it.sockets.chosen == [0, 1]
    it.supervisor.remove_slot()
    # Nobody new is sent to it from now on; it accepts those that wait.
    assert it.sockets.events == [("release", 1, [0])]
    assert it.workers[1].told[0] == ("drain", 2.0, False)
    it.workers[1].stop_accepting()
    assert it.sockets.events[1:] == [("forget", 1)]
    assert len(it.supervisor.slots) == 2
    it.workers[1].die()
    assert len(it.supervisor.slots) == 1
    it.supervisor.add_slot()
    it.workers[2].count(opened=1, connections=1)
    # Its counters go on where they were.
    assert it.supervisor.stats() == {"1": WSServerStats(opened=8, connections=1)}


def test_a_slot_whose_process_cannot_be_started_is_removed() -> None:
    it = Subject(1).all_ready()
    it.launcher.error = OSError("no more processes")
    it.supervisor.add_slot()
    assert len(it.supervisor.slots) == 2
    it.supervisor.remove_slot()
    assert len(it.supervisor.slots) == 1
    assert it.supervisor.state == "serving"


@pytest.mark.parametrize("started", [0, 1])
def test_a_process_that_cannot_be_started_at_the_beginning(
    caplog: pytest.LogCaptureFixture, started: int
) -> None:
    it = Subject(started)
    it.launcher.error = OSError("no more processes")
    it.supervisor.add_slot()
    assert "a worker could not start, so this is the end" in caplog.text
    assert [worker.told for worker in it.workers] == [["abort"]] * started
    assert it.end() == 1


def test_queues_of_shared_sockets_are_for_others() -> None:
    it = Subject(2).all_ready()
    it.sockets.shared_because = "a test says so"
    it.supervisor.remove_slot()
    assert it.workers[1].told[0] == ("drain", 2.0, True)
    it.supervisor.stop(15)
    assert it.workers[0].told[0] == ("drain", None, False)
    kept = Subject(1).all_ready()
    kept.sockets.are_kept = True
    kept.supervisor.stop(15)
    assert kept.workers[0].told[0] == ("drain", None, True)


def test_a_slot_is_removed_while_it_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    it = Subject(2).all_ready()
    it.workers[0].outdated = ""
    it.supervisor.replace_all()
    it.loop.run_ready()
    it.workers[2].get_ready()
    it.workers[0].die()
    assert len(it.workers) == 4  # the successor in the last slot
    it.workers[2].outdated = "SIGTERM"
    it.supervisor.remove_slot()
    assert it.workers[3].told == ["abort"]
    it.workers[3].die()
    it.workers[1].die()
    assert "could not start" not in caplog.text
    assert len(it.workers) == 5  # the first slot has its turn all the same
    it.workers[4].get_ready()
    it.workers[2].die()
    assert it.readies == 2


def test_the_last_slot_stays() -> None:
    it = Subject(2).all_ready()
    it.supervisor.remove_slot()
    it.supervisor.remove_slot()
    assert it.workers[0].told == []
    it.supervisor.stop(15)
    # The one that goes anyway is not hurried.
    assert it.workers[1].told == [("drain", 2.0, False)]


def test_a_slot_cannot_be_added(caplog: pytest.LogCaptureFixture) -> None:
    it = Subject(1).all_ready()
    it.sockets.error = OSError("no more sockets")
    it.supervisor.add_slot()
    assert "no more sockets" in caplog.text
    assert len(it.supervisor.slots) == 1


def test_a_lifetime_that_is_over() -> None:
    it = Subject(2).all_ready()
    for worker in it.workers:
        worker.is_past_lifetime = True
    it.loop.advance(1.0)
    assert len(it.workers) == 3  # one by one
    it.workers[2].die()
    it.loop.advance(29.0)
    assert len(it.workers) == 3  # a pause, because it could not start
    it.loop.advance(2.0)
    assert len(it.workers) == 4
    assert it.readies == 1


def test_memory_that_is_too_large() -> None:
    it = Subject(2, max_rss=1000).all_ready()
    it.workers[0].count(0, rss=1001)
    it.workers[1].count(0, rss=1000)
    it.loop.advance(59.0)
    assert len(it.workers) == 2  # it may have that size always
    it.loop.advance(2.0)
    assert len(it.workers) == 3
    assert it.workers[0].outdated == "memory of 1001 bytes"
    assert not it.workers[1].outdated


def test_a_worker_that_wants_to_leave() -> None:
    it = Subject(2).all_ready()
    worker: Any = it.workers[0]
    it.supervisor.wants_replacement(worker)
    it.loop.run_ready()
    assert len(it.workers) == 3


def test_numbers_by_slot() -> None:
    it = Subject(3).all_ready()
    it.workers[0].count(opened=5, connections=2)
    it.workers[2].count(opened=1, connections=1)
    assert it.supervisor.stats() == {
        "0": WSServerStats(opened=5, connections=2),
        "2": WSServerStats(opened=1, connections=1),
    }


def test_no_process_is_left_after_an_error_of_the_supervisor() -> None:
    it = Subject(2).all_ready()
    it.task.cancel()
    it.loop.run_ready()
    assert it.task.cancelled()
    assert [worker.told[-1] for worker in it.workers] == ["kill", "kill"]
    with pytest.raises(asyncio.CancelledError):
        it.task.result()
