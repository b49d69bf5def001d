"""picows_client.redial: attempts in time that jumps, without a network."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any, Dict, List, Type, Union

import pytest

from picows_client import (
    WSDisconnectCause,
    WSDisconnectKind,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSStateError,
)
from picows_client.backoff import WSBackoff
from picows_client.redial import Redial, RedialRules
from picows_codec import WSConnectionClosed, WSTransport
from tests.client.test_transience import refusal
from tests.support.connection import Connection, Recorder, finish_closing
from tests.support.skipping_loop import run_skipping

LOGGER = logging.getLogger("picows.client")

# What an attempt meets: an error, or the seconds for which its connection is open.
Fate = Union[BaseException, float]
REFUSED = ConnectionRefusedError("refused")


def ended_transport(code: int = 1000) -> WSTransport:
    """The transport of a connection that its peer has closed."""
    connection = Connection("client", Recorder())
    connection.receive_close(code)
    finish_closing(connection)
    assert connection.ws.is_disconnected
    return connection.ws


def rules_of(
    backoff: Any = None, retry: Any = None, max_attempts: Any = None, max_elapsed: Any = None
) -> RedialRules:
    return RedialRules.of(backoff, retry, max_attempts, max_elapsed)


class Course:
    """Lets one fate after another happen, and notes when attempts are made."""

    def __init__(self, fates: List[Fate], code: int = 1000) -> None:
        self.fates = fates
        self.code = code
        self.times: List[float] = []

    async def attempt(self) -> float:
        self.times.append(asyncio.get_running_loop().time())
        fate = self.fates.pop(0)
        if isinstance(fate, BaseException):
            raise fate
        return fate

    async def run(self, **rules: Any) -> Redial[float]:
        """Go on until all fates are used up."""
        redial = Redial(self.attempt, rules_of(**rules), LOGGER)
        while self.fates:
            await asyncio.sleep(await redial.connect())
            redial.lost(ended_transport(self.code))
        return redial

    @property
    def pauses(self) -> List[float]:
        return [later - sooner for sooner, later in zip(self.times, self.times[1:])]


def test_refused_again_and_again() -> None:
    """At once, then after pauses of which the longest double, and stay at ``longest``."""
    courses = [Course([REFUSED] * 12 + [0.0]) for _ in range(60)]

    async def main() -> None:
        await asyncio.gather(*(course.run() for course in courses))

    run_skipping(main)
    longest = [max(pauses) for pauses in zip(*(course.pauses for course in courses))]
    assert longest[0] < 0.2
    for number, most in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30], 1):
        assert most / 2 < longest[number] < most + 1


def test_server_that_accepts_and_closes_at_once() -> None:
    course = Course([0.01] * 20)

    async def main() -> None:
        redial = await course.run()
        assert redial.attempts == 20

    run_skipping(main)
    assert course.times[-1] - course.times[0] > 30.0


def test_stable_connections() -> None:
    """The pauses begin anew after a connection that was open for ``stable_after``."""
    opened = [0.0, 0.0, 0.0, 11.0, 11.0, 9.0, 9.0]
    courses = [Course([REFUSED, REFUSED, REFUSED, *opened[3:], 9.0]) for _ in range(20)]

    async def main() -> None:
        backoff = WSBackoff(base=100.0, longest=1000.0)
        redials = await asyncio.gather(*(course.run(backoff=backoff) for course in courses))
        assert {redial.attempts for redial in redials} == {3}

    run_skipping(main)
    # A pause is drawn: one of them may be short, not that of every course.
    longest = [max(pauses) for pauses in zip(*(course.pauses for course in courses))]
    away = [pause - seconds for pause, seconds in zip(longest, opened)]
    at_once = [number for number, pause in enumerate(away) if pause < 0.2]
    assert at_once == [0, 3, 4], away


def test_hundred_clients_spread_out() -> None:
    """No second of the first half minute has a storm of attempts."""
    courses = [Course([REFUSED] * 9 + [0.0]) for _ in range(100)]
    start = 0.0

    async def main() -> None:
        nonlocal start
        start = asyncio.get_running_loop().time()
        await asyncio.gather(*(course.run() for course in courses))

    run_skipping(main)
    seconds = [int(when - start) for course in courses for when in course.times[2:]]
    assert max(seconds.count(second) for second in range(2, 10)) < 80
    assert max(seconds.count(second) for second in range(10, 30)) < 40


def test_wait_that_the_server_wants() -> None:
    course = Course([refusal(503, Retry_After="20"), refusal(429, Retry_After="9999"), 0.0])

    async def main() -> None:
        await course.run()

    run_skipping(main)
    assert 20.0 <= course.pauses[0] < 21.5
    assert 300.0 <= course.pauses[1] < 301.5


@pytest.mark.parametrize(
    "error", [ssl.SSLCertVerificationError("x"), refusal(403), refusal(401)], ids=repr
)
def test_error_that_lasts(error: Exception) -> None:
    course = Course([REFUSED, error, 0.0])

    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            await course.run()
        assert caught.value is error

    run_skipping(main)
    assert len(course.times) == 2


def test_own_rule() -> None:
    seen: List[Any] = []

    def retry(outcome: Any) -> bool:
        seen.append(outcome)
        return not isinstance(outcome, WSDisconnectCause) or len(seen) < 3

    course = Course([refusal(404), 0.0, 0.0, 0.0], code=4010)

    async def main() -> None:
        with pytest.raises(WSConnectionClosed) as caught:
            await course.run(retry=retry)
        assert caught.value.code == 4010
        assert caught.value.cause is seen[2]

    run_skipping(main)
    assert [type(outcome).__name__ for outcome in seen] == [
        "WSInvalidStatusError", "WSDisconnectCause", "WSDisconnectCause"
    ]  # fmt: skip
    assert seen[2].kind is WSDisconnectKind.PEER_CLOSE


def test_error_of_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the default decides: an outcome that lacks an attribute ends no program."""
    caplog.set_level(logging.ERROR, "picows.client")

    def retry(outcome: Any) -> bool:
        return bool(outcome.code != 4001)

    course = Course([REFUSED, refusal(403), 0.0])

    async def main() -> None:
        with pytest.raises(WSInvalidStatusError):
            await course.run(retry=retry)

    run_skipping(main)
    assert len(course.times) == 2
    assert caplog.text.count("retry raised an exception") == 2
    assert "object has no attribute 'code'" in caplog.text


