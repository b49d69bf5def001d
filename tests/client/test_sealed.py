"""Nothing is imported or opened by a second connection, of whatever kind."""

from __future__ import annotations

import errno
import json
import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, List

import pytest

from picows_client import WSProxyError, ws_connect
from tests.client.exchange import Recorder, serve_echo
from tests.client.proxies import HttpProxy
from tests.support.certificates import Certificates
from tests.support.rawpeer import raw_peer
from tests.support.servers import PLAIN_BACKENDS

_ROOT = Path(__file__).parents[2]


def _check(kind: str, backend: str, directory: Path, files: List[str]) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.sealed", "client", kind, backend, *files],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr
    assert done.stderr.count("LOCAL_CLOSE") >= 4, done.stderr
    assert done.stderr.count("PING_TIMEOUT") == 2, done.stderr


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_sealed_client(backend: str, tmp_path: Path, loop_kind: str) -> None:
    _check(loop_kind, backend, tmp_path, [])


# Not aiofastnet, whose engine opens a temporary file for every TLS connection of a client: below.
@pytest.mark.parametrize("backend", ["loop"])
def test_sealed_tls_client(
    backend: str, tmp_path: Path, loop_kind: str, certificates: Certificates
) -> None:
    files = (certificates.authority, certificates.server_chain, certificates.server_key)
    _check(loop_kind, backend, tmp_path, [str(file) for file in files])


NO_FILE = [
    OSError(errno.EMFILE, "Too many open files", "/tmp/name"),
    FileNotFoundError(errno.ENOENT, "No usable temporary directory found"),
]


def refuse_files(monkeypatch: pytest.MonkeyPatch, error: Exception, after: int = 0) -> None:
    """Let aiofastnet's decoding of a certificate fail, after so many that succeed."""
    original = tempfile.NamedTemporaryFile
    done: List[object] = []

    def make(*arguments: Any, **keywords: Any) -> Any:
        done.append(None)
        if len(done) <= after:
            return original(*arguments, **keywords)
        raise error.with_traceback(None)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", make)


def no_file(error: OSError) -> str:
    return (
        "aiofastnet opens a file to decode the peer's certificate, and could not "
        f"({error}); backend='loop' needs none"
    )


# Without a limit of time: a client that is not told hangs.
@pytest.mark.parametrize("error", NO_FILE, ids=["descriptors", "chroot"])
@pytest.mark.parametrize("backend", ["auto", "aiofastnet"])
def test_no_file_for_the_certificate(
    run: Callable[..., Any],
    backend: str,
    error: OSError,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("aiofastnet")
    refuse_files(monkeypatch, error)

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:
            url = f"wss://localhost:{peer.port}"
            options: Any = {"ssl_context": client_context, "websocket_handshake_timeout": None}
            with pytest.raises(OSError, match="TLS handshake") as caught:
                await ws_connect(url, Recorder, backend=backend, **options)
            assert type(caught.value) is type(error)
            assert caught.value.errno == error.errno
            assert caught.value.strerror == (
                f"the TLS handshake with localhost:{peer.port} (expected name 'localhost') failed: "
                + no_file(error)
            )
            transport, _ = await ws_connect(url, Recorder, backend="loop", **options)
            transport.disconnect()
            await transport.wait_disconnected()

    run(main)


@pytest.mark.parametrize("after", [0, 1], ids=["proxy", "server"])
def test_no_file_for_a_certificate_by_a_proxy(
    run: Callable[..., Any],
    after: int,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("aiofastnet")
    refuse_files(monkeypatch, NO_FILE[0], after)

    async def main() -> None:
        proxy = HttpProxy()
        async with raw_peer(serve_echo, context=server_context) as peer, raw_peer(
            proxy.serve, context=server_context
        ) as front:
            with pytest.raises(OSError, match="aiofastnet opens a file") as caught:
                await ws_connect(
                    f"wss://localhost:{peer.port}",
                    Recorder,
                    backend="aiofastnet",
                    ssl_context=client_context,
                    proxy=f"https://localhost:{front.port}",
                    proxy_ssl_context=client_context,
                    websocket_handshake_timeout=None,
                )
            assert isinstance(caught.value, WSProxyError) == (after == 0)
            assert no_file(NO_FILE[0]) in str(caught.value)
            assert f"with localhost:{peer.port if after else front.port} " in str(caught.value)

    run(main)


def test_aiofastnet_gives_up(
    run: Callable[..., Any],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever else ends its transport within the handshake, the caller hears of it."""
    pytest.importorskip("aiofastnet")
    refuse_files(monkeypatch, ssl.SSLError("no certificate at all"))

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:
            with pytest.raises(ConnectionAbortedError, match=r"gave the connection up .*at all"):
                await ws_connect(
                    f"wss://localhost:{peer.port}",
                    Recorder,
                    backend="aiofastnet",
                    ssl_context=client_context,
                    websocket_handshake_timeout=None,
                )

    run(main)
