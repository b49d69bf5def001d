"""picows_server.running.failures: when the text of an error is enough."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from picows_server import WSInvalidOptionError, create_ssl_context
from picows_server.running.failures import describe_failure
from picows_server.running.import_strings import import_object


def failure_of(function: Callable[..., object], *arguments: Any, depth: int = 0) -> BaseException:
    """What a call raises, without the frames of tests in its traceback."""
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        traceback = error.__traceback__
        for _ in range(depth):
            assert traceback is not None
            traceback = traceback.tb_next
        return error.with_traceback(traceback)
    raise AssertionError


@pytest.mark.parametrize(
    ("function", "argument", "text"),
    [
        (create_ssl_context, "/no/such.pem", "No such file"),
        (create_ssl_context, 5, "certfile must be a str"),
        (lambda text: import_object("app", text), "os:nothing", "has no attribute 'nothing'"),
    ],
)
def test_what_an_operator_has_to_change(
    function: Callable[..., object], argument: Any, text: str
) -> None:
    is_here = function is not create_ssl_context
    found = describe_failure(failure_of(function, argument, depth=1 + is_here))
    assert text in found
    assert "\n" not in found


def test_what_code_of_the_application_raises() -> None:
    def fail() -> None:
        raise WSInvalidOptionError("wrong")

    found = describe_failure(failure_of(fail))
    assert found.startswith("Traceback")
    assert found.endswith("WSInvalidOptionError: wrong")


def test_other_errors_have_a_traceback() -> None:
    found = describe_failure(failure_of(import_object, 5, None, depth=1))
    assert found.startswith("Traceback")
    assert "AttributeError" in found
