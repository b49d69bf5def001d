"""Recorder: when it writes, what it appends to, rotation, and what a crash leaves."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Type

import pytest

from picows_codec import WSInvalidOptionError
from picows_codec.recording import Recorder, RecordingError, read_recording
from picows_codec.recording.file_format import file_head
from picows_codec.recording.reading import files_of
from picows_codec.tap_types import WSDirection
from picows_codec.testing import FakeLoop, connected
from tests.support.recording import Collector

Run = Callable[..., Any]


def texts(path: Path) -> List[bytes]:
    """The payloads of unmasked frames that were received."""
    return [
        record.data[2:]
        for record in read_recording(path)
        if record.direction is WSDirection.RECEIVED and not record.is_handshake
    ]


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(path) as recorder:
        assert repr(recorder) == f"<Recorder {str(path)!r}>"
        link = connected(Collector(), url="wss://host/a?b=c", tap=recorder)
        link.receive("x")
        link.transport.send(1, b"y")
        link.receive_close(4001)
        link.receive_eof()
    assert repr(recorder) == f"<Recorder {str(path)!r} closed>"
    records = list(read_recording(path))
    assert [record.kind for record in records] == ["open", *["data"] * 6, "end"]
    first, request, response, received, sent, *_, last = records
    assert (first.role, first.url) == ("client", "wss://host/a?b=c")
    assert request.is_handshake
    assert request.direction is WSDirection.SENT
    assert request.data.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert response.is_handshake
    assert response.data.startswith(b"HTTP/1.1 101 ")
    assert (received.direction, received.data) == (WSDirection.RECEIVED, b"\x81\x01x")
    assert sent.direction is WSDirection.SENT
    assert last.facts == {"cause": "PEER_CLOSE", "code": 4001}
    assert {record.connection for record in records} == {1}
    times = [record.monotonic_ns for record in records]
    assert times == sorted(times)
    assert all(abs(record.time_ns - first.time_ns) < 60e9 for record in records)


def test_when_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    loop = FakeLoop()
    recorder = Recorder(path, flush_interval=600)
    link = connected(Collector(), loop=loop, tap=recorder)  # type: ignore[arg-type]
    link.receive("a")
    assert texts(path) == []
    recorder.flush()
    assert texts(path) == [b"a"]
    link.receive("b")
    assert texts(path) == [b"a"]
    loop.advance(601)
    assert texts(path) == [b"a", b"b"]
    link.receive(b"c" * 100)
    for _ in range(700):
        link.receive(b"c" * 100)
    assert len(texts(path)) > 300
    link.lose()
    assert len(texts(path)) == 703
    assert not loop.timers
    recorder.close()


def test_without_a_loop(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    recorder = Recorder(path, flush_interval=0)
    recorder.new_tap("client", "ws://a/")
    assert [record.url for record in read_recording(path)] == ["ws://a/"]
    recorder.close()


def test_on_loops(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"

    async def main() -> None:
        with Recorder(path, flush_interval=0.001) as recorder:
            link = connected(Collector(), loop=asyncio.get_running_loop(), tap=recorder)
            link.receive("a")
            while texts(path) != [b"a"]:
                await asyncio.sleep(0.001)
            link.lose()
            await asyncio.sleep(0)

    run(main)


def test_it_appends(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    for number in range(3):
        with Recorder(str(path)) as recorder:
            link = connected(Collector(), tap=recorder)
            link.receive(str(number))
            link.lose()
    assert texts(path) == [b"0", b"1", b"2"]
    assert {record.connection for record in read_recording(path)} == {1, 2, 3}


def test_it_goes_on_behind_the_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(path) as recorder:
        connected(Collector(), tap=recorder).receive("a")
    whole = path.read_bytes()
    before = list(read_recording(path))
    for cut in range(1, 60):
        path.write_bytes(whole[:-cut])
        with Recorder(path) as recorder:
            connected(Collector(), tap=recorder).receive("b")
        records = list(read_recording(path))
        kept = [record for record in records if record in before]
        assert kept == before[: len(kept)]
        assert len(kept) in (len(before) - 1, len(before) - 2)
        assert texts(path)[-1] == b"b"


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(b"x" * 100)
    with pytest.raises(RecordingError, match="is not a recording"):
        Recorder(path)
    assert path.read_bytes() == b"x" * 100
    with pytest.raises(OSError, match="directory"):
        Recorder(tmp_path)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_bytes": 100}, WSInvalidOptionError),
        ({"max_bytes": -1}, WSInvalidOptionError),
        ({"keep": 3}, WSInvalidOptionError),
        ({"max_bytes": 1e6}, TypeError),
        ({"keep": 0}, ValueError),
        ({"keep": True}, TypeError),
        ({"redact": 1}, TypeError),
        ({"flush_interval": None}, TypeError),
        ({"flush_interval": True}, TypeError),
        ({"flush_interval": -1}, ValueError),
        ({"flush_interval": float("nan")}, ValueError),
        ({"flush_interval": float("inf")}, ValueError),
    ],
)
def test_wrong_options(options: Dict[str, Any], error: Type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        Recorder(tmp_path / "a.rec", **options)
    assert not list(tmp_path.iterdir())


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a[1].rec"
    with Recorder(path, max_bytes=4096) as recorder:
        link = connected(Collector(), tap=recorder)
        for number in range(100):
            link.receive(b"%03d" % number * 30)
    files = [path.with_name(f"{path.name}.{number}") for number in range(1, 100)]
    files = [each for each in files if each.exists()] + [path]
    assert len(files) > 3
    assert all(each.stat().st_size <= 4096 for each in files)
    assert [text for each in files for text in texts(each)] == [
        b"%03d" % number * 30 for number in range(100)
    ]
    for each in files:
        first, request, response, *_ = read_recording(each)
        assert (first.kind, first.role, first.connection) == ("open", "client", 1)
        assert request.is_handshake
        assert response.is_handshake
        assert ("continues" in first.facts) == (each is not files[0])


def many(recorder: Recorder) -> None:
    link = connected(Collector(), tap=recorder)
    for number in range(400):
        link.receive(b"%03d" % number * 30)


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5, 6])
def test_old_files_are_deleted(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(tmp_path / "all.rec", max_bytes=4096) as recorder:
        many(recorder)
    made = len(list(tmp_path.iterdir())) - 1
    assert made > keep
    with Recorder(path, max_bytes=4096, keep=keep) as recorder:
        many(recorder)
    numbers = sorted(int(each.suffix[1:]) for each in tmp_path.glob("a.rec.*"))
    assert numbers == list(range(made - keep + 1, made + 1))
    assert texts(path)[-1] == b"399" * 30


def test_one_that_cannot_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else was faster, or it is in use: that does not stop the recording."""
    path = tmp_path / "a.rec"

    def unlink(self: Path, *_: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "unlink", unlink)
    with Recorder(path, max_bytes=4096, keep=1) as recorder:
        many(recorder)
        assert not recorder.is_closed
    assert texts(path)[-1] == b"399" * 30


