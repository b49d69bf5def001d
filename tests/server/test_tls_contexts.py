"""TLS contexts that aiofastnet's own engine cannot carry, each in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.certificates import Certificates
from tests.support.loops import LOOP_KINDS
from tests.support.tls_cases import (
    carried,
    check_carried,
    check_during,
    check_later,
    check_needs_loop,
    later,
    needs_loop,
)

pytest.importorskip("aiofastnet")

loops = pytest.mark.parametrize("loop", LOOP_KINDS)


@loops
@needs_loop("server")
def test_contexts_that_need_the_loop(case: str, loop: str, certificates: Certificates) -> None:
    check_needs_loop("server", case, loop, certificates)


@loops
@carried("server")
def test_contexts_that_aiofastnet_carries(case: str, loop: str, certificates: Certificates) -> None:
    check_carried("server", case, loop, certificates)


@loops
@pytest.mark.parametrize("backend", ["auto", "aiofastnet"])
@later("server")
def test_callbacks_that_are_set_later(
    case: str, backend: str, loop: str, certificates: Certificates
) -> None:
    check_later("server", case, backend, loop, certificates)


@loops
@later("server")
def test_callbacks_that_are_set_during_a_handshake(
    case: str, loop: str, certificates: Certificates
) -> None:
    check_during("server", case, loop, certificates)
