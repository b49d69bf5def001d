"""picows_server.running.workers.worker_process: states, heartbeats, ends, on a fake clock."""

from __future__ import annotations

import logging
import signal
from typing import Any, List, Optional

import pytest

from picows_codec.testing import FakeLoop
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
from picows_server.running.workers.timing import Timing
from picows_server.running.workers.worker_process import WorkerOwner, WorkerProcess, WorkerState

START = StartWorker(4, (), 1.0, b"", None, [], [])
TIMING = Timing(worker_timeout=5.0, start_timeout=10.0, max_lifetime=100.0)


class FakeProcess:
    pid = 77

    def __init__(self) -> None:
        self.signals: List[int] = []
        self.status: Optional[int] = None

    def poll(self) -> Optional[int]:
        return self.status

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def wait(self) -> None:
        self.status = -9


class FakeChannel:
    """What the supervisor has sent, and what waits to be received."""

    def __init__(self, loop: Any, sock: Any, received: Any, ended: Any) -> None:
        self.sent: List[Any] = []
        self.waiting: List[Any] = []
        self.received = received
        self.ended = ended
        self.is_open = True

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def receive(self) -> None:
        while self.waiting:
            self.received(self.waiting.pop(0))

    def close(self) -> None:
        self.is_open = False


class Owner(WorkerOwner):
    def __init__(self) -> None:
        self.events: List[str] = []

    def worker_is_ready(self, worker: WorkerProcess) -> None:
        self.events.append("ready")

    def worker_stopped_accepting(self, worker: WorkerProcess) -> None:
        self.events.append("stopped accepting")

    def worker_wants_to_leave(self, worker: WorkerProcess) -> None:
        self.events.append("wants to leave")

    def worker_has_ended(self, worker: WorkerProcess) -> None:
        assert worker.state is WorkerState.ENDED
        self.events.append("ended")


class Subject:
    def __init__(self, timing: Timing = TIMING) -> None:
        self.loop = FakeLoop()
        self.process: Any = FakeProcess()
        self.owner = Owner()
        loop: Any = self.loop
        sock: Any = None
        self.worker = WorkerProcess(
            loop, self.process, sock, START, timing, logging.getLogger("picows.test"), self.owner
        )
        self.channel: Any = self.worker._channel

    def hear(self, message: Any) -> None:
        self.channel.received(message)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.advance(1.0)
            self.worker.tick()

    def end(self, status: int) -> None:
        self.process.status = status
        self.channel.ended()


