"""picows_client.logs: the forms of ``logger_name``."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from picows_client import WSTransport, ws_connect
from tests.client.exchange import Recorder, serve_echo
from tests.conftest import Run
from tests.support.rawpeer import raw_peer


@pytest.mark.parametrize(
    ("logger_name", "expected"),
    [
        ("client", "picows.client"),
        ("feed.one", "picows.feed.one"),
        (None, "picows.client"),
        (logging.getLogger("mine"), "mine"),
        (logging.LoggerAdapter(logging.getLogger("adapted"), {}), "adapted"),
    ],
)
def test_logger(
    run: Run, logger_name: Any, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        def on_ws_connected(self, transport: WSTransport) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        async with raw_peer(serve_echo) as peer:
            with pytest.raises(ZeroDivisionError):
                await ws_connect(peer.url(), Failing, logger_name)

    run(main)
    assert {record.name for record in caplog.records if record.levelname == "ERROR"} == {expected}
