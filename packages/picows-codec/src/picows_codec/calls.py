"""What ``ws_connect`` and ``ws_create_server`` return: a coroutine for ``async with``, too."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    List,
    Mapping,
    Optional,
    TypeVar,
)

from picows_codec.option_names import explain_option
from picows_codec.option_table import OPTIONS, described_options

__all__ = [
    "OpeningCall",
    "checks_options",
    "marked_as_coroutine_function",
    "passes_options_to",
    "returns_call",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class OpeningCall(Coroutine[Any, Any, T]):
    """One call that opens something: await it, make a task of it, or enter it by ``async with``.

    It is a :class:`collections.abc.Coroutine` around a coroutine object, which does the work; it
    adds no task and no future. ``async with`` gives what ``await`` gives, and ends that on exit, as
    :meth:`_end` of a subclass says.
    """

    __slots__ = ("__weakref__", "_coroutine", "_is_taken", "_opened")

    _opened: T

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._is_taken = False

    def __await__(self) -> Generator[Any, None, T]:
        self._take()
        return self._coroutine.__await__()

    def _take(self) -> None:
        """Note that it is being used up; raises RuntimeError if it was already."""
        if self._is_taken or getattr(self._coroutine, "cr_frame", self) is None:
            name = self._name
            raise RuntimeError(f"this {name}(...) has been awaited already: call {name} again")
        self._is_taken = True

    async def __aenter__(self) -> T:
        self._opened = opened = await self
        return opened

    async def __aexit__(self, *error: object) -> None:
        opened = self._opened
        del self._opened  # it may refer to this object
        await self._end(opened)

    async def _end(self, opened: T) -> None:
        raise NotImplementedError

    def send(self, value: Any) -> Any:
        """Go on with the coroutine, as a task does."""
        if value is not None and inspect.getcoroutinestate(self._coroutine) == "CORO_CREATED":
            # Somebody takes this for what it opens, and sends a message.
            raise TypeError(f"{self._name}(...) has not been awaited: {self._what_to_do}")
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception inside of the coroutine."""
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """End the coroutine, which may not have been started."""
        self._coroutine.close()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # asyncio and debuggers read these to name a coroutine and to find its stack.
            if name.startswith("cr_") or name in {"__name__", "__qualname__"}:
                return getattr(self._coroutine, name)
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(text if name.startswith("_") else f"{text}: {self._what_to_do}")

    @property
    def _name(self) -> str:
        return str(getattr(self._coroutine, "__name__", "call"))

    @property
    def _what_to_do(self) -> str:
        return f"await {self._name}(...) first, or enter it by async with"

    def __repr__(self) -> str:
        return f"<{self._name}(...): await it, or enter it by async with>"


def returns_call(
    call_type: Callable[[Coroutine[Any, Any, Any]], Any],
    meanings: Mapping[str, str],
    *,
    is_server: bool,
) -> Callable[[Any], Any]:
    """Let a coroutine function with ``**options`` return an :class:`OpeningCall`.

    The name of the function stays. Its signature gets every option in the place of ``**options``,
    and its docstring a line for each. The error for an unknown name says what to write instead;
    ``meanings`` has what other libraries' names of options mean here, see :func:`explain_option`.
    """

    def decorate(function: Any) -> Any:
        signature = _with_options(function, _table(is_server))
        call = _checked_call(function, signature, meanings, call_type)
        if call.__doc__ is not None:  # python -OO
            call.__doc__ = f"{inspect.cleandoc(call.__doc__)}\n\nOptions of the connection\n"
            call.__doc__ += described_options(is_server=is_server)
        return marked_as_coroutine_function(call)

    return decorate


def passes_options_to(
    target: Callable[..., Any],
    meanings: Mapping[str, str],
    *,
    without: Iterable[str] = (),
) -> Callable[[F], F]:
    """Give a function with ``**options`` those of ``target``, to which it passes them on.

    Its signature gets them in the place of ``**options``, but for those that it has itself and
    those of ``without``. For unknown names see :func:`returns_call`.
    """

    def decorate(function: F) -> F:
        others = [
            parameter
            for parameter in inspect.signature(target).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in without
        ]
        call: F = _checked_call(function, _with_options(function, others), meanings)
        return call

    return decorate


def checks_options(meanings: Mapping[str, str]) -> Callable[[F], F]:
    """Let the error for an unknown keyword of a function say what to write instead.

    ``meanings``: see :func:`explain_option`.
    """

    def decorate(function: F) -> F:
        call: F = _checked_call(function, inspect.signature(function), meanings)
        return call

    return decorate


def _checked_call(
    function: Any,
    signature: inspect.Signature,
    meanings: Mapping[str, str],
    call_type: Optional[Callable[[Any], Any]] = None,
) -> Any:
    """Return the function with that signature, which refuses unknown options."""
    known = frozenset(signature.parameters)

    def call(*args: Any, **options: Any) -> Any:
        if not known.issuperset(options):
            unknown = [name for name in options if name not in known]
            text = "; ".join(
                explain_option(name, tuple(signature.parameters), meanings) for name in unknown
            )
            raise TypeError(f"{function.__name__}() has no option {text}")
        result = function(*args, **options)
        return result if call_type is None else call_type(result)

    update_wrapper(call, function)
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def marked_as_coroutine_function(call: T) -> T:
    """Let frameworks and mocks take a function that returns an :class:`OpeningCall` for one.

    They do from Python 3.12 on.
    """
    mark = getattr(inspect, "markcoroutinefunction", None)
    marked: T = call if mark is None else mark(call)
    return marked


def _with_options(function: Any, options: Iterable[inspect.Parameter]) -> inspect.Signature:
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()  # the last is **options
    more = [option for option in options if option.name not in signature.parameters]
    return signature.replace(parameters=[*own, *more])


def _table(is_server: bool) -> List[inspect.Parameter]:
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default_of(is_server=is_server),
            annotation=option.type,
        )
        for option in OPTIONS
    ]
