"""``health`` and ``ready``: what a load balancer or an orchestrator asks."""

from __future__ import annotations

import inspect
from typing import Any, Awaitable, List, Tuple, Union

from picows_codec import WSUpgradeRequest, WSUpgradeResponse
from picows_codec.log_text import one_line

__all__ = ["health", "ready"]

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
    seconds.
    """
    server: Any = request.server
    if server is None or server.is_draining:
        return _not_ready(["draining"])
    failed: List[str] = []
    waiting: List[Tuple[str, Awaitable[object]]] = []
    for name, check in list(server.ready_checks.items()):
        try:
            result = check()
        except Exception as error:  # noqa: BLE001 - whatever a user's check raises
            _log(server, name, error)
            result = False
        if inspect.isawaitable(result):
            waiting.append((name, result))
        elif not result:
            failed.append(name)
    return _ready_later(server, failed, waiting) if waiting else _response(failed)


async def _ready_later(
    server: Any, failed: List[str], waiting: List[Tuple[str, Awaitable[object]]]
) -> WSUpgradeResponse:
    # One after another: their time is the limit of all, and a check that is cancelled with this
    # task leaves none behind.
    for name, awaitable in waiting:
        try:
            if not await awaitable:
                failed.append(name)
        except Exception as error:  # noqa: BLE001 - whatever a user's check raises
            _log(server, name, error)
            failed.append(name)
    return _response(failed)


def _response(failed: List[str]) -> WSUpgradeResponse:
    return (
        _not_ready(failed) if failed else WSUpgradeResponse.create_ok_response("ready\n", _HEADERS)
    )


def _not_ready(reasons: List[str]) -> WSUpgradeResponse:
    text = "".join(f"not ready: {one_line(reason)}\n" for reason in reasons)
    return WSUpgradeResponse.create_error_response(503, text, _HEADERS)


def _log(server: Any, name: str, error: Exception) -> None:
    server.logger.warning("the readiness check %r failed: %s", name, one_line(repr(error)))
