"""picows_client.trust: the context of clients that were given none is built once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import ssl
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Callable, List

import pytest

from picows_client import opening, trust, ws_connect
from picows_client.trust import TrustStore
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.support.certificates import Certificates
from tests.support.loops import run as run_on
from tests.support.rawpeer import raw_peer

Run = Callable[..., Any]


class Builds:
    """Builds contexts, and remembers in which threads; ``go`` lets them end."""

    def __init__(self) -> None:
        self.threads: List[int] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> ssl.SSLContext:
        self.threads.append(threading.get_ident())
        self.begun.set()
        self.go.wait(30)
        return ssl.create_default_context()


@pytest.fixture(autouse=True)
def _trust_store(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)


def test_one_build_off_the_loop(run: Run) -> None:
    builds = Builds()
    store = TrustStore(builds)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert store.kept() is None
        first, *others = await asyncio.gather(*[store.load(loop) for _ in range(5)])
        assert all(context is first for context in others)
        assert store.kept() is first

    run(main)
    assert len(builds.threads) == 1
    assert builds.threads[0] != threading.get_ident()


def test_a_cancelled_call_leaves_the_build_to_others(run: Run) -> None:
    builds = Builds()
    builds.go.clear()
    store = TrustStore(builds)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = (asyncio.ensure_future(store.load(loop)) for _ in range(2))
        await loop.run_in_executor(None, builds.begun.wait)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        builds.go.set()
        assert await second is store.kept()

    run(main)
    assert len(builds.threads) == 1


def test_a_build_that_everybody_left_is_kept(run: Run) -> None:
    builds = Builds()
    builds.go.clear()
    store = TrustStore(builds)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        only = asyncio.ensure_future(store.load(loop))
        await loop.run_in_executor(None, builds.begun.wait)
        only.cancel()
        with pytest.raises(asyncio.CancelledError):
            await only
        builds.go.set()
        await store.load(loop)
        assert store.kept() is not None

    run(main)
    assert len(builds.threads) == 1


def test_loops_of_two_threads_share_a_build() -> None:
    builds = Builds()
    builds.go.clear()
    store = TrustStore(builds)
    contexts: List[ssl.SSLContext] = []

    async def main() -> None:
        contexts.append(await store.load(asyncio.get_running_loop()))

    threads = [threading.Thread(target=run_on, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    builds.begun.wait(30)
    builds.go.set()
    for thread in threads:
        thread.join(30)
    assert len(builds.threads) == 1
    assert contexts == [store.kept()] * 2


def test_changes_of_files_and_environment(
    run: Run, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TrustStore()

    def build() -> None:
        async def main() -> None:
            await store.load(asyncio.get_running_loop())

        run(main)
        assert store.kept() is not None

    build()
    file = tmp_path / "authorities.pem"
    file.write_bytes(certificates.authority.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert store.kept() is None
    build()
    os.utime(file, ns=(1, 1))
    assert store.kept() is None
    build()
    directory = tmp_path / "authorities"
    directory.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    assert store.kept() is None
    build()
    (directory / "another.pem").touch()
    os.utime(directory, ns=(1, 1))
    assert store.kept() is None
    build()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    assert store.kept() is None
    build()
    file.unlink()
    assert store.kept() is None


def test_a_failure_is_not_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrustStore()

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(trust, "open", refuse, raising=False)
        with pytest.raises(OSError, match="Too many open files"):
            await store.load(loop)
        assert store.kept() is None
        monkeypatch.undo()
        await store.load(loop)

    run(main)


def test_a_failure_leaves_no_cycle(run: Run) -> None:
    class NoTrust(Exception):
        pass

    failures: List[weakref.ref[NoTrust]] = []

    def fail() -> ssl.SSLContext:
        error = NoTrust()
        failures.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    async def main() -> None:
        with contextlib.suppress(NoTrust):
            await TrustStore(fail).load(asyncio.get_running_loop())
        # Without the GIL an object goes when the thread that made it next runs.
        for _ in range(1000):
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.005)
            if failures[0]() is None:
                break
        assert failures[0]() is None

    gc.collect()
    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()


def test_a_context_that_lost_its_authorities_is_not_kept(run: Run) -> None:
    # OpenSSL passes over a file that it cannot open.
    store = TrustStore(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    async def main() -> None:
        await store.load(asyncio.get_running_loop())
        assert store.kept() is None

    run(main)


def test_an_executor_that_takes_nothing(run: Run) -> None:
    store = TrustStore()

    async def main() -> None:
        loop = asyncio.get_running_loop()

        class Shut:
            def run_in_executor(self, *_: object) -> None:
                raise RuntimeError("shut down")

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

        shut: Any = Shut()
        with pytest.raises(RuntimeError, match="shut down"):
            await store.load(shut)
        await store.load(loop)

    run(main)


def test_a_child_process_begins_anew(run: Run) -> None:
    store = TrustStore()

    async def main() -> None:
        await store.load(asyncio.get_running_loop())

    run(main)
    store._forget()
    assert store.kept() is None


@pytest.mark.parametrize("backend", ["auto", "aiofastnet", "loop"])
def test_connections_share_it(
    run: Run,
    backend: str,
    server_context: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if backend == "aiofastnet":
        pytest.importorskip("aiofastnet")
    builds = Builds()
    monkeypatch.setattr(opening, "DEFAULT_TRUST", TrustStore(builds))

    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as peer:

            async def connect() -> None:
                await check_echo(*await ws_connect(peer.url(), Recorder, backend=backend))

            await asyncio.gather(connect(), connect())
            await connect()
            assert len(builds.threads) == 1
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nobody.pem"))
            with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
                await connect()
            assert len(builds.threads) == 2

    run(main)
