"""examples/gateway runs as its README.md says: routes, pages of the supervisor, reload, end."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Sequence, Tuple
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import pytest
from prometheus_client.parser import text_string_to_metric_families

from picows_client import WSConnectionClosed, connect
from picows_server import ws_create_server
from tests.examples.test_gateway_files import GATEWAY, command_of_the_manifest, shell_commands
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.services import PATIENCE, Service, eventually_true

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(240),
]

SYMBOLS = ["EURUSD", "GBPUSD", "USDJPY"]
SUBSCRIBE = json.dumps({"subscribe": SYMBOLS})


def command_of_the_readme() -> List[str]:
    (command,) = (each for each in shell_commands() if "-m picows_server" in each)
    return shlex.split(command)


def start(folder: Path, command: Sequence[str], *replacements: Tuple[str, str]) -> Service:
    """Start a command of the gateway's files, on free ports."""
    words = list(command)
    words = words[words.index("-m") :]
    for old, new in replacements:
        assert old in words
        words[words.index(old)] = new
    return Service(folder, command=[*words, "--app-dir", str(GATEWAY)])


def start_as_in_readme(folder: Path, *options: str) -> Service:
    return start(
        folder,
        [*command_of_the_readme(), *options],
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:0"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:0"),
    )


def get(url: str, context: Any = None) -> Tuple[int, str, str]:
    """Status, content type and body."""
    opener = build_opener(ProxyHandler({}), *([HTTPSHandler(context=context)] if context else []))
    try:
        with opener.open(url, timeout=PATIENCE) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def http_url(service: Service, path: str) -> str:
    host, port = service.address
    return f"http://{host}:{port}{path}"


def ws_url(service: Service) -> str:
    host, port = service.address
    return f"ws://{host}:{port}/quotes"


def metric(service: Service, name: str, **labels: str) -> float:
    """The sum over all workers on the page of the supervisor."""
    status, page = service.admin("/metrics")
    assert status == 200
    samples = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert samples, name
    return sum(sample.value for sample in samples)


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def open_client(url: str, **options: Any) -> Any:
    """A client that has its first quotes."""
    ws = await connect(url, proxy=None, websocket_handshake_timeout=PATIENCE, **options)
    await ws.send(SUBSCRIBE)
    first = [json.loads(await ws.recv()) for _ in SYMBOLS]
    assert {quote["symbol"] for quote in first} == {*SYMBOLS}
    return ws


async def code_at_the_end(ws: Any) -> int:
    """Read quotes until the server closes; returns the code."""
    try:
        while True:
            assert json.loads(await ws.recv())["symbol"] in SYMBOLS
    except WSConnectionClosed as closed:
        await ws.wait_closed()
        return closed.code


def with_clients(service: Service, count: int, act: Callable[[], Awaitable[Any]]) -> List[int]:
    """Open clients, await ``act()`` while they read, and return the codes of their ends."""

    async def main() -> List[int]:
        clients = [await open_client(ws_url(service)) for _ in range(count)]
        reading = [asyncio.ensure_future(code_at_the_end(ws)) for ws in clients]
        await act()
        return list(await asyncio.gather(*reading))

    return asyncio.run(main())


def test_routes_reload_and_end(tmp_path: Path) -> None:
    with start_as_in_readme(
        tmp_path, "--drain-grace=0.1", "--drain-spread=0.5", "--drain-timeout=40"
    ) as service:
        before = service.wait_ready().wait_for_ready(2)
        check_routes(service)
        check_admin(service)
        check_reload(service, before)
        check_metrics(service)
        check_end(service)
        assert "Traceback" not in service.log
        assert re.search(
            r'picows\.access.*path="/quotes" status=101 cause=local_close', service.log
        )


def check_routes(service: Service) -> None:
    status, content_type, page = get(http_url(service, "/"))
    assert (status, content_type) == (200, "text/html; charset=utf-8")
    assert page == (GATEWAY / "index.html").read_text("utf-8")
    status, content_type, body = get(http_url(service, "/prices"))
    assert (status, content_type) == (200, "application/json")
    assert [*json.loads(body)] == SYMBOLS
    assert get(http_url(service, "/healthz"))[0] == 200
    # The feed may be late on a busy machine.
    eventually_true(lambda: get(http_url(service, "/readyz"))[0] == 200)
    assert get(http_url(service, "/quotes"))[0] == 426
    assert get(http_url(service, "/nothing"))[0] == 404


