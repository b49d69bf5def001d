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
@needs_loop
def test_contexts_that_need_the_loop(
    role: str, case: str, loop: str, certificates: Certificates
) -> None:
    check_needs_loop(role, case, loop, certificates)


@loops
@carried
def test_contexts_that_aiofastnet_carries(
    role: str, case: str, loop: str, certificates: Certificates
) -> None:
    check_carried(role, case, loop, certificates)


@loops
@pytest.mark.parametrize("backend", ["auto", "aiofastnet"])
@later
def test_callbacks_that_are_set_later(
    role: str, case: str, backend: str, loop: str, certificates: Certificates
) -> None:
    check_later(role, case, backend, loop, certificates)


@loops
@later
def test_callbacks_that_are_set_during_a_handshake(
    role: str, case: str, loop: str, certificates: Certificates
) -> None:
    check_during(role, case, loop, certificates)
