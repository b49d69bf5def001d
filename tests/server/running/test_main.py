"""picows_server.running.main: the program as a process, its signals, clients and exit status."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest

from tests.support.certificates import Certificates, issue_certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.programs import PYTHON, Program, environment
from tests.support.rawclient import RawClient

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

PATIENCE = 40.0  # seconds, for a process to start
NOW = ("--drain-grace", "0", "--drain-spread", "0")
LATER = ("--drain-grace", "1000", "--drain-spread", "1000", "--drain-timeout", "3600")
ANY_PORT = ("--url", "ws://127.0.0.1:0")

SOURCE = """
    from contextlib import asynccontextmanager
    from picows_server import WSListener, WSUpgradeResponse, health, ready

    class Chat(WSListener):
        def on_ws_frame(self, transport, frame):
            if frame.get_payload_as_bytes() == b"flood":
                for number in range(100):
                    transport.send(2, bytes([number]) * 50_000)
            elif frame.opcode < 8:
                transport.send(frame.opcode, frame)

    def state(request):
        return WSUpgradeResponse.create_ok_response(request.server.state)

    routes = {"/ws": Chat, "/state": state, "/healthz": health, "/readyz": ready}

    @asynccontextmanager
    async def lifespan(server):
        print("up", server.is_serving(), flush=True)
        yield "the state"
        print("down", server.connections, flush=True)
"""

# Runs the program with a descriptor in the place where a service manager puts the first one.
ACTIVATING = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, "-m", "picows_server", *sys.argv[2:]])
"""

# Before that: the descriptor itself is not passed on.
CLOSING = """
import os, sys
os.set_inheritable(int(sys.argv[1]), False)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(tmp_path: Path, loop_kind: str, number: int) -> None:
    arguments = ("app:routes", "--lifespan", "app:lifespan", "--loop", loop_kind, *ANY_PORT, *NOW)
    with Program(tmp_path, SOURCE, *arguments) as program:
        name = program.wait_until_serving()
        assert (await ask(name, "/readyz")).status == 200
        assert (await ask(name, "/state")).body == b"the state"
        async with await RawClient.open(name, "/ws") as client:
            client.write_frame(1, b"flood")
            assert (await client.read_frame()).payload == bytes(50_000)
            program.send(number)
            for value in range(1, 100):  # nothing that was queued is lost
                assert (await client.read_frame()).payload == bytes([value]) * 50_000
            assert await client.read_close() == 1012
            client.write_close(1012)
            assert await client.read_to_end() == b""
        status, output, log = program.finish()
    assert (status, output) == (0, "up False\ndown 0\n")
    assert "Traceback" not in log
    assert "ResourceWarning" not in log


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
async def test_ctrl_c_without_a_connection_ends_at_once(
    tmp_path: Path, workers: Tuple[str, ...]
) -> None:
    arguments = ("app:routes", *workers, *ANY_PORT, *LATER)
    with Program(tmp_path, SOURCE, *arguments) as program:
        if workers:
            program.wait_for("all workers are ready")
        else:
            program.wait_until_serving()
        program.send(signal.SIGINT)
        status, _, log = program.finish()
    assert status == 0
    assert "another 1000 seconds" not in log


async def test_readiness_first_then_another_signal_aborts(tmp_path: Path, loop_kind: str) -> None:
    arguments = ("app:routes", "--lifespan", "app:lifespan", "--loop", loop_kind, *ANY_PORT)
    with Program(tmp_path, SOURCE, *arguments, *LATER, "--drain-code", "1001") as program:
        name = program.wait_until_serving()
        async with await RawClient.open(name, "/ws") as first:
            program.send(signal.SIGTERM)
            program.wait_for("draining: connections are accepted for another")
            assert (await ask(name, "/readyz")).status == 503
            assert (await ask(name, "/healthz")).status == 200
            async with await RawClient.open(name, "/ws") as second:
                program.send(signal.SIGINT)
                for client in (first, second):
                    assert await client.read_close() == 1001
                    assert await client.read_to_end() == b""  # without our answer
        status, output, log = program.finish()
    assert (status, output) == (128 + signal.SIGINT, "up False\ndown 0\n")
    assert "SIGINT again: aborting" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_third_signal_kills(tmp_path: Path, loop_kind: str, number: int) -> None:
    source = """
        import asyncio

        async def stubborn(connection):
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    print("cancelled", flush=True)
    """
    arguments = ("app:stubborn", "--handler", "--loop", loop_kind, *ANY_PORT, *NOW)
    with Program(tmp_path, source, *arguments) as program:
        async with await RawClient.open(program.wait_until_serving(), "/"):
            program.send(signal.SIGTERM)
            program.wait_for("SIGTERM: ending; another one aborts")
            program.send(signal.SIGINT)
            program.wait_for("SIGINT again: aborting; another one kills")
            await asyncio.sleep(0.5)  # the same signal at once counts once
            program.send(number)
            status, output, log = program.finish()
    assert (status, output) == (-number, "cancelled\n")
    assert "once more: the process ends without its tasks" in log


async def test_the_end_of_a_forked_child_is_not_the_servers(tmp_path: Path, loop_kind: str) -> None:
    source = """
        import os, signal
        from picows_server import WSListener

        class Forking(WSListener):
            def on_ws_frame(self, transport, frame):
                if frame.opcode < 8:
                    child = os.fork()
                    if not child:
                        signal.pause()
                        os._exit(0)
                    os.kill(child, signal.SIGTERM)
                    transport.send(1, str(-os.waitpid(child, 0)[1]).encode())
    """
    arguments = ("app:Forking", "--loop", loop_kind, *ANY_PORT, *NOW)
    with Program(tmp_path, source, *arguments) as program:
        name = program.wait_until_serving()
        async with await RawClient.open(name) as client:
            for _ in range(2):
                client.write_frame(1, b"fork")
                assert (await client.read_frame()).payload == b"-15"
            program.send(signal.SIGTERM)
            assert await client.read_close() == 1012
            client.write_close(1012)
        assert program.finish()[0] == 0


FORKING = """
    import os, socket
    from picows_server import WSListener

    def bound():
        found = 0
        for number in range(3, 100):
            try:
                with socket.socket(fileno=os.dup(number)) as sock:
                    found += sock.family == socket.AF_INET
            except OSError:
                pass
        return found

    def fork():
        child = os.fork()
        if not child:
            os._exit(bound())
        print("child:", os.waitpid(child, 0)[1] >> 8, "parent:", bound(), flush=True)

    async def application(scope, receive, send):
        await receive()
        fork()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