def check_admin(service: Service) -> None:
    assert service.admin("/healthz")[0] == 200
    assert service.admin("/readyz")[0] == 200
    assert {each["state"] for each in service.workers()} == {"ready"}


def check_reload(service: Service, before: Dict[int, int]) -> None:
    async def reload() -> None:
        service.send(signal.SIGHUP)
        await in_thread(service.wait_log, "all workers have been replaced")

    assert {*with_clients(service, 12, reload)} == {1012}
    service.wait_for_ready(2, without=before.values())


def check_metrics(service: Service) -> None:
    """Those of the workers that were replaced are not lost."""
    eventually_true(lambda: metric(service, "picows_connections") == 0)
    assert metric(service, "picows_connections_opened_total") == 12
    assert metric(service, "picows_connections_closed_total", kind="local_close") == 12
    assert metric(service, "picows_messages_total", direction="received") == 12
    assert metric(service, "picows_messages_total", direction="sent") >= 12 * len(SYMBOLS)
    assert metric(service, "picows_http_responses_total", status="426") == 1
    assert metric(service, "picows_workers", state="ready") == 2
    assert metric(service, "picows_worker_deaths_total") == 0


def check_end(service: Service) -> None:
    async def end() -> None:
        service.send(signal.SIGTERM)

    assert {*with_clients(service, 12, end)} == {1012}
    assert service.wait_status() == 0
    service.wait_gone(service.started)


def test_clients_may_come_during_the_grace(tmp_path: Path) -> None:
    with start_as_in_readme(tmp_path, "--drain-grace=3600", "--drain-timeout=inf") as service:
        service.wait_ready()

        async def end() -> None:
            service.send(signal.SIGTERM)
            ready = http_url(service, "/readyz")
            await in_thread(eventually_true, lambda: get(ready)[0] == 503)
            assert await in_thread(service.admin, "/readyz") == (503, "not ready: workers\n")
            assert (await in_thread(get, http_url(service, "/healthz")))[0] == 200
            late = await open_client(ws_url(service))
            service.send(signal.SIGINT)
            assert await code_at_the_end(late) == 1012

        assert with_clients(service, 2, end) == [1012, 1012]
        assert service.wait_status() == 128 + signal.SIGINT


@pytest.mark.parametrize(
    "request_text", ["", "{}", "[]", '{"subscribe": ["XAUUSD"]}', '{"subscribe": [[]]}']
)
def test_an_unknown_request(request_text: str) -> None:
    gateway = import_gateway()

    async def main() -> None:
        async with ws_create_server("ws://127.0.0.1:0", gateway.routes) as server:
            manager = gateway.lifespan(server)
            async with manager as server.state:
                ws = await open_client(f"{server.url}/quotes")
                await ws.send(request_text)
                assert await code_at_the_end(ws) == 1008
                await eventually(lambda: not any(server.state.subscribers.values()))

    asyncio.run(main())


def import_gateway() -> Any:
    specification = spec_from_file_location("gateway", GATEWAY / "gateway.py")
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_as_in_the_cluster(tmp_path: Path, certificates: Certificates) -> None:
    """With TLS, by the arguments of the image and of the manifest."""
    with start(
        tmp_path,
        [*command_of_the_manifest(), "--drain-grace=0.1", "--drain-spread=0.1"],
        ("--url=wss://0.0.0.0:8443", "--url=wss://127.0.0.1:0"),
        ("--admin-url=http://0.0.0.0:9000", "--admin-url=http://127.0.0.1:0"),
        ("--ssl-cert=/etc/gateway/tls/tls.crt", f"--ssl-cert={certificates.server_chain}"),
        ("--ssl-key=/etc/gateway/tls/tls.key", f"--ssl-key={certificates.server_key}"),
    ) as service:
        host, port = service.wait_ready().address
        context = certificates.client_context()
        url = f"https://{host}:{port}/readyz"
        eventually_true(lambda: get(url, context)[0] == 200)
        assert service.admin("/readyz")[0] == 200

        async def main() -> None:
            ws = await open_client(f"wss://{host}:{port}/quotes", ssl_context=context)
            service.send(signal.SIGTERM)
            assert await code_at_the_end(ws) == 1012

        asyncio.run(main())
        assert service.wait_status() == 0
