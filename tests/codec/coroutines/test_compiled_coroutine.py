"""picows_codec.coroutines.compiled_coroutine: coroutines as Python sees them."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections import abc
from typing import Any, Callable, List, Tuple

import pytest

from picows_codec.coroutines.compiled_coroutine import CompiledCoroutine
from picows_codec.coroutines.events import EventListener, EventOperation
from picows_codec.coroutines.operation import Operation
from tests.support.coroutines import CoroutineConnection

Made = Callable[[], Any]


def of_connection(call: Callable[[Any], Any]) -> Made:
    return lambda: call(CoroutineConnection().awaited)


def of_events(call: Callable[[Any], Any]) -> Made:
    def make() -> Any:
        listener = EventListener()
        listener.begin_events(asyncio.new_event_loop())
        return call(listener)

    return make


KINDS: List[Tuple[str, Made]] = [
    ("WSConnection.recv", of_connection(lambda ws: ws.recv())),
    ("WSConnection.recv_many", of_connection(lambda ws: ws.recv_many())),
    ("WSConnection.__anext__", of_connection(lambda ws: ws.__anext__())),
    ("WSConnection.send", of_connection(lambda ws: ws.send("x"))),
    ("WSConnection.send_many", of_connection(lambda ws: ws.send_many(["x"]))),
    ("EventListener.receive", of_events(lambda listener: listener.receive())),
    ("EventListener.send", of_events(lambda listener: listener.send({}))),
]

every_kind = pytest.mark.parametrize(("name", "make"), KINDS, ids=[name for name, _ in KINDS])
receiving = pytest.mark.parametrize(
    "make", [dict(KINDS)["WSConnection.recv"], dict(KINDS)["EventListener.receive"]]
)


@pytest.fixture(autouse=True)
def _close_loops(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every loop of a test is closed."""
    loops: List[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loops.append(make())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    yield
    for loop in loops:
        loop.close()


@every_kind
def test_what_it_is(name: str, make: Made) -> None:
    made = make()
    assert isinstance(made, abc.Coroutine)
    assert asyncio.iscoroutine(made)
    assert inspect.isawaitable(made)
    assert not asyncio.isfuture(made)
    assert made.__await__() is made
    assert iter(made) is made
    assert made.__qualname__ == name
    assert made.__name__ == name.partition(".")[2]
    assert repr(made) == f"<coroutine {name}>"
    made.close()
    made.close()
    with pytest.raises(RuntimeError, match=f"already awaited <coroutine {name}>"):
        made.send(None)
    with pytest.raises(RuntimeError, match="already awaited"):
        next(made)


@every_kind
def test_never_awaited(name: str, make: Made) -> None:
    with pytest.warns(RuntimeWarning, match=f"coroutine '{name}' was never awaited"):
        make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().close()


THROWN = [(KeyError("k"),), (KeyError, "k"), (KeyError, KeyError("k")), (KeyError,)]


@pytest.mark.parametrize("thrown", THROWN)
@every_kind
def test_throwing_before_it_was_awaited(name: str, make: Made, thrown: Any) -> None:
    made = make()
    with pytest.raises(KeyError):
        made.throw(*thrown)
    with pytest.raises(RuntimeError, match="already awaited"):
        made.send(None)


@pytest.mark.parametrize("thrown", THROWN)
@receiving
def test_throwing_where_it_waits(make: Made, thrown: Any) -> None:
    made = make()
    made.send(None)
    with pytest.raises(KeyError):
        made.throw(*thrown)
    with pytest.raises(RuntimeError, match="already awaited"):
        made.send(None)


@receiving
def test_the_traceback_that_is_thrown(make: Made) -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        traceback = error.__traceback__
    made = make()
    with pytest.raises(KeyError) as caught:
        made.throw(KeyError, KeyError("second"), traceback)
    found = caught.value.__traceback__
    seen = []
    while found is not None:
        seen.append(found)
        found = found.tb_next
    assert traceback in seen


@pytest.mark.parametrize("kind", [CompiledCoroutine, Operation, EventOperation])
def test_nobody_else_makes_one(kind: Any) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        kind()


def test_each_kind_has_spare_objects_of_its_own() -> None:
    """What an ended coroutine leaves is used for the next one of its kind, never of the other."""
    for _ in range(3):
        for name, make in KINDS:
            made = make()
            assert type(made) is (Operation if name.startswith("WS") else EventOperation)
            made.close()
            del made
