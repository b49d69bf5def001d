"""One connection after another: when to try again, and when to give up."""

from __future__ import annotations

import asyncio
import inspect
import math
from dataclasses import dataclass
from logging import ERROR, INFO, WARNING
from typing import Any, Awaitable, Callable, Generic, Optional, Tuple, TypeVar

from picows_client.backoff import WSBackoff
from picows_client.logs import Logger
from picows_client.transience import (
    Outcome,
    has_been_logged,
    is_a_fault,
    is_transient,
    looks_like_own_fault,
    retry_after_of,
)
from picows_codec import WSDisconnectCause, WSInvalidOptionError, WSTransport
from picows_codec.coroutines.ending import connection_closed
from picows_codec.log_text import one_line

__all__ = ["Redial", "RedialRules"]

T = TypeVar("T")


@dataclass(frozen=True)
class RedialRules:
    """The options that say when to try again."""

    backoff: WSBackoff
    retry: Callable[[Outcome], object]
    max_attempts: Optional[int]
    max_elapsed: Optional[float]

    def __post_init__(self) -> None:
        if not isinstance(self.backoff, WSBackoff):
            raise TypeError(f"backoff must be a WSBackoff, not {self.backoff!r}")
        if inspect.iscoroutinefunction(self.retry) or not callable(self.retry):
            raise TypeError(
                "retry must be a function, and no coroutine function, that gets an exception or a"
                f" WSDisconnectCause, not {self.retry!r}"
            )
        _check_limit("max_attempts", self.max_attempts, int)
        _check_limit("max_elapsed", self.max_elapsed, (int, float))

    @classmethod
    def of(
        cls,
        backoff: Optional[WSBackoff],
        retry: Optional[Callable[[Outcome], object]],
        max_attempts: Optional[int],
        max_elapsed: Optional[float],
    ) -> RedialRules:
        """Make them of a caller's arguments, where None is the default."""
        return cls(
            WSBackoff() if backoff is None else backoff,
            is_transient if retry is None else retry,
            max_attempts,
            max_elapsed,
        )


def _check_limit(name: str, limit: Any, kinds: Any) -> None:
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, kinds):
        raise TypeError(f"{name} must be a number or None (no limit), not {limit!r}")
    if not limit > 0:
        raise WSInvalidOptionError(f"{name}={limit!r} must be above 0, or None (no limit)")


class Redial(Generic[T]):
    """Attempts to connect, of which each follows from how the one before has ended.

    :param attempt: opens a connection or raises.
    :param on_pause: called with the seconds before a pause, and with None before an attempt.
    """

    def __init__(
        self,
        attempt: Callable[[], Awaitable[T]],
        rules: RedialRules,
        logger: Logger,
        on_pause: Callable[[Optional[float]], object] = lambda _: None,
    ) -> None:
        self.attempts = 0  # since the last stable connection
        self.last_error: Optional[BaseException] = None
        self._attempt = attempt
        self._rules = rules
        self._logger = logger
        self._on_pause = on_pause
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()  # the first of these attempts
        self._failures = 0  # in a row, a connection that did not become stable included
        self._is_unreachable = False  # the last attempt has failed
        self._open_since = math.inf
        self._pause: Optional[float] = None

    async def connect(self) -> T:
        """Return what the attempt returns that succeeds; raises the error that ends it all."""
        while True:
            if self._pause is not None:
                self._on_pause(self._pause)
                await asyncio.sleep(self._pause)
                self._pause = None
            self.attempts += 1
            self._on_pause(None)
            try:
                opened = await self._attempt()
            except Exception as error:  # noqa: BLE001 - ``retry`` decides on it
                self._go_on_after(error, error, "cannot connect")
                self._is_unreachable = True
                continue
            self._is_unreachable = False
            self._open_since = self._loop.time()
            return opened

    def lost(self, transport: WSTransport, when: Optional[float] = None) -> None:
        """Note how an open connection ended. Raises its error if that ends it all.

        :param when: the loop's time then; None: just now.
        """
        now = self._loop.time()
        if (now if when is None else when) - self._open_since >= self._rules.backoff.stable_after:
            self.attempts = self._failures = 0
            self._since = now
        error = connection_closed(transport)
        self._go_on_after(transport.disconnect_cause or error, error, "connection ended")

    def release(self) -> None:
        """Forget whom attempts are made for, who mostly refers to this object. None follows."""
        del self._attempt, self._on_pause

    def _go_on_after(self, outcome: Outcome, error: BaseException, what: str) -> None:
        self.last_error = error
        self._failures += 1
        if not self._is_to_retry(outcome):
            raise error
        self._pause = self._rules.backoff.pause(self._failures, retry_after_of(outcome))
        self._check_limits(error, self._pause)
        level, cause = self._level_for(outcome)
        text = one_line(outcome)
        if isinstance(outcome, Exception) and is_a_fault(outcome):
            text = f"{type(outcome).__name__}: {text}"  # some are only a key
        self._logger.log(
            level,
            "%s: %s; attempt %d follows in %.3g s",
            what,
            text,
            self.attempts + 1,
            self._pause,
            exc_info=cause,
        )
        _release_frames(error)

    def _is_to_retry(self, outcome: Outcome) -> object:
        try:
            return self._rules.retry(outcome)
        except Exception:
            # Nobody should find a program dead because of an attribute that some errors lack.
            self._logger.exception("retry raised an exception; is_transient decides instead")
            return is_transient(outcome)

    def _level_for(self, outcome: Outcome) -> Tuple[int, Optional[BaseException]]:
        """Return the level to log it at, and the exception whose traceback is logged."""
        if isinstance(outcome, WSDisconnectCause):
            return (WARNING if looks_like_own_fault(outcome) else INFO), None
        if is_a_fault(outcome) and not has_been_logged(outcome):
            return ERROR, outcome
        return (INFO if self._is_unreachable else WARNING), None

    def _check_limits(self, error: BaseException, pause: float) -> None:
        rules = self._rules
        if rules.max_attempts is not None and self.attempts >= rules.max_attempts:
            self._logger.info("gave up after max_attempts=%d", rules.max_attempts)
            raise error
        elapsed = self._loop.time() - self._since + pause
        if rules.max_elapsed is not None and elapsed > rules.max_elapsed:
            self._logger.info("gave up after max_elapsed=%s seconds", rules.max_elapsed)
            raise error


def _release_frames(error: Optional[BaseException]) -> None:
    """Drop the tracebacks of an error that is kept; they keep all objects of the attempt."""
    seen = set()
    pending = [error]
    while pending:
        error = pending.pop()
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            error.__traceback__ = None
            pending += [error.__cause__, error.__context__]
