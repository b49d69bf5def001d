"""Turn what a caller passes as listener factory into a callable with fixed arguments.

The signature is inspected once, when the factory is passed, not for every connection. A client
passes a factory for each connection, so this is fast: the signature of a class is remembered, and
the parameters of a plain function are read from its code object.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from picows_codec.http.upgrade import WSUpgradeRequest, WSUpgradeResponse

__all__ = ["await_result", "bind_listener_factory", "bind_route", "check_order"]


def check_order(function: str, url: Any, factory: object) -> None:
    """Raise :exc:`TypeError` if the factory was passed first, as picows 2 wants it."""
    if isinstance(factory, (str, bytes)) and callable(url):
        if isinstance(factory, str) and "://" not in factory:  # a host; the port follows it
            factory = f"ws://{factory}:port"
        raise TypeError(
            f"the URL comes first, then the listener factory: {function}({factory!r},"
            f" {getattr(url, '__qualname__', url)}, ...)"
        )


# What is known of classes, for each number of arguments that was asked for.
_KNOWN: WeakKeyDictionary[type, dict[int, int]] = WeakKeyDictionary()


def _accepted_count(
    factory: Callable[..., Any], count: int, wanted: str, *, takes_coroutines: bool = False
) -> int:
    """Return 0 if the factory can be called without arguments, count if with that many."""
    if isinstance(factory, type):
        known = _KNOWN.get(factory)
        if known is None:
            known = _KNOWN[factory] = {}
        if count not in known:
            known[count] = _count_by_signature(factory, count, wanted)
        return known[count]
    if not takes_coroutines:
        _refuse_coroutine_function(factory, wanted)
    if type(factory) is FunctionType and not factory.__dict__:
        if _is_callable_with(factory, 0):
            return 0
        if _is_callable_with(factory, count):
            return count
    return _count_by_signature(factory, count, wanted)


def _is_callable_with(function: FunctionType, count: int) -> bool:
    """Whether a function takes count positional arguments."""
    code = function.__code__
    needed = code.co_argcount - len(function.__defaults__ or ())
    is_enough = needed <= count and (
        count <= code.co_argcount or code.co_flags & inspect.CO_VARARGS != 0
    )
    has_keywords = code.co_kwonlyargcount == len(function.__kwdefaults__ or ())
    return is_enough and has_keywords


def _refuse_coroutine_function(factory: Callable[..., Any], wanted: str) -> None:
    if type(factory) is FunctionType:
        is_one = factory.__code__.co_flags & inspect.CO_COROUTINE != 0
    else:
        is_one = any(map(inspect.iscoroutinefunction, (factory, type(factory).__call__)))
    if is_one:
        raise TypeError(f"listener_factory must be {wanted}, not a coroutine function: {factory!r}")


def _count_by_signature(factory: Callable[..., Any], count: int, wanted: str) -> int:
    """Return 0 if the factory can be called without arguments, count if with that many.

    A class or callable without a signature that Python can see (many compiled ones) is taken for
    one without arguments. Optional parameters get no argument, because they are not ours.
    """
    if not callable(factory):
        raise TypeError(f"listener_factory must be {wanted}, not {factory!r}")
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return 0
    for accepted in (0, count):
        try:
            signature.bind(*[None] * accepted)
        except TypeError:
            continue
        return accepted
    raise TypeError(f"listener_factory must be {wanted}, not {factory!r} with {signature}")


def bind_listener_factory(
    factory: Callable[..., Any],
) -> Callable[[WSUpgradeRequest, WSUpgradeResponse], Any]:
    """Bind the factory of a client.

    It is called with the upgrade request and response if it needs two arguments, else with none.
    Raises :exc:`TypeError` for what cannot be called either way.
    """
    wanted = "a class or callable that takes no argument, or the upgrade request and response"
    if _accepted_count(factory, 2, wanted):
        return factory
    return lambda request, response: factory()


def bind_route(factory: Callable[..., Any]) -> Callable[[WSUpgradeRequest], Any]:
    """Bind the factory of a server.

    It is called with the upgrade request if it needs one argument, else with none. It may be a
    coroutine function, since a server can respond later. Raises :exc:`TypeError` for what cannot be
    called either way.
    """
    wanted = "a class or callable that takes no argument, or the upgrade request"
    if _accepted_count(factory, 1, wanted, takes_coroutines=True):
        return factory
    return lambda request: factory()


async def await_result(awaitable: Awaitable[Any]) -> Any:
    """Make a coroutine of any awaitable that a factory returned."""
    return await awaitable