def test_levels_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The first of several failures is a warning; a fault of a function an error."""
    caplog.set_level(logging.INFO, "picows.client")
    course = Course([REFUSED, REFUSED, 0.0, REFUSED, WSStateError("a"), KeyError("token"), 0.0])

    async def main() -> None:
        await course.run()

    run_skipping(main)
    records = [record for record in caplog.records if "cannot" in record.getMessage()]
    assert [record.levelname for record in records] == [
        *("WARNING", "INFO", "WARNING", "ERROR", "ERROR")
    ]
    assert [record.exc_info is not None for record in records] == [False] * 3 + [True] * 2
    assert "cannot connect: KeyError: 'token'; attempt 7 follows" in caplog.text


def test_attempts_count_the_one_under_way() -> None:
    seen: List[Any] = []

    async def main() -> None:
        async def attempt() -> None:
            raise REFUSED

        redial = Redial(
            attempt,
            rules_of(max_attempts=2),
            LOGGER,
            lambda pause: seen.append((pause, redial.attempts)),
        )
        with pytest.raises(ConnectionRefusedError):
            await redial.connect()

    run_skipping(main)
    assert seen == [(None, 1), (0.0, 1), (None, 2)]


def test_most_attempts() -> None:
    """Of one row: a stable connection ends it."""
    course = Course([REFUSED, REFUSED, 20.0, REFUSED, REFUSED, REFUSED, 0.0])

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await course.run(max_attempts=3)

    run_skipping(main)
    assert course.fates == [0.0]


def test_most_seconds() -> None:
    course = Course([20.0] + [REFUSED] * 100)
    backoff = WSBackoff(first=1.0, base=1.0, longest=1.0)

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await course.run(max_elapsed=10.0, backoff=backoff)

    run_skipping(main)
    assert 9.0 <= course.times[-1] - course.times[0] - 20.0 <= 10.5


@pytest.mark.parametrize(
    ("rules", "error", "text"),
    [
        ({"backoff": 1.0}, TypeError, r"backoff must be a WSBackoff, not 1.0"),
        ({"retry": True}, TypeError, r"retry must be a function"),
        ({"retry": asyncio.sleep}, TypeError, r"retry must be a function, and no coroutine"),
        ({"max_attempts": 1.5}, TypeError, r"max_attempts must be a number or None"),
        ({"max_attempts": 0}, WSInvalidOptionError, r"max_attempts=0 must be above 0"),
        ({"max_elapsed": "1"}, TypeError, r"max_elapsed must be a number or None"),
        ({"max_elapsed": -1}, WSInvalidOptionError, r"max_elapsed=-1 must be above 0"),
    ],
)
def test_wrong_rules(rules: Dict[str, Any], error: Type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        rules_of(**rules)


@pytest.mark.parametrize(
    ("code", "level"),
    [(1000, "INFO"), (1001, "INFO"), (1012, "INFO"), (1008, "WARNING"), (4001, "WARNING")],
)
def test_log(code: int, level: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await Course([0.0, 0.0], code=code).run()

    with caplog.at_level(logging.INFO, "picows.client"):
        run_skipping(main)
    record = caplog.records[0]
    assert record.levelname == level
    text = record.getMessage()
    assert text.startswith(f"connection ended: the peer closed: {code}")
    assert "attempt 2 follows in 0 s" in text


def test_errors_that_are_kept_keep_no_frames() -> None:
    refusal = ConnectionRefusedError("refused")
    cause, context = OSError("cause"), OSError("context")

    async def main() -> None:
        for error in (cause, context):
            try:
                raise error
            except OSError:
                pass
        refusal.__cause__ = cause
        cause.__context__ = context
        context.__context__ = refusal
        redial = await Course([refusal, 0.0]).run()
        assert redial.last_error is not refusal
        assert [error.__traceback__ for error in (refusal, cause, context)] == [None] * 3

    run_skipping(main)
