"""picows_server.running.workers.supervise: real processes that die, hang or are replaced."""

from __future__ import annotations

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
from tests.support.services import Service, WorkerClient, eventually_true, is_alive

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(240),
]

APPLICATIONS = "tests.support.worker_applications"


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
        seen = {service.pid_of_new_client() for _ in range(30)}
        assert seen == {*later.values()}
        assert service.stop() == 0


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
        assert {service.pid_of_new_client() for _ in range(20)} == {ready[1]}
        os.kill(ready[0], signal.SIGCONT)
        eventually_true(lambda: service.pid_of_new_client() == ready[0])
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


def test_slots_are_added_and_removed(tmp_path: Path) -> None:
    with Service(tmp_path) as service, ExitStack() as stack:
        service.wait_ready()
        first = service.wait_for_ready(2)
        service.send(signal.SIGTTIN)
        more = service.wait_for_ready(3)
        assert more[0] == first[0]
        eventually_true(lambda: service.pid_of_new_client() == more[2])
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
        assert service.pid_of_new_client() == first[0]
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
