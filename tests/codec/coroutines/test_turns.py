"""picows_codec.coroutines.turns: fragments of two messages do not mix, and nobody is forgotten."""

from __future__ import annotations

from typing import List

import pytest

from picows_codec.coroutines.operation import release_turn, send_fragment, take_turn
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import CONTINUATION, TEXT


def payloads(link: CoroutineConnection) -> List[bytes]:
    return [frame.payload for frame in link.sent()]


def test_one_at_a_time() -> None:
    link = CoroutineConnection()
    link.do(take_turn(link.listener))
    link.do(send_fragment(link.listener, TEXT, "a", False))
    tasks = [link.start_task(link.awaited.send(text)) for text in "123"]
    turn = link.start_task(take_turn(link.listener))
    later = link.start_task(link.awaited.send("4"))
    link.do(send_fragment(link.listener, CONTINUATION, "b", True))
    assert not any(task.done() for task in tasks)
    release_turn(link.listener)
    link.loop.run_ready()
    assert all(task.done() for task in tasks)
    assert turn.done()
    assert not later.done()
    release_turn(link.listener)
    link.loop.run_ready()
    assert later.done()
    assert payloads(link) == [b"a", b"b", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("cancelled", [0, 1, 2])
def test_whoever_gives_up(cancelled: int) -> None:
    link = CoroutineConnection()
    link.do(take_turn(link.listener))
    tasks = [link.start_task(link.awaited.send(text)) for text in "012"]
    release_turn(link.listener)  # the first one is called, and has not run
    tasks[cancelled].cancel()
    link.loop.run_ready()
    assert payloads(link) == [b"%d" % index for index in range(3) if index != cancelled]


def test_fragments_wait_while_writing_is_paused() -> None:
    link = CoroutineConnection(
        room=0, coalesce_writes=False, write_high_watermark=20, write_low_watermark=10
    )
    link.do(take_turn(link.listener))
    link.do(send_fragment(link.listener, TEXT, "a" * 30, False))
    other = link.start_task(link.awaited.send("other"))
    fragment = link.start_task(send_fragment(link.listener, CONTINUATION, "b", True))
    assert not fragment.done()
    link.drain()
    assert fragment.done()
    assert not other.done()
    release_turn(link.listener)
    link.loop.run_ready()
    assert other.done()
    assert payloads(link)[1:] == [b"b", b"other"]
