"""``health`` and ``ready``: what a load balancer or an orchestrator asks."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Awaitable, Callable, Iterator, List, Tuple, Union

from picows_codec import WSUpgradeRequest, WSUpgradeResponse
from picows_codec.log_text import one_line

__all__ = ["health", "ready"]

Check = Callable[[], object]

_HEADERS = {"Cache-Control": "no-store"}


def health(request: WSUpgradeRequest) -> WSUpgradeResponse:  # noqa: ARG001
    """Respond with 200: the event loop runs. A handler for a mapping of paths.

    It is for those who restart a process that does not respond; see :func:`ready` for those who
    send clients to it.
    """
    return WSUpgradeResponse.create_ok_response("ok\n", _HEADERS)


def ready(
    request: WSUpgradeRequest,
) -> Union[WSUpgradeResponse, Awaitable[WSUpgradeResponse]]:
    """Respond with 200 if clients may come, else with 503. A handler for a mapping of paths.

    They may not while the server drains or is being closed, nor while one of
    :attr:`WSServer.ready_checks` is false or raises. The body names those, and the log has a line
    for each that raised. Coroutine functions among them have ``websocket_handshake_timeout``
    seconds together, and the log names the one that has not ended then.
    """
    server: Any = request.server
    if server is None or server.is_draining:
        return _not_ready(["draining"])
    failed: List[str] = []
    checks = iter(list(server.ready_checks.items()))
    for name, check in checks:
        result = _result_of(server, name, check)
        if inspect.isawaitable(result):
            return _ready_later(server, failed, name, result, checks)
        if not result:
            failed.append(name)
    return _response(failed)


async def _ready_later(
    server: Any, failed: List[str], name: str, result: Any, checks: Iterator[Tuple[str, Check]]
) -> WSUpgradeResponse:
    # One after another: their time is the limit of all, and a check that is cancelled with this
    # task leaves none behind.
    while True:
        if inspect.isawaitable(result):
            try:
                result = await result
            except asyncio.CancelledError as error:
                if not _is_cancelled():
                    result = _log(server, name, error)
                    continue
                server.logger.warning(
                    "the readiness check %r has not ended: its client has left, or time is over",
                    name,
                )
                raise
            except Exception as error:  # noqa: BLE001 - whatever a user's check raises
                result = _log(server, name, error)
        if not result:
            failed.append(name)
        following = next(checks, None)
        if following is None:
            return _response(failed)
        name, check = following
        result = _result_of(server, name, check)


def _is_cancelled() -> bool:
    """Whether this task is, and not something that it awaits: a future of the application."""
    cancelling: Any = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is None or cancelling() > 0  # before Python 3.11 nobody knows


def _result_of(server: Any, name: str, check: Check) -> object:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever a user's check raises
        return _log(server, name, error)


def _response(failed: List[str]) -> WSUpgradeResponse:
    return (
        _not_ready(failed) if failed else WSUpgradeResponse.create_ok_response("ready\n", _HEADERS)
    )


def _not_ready(reasons: List[str]) -> WSUpgradeResponse:
    text = "".join(f"not ready: {one_line(reason)}\n" for reason in reasons)
    return WSUpgradeResponse.create_error_response(503, text, _HEADERS)


def _log(server: Any, name: str, error: BaseException) -> bool:
    server.logger.warning("the readiness check %r failed: %s", name, one_line(repr(error)))
    return False
