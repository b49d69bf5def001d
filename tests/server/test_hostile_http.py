"""Plain HTTP clients that do what they should not, and two that know the rules: h11, curl."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any, List, Sequence, Tuple

import h11
import pytest

from picows_server import WSUpgradeResponse, files, health, page, ready
from tests.support.foreign import environment
from tests.support.judge import ask, judge
from tests.support.rawclient import RawClient
from tests.support.servers import Echo, plain_backends, serving, sockname

TIMEOUT = 20.0
HOST = b"Host: a\r\n"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")


@pytest.fixture
def routes(tmp_path: Path) -> Any:
    (tmp_path / "index.html").write_bytes(b"index")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 4000)
    return {
        "/": page(tmp_path / "index.html"),
        "/static/": files(tmp_path),
        "/ws": Echo,
        "/healthz": health,
        "/readyz": ready,
        "/large": lambda: WSUpgradeResponse.create_ok_response(bytes(3_000_000)),
    }


HOSTILE: Sequence[Tuple[bytes, int]] = [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: \0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    (b"GET /\r\n\r\n", 400),
    (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET \\ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"HEAD * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"HEAD ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    (b"GET /static/%00 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 200 + b"\r\n", 431),
    (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    (b"TRACE / HTTP/1.1\r\n" + HOST + b"Cookie: secret\r\n\r\n", 405),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"DELETE /static/large HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n\r\n", 400),
]


@plain_backends
@pytest.mark.parametrize(("data", "status"), HOSTILE)
async def test_hostile_requests(backend: str, routes: Any, data: bytes, status: int) -> None:
    """Each gets one response that h11 takes, and the connection ends."""
    starting = serving(routes, backend=backend)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(data)
        received = await asyncio.wait_for(client.reader.read(-1), TIMEOUT)
    connection = h11.Connection(h11.CLIENT)
    method = "HEAD" if data.startswith(b"HEAD ") else "GET"
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    response = judge(connection, received)
    assert response.status == status
    assert b"secret" not in received
    if status == 405:
        assert "GET" in response.headers["allow"]


@plain_backends
async def test_pipelined_requests_get_one_response(backend: str, routes: Any) -> None:
    starting = serving(routes, backend=backend)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write((b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") * 50)
        received = await asyncio.wait_for(client.reader.read(-1), TIMEOUT)
    assert received.count(b"HTTP/1.1 200 OK") == 1


async def test_a_request_that_does_not_end(routes: Any) -> None:
    starting = serving(routes, websocket_handshake_timeout=0.1)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"GET / HTTP/1.1\r\n")
        received = await asyncio.wait_for(client.reader.read(-1), TIMEOUT)
    assert received.startswith(b"HTTP/1.1 408 ")


async def test_many_at_once(routes: Any) -> None:
    """As ab sends them: hundreds of requests, some dozens at a time, some of which go away."""
    async with serving(routes) as server:
        name = sockname(server)
        paths = ("/", "/healthz", "/readyz", "/static/large", "/static/index.html", "/nothing")

        async def visit(number: int) -> int:
            if number % 7 == 0:
                async with await RawClient.connect(name) as client:
                    client.writer.write(b"GET /static/large HTTP/1.1\r\n" + HOST + b"\r\n")
                    client.reset()
                return 200
            return (await ask(name, paths[number % len(paths)])).status

        async def visit_some(start: int) -> List[int]:
            return [await visit(number) for number in range(start, 600, 30)]

        found = await asyncio.gather(*map(visit_some, range(30)))
        statuses = [status for some in found for status in some]
        assert set(statuses) == {200, 404}
        while server.connections:
            await asyncio.sleep(0.001)
        assert server.pending_handshakes == 0


async def curl(*arguments: str) -> Tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        "curl",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        *arguments,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output


@needs_curl
@plain_backends
async def test_curl(backend: str, routes: Any, tmp_path: Path) -> None:
    large = bytes(range(256)) * 4000
    async with serving(routes, backend=backend) as server:
        url = server.url.replace("ws://", "http://")
        status = ("--output", str(tmp_path / "out"), "--write-out", "%{http_code}")
        assert await curl(f"{url}/static/large") == (0, large)
        assert await curl("--http1.0", f"{url}/static/large") == (0, large)
        assert await curl("--head", *status, f"{url}/static/large") == (0, b"200")
        assert await curl("--request", "OPTIONS", *status, f"{url}/ws") == (0, b"204")
        assert await curl("--data", "a=b", *status, f"{url}/healthz") == (0, b"400")
        assert await curl("--request", "DELETE", *status, f"{url}/healthz") == (0, b"405")
        assert await curl("--path-as-is", *status, f"{url}/static/../index.html") == (0, b"404")
        assert await curl(*status, f"{url}/ws") == (0, b"426")
        tags = str(tmp_path / "tag")
        assert await curl("--etag-save", tags, f"{url}/") == (0, b"index")
        assert await curl("--etag-compare", tags, *status, f"{url}/") == (0, b"304")
        slow = ("--limit-rate", "20M", "--output", "/dev/null", "--write-out", "%{size_download}")
        assert await curl(*slow, f"{url}/large") == (0, b"3000000")


@needs_curl
async def test_curl_speaks_the_proxy_protocol(routes: Any) -> None:
    options: Any = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}
    async with serving(routes, **options) as server:
        url = server.url.replace("ws://", "http://")
        assert await curl("--haproxy-protocol", f"{url}/healthz") == (0, b"ok\n")
