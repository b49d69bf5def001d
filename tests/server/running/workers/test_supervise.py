"""picows_server.running.workers.supervise: real processes, and what is done to them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import List

import pytest

from tests.support.certificates import Certificates
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
        _pid_of_new_client(service)
        assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced_and_keeps_its_socket(
    tmp_path: Path, number: signal.Signals
) -> None:
    # SIGTERM: the worker asks to be replaced, and drains.
    with Service(tmp_path) as service:
        ready = service.wait_ready().wait_for_ready(2)
        os.kill(ready[0], number)
        later = service.wait_for_ready(2, without=[ready[0]])
        assert later[1] == ready[1]
        seen = {_pid_of_new_client(service) for _ in range(30)}
        assert seen == {*later.values()}
        assert service.stop() == 0


def _pid_of_new_client(service: Service) -> int:
    with WorkerClient(service.address) as client:
        return client.pid


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
        assert {_pid_of_new_client(service) for _ in range(20)} == {ready[0]}
        assert service.stop() == 0
        assert is_alive(children[1])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.address)


def test_clients_wait_while_no_worker_is_there(tmp_path: Path) -> None:
    with Service(tmp_path, workers=1) as service:
        (pid,) = service.wait_ready().wait_for_ready(1).values()
        os.kill(pid, signal.SIGKILL)
        with WorkerClient(service.address) as client:
            assert client.pid != pid
        assert service.stop() == 0


@pytest.mark.parametrize("order", [b"block", b""])
def test_a_worker_that_does_not_answer_is_killed(tmp_path: Path, order: bytes) -> None:
    with Service(tmp_path, workers=1, worker_timeout=3) as service:
        service.wait_ready()
        with WorkerClient(service.address) as client:
            if order:
                client.send(order)
            else:
                os.kill(client.pid, signal.SIGSTOP)
            service.wait_log(rf"pid {client.pid}\) is killed: it did not answer")
            service.wait_gone([client.pid])
            service.wait_for_ready(1, without=[client.pid])
        if order:
            assert "time.sleep" in service.log or "on_ws_frame" in service.log  # its stack
        assert service.stop() == 0


def test_nobody_is_sent_to_a_worker_that_is_silent(tmp_path: Path) -> None:
    def is_silent(pid: int) -> bool:
        return {each["pid"]: each["is_silent"] for each in service.workers()}.get(pid, False)

    with Service(tmp_path, worker_timeout=600) as service:
        ready = service.wait_ready().wait_for_ready(2)
        os.kill(ready[0], signal.SIGSTOP)
        eventually_true(lambda: is_silent(ready[0]))
        assert {_pid_of_new_client(service) for _ in range(20)} == {ready[1]}
        os.kill(ready[0], signal.SIGCONT)
        eventually_true(lambda: _pid_of_new_client(service) == ready[0])
        assert service.stop() == 0


def test_nobody_is_killed_when_the_supervisor_was_stopped(tmp_path: Path) -> None:
    with Service(tmp_path, worker_timeout=4) as service:
        ready = service.wait_ready().wait_for_ready(2)
        service.send(signal.SIGSTOP)
        time.sleep(5)
        service.send(signal.SIGCONT)
        assert service.admin("/healthz")[0] == 200
        assert service.ready() == ready
        assert "is killed" not in service.log
        assert service.stop() == 0


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


class Traffic:
    """Clients that connect again whenever they were sent away, each in a thread."""

    def __init__(self, service: Service, clients: int) -> None:
        self._address = service.address
        self.codes: List[int] = []
        self.errors: List[BaseException] = []
        self.opened = 0
        self._is_over = False
        self._threads = [threading.Thread(target=self._serve) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        try:
            while not self._is_over:
                with WorkerClient(self._address) as client:
                    self.opened += 1
                    self.codes.append(client.read_close())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            if not self._is_over:
                self.errors.append(error)

    def end(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()


class Visitors:
    """Connections, one after another, that are closed at once."""

    def __init__(self, service: Service) -> None:
        self._address = service.address
        self.errors: List[BaseException] = []
        self.count = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._visit)
        self._thread.start()

    def _visit(self) -> None:
        try:
            while not self._is_over:
                with WorkerClient(self._address) as client:
                    # A close of ours, so that nothing is reset.
                    client.sock.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
                    client.read_close()
                self.count += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            self.errors.append(error)

    def end(self) -> None:
        self._is_over = True
        self._thread.join()


def test_a_rolling_restart_under_traffic(tmp_path: Path) -> None:
    with Service(tmp_path) as service:
        old = service.wait_ready().wait_for_ready(2)
        traffic, visitors = Traffic(service, 20), Visitors(service)
        eventually_true(lambda: traffic.opened >= 20)
        service.send(signal.SIGHUP)
        service.wait_log("all workers have been replaced")
        service.wait_for_ready(2, without=old.values())
        visitors.end()
        assert visitors.errors == []
        assert visitors.count > 0
        assert traffic.errors == []
        assert len(traffic.codes) >= 20
        assert service.stop() == 0
        traffic.end()
        assert {*traffic.codes} == {1012}
        # One by one, the new one first.
        log = service.log[service.log.index("one by one") :]
        events = re.findall(r"worker (\d) \(pid \d+\) (is ready|ended)", log)
        assert events[:4] == [(slot, event) for slot in "01" for event in ("is ready", "ended")]


def test_a_reload_that_fails_keeps_the_workers(tmp_path: Path) -> None:
    switch = tmp_path / "broken"
    definitions = (
        "import os\n"
        f"if os.path.exists({str(switch)!r}): raise ValueError('broken configuration')\n"
        f"from {APPLICATIONS} import Pid\n\nclass Mine(Pid): pass\n"
    )
    with Service(tmp_path, "Mine", definitions=definitions) as service:
        old = service.wait_ready().wait_for_ready(2)
        switch.touch()
        service.send(signal.SIGHUP)
        service.wait_log("so the others are not replaced")
        assert "ValueError: broken configuration" in service.log
        assert service.wait_for_ready(2) == old
        switch.unlink()
        service.send(signal.SIGHUP)
        service.wait_for_ready(2, without=old.values())
        assert service.stop() == 0


def test_slots_are_added_and_removed(tmp_path: Path) -> None:
    with Service(tmp_path) as service, ExitStack() as stack:
        service.wait_ready()
        first = service.wait_for_ready(2)
        service.send(signal.SIGTTIN)
        more = service.wait_for_ready(3)
        assert more[0] == first[0]
        eventually_true(lambda: _pid_of_new_client(service) == more[2])
        visitors = Visitors(service)
        clients = [stack.enter_context(WorkerClient(service.address)) for _ in range(30)]
        service.send(signal.SIGTTOU)
        sent_away = [client for client in clients if client.pid == more[2]]
        assert {client.read_close() for client in sent_away} <= {1012}
        assert service.wait_for_ready(2) == first
        visitors.end()
        assert visitors.errors == []
        for client in clients:
            client.__exit__()
        service.send(signal.SIGTTOU)
        service.wait_for_ready(1)
        service.send(signal.SIGTTOU)
        service.wait_log("the last worker stays")
        assert _pid_of_new_client(service) == first[0]
        service.send(signal.SIGTTIN)
        service.wait_for_ready(2)
        assert service.stop() == 0


def test_what_waits_in_the_queue_of_a_removed_slot_is_served(tmp_path: Path) -> None:
    # The loop is blocked, so that connections wait in its queue.
    with Service(tmp_path) as service:
        ready = service.wait_ready().wait_for_ready(2)
        os.kill(ready[1], signal.SIGSTOP)
        waiting = [socket.create_connection(service.address) for _ in range(40)]
        service.send(signal.SIGTTOU)
        service.wait_log(r"worker 1 \(pid \d+\) drains")
        os.kill(ready[1], signal.SIGCONT)
        request = (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        for sock in waiting:
            with sock:
                sock.settimeout(50)
                sock.sendall(request)
                assert sock.recv(12) == b"HTTP/1.1 101"
        assert service.stop() == 0


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


def test_lifetime(tmp_path: Path) -> None:
    with Service(tmp_path, max_lifetime=1.5) as service:
        old = service.wait_ready().wait_for_ready(2)
        service.wait_log(r"is replaced: lifetime of", 2)
        eventually_true(lambda: not any(map(is_alive, old.values())))
        assert "died" not in service.log
        assert service.stop() == 0


def test_memory(tmp_path: Path) -> None:
    with Service(tmp_path, max_rss=200_000_000, timing={"healthy_after": 1}) as service:
        service.wait_ready()
        with WorkerClient(service.address) as client:
            client.send(b"use 300000000")
            service.wait_log(r"is replaced: memory of", 1)
            assert client.read_close() == 1012
            service.wait_for_ready(2, without=[client.pid])
        assert service.log.count("is replaced") == 1
        assert service.stop() == 0


def test_a_worker_that_dies_again_and_again_is_not_started_all_the_time(tmp_path: Path) -> None:
    timing = {"first_pause": 0.2, "longest_pause": 0.4}
    with Service(tmp_path, timing=timing) as service:
        service.wait_ready()
        for _ in range(3):
            with WorkerClient(service.address) as client:
                client.send(b"die")
                service.wait_gone([client.pid])
                service.wait_for_ready(2, without=[client.pid])
        service.wait_log("is started again in 0", 3)
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


def test_numbers_do_not_go_down_when_workers_die(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")

    def opened() -> int:
        lines = service.admin("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith("picows_connections_opened_total{")]
        assert all('worker="0"' in line or 'worker="1"' in line for line in found)
        return int(sum(float(line.rpartition(" ")[2]) for line in found))

    with Service(tmp_path) as service:
        service.wait_ready().wait_for_ready(2)
        for count in (5, 10):
            for _ in range(5):
                with WorkerClient(service.address):
                    pass
            eventually_true(lambda count=count: opened() == count)
            ready = service.ready()
            os.kill(ready[0], signal.SIGKILL)
            service.wait_for_ready(2, without=[ready[0]])
            assert opened() == count
        text = service.admin("/metrics")[1]
        assert "picows_worker_deaths_total 2.0" in text
        assert 'picows_workers{state="ready"} 2.0' in text
        service.send(signal.SIGHUP)
        service.wait_log("all workers have been replaced")
        assert opened() == 10
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


def test_tls_and_the_reload_of_its_certificate(tmp_path: Path, certificates: Certificates) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    definitions = (
        "from picows_server import create_ssl_context\n"
        f"from {APPLICATIONS} import Pid\n\nclass Mine(Pid): pass\n\n"
        f"def context(): return create_ssl_context({str(certificate)!r}, {str(key)!r})\n"
    )
    shutil.copy(certificates.server_chain, certificate)
    shutil.copy(certificates.server_key, key)
    settings = {"ssl_context": "__main__:context"}
    with Service(
        tmp_path, "Mine", url="wss://127.0.0.1:0", definitions=definitions, settings=settings
    ) as service:
        service.wait_ready()
        first = ssl.get_server_certificate(service.address)
        shutil.copy(certificates.client_chain, certificate)
        shutil.copy(certificates.client_key, key)
        service.send(signal.SIGHUP)
        service.wait_log("all workers have been replaced")
        assert ssl.get_server_certificate(service.address) != first
        assert service.stop() == 0


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
            _pid_of_new_client(service)


@pytest.mark.parametrize("loop", LOOP_KINDS)
def test_workers_get_standard_input_if_it_is_the_socket(tmp_path: Path, loop: str) -> None:
    new_loop(loop).close()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        words = f"-m picows_server {APPLICATIONS}:Pid --workers 2 --fd 0 --loop {loop}"
        with Service(tmp_path, command=words.split(), stdin=listening) as service:
            service.wait_ready()
            assert service.address == listening.getsockname()
            _pid_of_new_client(service)


def test_one_worker_with_a_supervisor(tmp_path: Path) -> None:
    program = MAIN.format(options="admin_url='http://127.0.0.1:0'")
    (tmp_path / "main.py").write_text(program, encoding="utf-8")
    with Service(tmp_path, command=["main.py"]) as service:
        (pid,) = service.wait_ready().wait_for_ready(1).values()
        assert pid != service.process.pid
        assert _pid_of_new_client(service) == pid
        assert service.stop() == 0
