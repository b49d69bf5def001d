from __future__ import annotations

import functools
import gc
import inspect
import weakref
from typing import Any, Iterator, Tuple

import pytest

from picows_codec.listener_factory import await_result, bind_listener_factory, bind_route
from picows_codec.options import WSOptions


class Plain:
    pass


class Optional:
    def __init__(self, name: str = "a", *, size: int = 1) -> None:
        self.arguments = (name, size)


class Needs:
    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class NeedsOne(Needs):
    def __init__(self, one: Any) -> None:
        super().__init__(one)


class NeedsTwo(Needs):
    def __init__(self, one: Any, two: Any, three: Any = None) -> None:
        super().__init__(one, two)


class Callable:
    def __call__(self, *arguments: Any) -> Tuple[Any, ...]:
        return arguments

    def one(self, one: Any) -> Tuple[Any, ...]:
        return (one,)

    def two(self, one: Any, two: Any) -> Tuple[Any, ...]:
        return (one, two)


class Unseen:
    """As a compiled callable may be: no signature to look at."""

    __signature__ = "none"

    def __call__(self, *arguments: Any) -> Tuple[Any, ...]:
        return arguments


async def coroutine_function() -> None:
    pass


class AsyncCallable:
    async def __call__(self) -> None:
        pass


def test_class_without_arguments() -> None:
    assert type(bind_listener_factory(Plain)(1, 2)) is Plain
    assert type(bind_route(Plain)(1)) is Plain


@pytest.mark.parametrize(
    ("factory", "result"),
    [
        (lambda: "made", "made"),
        (lambda *args: args, ()),
        (Callable(), ()),
        (Unseen(), ()),
        (dict, {}),
    ],
)
def test_called_without_arguments(factory: Any, result: object) -> None:
    assert bind_listener_factory(factory)(1, 2) == result
    assert bind_route(factory)(1) == result


def test_optional_parameters_are_left_alone() -> None:
    assert bind_listener_factory(Optional)(1, 2).arguments == ("a", 1)
    assert bind_route(Optional)(1).arguments == ("a", 1)


def test_compiled_class() -> None:
    assert type(bind_listener_factory(WSOptions)(1, 2)) is WSOptions
    assert type(bind_route(WSOptions)(1)) is WSOptions


@pytest.mark.parametrize(
    "factory",
    [NeedsTwo, lambda one, two: NeedsTwo(one=one, two=two), functools.partial(NeedsTwo, three=3)],
)
def test_client_factory_of_two_arguments(factory: Any) -> None:
    assert bind_listener_factory(factory)(1, 2).arguments == (1, 2)


def test_methods() -> None:
    assert bind_listener_factory(Callable().two)(1, 2) == (1, 2)
    assert bind_route(Callable().one)(1) == (1,)


@pytest.mark.parametrize(
    "factory",
    [
        NeedsOne,
        lambda one: NeedsOne(one=one),
        lambda one, two=None: Needs(one),
        functools.partial(NeedsOne),
    ],
)
def test_route_of_one_argument(factory: Any) -> None:
    assert bind_route(factory)(1).arguments == (1,)


def test_partial_takes_an_argument_away() -> None:
    assert bind_route(functools.partial(NeedsOne, 7))(1).arguments == (7,)
    assert bind_route(functools.partial(NeedsTwo, 7))(1).arguments == (7, 1)


@pytest.mark.parametrize("factory", [NeedsOne, lambda one, two, three: None, lambda *, name: None])
def test_client_factory_with_other_parameters(factory: Any) -> None:
    with pytest.raises(TypeError, match="no argument, or the upgrade request and response"):
        bind_listener_factory(factory)


@pytest.mark.parametrize("factory", [NeedsTwo, lambda one, two: None, lambda *, name: None])
def test_route_with_other_parameters(factory: Any) -> None:
    with pytest.raises(TypeError, match="no argument, or the upgrade request, not"):
        bind_route(factory)


@pytest.mark.parametrize("bind", [bind_listener_factory, bind_route])
@pytest.mark.parametrize("factory", [None, 1, "Listener", Plain()])
def test_not_callable(bind: Any, factory: Any) -> None:
    with pytest.raises(TypeError, match="listener_factory must be a class or callable") as caught:
        bind(factory)
    assert repr(factory) in str(caught.value)


COROUTINE_FUNCTIONS = pytest.mark.parametrize(
    "factory", [coroutine_function, functools.partial(coroutine_function), AsyncCallable()]
)


@COROUTINE_FUNCTIONS
def test_coroutine_function_of_a_client(factory: Any) -> None:
    with pytest.raises(TypeError, match="coroutine function"):
        bind_listener_factory(factory)


@COROUTINE_FUNCTIONS
def test_coroutine_function_of_a_server(factory: Any) -> None:
    coroutine = bind_route(factory)(1)
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


def test_a_coroutine_of_what_can_be_awaited() -> None:
    class Later:
        def __await__(self) -> Iterator[None]:
            yield
            return 7

    coroutine = await_result(Later())
    assert coroutine.send(None) is None
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == 7


def test_the_signature_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = [bind_route(factory) for factory in (lambda request: request, NeedsOne, Callable())]
    monkeypatch.setattr("inspect.signature", None)
    assert bound[0](1) == 1
    assert bound[1](1).arguments == (1,)
    assert bound[2](1) == ()
    # Of a class it is remembered, since a client passes it for every connection.
    assert bind_route(NeedsOne)(2).arguments == (2,)


def test_decorated_functions() -> None:
    def route(request: Any) -> Any:
        return request

    @functools.wraps(route)
    def wrapper(*arguments: Any) -> Any:
        return route(*arguments)

    assert bind_route(wrapper)(7) == 7


def test_a_class_is_not_kept() -> None:
    class Passing:
        pass

    bind_route(Passing)
    gone = weakref.ref(Passing)
    del Passing
    gc.collect()
    assert gone() is None
