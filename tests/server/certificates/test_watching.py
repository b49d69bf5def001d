"""picows_server.certificates.watching: files that are replaced, in all the ways there are."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import shutil
import signal
import ssl
import sys
import threading
from pathlib import Path
from typing import Any, AsyncIterator, Iterator, List, Tuple

import pytest

from picows_server import (
    WSCertificateWatch,
    WSInvalidOptionError,
    create_ssl_context,
    reload_certificate,
    watch_certificates,
)
from picows_server.certificates import watching
from tests.support.authority import Authority
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import echo, serving, sockname, tls_backends

# Seconds; the tests never wait for as long as this.
NEVER = 3600.0
SOON = 0.01
PAST = dt.datetime(2001, 1, 1, tzinfo=dt.timezone.utc)

needs_sighup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def quick_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SECOND_LOOK", SOON)


class Files:
    """A certificate and its key that are replaced in place."""

    def __init__(self, authority: Authority, directory: Path, name: str = "old.example") -> None:
        self._authority = authority
        self.certfile, self.keyfile = directory / "tls.crt", directory / "tls.key"
        self.replace(name)

    def replace(self, name: str, **how: Any) -> None:
        chain, key = self._authority.pair(name, **how)
        shutil.copy(chain, self.certfile)
        shutil.copy(key, self.keyfile)

    def context(self) -> ssl.SSLContext:
        return create_ssl_context(self.certfile, self.keyfile)


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> Files:
    return Files(authority, tmp_path)


@contextlib.asynccontextmanager
async def watched(context: Any, **options: Any) -> AsyncIterator[WSCertificateWatch]:
    options = {"interval": NEVER, "sighup": False, **options}
    async with watch_certificates(context, **options) as watch:
        await asyncio.sleep(0)  # the first look
        await asyncio.sleep(0)
        yield watch


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> List[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@tls_backends
@pytest.mark.parametrize("is_mapping", [False, True])
async def test_a_server_whose_files_are_replaced(
    backend: str, is_mapping: bool, authority: Authority, files: Files
) -> None:
    context = files.context()
    client = authority.client_context(checks_name=False)
    given: Any = {"localhost": context, "*": context} if is_mapping else context
    async with serving(
        url="wss://127.0.0.1:0", ssl_context=given, backend=backend
    ) as server, watched(given, interval=SOON):
        async with await RawClient.open(sockname(server), context=client) as earlier:
            files.replace("new.example")
            await eventually(lambda: authority.name_shown(context) == "new.example")
            await echo(earlier)
        async with await RawClient.open(sockname(server), context=client) as later:
            certificate = later.writer.get_extra_info("peercert")
            assert certificate["subjectAltName"] == (("DNS", "new.example"),)


async def test_check(authority: Authority, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "picows.server")
    context = files.context()
    async with watched(context) as watch:
        assert watch.check() == 0
        files.replace("new.example")
        assert watch.check() == 1
        assert watch.check() == 0
    assert authority.name_shown(context) == "new.example"
    first, new, second, third = lines(caplog, logging.INFO)
    assert first == third == "certificates looked at: 1, replaced: 0"
    assert second == "certificates looked at: 1, replaced: 1"
    assert new.startswith(f"the certificate in {files.certfile} is new: it is used, until ")


async def test_files_that_were_replaced_before(authority: Authority, files: Files) -> None:
    context = files.context()
    files.replace("new.example")
    async with watched(context):
        await eventually(lambda: authority.name_shown(context) == "new.example")


async def test_the_same_contents_written_again(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "picows.server")
    context = files.context()
    async with watched(context) as watch:
        for path in (files.certfile, files.keyfile):
            text = path.read_bytes()
            path.unlink()
            path.write_bytes(text)
        assert watch.check() == 0


async def test_another_working_directory(
    authority: Authority, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files.certfile.parent)
    context = create_ssl_context(files.certfile.name, files.keyfile.name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with watched(context) as watch:
        files.replace("new.example")
        assert watch.check() == 1


async def test_contents_of_the_same_size_and_time(authority: Authority, files: Files) -> None:
    """A file whose size, time and inode are the same is seen, too."""
    context = files.context()
    async with watched(context) as watch:
        before = files.certfile.stat()
        while True:
            files.replace("new.example")
            if files.certfile.stat().st_size == before.st_size:
                break
        os.utime(files.certfile, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert watch.check() == 1
    assert authority.name_shown(context) == "new.example"


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
async def test_symbolic_links_of_kubernetes(authority: Authority, tmp_path: Path) -> None:
    """A secret is a directory; "..data" points to it, and is replaced by renaming another link."""

    def write(version: str, name: str) -> None:
        directory = tmp_path / version
        directory.mkdir()
        chain, key = authority.pair(name)
        shutil.copy(chain, directory / "tls.crt")
        shutil.copy(key, directory / "tls.key")
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    write("..1", "old.example")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    context = create_ssl_context(tmp_path / "tls.crt", tmp_path / "tls.key")
    async with watched(context) as watch:
        write("..2", "new.example")
        assert watch.check() == 1
        assert authority.name_shown(context) == "new.example"
        shutil.rmtree(tmp_path / "..1")
        assert watch.check() == 0


async def test_a_chain_that_is_still_written(authority: Authority, files: Files) -> None:
    """A chain without its last certificates is a whole one for OpenSSL, but not for clients."""
    context = files.context()
    logger = logging.getLogger("picows.server")
    async with watched(context) as watch:
        (each,) = watch._watched
        before = files.certfile.read_bytes(), files.keyfile.read_bytes()
        chain, key = authority.pair("new.example")
        shutil.copy(key, files.keyfile)
        shutil.copy(chain, files.certfile)
        assert not each.look(logger)
        assert each.is_unsettled
        assert authority.name_shown(context) == "old.example"
        files.certfile.write_bytes(before[0])
        files.keyfile.write_bytes(before[1])
        assert not each.look(logger)
        assert not each.is_unsettled
        shutil.copy(key, files.keyfile)
        shutil.copy(chain, files.certfile)
        assert not each.look(logger)  # that was seen before, but what was seen is over
        assert each.is_unsettled
        intermediate, _ = authority.pair("intermediate.example")
        files.certfile.write_bytes(chain.read_bytes() + intermediate.read_bytes())
        assert not each.look(logger)
        assert authority.name_shown(context) == "old.example"
        assert each.look(logger)
        assert not each.is_unsettled
        assert authority.name_shown(context) == "new.example"


async def test_new_contents_that_are_gone_at_the_second_look(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """From then on the files are looked at as seldom as before."""
    logger = logging.getLogger("picows.server")
    async with watched(files.context()) as watch:
        (each,) = watch._watched
        files.certfile.write_bytes(files.certfile.read_bytes() + b"\n")
        assert not each.look(logger)
        assert each.is_unsettled
        files.certfile.unlink()
        for _ in range(2):
            assert not each.look(logger)
        assert not each.is_doubtful
        assert not each.is_unsettled
    (line,) = lines(caplog)
    assert "No such file" in line


async def test_half_of_a_pair(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is new, the certificate still old: it is no problem if that is soon over."""
    context = files.context()
    async with watched(context, interval=SOON) as watch:
        (each,) = watch._watched
        chain, key = authority.pair("new.example")
        shutil.copy(key, files.keyfile)
        each.look(logging.getLogger("picows.server"))
        each.look(logging.getLogger("picows.server"))
        assert each.is_doubtful
        shutil.copy(chain, files.certfile)
        await eventually(lambda: authority.name_shown(context) == "new.example")
        assert not each.is_doubtful
    assert lines(caplog) == []


