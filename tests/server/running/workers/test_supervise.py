"""picows_server.running.workers.supervise: services of real processes, from start to end."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.loops import LOOP_KINDS, new_loop
from tests.support.services import Service, WorkerClient, eventually_true, is_alive

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(240),
]

APPLICATIONS = "tests.support.worker_applications"

# A script that runs a class of its own.
MAIN = f"""
import picows_server
from {APPLICATIONS} import Pid

class Mine(Pid): pass

if __name__ == "__main__":
    picows_server.run(
        "ws://127.0.0.1:0", Mine, log_level="info", drain_grace=0, drain_spread=0, {{options}}
    )
"""


@pytest.mark.parametrize("loop", LOOP_KINDS)
def test_it_serves_with_several_workers_and_drains(tmp_path: Path, loop: str) -> None:
    new_loop(loop).close()
    with Service(tmp_path, settings={"loop": loop}) as service, ExitStack() as stack:
        ready = service.wait_ready().wait_for_ready(2)
        clients = [stack.enter_context(WorkerClient(service.address)) for _ in range(30)]
        assert {client.pid for client in clients} == {*ready.values()}
        service.send(signal.SIGTERM)
        assert {client.read_close() for client in clients} == {1012}
        assert service.wait_status() == 0
        service.wait_gone(service.started)
        assert "Traceback" not in service.log
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.address)


def test_a_class_of_the_script(tmp_path: Path) -> None:
    definitions = f"from {APPLICATIONS} import Pid\n\nclass Mine(Pid): pass\n"
    with Service(tmp_path, "Mine", definitions=definitions) as service:
        ready = service.wait_ready().wait_for_ready(2)
        with WorkerClient(service.address) as client:
            assert client.pid in ready.values()
        assert service.stop() == 0


def test_modules_of_the_current_directory_are_not_for_workers_alone(tmp_path: Path) -> None:
    (tmp_path / "socket.py").write_text("raise SystemExit('shadowed')\n", encoding="utf-8")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "main.py").write_text(MAIN.format(options="workers=2"), encoding="utf-8")
    with Service(tmp_path, command=["elsewhere/main.py"]) as service:
        service.pid_of_new_client()
        assert service.stop() == 0


@pytest.mark.parametrize("loop", LOOP_KINDS)
def test_what_the_application_forks_keeps_nothing(tmp_path: Path, loop: str) -> None:
    new_loop(loop).close()
    with Service(tmp_path, settings={"loop": loop}) as service, ExitStack() as stack:
        ready = service.wait_ready().wait_for_ready(2)
        client = stack.enter_context(WorkerClient(service.address))
        while client.pid != ready[1]:
            client = stack.enter_context(WorkerClient(service.address))
        children = []
        for _ in range(2):
            client.send(b"fork")
            children.append(int(client.read()[1]))
        stack.callback(os.kill, children[1], signal.SIGKILL)
        os.kill(children[0], signal.SIGTERM)
        service.wait_gone(children[:1])
        assert service.ready() == ready  # it was no signal to the worker
        service.send(signal.SIGTTOU)
        assert client.read_close() == 1012
        assert client.sock.recv(1) == b""
        service.wait_for_ready(1)
        assert {service.pid_of_new_client() for _ in range(20)} == {ready[0]}
        assert service.stop() == 0
        assert is_alive(children[1])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.address)


def test_no_worker_outlives_the_supervisor(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.wait_ready()
        pids = service.started
        os.kill(min(pids), signal.SIGSTOP)  # it cannot help
        service.process.kill()
        service.process.wait()
        service.wait_gone(pids)


def test_no_worker_outlives_a_supervisor_that_dies_while_they_start(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        eventually_true(lambda: len(service.started) == 2)
        service.process.kill()
        service.process.wait()
        service.wait_gone(service.started)


def test_a_start_failure_of_a_worker_ends_everything(tmp_path: Path) -> None:
    with Service(tmp_path, f"{APPLICATIONS}:Missing") as service:
        assert service.wait_status() == 1
        service.wait_gone(service.started)
        assert "Traceback" not in service.log  # the line says enough
        assert service.log.count("has no attribute 'Missing'") == 1


def test_a_failing_lifespan(tmp_path: Path) -> None:
    settings = {"lifespan": f"{APPLICATIONS}:failing_lifespan"}
    with Service(tmp_path, settings=settings) as service:
        assert service.wait_status() == 1
        assert service.log.count("ValueError: no database") == 1


def test_a_worker_that_is_not_ready_in_time(tmp_path: Path) -> None:
    settings = {"lifespan": f"{APPLICATIONS}:endless_lifespan"}
    with Service(tmp_path, settings=settings, start_timeout=2) as service:
        assert service.wait_status() == 1
        assert "it was not ready within 2 s" in service.log
        service.wait_gone(service.started)


def test_an_import_that_takes_longer_than_the_worker_timeout(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        f"import time\ntime.sleep(4)\nfrom {APPLICATIONS} import Pid\n", encoding="utf-8"
    )
    settings = {"app_dir": str(tmp_path)}
    with Service(tmp_path, "slow:Pid", workers=1, settings=settings, worker_timeout=2) as service:
        service.wait_ready()
        assert "is killed" not in service.log
        assert service.stop() == 0


def test_a_lifespan_that_was_entered_at_the_end_is_left(tmp_path: Path) -> None:
    """The worker is told to end while it cannot hear, and becomes ready before it does."""
    definitions = (
        "import asyncio, contextlib, time\n"
        "@contextlib.asynccontextmanager\n"
        "async def lifespan():\n"
        "    await asyncio.sleep(0.1)\n"
        "    print('it is entered', flush=True)\n"
        "    time.sleep(2)\n"
        "    yield\n"
        "    await asyncio.sleep(0.5)\n"
        "    print('it is left', flush=True)\n"
    )
    settings = {"lifespan": "__main__:lifespan"}
    with Service(tmp_path, workers=1, definitions=definitions, settings=settings) as service:
        service.wait_log("it is entered")
        assert service.stop() == 0
        assert "it is left" in service.log


def test_a_lifespan_that_fails_at_its_end(tmp_path: Path) -> None:
    definitions = (
        "import contextlib\n"
        "@contextlib.asynccontextmanager\n"
        "async def lifespan():\n"
        "    yield\n"
        "    raise ValueError('it could not be saved')\n"
    )
    settings = {"lifespan": "__main__:lifespan"}
    with Service(tmp_path, workers=1, definitions=definitions, settings=settings) as service:
        service.wait_ready()
        assert service.stop() == 1
        assert service.log.count("ValueError: it could not be saved") == 1


def test_a_signal_while_workers_start(tmp_path: Path) -> None:
    settings = {"lifespan": f"{APPLICATIONS}:endless_lifespan"}
    with Service(tmp_path, settings=settings) as service:
        eventually_true(lambda: len(service.workers()) == 2)
        assert service.admin("/readyz")[0] == 503
        assert service.stop() == 0
        service.wait_gone(service.started)


def test_a_script_without_the_guard(tmp_path: Path) -> None:
    definitions = (
        f"from {APPLICATIONS} import Pid\n\nclass Mine(Pid): pass\n\n"
        "supervise(RunSettings('ws://127.0.0.1:0', Mine), WorkerSettings(2))\n"
    )
    with Service(tmp_path, "Mine", definitions=definitions) as service:
        service.wait_status()
        assert '__name__ == "__main__"' in service.log
        service.wait_gone(service.started)


def test_the_address_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        with Service(tmp_path, url=url) as service:
            assert service.wait_status() == 1
            assert "cannot listen on 127.0.0.1" in service.log
            assert not service.started


def test_another_service_of_the_same_user_does_not_share_the_port(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        service.wait_ready()
        folder = tmp_path / "other"
        folder.mkdir()
        with Service(folder, url=f"ws://127.0.0.1:{service.address[1]}") as other:
            assert other.wait_status() == 1
        assert service.stop() == 0


def test_a_second_signal_aborts(tmp_path: Path) -> None:
    with Service(tmp_path, drain=(0, 1000, 2000)) as service:
        service.wait_ready()
        with WorkerClient(service.address):
            service.send(signal.SIGTERM)
            service.wait_log("accepts no more", 2)
            service.send(signal.SIGINT)
            assert service.wait_status() == 128 + signal.SIGINT
        service.wait_gone(service.started)


def test_a_terminals_signals_reach_only_the_supervisor(tmp_path: Path) -> None:
    with Service(tmp_path, drain=(1, 1, 40)) as service:
        service.wait_ready()
        with WorkerClient(service.address) as client:
            os.killpg(service.process.pid, signal.SIGINT)
            assert client.read_close() == 1012
        assert service.wait_status() == 0
        assert service.log.count(") drains") == 2


def test_a_service_manager_signals_every_process(tmp_path: Path) -> None:
    with Service(tmp_path, drain=(0.5, 0.5, 40)) as service:
        pids = service.wait_ready().wait_for_ready(2)
        with WorkerClient(service.address) as client:
            service.send(signal.SIGTERM)
            for pid in pids.values():
                os.kill(pid, signal.SIGTERM)
            assert client.read_close() == 1012
        assert service.wait_status() == 0
        assert "died" not in service.log


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    settings = {"server_options": {"unix_path": str(path)}}
    with Service(tmp_path, settings=settings) as service:
        ready = service.wait_ready().wait_for_ready(2)
        assert "from one socket, because it is a Unix socket" in service.log
        with WorkerClient(str(path)) as client:
            assert client.pid in ready.values()
        service.send(signal.SIGHUP)
        service.wait_log("all workers have been replaced")
        with WorkerClient(str(path)) as client:
            assert client.pid not in ready.values()
        assert service.stop() == 0
        assert not path.exists()


def test_the_admin_page(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        ready = service.wait_ready().wait_for_ready(2)
        assert service.admin("/healthz") == (200, "ok\n")
        assert service.admin("/readyz") == (200, "ready\n")
        assert service.admin("/nothing")[0] == 404
        with WorkerClient(service.address) as client:
            eventually_true(
                lambda: [
                    each
                    for each in service.workers()
                    if each["pid"] == client.pid and each["connections"] == 1
                ]
            )
        for each in service.workers():
            assert ready[each["slot"]] == each["pid"]
            assert each["rss_bytes"] > 1_000_000
        assert service.stop() == 0


def test_metrics_among_the_routes(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    definitions = (
        "from picows_server import metrics\n"
        f"from {APPLICATIONS} import Pid\n\nroutes = {{'/': Pid, '/metrics': metrics}}\n"
    )
    with Service(tmp_path, "routes", workers=1, definitions=definitions) as service:
        service.wait_ready()
        with WorkerClient(service.address), socket.create_connection(service.address) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with sock.makefile("r", encoding="utf-8") as response:
                lines = response.read().splitlines()
        assert "picows_connections_opened_total 1.0" in lines
        assert service.stop() == 0


def test_the_admin_address_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Service(tmp_path, admin_url=url) as service:
            assert service.wait_status() == 1
            assert not service.started


def test_sockets_of_the_service_manager_and_what_it_is_told(tmp_path: Path) -> None:
    with socket.socket() as listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        manager.bind(str(tmp_path / "manager"))
        manager.settimeout(50)
        definitions = (
            f"import os\nos.dup2({listening.fileno()}, 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        )
        with Service(
            tmp_path,
            definitions=definitions,
            environment={"NOTIFY_SOCKET": str(tmp_path / "manager")},
            pass_fds=[listening.fileno()],
        ) as service:
            assert manager.recv(1000).startswith(b"READY=1")
            ready = service.wait_ready().wait_for_ready(2)
            assert service.address == listening.getsockname()
            with WorkerClient(service.address) as client:
                assert client.pid in ready.values()
            service.send(signal.SIGHUP)
            assert manager.recv(1000).startswith(b"RELOADING=1")
            assert manager.recv(1000).startswith(b"READY=1")
            service.send(signal.SIGTERM)
            assert manager.recv(1000).startswith(b"STOPPING=1")
            assert service.wait_status() == 0
        # It is the manager's: clients wait in it for the next service.
        with socket.create_connection(listening.getsockname()):
            pass


def test_the_command_line(tmp_path: Path) -> None:
    words = (
        f"-m picows_server {APPLICATIONS}:Pid --url ws://127.0.0.1:0 --workers 2"
        " --admin-url http://127.0.0.1:0 --drain-grace 0 --drain-spread 0"
    )
    with Service(tmp_path, command=words.split()) as service:
        ready = service.wait_ready().wait_for_ready(2)
        with WorkerClient(service.address) as client:
            assert client.pid in ready.values()
            service.send(signal.SIGINT)
            assert client.read_close() == 1012
        assert service.wait_status() == 0


def test_the_command_line_configures_logging_everywhere(tmp_path: Path) -> None:
    config = {
        "version": 1,
        "formatters": {"marked": {"format": "<%(process)d %(name)s> %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "marked"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
    file = tmp_path / "logging.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    words = (
        f"-m picows_server {APPLICATIONS}:Pid --url ws://127.0.0.1:0 --workers 2"
        " --admin-url http://127.0.0.1:0 --drain-grace 0 --drain-spread 0"
        " --log-config logging.json --logger mine"
    )
    with Service(tmp_path, command=words.split()) as service:
        ready = service.wait_ready().wait_for_ready(2)
        assert f"<{service.process.pid} picows.mine> all workers are ready" in service.log
        for pid in ready.values():
            assert f"<{pid} picows.mine> serving ws://127.0.0.1:" in service.log
        file.write_text("{", encoding="utf-8")
        service.send(signal.SIGHUP)
        service.wait_log("so the others are not replaced")
        says = service.log[service.log.index(" says:") :]
        assert "is no JSON file for logging.config.dictConfig" in says
        assert service.ready() == ready
        assert service.stop() == 0


def test_the_command_line_passes_sockets_on(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        words = f"-m picows_server {APPLICATIONS}:Pid --workers 2 --fd {listening.fileno()}"
        with Service(tmp_path, command=words.split(), pass_fds=[listening.fileno()]) as service:
            service.wait_ready()
            assert service.address == listening.getsockname()
            service.pid_of_new_client()


@pytest.mark.parametrize("loop", LOOP_KINDS)
def test_workers_get_standard_input_if_it_is_the_socket(tmp_path: Path, loop: str) -> None:
    new_loop(loop).close()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        words = f"-m picows_server {APPLICATIONS}:Pid --workers 2 --fd 0 --loop {loop}"
        with Service(tmp_path, command=words.split(), stdin=listening) as service:
            service.wait_ready()
            assert service.address == listening.getsockname()
            service.pid_of_new_client()


def test_one_worker_with_a_supervisor(tmp_path: Path) -> None:
    program = MAIN.format(options="admin_url='http://127.0.0.1:0'")
    (tmp_path / "main.py").write_text(program, encoding="utf-8")
    with Service(tmp_path, command=["main.py"]) as service:
        (pid,) = service.wait_ready().wait_for_ready(1).values()
        assert pid != service.process.pid
        assert service.pid_of_new_client() == pid
        assert service.stop() == 0
