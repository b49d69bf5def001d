"""picows_client.backend: which transport serves where."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from picows_client import WSInvalidOptionError, backend
from picows_client.backend import choose_backend

Run = Callable[..., Any]

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
LOGGER = logging.getLogger("picows.test")


class CompletionLoop(asyncio.AbstractEventLoop):
    """A loop without readiness, as the proactor is."""


@pytest.fixture(params=[True, False])
def has_aiofastnet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(backend, "HAS_AIOFASTNET", request.param)
    present: bool = request.param
    return present


def test_auto_for_plain_sockets(
    run: Run, monkeypatch: pytest.MonkeyPatch, has_aiofastnet: bool
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert choose_backend("auto", loop, (), LOGGER).name == "stream"
        assert choose_backend("auto", CompletionLoop(), (), LOGGER).name == "loop"
        monkeypatch.setattr(backend, "HAS_STREAM", False)
        assert choose_backend("auto", loop, (), LOGGER).name == "loop"

    run(main)


def test_auto_for_tls(has_aiofastnet: bool) -> None:
    for loop in (asyncio.SelectorEventLoop, CompletionLoop):
        made = loop()
        expected = "aiofastnet" if has_aiofastnet else "loop"
        assert choose_backend("auto", made, (CONTEXT,), LOGGER).name == expected
        if made.__class__ is not CompletionLoop:
            made.close()


@pytest.mark.parametrize("needs_tls", [False, True])
@pytest.mark.parametrize("name", ["aiofastnet", "loop"])
def test_by_name(name: str, needs_tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "HAS_AIOFASTNET", True)
    assert (
        choose_backend(name, CompletionLoop(), (CONTEXT,) if needs_tls else (), LOGGER).name == name
    )


@pytest.mark.parametrize(
    ("name", "missing", "needs_tls", "reason"),
    [
        ("stream", None, True, "not TLS"),
        ("stream", None, False, "CompletionLoop cannot watch sockets"),
        ("stream", "HAS_STREAM", False, "does not exist on this platform"),
        ("aiofastnet", "HAS_AIOFASTNET", True, "not installed"),
        ("other", None, False, "must be one of 'auto', 'stream', 'aiofastnet', 'loop'"),
    ],
)
def test_not_available(
    name: str,
    missing: Optional[str],
    needs_tls: bool,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if missing is not None:
        monkeypatch.setattr(backend, missing, False)
    with pytest.raises(WSInvalidOptionError, match=reason):
        choose_backend(name, CompletionLoop(), (CONTEXT,) if needs_tls else (), LOGGER)


def test_one_context_of_two_that_needs_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backend, "HAS_AIOFASTNET", True)
    keylog = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    keylog.keylog_filename = str(tmp_path / "keys.log")
    loop = CompletionLoop()
    for contexts in ((CONTEXT, keylog), (keylog, CONTEXT)):
        assert choose_backend("auto", loop, contexts, LOGGER).name == "loop"
        assert choose_backend("loop", loop, contexts, LOGGER).name == "loop"
        with pytest.raises(WSInvalidOptionError, match="keylog_filename is set"):
            choose_backend("aiofastnet", loop, contexts, LOGGER)
    assert len(caplog.records) == 1