"""
FORKED = "child: 0 parent: 1\n"


def test_what_an_application_forks_at_its_startup(tmp_path: Path, loop_kind: str) -> None:
    arguments = ("app:application", "--loop", loop_kind, *ANY_PORT, *NOW)
    with Program(tmp_path, FORKING, *arguments) as program:
        program.wait_until_serving()
        program.send(signal.SIGTERM)
        status, output, _ = program.finish()
    assert (status, output) == (0, FORKED)


@pytest.mark.parametrize("how", ["socket activation", "--fd"])
def test_what_an_application_forks_when_it_is_imported(tmp_path: Path, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options: Any = {"pass_fds": (listening.fileno(),)}
        arguments = ["--fd", str(listening.fileno()), "app:WSListener", *NOW]
        if how == "socket activation":
            options["command"] = (*PYTHON, "-c", CLOSING + ACTIVATING)
            del arguments[0]
        with Program(tmp_path, FORKING + "\n    fork()", *arguments, **options) as program:
            program.wait_for(": serving ")
            program.send(signal.SIGTERM)
            status, output, _ = program.finish()
    assert (status, output) == (0, FORKED)


async def test_sighup_without_certificates(tmp_path: Path, loop_kind: str) -> None:
    arguments = ("app:Chat", "--loop", loop_kind, *ANY_PORT, *NOW)
    with Program(tmp_path, SOURCE, *arguments) as program:
        name = program.wait_until_serving()
        program.send(signal.SIGHUP)
        program.wait_for("there are no certificates")
        async with await RawClient.open(name) as client:
            client.write_frame(1, b"still here")
            assert (await client.read_frame()).payload == b"still here"
            client.write_close(1000)
            assert await client.read_close() == 1000
        program.send(signal.SIGTERM)
        assert program.finish()[0] == 0


async def test_tls(tmp_path: Path, certificates: Certificates) -> None:
    tls = ("--ssl-cert", str(certificates.server_chain), "--ssl-key", str(certificates.server_key))
    url = ("--url", "wss://127.0.0.1:0")
    with Program(tmp_path, SOURCE, "app:Chat", *url, *tls, *NOW) as program:
        name = program.wait_until_serving()
        context = certificates.client_context()
        async with await RawClient.open(name, context=context) as client:
            program.send(signal.SIGTERM)
            assert await client.read_close() == 1012
            client.write_close(1012)
        assert program.finish()[0] == 0


async def test_sighup_replaces_certificates(
    tmp_path: Path, certificates: Certificates, loop_kind: str
) -> None:
    pytest.importorskip("picows_server.certificates.watching")
    (tmp_path / "others").mkdir()
    others = issue_certificates(tmp_path / "others")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    shutil.copy(certificates.server_chain, chain)
    shutil.copy(certificates.server_key, key)
    tls = ("--url", "wss://127.0.0.1:0", "--ssl-cert", str(chain), "--ssl-key", str(key))
    with Program(tmp_path, SOURCE, "app:Chat", *tls, *NOW, "--loop", loop_kind) as program:
        name = program.wait_until_serving()
        async with await RawClient.open(name, context=certificates.client_context()) as before:
            shutil.copy(others.server_chain, chain)
            shutil.copy(others.server_key, key)
            program.send(signal.SIGHUP)
            program.wait_for("the certificate in")
            async with await RawClient.open(name, context=others.client_context()) as after:
                for client in (before, after):
                    client.write_frame(1, b"hello")
                    assert (await client.read_frame()).payload == b"hello"
                    client.write_close(1000)
                    assert await client.read_close() == 1000
        program.send(signal.SIGTERM)
        assert program.finish()[0] == 0


async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Program(tmp_path, SOURCE, "app:Chat", "--unix-path", str(path), *NOW) as program:
        program.wait_for(": serving ")
        async with await RawClient.open(str(path)) as client:
            program.send(signal.SIGTERM)
            assert await client.read_close() == 1012
            client.write_close(1012)
        assert program.finish()[0] == 0
    assert not path.exists()


async def test_socket_activation(tmp_path: Path, loop_kind: str) -> None:
    """The service manager keeps its socket: what connects while nobody serves is served later."""
    command = (*PYTHON, "-c", ACTIVATING)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name = listening.getsockname()
        url = ("--url", "ws://192.0.2.1:5")
        arguments = (str(listening.fileno()), "app:routes", "--loop", loop_kind, *NOW, *url)
        for _ in range(2):
            client = await RawClient.connect(name)
            options: Any = {"command": command, "pass_fds": (listening.fileno(),)}
            with Program(tmp_path, SOURCE, *arguments, **options) as program:
                assert (await client.upgrade("/ws")).status == 101
                program.send(signal.SIGTERM)
                assert await client.read_close() == 1012
                client.write_close(1012)
                await client.close()
                status, _, log = program.finish()
            assert status == 0, log
            where = f"127.0.0.1:{name[1]} (web), instead of {url[1]}"
            assert f"listening sockets of the service manager: {where}" in log
            assert f": serving ws://127.0.0.1:{name[1]}\n" in log


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_socket_activation_and_a_descriptor(tmp_path: Path, more: Tuple[str, ...]) -> None:
    command = (*PYTHON, "-c", ACTIVATING)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        options: Any = {"command": command, "pass_fds": (number,)}
        arguments = (str(number), "app:Chat", "--fd", str(number), *more)
        with Program(tmp_path, SOURCE, *arguments, **options) as program:
            status, _, log = program.finish()
    assert status == 1
    assert log.startswith("picows_server: LISTEN_FDS=1 and sock (--fd) exclude each other")
    assert "ResourceWarning" not in log


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
def test_no_unix_path_under_socket_activation(tmp_path: Path, more: Tuple[str, ...]) -> None:
    command = (*PYTHON, "-c", ACTIVATING)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options: Any = {"command": command, "pass_fds": (listening.fileno(),)}
        arguments = (str(listening.fileno()), "app:Chat", "--unix-path", "/nothing/s", *NOW, *more)
        with Program(tmp_path, SOURCE, *arguments, **options) as program:
            program.wait_for("instead of unix_path '/nothing/s'")
            program.wait_for("all workers are ready" if more else ": serving ")
            program.send(signal.SIGTERM)
            assert program.finish()[0] == 0


async def test_inherited_descriptor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        options: Any = {"pass_fds": (number,)}
        with Program(tmp_path, SOURCE, "app:Chat", "--fd", str(number), *NOW, **options) as program:
            async with await RawClient.open(listening.getsockname()) as client:
                program.send(signal.SIGTERM)
                assert await client.read_close() == 1012
                client.write_close(1012)
            assert program.finish()[0] == 0


async def test_standard_input_may_be_the_socket(tmp_path: Path, loop_kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arguments = ("app:Chat", "--fd", "0", "--loop", loop_kind, *NOW)
        with Program(tmp_path, SOURCE, *arguments, stdin=listening) as program:
            async with await RawClient.open(listening.getsockname()) as client:
                program.send(signal.SIGTERM)
                assert await client.read_close() == 1012
                client.write_close(1012)
            assert program.finish()[0] == 0


def accepts(path: Path) -> bool:
    """Whether somebody listens there, which is later than the file."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