@pytest.fixture(name="it")
def it_fixture(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Subject:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("picows_server.running.workers.worker_process.Channel", FakeChannel)
    return Subject()


def serving(it: Subject) -> WorkerProcess:
    it.hear(Heartbeat(10, 0, None))
    it.hear(Ready())
    return it.worker


def test_it_gets_its_settings_first(it: Subject) -> None:
    assert it.channel.sent == [START]
    assert it.worker.state is WorkerState.STARTING
    assert it.worker.served is None


def test_life(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    worker = serving(it)
    it.hear(Ready())
    assert it.owner.events == ["ready"]
    it.loop.advance(7.0)
    assert worker.served == 7.0
    assert worker.age == 7.0
    worker.drain(0.5, leaves_waiting=True)
    assert it.channel.sent[1:] == [Drain(0.5, True)]
    assert worker.state is WorkerState.DRAINING
    assert worker.has_sockets
    it.hear(StoppedAccepting())
    assert not worker.has_sockets
    it.end(0)
    it.loop.advance(5.0)
    assert worker.served == 7.0
    assert it.owner.events == ["ready", "stopped accepting", "ended"]
    assert not it.channel.is_open
    assert not it.loop.timers
    text = caplog.text
    for words in ("is ready after 0.00 s", "drains", "ended after 7.0 s: exit status 0"):
        assert f"worker 4 (pid 77) {words}" in text
    assert {(each.worker_slot, each.worker_pid) for each in caplog.records} == {(4, 77)}  # type: ignore[attr-defined]


def test_it_dies(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    serving(it)
    it.end(-11)
    assert "died after 0.0 s: SIGSEGV" in caplog.text


@pytest.mark.parametrize("status", [-11, -9])
def test_it_crashes_at_its_end(it: Subject, caplog: pytest.LogCaptureFixture, status: int) -> None:
    serving(it).drain()
    it.end(status)
    (record,) = [each for each in caplog.records if "ended after" in each.getMessage()]
    assert record.levelno == logging.ERROR


def test_it_is_killed_at_its_end(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    serving(it).drain()
    it.worker.kill_later(0)
    it.loop.advance(0)
    assert it.process.signals == [signal.SIGKILL]
    it.end(-9)
    (record,) = [each for each in caplog.records if "ended after" in each.getMessage()]
    assert record.levelno == logging.INFO


def test_it_fails_at_its_end(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    serving(it).drain()
    it.hear(StoppedAccepting())
    it.hear(Failed("Traceback\nValueError: no\n"))
    it.end(1)
    assert "ended after 0.0 s: exit status 1" in caplog.text
    assert "ValueError: no" in caplog.text


def test_one_that_fails_because_all_do(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    it.worker.abort()
    it.hear(Failed("ValueError: no"))
    it.end(1)
    assert "ValueError: no" not in caplog.text  # another one has said it


def test_it_cannot_start(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    it.channel.waiting.append(Failed("Traceback\nValueError: no\n"))
    it.end(1)
    assert "ended before it was ready: exit status 1" in caplog.text
    assert "ValueError: no" in caplog.text


def test_the_pipe_is_closed_before_the_process_has_ended(it: Subject) -> None:
    it.channel.ended()
    it.loop.advance(1.0)
    assert it.owner.events == []
    it.process.status = 0
    it.loop.advance(1.0)
    assert it.owner.events == ["ended"]
    assert not it.loop.timers


def test_a_process_that_has_closed_its_pipe_but_goes_on(
    it: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    serving(it)
    it.channel.ended()
    it.tick(29)  # more than the worker_timeout
    assert "has no loop any more and does not exit; it has 30 s for that" in caplog.text
    assert caplog.text.count("does not exit") == 1
    assert it.process.signals == []
    it.tick(2)
    assert it.process.signals == [signal.SIGKILL]
    assert "is killed: it did not exit within 30 s after its loop" in caplog.text
    it.process.status = -9
    it.tick()
    assert it.owner.events == ["ready", "ended"]
    assert not it.loop.timers


def test_a_process_that_has_ended_while_another_one_has_its_pipe(it: Subject) -> None:
    serving(it)
    it.process.status = -9
    it.tick()
    assert it.owner.events == ["ready", "ended"]
    it.tick()
    it.worker.kill("it has ended")
    it.worker.kill_later(1.0)
    assert it.process.signals == []


def test_one_that_was_killed_while_another_one_has_its_pipe(it: Subject) -> None:
    serving(it).kill("it did not answer")
    it.tick()
    assert it.process.signals == [signal.SIGQUIT, signal.SIGKILL]
    it.process.status = -9
    it.tick()
    assert it.owner.events == ["ready", "ended"]
    assert not it.loop.timers


def test_the_end_of_the_pipe_comes_with_the_last_words(it: Subject) -> None:
    serving(it)
    ended = it.channel.ended

    def receive() -> None:
        it.channel.receive = lambda: None
        ended()

    it.channel.receive = receive
    it.end(0)
    assert it.owner.events == ["ready", "ended"]


def test_one_that_does_not_answer_is_killed(it: Subject, caplog: pytest.LogCaptureFixture) -> None:
    serving(it)
    it.tick(6)
    assert it.process.signals == []
    it.tick()
    assert it.process.signals == [signal.SIGQUIT]
    it.tick()
    assert it.process.signals == [signal.SIGQUIT, signal.SIGKILL]
    it.tick(20)
    assert it.process.signals == [signal.SIGQUIT, signal.SIGKILL]
    assert "is killed: it did not answer for 5 s" in caplog.text


def test_a_supervisor_that_was_stopped_for_long(it: Subject) -> None:
    serving(it)
    for _ in range(20):
        it.loop.clock.now += 3600.0
        it.worker.tick()
        it.hear(Heartbeat(1, 1, None))
    assert it.process.signals == []


def test_what_waits_in_the_pipe_is_heard_first(it: Subject) -> None:
    serving(it)
    for _ in range(20):
        it.channel.waiting.append(Heartbeat(1, 1, None))
        it.tick()
    assert it.process.signals == []


def test_silence_shows_before_the_patience_is_over(it: Subject) -> None:
    worker = serving(it)
    it.tick(4)
    assert not worker.is_silent
    it.tick()
    assert worker.is_silent
    it.hear(Heartbeat(1, 1, None))
    assert not worker.is_silent


def test_one_that_is_not_ready_in_time(it: Subject) -> None:
    for _ in range(11):
        it.tick()
        it.hear(Heartbeat(1, 0, None))  # its lifespan takes long
    assert it.process.signals == []
    it.tick()
    assert it.process.signals == [signal.SIGQUIT]


def test_imports_may_take_longer_than_a_heartbeat(it: Subject) -> None:
    it.tick(10)
    assert it.process.signals == []


def test_aborting_before_it_has_a_loop(it: Subject) -> None:
    it.worker.drain()
    it.loop.advance(0.0)
    assert it.process.signals == [signal.SIGKILL]


def test_aborting(it: Subject) -> None:
    worker = serving(it)
    worker.abort()
    assert it.channel.sent[1:] == [Abort()]
    it.loop.advance(9.0)
    assert it.process.signals == []
    it.loop.advance(2.0)
    assert it.process.signals == [signal.SIGKILL]


def test_aborting_twice(it: Subject) -> None:
    worker = serving(it)
    worker.abort()
    worker.abort()
    it.loop.advance(0.0)
    assert it.process.signals == [signal.SIGKILL]


def test_a_later_limit_does_not_move_an_earlier_one(it: Subject) -> None:
    worker = serving(it)
    worker.kill_later(10.0, "it did not end")
    worker.kill_later(20.0, "it did not end")
    it.loop.advance(10.0)
    assert it.process.signals == [signal.SIGKILL]


def test_killed_at_once(it: Subject) -> None:
    it.worker.kill_now()
    assert it.process.signals == [signal.SIGKILL]
    assert not it.channel.is_open


def test_it_wants_to_leave(it: Subject) -> None:
    serving(it)
    it.hear(Leaving())
    assert it.owner.events == ["ready", "wants to leave"]


def test_lifetimes_differ(it: Subject) -> None:
    lifetimes = set()
    for _ in range(10):
        other = Subject()
        assert not other.worker.is_past_lifetime
        serving(other)
        seconds = 0
        while not other.worker.is_past_lifetime:
            other.loop.advance(1.0)
            seconds += 1
        assert 80 <= seconds <= 100
        lifetimes.add(seconds)
    assert len(lifetimes) > 1


def test_no_lifetime(it: Subject) -> None:
    other = Subject(Timing())
    serving(other)
    other.loop.advance(1e9)
    assert not other.worker.is_past_lifetime
