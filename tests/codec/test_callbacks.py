"""Callbacks that would make coroutines, or never be called: refused before a connection opens."""

from __future__ import annotations

import functools
import gc
import unittest.mock
import weakref
from types import ModuleType
from typing import Any, Type

import pytest

from picows_codec import WSBatchListener, WSListener, WSMessageListener
from tests.support.connection import Connection, both_roles
from tests.support.extensions import compile_extension
from tests.support.frames import CONTINUATION, TEXT
from tests.support.listeners import CALLBACKS

ARGUMENTS = {
    "on_ws_connected": "transport",
    "on_ws_frame": "transport, frame",
    "on_ws_message": "transport, message",
    "on_ws_batch": "transport, messages",
    "on_ws_disconnected": "transport",
    "send_user_specific_ping": "transport",
    "is_user_specific_pong": "frame",
}
EVERY_CALLBACK = [
    *((WSListener, name) for name in CALLBACKS),
    *((WSMessageListener, name) for name in [*CALLBACKS, "on_ws_message"]),
    *((WSBatchListener, name) for name in [*CALLBACKS, "on_ws_message", "on_ws_batch"]),
]
every_callback = pytest.mark.parametrize(("base", "name"), EVERY_CALLBACK)


async def coroutine_function(self: Any, *arguments: Any) -> None:
    pass


async def generator_function(self: Any, *arguments: Any) -> Any:
    yield


def plain_generator_function(self: Any, *arguments: Any) -> Any:
    yield


class AsynchronousObject:
    async def __call__(self, *arguments: Any) -> None:
        pass


def refused(role: str, factory: Any) -> TypeError:
    """What became of a connection whose listener is of no use."""
    connection = Connection(role, open=False, factory=lambda *arguments: factory())
    connection.start()
    connection.feed(connection.opening_bytes())
    error = connection.opened.exception()
    assert isinstance(error, TypeError)
    if role == "server":
        assert connection.transport.written.startswith(b"HTTP/1.1 500 ")
    return error


@both_roles
@every_callback
def test_coroutine_function(role: str, base: Type[WSListener], name: str) -> None:
    for function in (
        coroutine_function,
        generator_function,
        plain_generator_function,
        functools.partial(coroutine_function, None),
        AsynchronousObject(),
        staticmethod(coroutine_function),
        classmethod(coroutine_function),
        functools.partialmethod(coroutine_function),
        property(lambda self: functools.partial(coroutine_function, self)),
    ):
        error = refused(role, type("Mine", (base,), {name: function}))
        assert f"Mine.{name} must be a plain function" in str(error)
        assert "asyncio.Queue" in str(error)