async def test_without_standard_streams(tmp_path: Path, loop_kind: str) -> None:
    def close() -> None:
        os.closerange(0, 3)

    path = tmp_path / "s"
    arguments = ("app:Chat", "--unix-path", str(path), "--loop", loop_kind, *NOW)
    with Program(tmp_path, SOURCE, *arguments, preexec_fn=close) as program:
        await eventually(lambda: accepts(path), PATIENCE)
        async with await RawClient.open(str(path)) as client:
            program.send(signal.SIGTERM)
            assert await client.read_close() == 1012
            client.write_close(1012)
        assert program.finish()[0] == 0


@pytest.fixture(params=["path", "abstract"])
def notified(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tuple[str, Any]]:
    """A service manager's socket, and what is in NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(40)
        if request.param == "path":
            address = str(tmp_path / "n")
            sock.bind(address)
        else:
            if sys.platform != "linux":
                pytest.skip("abstract sockets are Linux'")
            address = f"@picows-test-{os.getpid()}-{id(sock)}"
            sock.bind("\0" + address[1:])
        yield address, sock


def test_notifications(tmp_path: Path, notified: Tuple[str, Any]) -> None:
    address, sock = notified
    env = environment(NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000")
    told: List[str] = []

    def wait_for(text: str) -> str:
        while True:
            told.append(sock.recv(4096).decode())
            if told[-1].startswith(text):
                return told[-1]

    with Program(tmp_path, SOURCE, "app:Chat", *ANY_PORT, *NOW, env=env) as program:
        assert "\nSTATUS=serving ws://127.0.0.1:" in wait_for("READY=1")
        assert told[:-1] == []
        wait_for("WATCHDOG=1")
        wait_for("WATCHDOG=1")
        program.send(signal.SIGHUP)
        assert "\nMONOTONIC_USEC=" in wait_for("RELOADING=1")
        wait_for("READY=1")
        program.send(signal.SIGTERM)
        wait_for("STOPPING=1")
        assert program.finish()[0] == 0


def test_nobody_listens_to_notifications(tmp_path: Path) -> None:
    env = environment(NOTIFY_SOCKET=str(tmp_path / "nobody"))
    with Program(tmp_path, SOURCE, "app:Chat", *ANY_PORT, *NOW, env=env) as program:
        program.wait_for("the service manager was not told READY=1")
        program.send(signal.SIGTERM)
        assert program.finish()[0] == 0


async def test_stopped_while_it_starts(tmp_path: Path, loop_kind: str) -> None:
    source = """
        import asyncio, sys
        from contextlib import asynccontextmanager
        from picows_server import WSListener as Listener

        @asynccontextmanager
        async def lifespan():
            try:
                print("starting", file=sys.stderr, flush=True)
                await asyncio.sleep(3600)
                yield
            finally:
                print("cleaned up", flush=True)
    """
    arguments = ("app:Listener", "--lifespan", "app:lifespan", "--loop", loop_kind, *ANY_PORT)
    with Program(tmp_path, source, *arguments) as program:
        program.wait_for("starting")
        program.send(signal.SIGTERM)
        status, output, log = program.finish()
    assert (status, output) == (0, "cleaned up\n")
    assert "Traceback" not in log


async def test_interrupted_while_the_application_is_imported(
    tmp_path: Path, loop_kind: str
) -> None:
    source = """
        import sys, time
        print("importing", file=sys.stderr, flush=True)
        time.sleep(3600)
    """
    with Program(tmp_path, source, "app:x", "--loop", loop_kind, *ANY_PORT) as program:
        program.wait_for("importing")
        program.send(signal.SIGINT)
        status, _, log = program.finish()
    assert (status, log) == (128 + signal.SIGINT, "importing\n")


FAILURES = [
    ("nothing:x", "", ["there is no module 'nothing'"], False),
    ("app:y", "x = 1", ["'app' has no attribute 'y'"], False),
    ("app:x.y", "class x: pass", ["'x' has no attribute 'y'"], False),
    ("app:x", "x = 1", ["listener_factory", "not 1"], False),
    ("app:x", "import nothing_there", ["import nothing_there", "No module named"], True),
    ("app:x", "1 / 0", ["ZeroDivisionError"], True),
    ("app:x", "from picows_server import create_ssl_context as c; c('/none')", ["/none"], True),
    ("app:x", "def x(): pass\ndef x(a, b): pass", ["listener_factory must be"], False),
    ("app:x", "x = {}\nraise SystemExit", ["'app' calls sys.exit(None), in line 2"], False),
]


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
@pytest.mark.parametrize(("target", "source", "texts", "has_traceback"), FAILURES)
def test_applications_that_cannot_be_served(
    tmp_path: Path,
    target: str,
    source: str,
    texts: List[str],
    has_traceback: bool,
    more: Tuple[str, ...],
) -> None:
    with Program(tmp_path, source, target, *ANY_PORT, *more) as program:
        status, output, log = program.finish()
    assert (status, output) == (1, "")
    assert ("Traceback" in log) == has_traceback, log
    assert all(text in log for text in texts), log


@pytest.mark.parametrize("when", ["start", "end"])
def test_lifespan_that_fails(tmp_path: Path, when: str) -> None:
    source = f"""
        from contextlib import asynccontextmanager
        from picows_server import WSListener as Listener

        @asynccontextmanager
        async def lifespan():
            if {when!r} == "start":
                raise OSError("no database")
            yield
            raise OSError("no database")
    """
    arguments = ("app:Listener", "--lifespan", "app:lifespan", *ANY_PORT, *NOW)
    with Program(tmp_path, source, *arguments) as program:
        if when == "end":
            program.wait_until_serving()
            program.send(signal.SIGTERM)
        status, _, log = program.finish()
    assert status == 1
    assert "Traceback" in log
    assert "OSError: no database" in log


def test_descriptor_that_is_no_socket(tmp_path: Path) -> None:
    with Program(tmp_path, SOURCE, "app:Chat", "--fd", "99") as program:
        status, _, log = program.finish()
    assert (status, log) == (1, "picows_server: --fd 99 is no socket: Bad file descriptor\n")


def test_taken_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        with Program(tmp_path, SOURCE, "app:Chat", "--url", url) as program:
            status, _, log = program.finish()
    assert status == 1
    assert "Traceback" not in log
    assert "cannot listen on 127.0.0.1 port" in log


def test_asgi_application(tmp_path: Path) -> None:
    source = """
        async def app(scope, receive, send):
            assert scope["type"] == "lifespan"
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("shutdown", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
    """
    with Program(tmp_path, source, "app:app", *ANY_PORT, *NOW) as program:
        program.wait_until_serving()
        program.send(signal.SIGTERM)
        assert program.finish()[:2] == (0, "shutdown\n")


def test_run_in_a_script(tmp_path: Path) -> None:
    source = """
        import logging
        from picows_server import WSListener, run

        class Echo(WSListener):
            pass

        if __name__ == "__main__":
            run("ws://127.0.0.1:0", Echo, drain_grace=0, drain_spread=0, log_level="info")
            print("after", flush=True)
    """
    with Program(tmp_path, source, "app.py", command=PYTHON) as program:
        program.wait_until_serving()
        program.send(signal.SIGTERM)
        assert program.finish()[:2] == (0, "after\n")
