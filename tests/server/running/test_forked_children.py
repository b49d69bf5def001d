"""picows_server.running.forked_children: what a forked child gives up."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, List

import pytest

from picows_server.running.forked_children import ForkHook, give_up_descriptors, give_up_signals
from tests.support.forks import in_child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")


def test_a_hook_is_called_in_children_until_it_is_closed() -> None:
    calls: List[int] = []
    hook = ForkHook(lambda: calls.append(os.getpid()))

    def check(count: int) -> None:
        assert calls == [os.getpid()] * count

    assert in_child(lambda: check(1)) == 0
    hook.close()
    assert in_child(lambda: check(0)) == 0
    assert calls == []


def test_signals_come_after_the_hook() -> None:
    # As if somebody had been quick.
    first = ForkHook(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    received: List[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    hook = ForkHook(lambda: signal.signal(signal.SIGUSR1, signal.SIG_DFL), [signal.SIGUSR1])
    try:
        assert in_child(lambda: None) == signal.SIGUSR1
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    finally:
        signal.signal(signal.SIGUSR1, before)
        hook.close()
        first.close()
    assert received == []


def test_descriptors_become_the_null_device() -> None:
    def check(numbers: List[int]) -> None:
        give_up_descriptors(numbers)
        for number in numbers:
            assert not os.get_inheritable(number)
            assert os.path.samestat(os.fstat(number), os.stat(os.devnull))

    own, theirs = socket.socketpair()
    with own, theirs:
        assert in_child(lambda: check([own.fileno(), theirs.fileno()])) == 0
        own.sendall(b"x")
        assert theirs.recv(1) == b"x"


def test_a_descriptor_that_is_closed() -> None:
    own, theirs = socket.socketpair()
    number = own.fileno()
    own.close()
    with theirs:

        def check() -> None:
            give_up_descriptors([number, theirs.fileno()])
            assert os.path.samestat(os.fstat(theirs.fileno()), os.stat(os.devnull))

        assert in_child(check) == 0


def test_no_descriptors() -> None:
    give_up_descriptors([])


def test_signals_wake_up_no_loop() -> None:
    def handler(*_: Any) -> None: ...

    def check() -> None:
        give_up_signals({signal.SIGUSR1: handler, signal.SIGUSR2: None})
        assert signal.getsignal(signal.SIGUSR1) is handler
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGUSR1)

    own, theirs = socket.socketpair()
    with own, theirs:
        own.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(own.fileno())
        try:
            assert in_child(check) == 0
        finally:
            signal.set_wakeup_fd(before)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