@both_roles
def test_callback_of_another_base(role: str) -> None:
    class Mine(WSListener):
        def on_ws_message(self, transport: Any, message: Any) -> None:
            pass

    text = "Mine.on_ws_message would never be called: the class must be a subclass of WSMessageL"
    assert text in str(refused(role, Mine))

    class Batches(WSMessageListener):
        def on_ws_batch(self, transport: Any, messages: Any) -> None:
            pass

    assert "must be a subclass of WSBatchListener" in str(refused(role, Batches))

    class Own(WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            self.on_ws_message(transport, frame)

        def on_ws_message(self, transport: Any, message: Any) -> None:
            pass

    Connection(role, Own())


@both_roles
@every_callback
def test_wrong_parameters(role: str, base: Type[WSListener], name: str) -> None:
    wanted = ARGUMENTS.get(name, "")
    for function in (
        lambda: None,
        lambda self, a, b, c: None,
        lambda self, *arguments, needed: None,
        staticmethod(lambda a, b, c: None),
    ):
        error = refused(role, type("Mine", (base,), {name: function}))
        assert str(error).startswith(f"Mine.{name} is called as {name}({wanted}), which its")
    for function in (
        lambda *arguments: None,
        lambda self, a=None, b=None, c=None: None,
        staticmethod(lambda *arguments, more=1: None),
        functools.partialmethod(lambda *arguments: None),
        unittest.mock.Mock(),
    ):
        Connection(role, type("Mine", (base,), {name: function})())


@both_roles
def test_coroutine_function_of_an_object(role: str) -> None:
    class Mine(WSListener):
        def __init__(self) -> None:
            self.on_ws_frame = functools.partial(coroutine_function, self)

    assert "Mine.on_ws_frame must be a plain function" in str(refused(role, Mine))


@both_roles
def test_coroutine_function_in_a_slot(role: str) -> None:
    class Mine(WSListener):
        __slots__ = ("on_ws_disconnected",)

        def __init__(self) -> None:
            self.on_ws_disconnected = functools.partial(coroutine_function, self)

    assert "Mine.on_ws_disconnected must be a plain function" in str(refused(role, Mine))


@both_roles
def test_property_that_raises(role: str) -> None:
    def fail(self: WSListener) -> Any:
        raise LookupError("not today")

    connection = Connection(
        role,
        open=False,
        factory=lambda *_: type("Mine", (WSListener,), {"on_ws_frame": property(fail)})(),
    )
    connection.start()
    connection.feed(connection.opening_bytes())
    assert isinstance(connection.opened.exception(), LookupError)


@both_roles
def test_mock_of_an_object(role: str) -> None:
    listener = WSListener.__new__(type("Mine", (WSListener,), {}))
    listener.on_ws_frame = unittest.mock.Mock()  # type: ignore[method-assign]
    connection = Connection(role, listener)
    connection.receive(TEXT, b"a")
    assert listener.on_ws_frame.call_count == 1
    listener = type("Mine", (WSListener,), {})()
    listener.on_ws_frame = unittest.mock.AsyncMock()  # type: ignore[method-assign]
    assert "not a coroutine function" in str(refused(role, lambda: listener))


@both_roles
def test_it_is_refused_every_time(role: str) -> None:
    mine = type("Mine", (WSListener,), {"on_ws_frame": coroutine_function})
    for _ in range(2):
        refused(role, mine)


def test_a_class_that_passed_is_not_kept() -> None:
    mine = type("Mine", (WSListener,), {"__slots__": ()})
    Connection("client", mine()).lose()
    known = weakref.ref(mine)
    del mine
    gc.collect()
    assert known() is None


SOURCE = (
    """
from picows_codec.batch cimport WSBatchListener
from picows_codec.listener cimport WSMessageListener
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport
from picows_codec.frames cimport WSFrame, WSMessage

"""
    + "\n".join(
        f"cdef class Def_{base.__name__}_{name}({base.__name__}):\n"
        f"    def {name}(self{', ' + ARGUMENTS[name] if name in ARGUMENTS else ''}):\n"
        f"        return None\n"
        for base, name in EVERY_CALLBACK
    )
    + """
cdef class Called(WSListener):
    cdef public list seen
    cdef dict __dict__

    def __init__(self):
        self.seen = []

    def on_ws_frame(self, transport, frame):
        self.seen.append(frame.get_payload_as_bytes())

cdef class SeesFrames(WSMessageListener):
    cdef public list seen

    def __init__(self):
        self.seen = []

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self.seen.append(frame.opcode.name)
        WSMessageListener.on_ws_frame(self, transport, frame)

    cpdef on_ws_message(self, WSTransport transport, WSMessage message):
        self.seen.append(message.get_payload_as_bytes())

class CompiledCoroutineFunction(WSListener):
    async def on_ws_frame(self, transport, frame):
        pass

class CompiledGeneratorFunction(WSListener):
    def on_ws_frame(self, transport, frame):
        yield

class CompiledPythonClass(WSMessageListener):
    def __init__(self):
        self.seen = []

    def on_ws_message(self, transport, message):
        self.seen.append(message.get_payload_as_bytes())
"""
)


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "74.1")
    return compile_extension("listeners_with_def", SOURCE, tmp_path_factory.mktemp("callbacks"))


@both_roles
@pytest.mark.timeout(300)
@every_callback
def test_def_in_a_compiled_class(
    extension: ModuleType, role: str, base: Type[WSListener], name: str
) -> None:
    """It is not in the vtable, through which a compiled listener is called."""
    listener = getattr(extension, f"Def_{base.__name__}_{name}")
    error = refused(role, listener)
    assert str(error) == (
        f"Def_{base.__name__}_{name}.{name} would never be called: in a compiled class write cpdef"
        " instead of def"
    )


@both_roles
@pytest.mark.timeout(300)
def test_def_of_a_subclass_in_python(extension: ModuleType, role: str) -> None:
    """A Python class below is called like any other; it inherits nothing that is not called."""
    seen = []

    class Mine(extension.Def_WSListener_pause_writing):
        def pause_writing(self) -> None:
            pass

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            seen.append(frame.get_payload_as_bytes())

    connection = Connection(role, Mine())
    connection.receive(TEXT, b"a")
    assert seen == [b"a"]


@both_roles
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["Called", "CompiledPythonClass"])
def test_def_that_is_called(extension: ModuleType, role: str, name: str) -> None:
    listener = getattr(extension, name)()
    connection = Connection(role, listener)
    connection.receive(TEXT, b"a")
    assert listener.seen == [b"a"]


@both_roles
@pytest.mark.timeout(300)
def test_compiled_listener_of_messages_that_sees_frames(extension: ModuleType, role: str) -> None:
    """Its on_ws_frame is called for every frame, and what it passes on is gathered."""
    listener = extension.SeesFrames()
    connection = Connection(role, listener)
    connection.receive(TEXT, b"a", fin=False)
    connection.receive(CONTINUATION, b"b")
    connection.receive(TEXT, b"c")
    assert listener.seen == ["TEXT", "CONTINUATION", b"ab", "TEXT", b"c"]


@both_roles
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["Coroutine", "Generator"])
def test_compiled_function_that_is_asynchronous(
    extension: ModuleType, role: str, kind: str
) -> None:
    error = refused(role, getattr(extension, f"Compiled{kind}Function"))
    assert f"must be a plain function, not a {kind.lower()} function" in str(error)
