"""Threads of a test, and what any of them may ask a transport."""

from __future__ import annotations

import threading
from typing import Any, Callable, List, Optional

from picows_codec import WSDisconnectKind, WSState, WSThreadError, WSTransport

__all__ = ["Threads", "look_at"]


class Threads:
    """Runs functions in threads of their own; ``join`` raises the first of their exceptions."""

    def __init__(self) -> None:
        self._threads: List[threading.Thread] = []
        self._errors: List[BaseException] = []

    def start(self, function: Callable[[], Any]) -> None:
        def work() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001
                self._errors.append(error)

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


def refuses(ws: WSTransport, name: str) -> bool:
    try:
        getattr(ws, name)
    except WSThreadError:
        return True
    return False


def look_at(ws: WSTransport) -> Optional[WSDisconnectKind]:
    """Read everything on a thread that is not the event loop's."""
    state, cause, shaking = ws.state, ws.disconnect_cause, ws.close_handshake
    if state is WSState.CLOSED:
        assert cause is not None
        assert ws.is_disconnected
    if cause is not None:
        str(cause)
        repr(cause)
    if shaking is not None:
        assert shaking.sent is None or ws.is_close_frame_sent
    request, response = ws.request, ws.response
    if request is not None:  # the connection has been open
        assert (request.method, request.path) == ("GET", "/")
        assert request.headers["Upgrade"] == "websocket"
        assert response is not None
        assert (response.status, response.headers["Upgrade"]) == (101, "websocket")
    assert (ws.is_secure, ws.subprotocol) == (False, None)
    assert ws.is_client_side in (False, True)
    for address in (ws.remote_address, ws.local_address):
        assert address is None or address[0] == "127.0.0.1"
    assert repr(ws).startswith("<WSTransport ")
    assert refuses(ws, "write_queue_size")
    assert refuses(ws, "underlying_transport")
    return cause.kind if cause is not None else None