def test_numbers_go_on(tmp_path: Path) -> None:
    """In the files that follow, too, also if no connection is left that began in them."""
    path = tmp_path / "a.rec"
    numbers: List[int] = []
    for _ in range(4):
        with Recorder(path, max_bytes=4096, keep=1) as recorder:
            link = connected(Collector(), tap=recorder)
            for _ in range(3):
                connected(Collector(), tap=recorder).lose()
            for number in range(200):
                link.receive(b"%03d" % number * 30)
            numbers += [tap.number for tap in recorder._taps.values()]
    assert numbers == [1, 5, 9, 13]
    path.unlink()  # moved away, say
    (old,) = tmp_path.glob("a.rec.*")
    with Recorder(path) as recorder:
        assert recorder.new_tap("client", "ws://a/").number == 17
    path.unlink()
    old.write_bytes(b"x" * 100)
    with Recorder(path) as recorder:
        assert recorder.new_tap("client", "ws://a/").number == 1


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    before = os.umask(0)
    try:
        with Recorder(path, max_bytes=4096) as recorder:
            many(recorder)
    finally:
        os.umask(before)
    files = list(tmp_path.iterdir())
    assert len(files) > 3
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}


def test_one_that_failed_is_forgotten(tmp_path: Path) -> None:
    """Nothing of it is written into the files that follow."""
    path = tmp_path / "a.rec"

    def redact(name: str, value: str) -> str:
        if name == "x-bad":
            raise LookupError("as asked for")
        return value

    with Recorder(path, redact=redact) as recorder:
        options: Dict[str, Any] = {"tap": recorder, "raise_errors": False}
        link = connected(Collector(), peer_headers={"X-Bad": "1"}, **options)
        assert any("the tap failed" in line for line in link.log)
        assert not recorder._taps
        connected(Collector(), tap=recorder)
        assert len(recorder._taps) == 1