async def test_half_of_a_pair_that_stays(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    context = files.context()
    async with watched(context, interval=SOON) as watch:
        (each,) = watch._watched
        looks: List[int] = []
        note = each._note

        def counted(*arguments: Any, **keywords: Any) -> None:
            looks.append(1)
            note(*arguments, **keywords)

        each._note = counted  # type: ignore[method-assign]
        files.keyfile.write_bytes(authority.pair("new.example")[1].read_bytes())
        await eventually(lambda: len(looks) > 5)
        (line,) = lines(caplog)
        assert line.startswith("a certificate is not replaced: certfile ")
        assert "does not belong to it" in line
        assert authority.name_shown(context) == "old.example"
        files.keyfile.unlink()  # another reason
        await eventually(lambda: len(lines(caplog)) == 2)
        assert "No such file" in lines(caplog)[1]
        files.replace("new.example")
        await eventually(lambda: authority.name_shown(context) == "new.example")
    assert len(lines(caplog)) == 2


async def test_check_tells_every_time(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    async with watched(files.context()) as watch:
        files.keyfile.unlink()
        assert watch.check() == 0
        assert watch.check() == 0
    assert len(lines(caplog)) == 2


async def test_an_expired_certificate(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    context = files.context()
    async with watched(context) as watch:
        files.replace("new.example", end=PAST)
        assert watch.check() == 0
    assert authority.name_shown(context) == "old.example"
    assert "expired on" in lines(caplog)[0]


async def test_another_kind_of_key(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(files.context()) as watch:
        files.replace("new.example", kind="RSA")
        assert watch.check() == 1
        (line,) = lines(caplog)
        assert "another kind of key (RSA, not ECDSA): until a restart" in line
        files.replace("newer.example", kind="RSA")
        assert watch.check() == 1
    assert len(lines(caplog)) == 1


async def test_a_password_that_cannot_be_had(
    authority: Authority, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    answers: List[Any] = ["x"]

    def ask() -> str:
        answer = answers[0]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    def encrypt() -> None:
        key = serialization.load_pem_private_key(files.keyfile.read_bytes(), None)
        files.keyfile.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"x"),
            )
        )

    encrypt()
    context = create_ssl_context(files.certfile, files.keyfile, ask)
    async with watched(context) as watch:
        files.replace("new.example")
        encrypt()
        answers[0] = RuntimeError("the vault\nis closed")
        assert watch.check() == 0
        assert lines(caplog) == ["a certificate is not replaced: the vault\\nis closed"]
        answers[0] = "x"
        assert watch.check() == 1
    assert authority.name_shown(context) == "new.example"


async def test_a_reason_with_another_text_each_time(
    files: Files, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: List[int] = []

    def read(_: object) -> Any:
        reads.append(1)
        raise OSError(f"request {len(reads)} failed")

    context = files.context()
    monkeypatch.setattr(watching.CertificateFiles, "read", read)
    async with watched(context, interval=SOON):
        await eventually(lambda: len(lines(caplog)) > 1)
    assert lines(caplog)[0] == "a certificate is not replaced: request 2 failed"


async def test_contexts_of_other_origin(authority: Authority, files: Files) -> None:
    context = authority.server_context("other.example")
    async with watched(context, certfile=files.certfile, keyfile=files.keyfile) as watch:
        assert authority.name_shown(context) == "old.example"
        files.replace("new.example")
        assert watch.check() == 1
    assert authority.name_shown(context) == "new.example"


async def test_a_mapping(authority: Authority, tmp_path: Path) -> None:
    contexts, several = {}, []
    for name in ("a.example", "b.example"):
        (tmp_path / name).mkdir()
        files = Files(authority, tmp_path / name, name)
        several.append(files)
        contexts[name] = files.context()
    contexts["*"] = contexts["a.example"]
    async with watched(contexts) as watch:
        several[1].replace("new.example")
        assert watch.check() == 1
        assert authority.name_shown(contexts["a.example"]) == "a.example"
        assert authority.name_shown(contexts["b.example"]) == "new.example"
        several[0].certfile.unlink()
        several[1].replace("newer.example")
        assert watch.check() == 1  # a problem of one is none of the others


async def test_reloaded_by_hand(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    context = files.context()
    async with watched(context) as watch:
        files.replace("new.example")
        reload_certificate(context, files.certfile, files.keyfile)
        assert watch.check() == 0


async def test_closed(authority: Authority, files: Files) -> None:
    context = files.context()
    watch = watch_certificates(context, interval=SOON, sighup=False)
    watch.close()
    watch.close()
    files.replace("new.example")
    assert watch.check() == 0
    await asyncio.sleep(2 * SOON)
    assert authority.name_shown(context) == "old.example"


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.fixture(autouse=True)
def sighup_as_usual() -> Iterator[None]:
    """Tests may run under nohup, which ignores it."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, handler)


@needs_sighup
async def test_sighup(authority: Authority, files: Files, tmp_path: Path) -> None:
    other_directory = tmp_path / "other"
    other_directory.mkdir()
    others = Files(authority, other_directory)
    context, other = files.context(), others.context()
    async with watched(context, sighup=True):
        async with watched(other, sighup=True):
            files.replace("new.example")
            others.replace("new.example")
            hang_up()
            await eventually(lambda: authority.name_shown(context) == "new.example")
            await eventually(lambda: authority.name_shown(other) == "new.example")
        files.replace("newer.example")
        others.replace("newer.example")
        hang_up()
        await eventually(lambda: authority.name_shown(context) == "newer.example")
        assert authority.name_shown(other) == "new.example"
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@needs_sighup
async def test_a_handler_of_ones_own(authority: Authority, files: Files) -> None:
    loop, calls = asyncio.get_running_loop(), []
    context = files.context()
    loop.add_signal_handler(signal.SIGHUP, calls.append, 1)
    try:
        async with watched(context, sighup=True) as watch:
            files.replace("new.example")
            hang_up()
            await eventually(lambda: calls)
            assert authority.name_shown(context) == "old.example"
            assert watch.check() == 1
        hang_up()
        await eventually(lambda: len(calls) == 2)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@needs_sighup
async def test_without_sighup(files: Files) -> None:
    async with watched(files.context(), sighup=False):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@needs_sighup
def test_in_another_thread(authority: Authority, files: Files) -> None:
    """Signals belong to the main thread; the files are looked at all the same."""
    context = files.context()

    async def main() -> None:
        async with watched(context, sighup=True) as watch:
            files.replace("new.example")
            assert watch.check() == 1

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert authority.name_shown(context) == "new.example"


def _wrong() -> List[Tuple[Any, Any, str]]:
    return [
        ({"interval": 0}, WSInvalidOptionError, "interval must be a positive number"),
        ({"interval": -1.0}, WSInvalidOptionError, "interval must be a positive number"),
        ({"interval": float("inf")}, WSInvalidOptionError, "interval must be a positive number"),
        ({"interval": float("nan")}, WSInvalidOptionError, "interval must be a positive number"),
        ({"interval": 10**400}, WSInvalidOptionError, "interval must be a positive number"),
        ({"interval": "60"}, TypeError, "interval must be a number of seconds, not str"),
        ({"interval": True}, TypeError, "interval must be a number of seconds, not bool"),
        ({"sighup": 1}, TypeError, "sighup must be a bool"),
        ({"logger_name": 5}, TypeError, "logger_name must be"),
        ({"keyfile": "a.key"}, WSInvalidOptionError, "keyfile and password need certfile"),
        ({"certfile": "/nothing.pem"}, FileNotFoundError, "nothing.pem"),
        ({"certfile": 5}, TypeError, "certfile must be"),
    ]


@pytest.mark.parametrize(("options", "error", "text"), _wrong())
async def test_wrong_options(options: Any, error: Any, text: str, files: Files) -> None:
    with pytest.raises(error, match=text):
        watch_certificates(files.context(), **options)


async def test_wrong_contexts(authority: Authority, files: Files) -> None:
    unknown = authority.server_context("a")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    cases: List[Tuple[Any, Any, str]] = [
        (None, TypeError, r"ssl_context must be an ssl\.SSLContext, not NoneType"),
        ({}, WSInvalidOptionError, "is empty"),
        ({"a": 5}, TypeError, r"ssl_context\['a'\] must be"),
        (client, WSInvalidOptionError, "ssl_context was made for clients"),
        (unknown, WSInvalidOptionError, "ssl_context was not made by create_ssl_context"),
        (
            {"a": files.context(), "b": unknown},
            WSInvalidOptionError,
            r"ssl_context\['b'\] was not made by create_ssl_context",
        ),
    ]
    for given, error, text in cases:
        with pytest.raises(error, match=text):
            watch_certificates(given)
    with pytest.raises(WSInvalidOptionError, match="certfile is for one context"):
        watch_certificates({"a": files.context(), "b": unknown}, files.certfile, files.keyfile)


def test_without_a_loop(files: Files) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        watch_certificates(files.context())
