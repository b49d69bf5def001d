"""picows_codec.calls: a coroutine in every respect, and an asynchronous context manager."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
import sys
import threading
from typing import Any, Callable, ClassVar, List

import pytest

from picows_codec.calls import OpeningCall, checks_options, returns_call
from picows_codec.option_table import OPTIONS, described_options

Run = Callable[..., Any]


class Call(OpeningCall[str]):
    ended: ClassVar[List[str]] = []

    async def _end(self, opened: str) -> None:
        await asyncio.sleep(0)
        self.ended.append(opened)


@returns_call(Call, {"ssl": "write ssl_context="}, is_server=True)
async def make(url: str, *, ssl_context: object = None, fails: bool = False, **options: Any) -> str:
    """Make it."""
    await asyncio.sleep(0)
    if fails:
        raise ValueError(url)
    return f"made {url}"


@pytest.fixture(autouse=True)
def _none_ended() -> None:
    Call.ended.clear()


async def in_wait_for() -> Any:
    return await asyncio.wait_for(make("a"), 5)


async def in_gather() -> Any:
    (result,) = await asyncio.gather(make("a"))
    return result


async def in_create_task() -> Any:
    task = asyncio.get_running_loop().create_task(make("a"))
    assert "make" in repr(task)
    assert task.get_stack()
    return await task


async def in_ensure_future() -> Any:
    return await asyncio.ensure_future(make("a"))


async def in_shield() -> Any:
    return await asyncio.shield(make("a"))


async def in_await() -> Any:
    return await make("a")


async def in_async_with() -> Any:
    async with make("a") as made:
        assert Call.ended == []
    assert Call.ended == ["made a"]
    return made


async def in_another_thread() -> Any:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    results = []

    def wait() -> None:
        results.append(asyncio.run_coroutine_threadsafe(make("a"), loop).result(10))
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=wait)
    thread.start()
    await done.wait()
    thread.join()
    return results[0]


@pytest.mark.parametrize(
    "main",
    [
        in_await,
        in_async_with,
        in_create_task,
        in_ensure_future,
        in_gather,
        in_shield,
        in_wait_for,
        in_another_thread,
    ],
)
def test_what_takes_it(run: Run, main: Callable[[], Any]) -> None:
    assert run(main) == "made a"


def test_runners_take_it() -> None:
    assert asyncio.run(make("a")) == "made a"  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()
    loop.set_debug(True)  # which reads more of a coroutine
    try:
        assert loop.run_until_complete(make("b")) == "made b"
    finally:
        loop.close()


def test_uvloop_runs_it() -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    loop.set_debug(True)
    try:
        assert loop.run_until_complete(make("b")) == "made b"
    finally:
        loop.close()


def test_it_is_a_coroutine() -> None:
    call = make("a")
    assert isinstance(call, collections.abc.Coroutine)
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    assert call.__qualname__ == "make"
    assert call.cr_running is False
    assert repr(call) == "<make(...): await it, or enter it by async with>"
    with pytest.raises(AttributeError, match="no_such"):
        call.no_such  # noqa: B018
    assert call.send(None) is None
    assert call.cr_await is not None
    with pytest.raises(StopIteration, match="made a"):
        call.send(None)
    assert call.cr_frame is None


def test_throw_and_close() -> None:
    call = make("a")
    call.send(None)
    with pytest.raises(KeyError):
        call.throw(KeyError("a"))
    call = make("a")
    call.close()
    call = make("a")
    call.send(None)
    call.close()
    with pytest.raises(RuntimeError):
        call.send(None)


def test_twice(run: Run) -> None:
    async def main() -> None:
        call = make("a")
        await call
        with pytest.raises(RuntimeError, match=r"this make\(...\) has been awaited already"):
            await call
        with pytest.raises(RuntimeError, match="awaited already: call make again"):
            async with call:
                pass
        call = make("b")
        async with call:
            with pytest.raises(RuntimeError, match="awaited already"):
                async with call:
                    pass
        assert Call.ended == ["made b"]
        call = make("c")
        await asyncio.ensure_future(call)
        with pytest.raises(RuntimeError, match="awaited already"):
            await call

    run(main)


def test_body_that_raises(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(KeyError):
            async with make("a"):
                raise KeyError
        assert Call.ended == ["made a"]

    run(main)


def test_failure(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="a"):
            async with make("a", fails=True):
                pytest.fail("entered")
        assert Call.ended == []

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no mark before")
def test_the_function_is_taken_for_a_coroutine_function() -> None:
    assert inspect.iscoroutinefunction(make)


def test_forgotten() -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'make' was never awaited"):
        make("a")


def test_await_left_out() -> None:
    """It says what to do to somebody who takes it for what it opens."""
    what_to_do = r"await make\(...\) first, or enter it by async with$"
    call = make("a")
    with pytest.raises(TypeError, match=rf"^make\(...\) has not been awaited: {what_to_do}"):
        call.send("hello")
    with pytest.raises(AttributeError, match=f"no attribute 'recv': {what_to_do}"):
        call.recv()
    with pytest.raises(AttributeError, match=r"has no attribute '_private'$"):
        call._private  # noqa: B018
    assert call.send(None) is None  # it has not been used up
    with pytest.raises(StopIteration, match="made a"):
        call.send("whatever it waits for")


def test_what_can_be_seen_of_the_function() -> None:
    assert make.__name__ == "make"
    parameters = inspect.signature(make).parameters
    names = [option.name for option in OPTIONS]
    assert list(parameters) == ["url", "ssl_context", "fails", *names]
    for option in OPTIONS:
        parameter = parameters[option.name]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert parameter.default is option.server_default
        assert parameter.annotation == option.type
    assert make.__doc__.startswith("Make it.\n\nOptions of the connection\n    ``")
    assert make.__doc__.endswith(described_options(is_server=True))
    assert make.__wrapped__.__doc__ == "Make it."


def test_without_docstrings() -> None:
    """As under python -OO."""

    async def bare(**options: Any) -> str:
        return "made"

    assert returns_call(Call, {}, is_server=False)(bare).__doc__ is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"options": {}}, r"^make\(\) has no option 'options'"),
        ({"max_frame_sise": 1}, r"'max_frame_sise': did you mean 'max_frame_size'\?"),
        ({"ssl": True}, r"^make\(\) has no option 'ssl': write ssl_context=$"),
        ({"sslcontext": 1}, "'sslcontext': did you mean 'ssl_context'"),
        ({"x1": 1, "ssl": 2}, r"no option 'x1'; 'ssl': write"),
        ({}, "missing 1 required positional argument: 'url'"),
    ],
)
def test_wrong_options(options: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make(**options)


def test_a_function_without_further_options() -> None:
    @checks_options({"ssl": "leave it out"})
    def function(url: str, size: int = 1) -> str:
        return url * size

    call: Any = function
    assert call("a", size=2) == "aa"
    assert list(inspect.signature(call).parameters) == ["url", "size"]
    with pytest.raises(TypeError, match=r"no option 'ssl': leave it out; 'sise': did you mean"):
        call("a", ssl=True, sise=2)