def test_timers_of_two_loops(tmp_path: Path) -> None:
    """A timer is cancelled on the thread of its loop, and on no other."""
    path = tmp_path / "a.rec"
    timers: Dict[Any, List[asyncio.TimerHandle]] = {}

    class Loop(asyncio.SelectorEventLoop):
        def call_later(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            timer = super().call_later(*args, **kwargs)
            timers.setdefault(self, []).append(timer)
            return timer

    async def call(function: Callable[..., Any], *args: Any) -> None:
        function(*args)

    loops = [Loop(), Loop()]
    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    for thread in threads:
        thread.start()
    first, second = loops

    def on(loop: Any, function: Callable[..., Any], *args: Any) -> None:
        asyncio.run_coroutine_threadsafe(call(function, *args), loop).result()

    try:
        recorder = Recorder(path, flush_interval=600)
        on(first, recorder.new_tap, "client", "ws://a/")
        on(second, recorder.flush)
        assert [record.url for record in read_recording(path)] == ["ws://a/"]
        assert [timer.cancelled() for timer in timers[first]] == [False]
        on(second, recorder.new_tap, "client", "ws://b/")
        on(first, recorder.flush)
        assert [timer.cancelled() for timer in timers[first]] == [True]
        assert [timer.cancelled() for timer in timers[second]] == [False]
        on(second, recorder.new_tap, "client", "ws://c/")
        assert len(timers[second]) == 1  # which is still there, and comes sooner
        on(second, recorder._time_is_up)
        assert [record.url for record in read_recording(path)][2:] == ["ws://c/"]
        on(second, recorder.close)
    finally:
        for loop, thread in zip(loops, threads):
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Full:
    """A file on a disk that is full."""

    def write(self, data: Any) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


def test_a_full_disk(tmp_path: Path) -> None:
    """The connections go on; each says once that its recording does not."""
    path = tmp_path / "a.rec"
    recorder = Recorder(path)
    links = [connected(Collector(), tap=recorder, raise_errors=False) for _ in range(2)]
    recorder._file.close()  # type: ignore[union-attr]
    recorder._file = Full()  # type: ignore[assignment]
    for link in links:
        for _ in range(10):
            link.receive(bytes(20_000))
        assert len(link.listener.events) == 11
        assert sum("the tap failed" in line for line in link.log) == 1
    assert recorder.is_closed
    recorder.close()


def test_threads(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"

    def work(name: str) -> None:
        link = connected(Collector(), tap=recorder)
        for number in range(200):
            link.receive(f"{name} {number}")
        link.lose()

    with Recorder(path) as recorder:
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = texts(path)
    for name in "abcd":
        own = [text for text in found if text.startswith(name.encode())]
        assert own == [b"%s %d" % (name.encode(), number) for number in range(200)]


def test_one_that_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    link = connected(Collector(), tap=Recorder(path))
    link.receive("x")
    link.lose()
    del link
    gc.collect()
    assert texts(path) == [b"x"]


PROGRAM = """
import sys
from picows_codec import WSListener
from picows_codec.testing import connected
from picows_codec.recording import Recorder
link = connected(WSListener(), tap=Recorder(sys.argv[1], flush_interval=0))
number = 0
while True:
    link.receive(b"%d" % number)
    number += 1
    if number == 1000:
        print("1000", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, encoding="ascii"
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "1000\n"
        program.send_signal(signal.SIGKILL)
    found = texts(path)
    assert len(found) >= 1000
    assert found == [b"%d" % number for number in range(len(found))]
    with Recorder(path) as recorder:
        connected(Collector(), tap=recorder).receive("after")
    assert texts(path) == [*found, b"after"]


def test_heads_of_many_connections(tmp_path: Path) -> None:
    """They begin each file. Where they are longer than it may be, not each record makes one."""
    path = tmp_path / "a.rec"
    with Recorder(path, max_bytes=4096) as recorder:
        links = [connected(Collector(), tap=recorder, headers={"X": "y" * 500}) for _ in range(20)]
        made = len(list(tmp_path.iterdir()))
        for number in range(100):
            links[number % 20].receive(str(number))
        assert len(list(tmp_path.iterdir())) <= made + 1
    found = [text for each in files_of(path) for text in texts(each)]
    assert found == [str(number).encode() for number in range(100)]


def test_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a program that becomes a daemon."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Recorder("a.rec", max_bytes=4096) as recorder:
        monkeypatch.chdir(tmp_path / "elsewhere")
        many(recorder)
        assert not recorder.is_closed
    assert not list((tmp_path / "elsewhere").iterdir())
    assert texts(tmp_path / "a.rec")[-1] == b"399" * 30


@pytest.mark.parametrize("size", range(17))
def test_a_first_write_that_was_cut_off(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(file_head()[:size])
    assert list(read_recording(path)) == []
    with Recorder(path) as recorder:
        connected(Collector(), tap=recorder).receive("a")
    assert texts(path) == [b"a"]


@pytest.mark.skipif(os.name != "posix", reason="flock")
def test_another_recorder_of_the_file(tmp_path: Path) -> None:
    """It would cut off what the first one is writing, and use the same numbers."""
    path = tmp_path / "a.rec"
    with Recorder(path, max_bytes=4096) as recorder:
        for _ in range(2):
            with pytest.raises(RecordingError, match="another recorder"):
                Recorder(path)
            many(recorder)  # into other files
    Recorder(path).close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_process(tmp_path: Path) -> None:
    """What was gathered before is written once, by the parent."""
    path = tmp_path / "a.rec"
    with Recorder(path, max_bytes=4096) as recorder:
        link = connected(Collector(), tap=recorder, raise_errors=False)
        link.receive("before")
        child = os.fork()
        if child == 0:
            try:
                for _ in range(100):
                    link.receive("in the child" * 10)
                recorder.close()
            finally:
                os._exit(0 if recorder.is_closed else 1)
        assert os.waitpid(child, 0)[1] == 0
        link.receive("after")
    assert texts(path) == [b"before", b"after"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.rec"]


@pytest.mark.skipif(os.name != "posix", reason="/dev/null cannot be truncated there")
def test_the_null_device() -> None:
    with Recorder(os.devnull) as recorder, Recorder(os.devnull):
        connected(Collector(), tap=recorder).receive("x")
        recorder.flush()
        assert not recorder.is_closed
