"""What the server's tests share. A test that is a coroutine runs once on each kind of loop."""

from __future__ import annotations

import functools
import inspect
from typing import Optional

import pytest

from tests.support.loops import LOOP_KINDS, run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # A test that asks for loop_kind gets the fixture, which has the same values.
    if inspect.iscoroutinefunction(metafunc.function) and "loop_kind" not in metafunc.fixturenames:
        metafunc.fixturenames.append("loop_kind")
        metafunc.parametrize("loop_kind", LOOP_KINDS)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    run(functools.partial(function, **arguments), pyfuncitem.callspec.params["loop_kind"])
    return True
