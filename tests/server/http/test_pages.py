"""picows_server.http.pages: one file, kept in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from picows_server import WSInvalidOptionError, WSUpgradeRequest, page
from tests.support.judge import ask
from tests.support.rawclient import RawClient
from tests.support.servers import plain_backends, serving, sockname


@pytest.fixture
def index(tmp_path: Path) -> Path:
    file = tmp_path / "index.html"
    file.write_text("<p>żółw", encoding="utf-8")
    return file


async def test_a_page(index: Path) -> None:
    async with serving({"/": page(index), "/other": page(str(index))}) as server:
        name = sockname(server)
        response = await ask(name)
        assert response.status == 200
        assert response.body.decode() == "<p>żółw"
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert (await ask(name, "/?a=b")).body == response.body
        assert (await ask(name, "/other")).body == response.body
        assert (await ask(name, "/nowhere")).status == 404
        head = await ask(name, method="HEAD")
        assert (head.headers_without_date, head.body) == (response.headers_without_date, b"")


async def test_a_path_beyond_ascii(index: Path) -> None:
    async with serving({"/é/": page(index), "/%C3%A8/": page(index)}) as server:
        for path in ("/%C3%A9/", "/%c3%a8/"):
            assert (await ask(sockname(server), path)).status == 200
            assert (await ask(sockname(server), f"{path}x")).status == 404


async def test_validators(index: Path) -> None:
    async with serving({"/": page(index)}) as server:
        name = sockname(server)
        tag = (await ask(name)).tag
        unchanged = await ask(name, headers=[("If-None-Match", tag)])
        assert (unchanged.status, unchanged.body, unchanged.tag) == (304, b"", tag)
        assert "content-length" not in unchanged.headers
        assert (await ask(name, headers=[("If-None-Match", '"other"')])).status == 200


async def test_it_is_read_once(index: Path) -> None:
    routes = {"/": page(index)}
    os.unlink(index)
    async with serving(routes) as server:
        assert (await ask(sockname(server))).status == 200


async def test_headers(index: Path) -> None:
    made = page(index, content_type="text/plain", extra_headers={"Cache-Control": "max-age=60"})
    async with serving({"/": made}) as server:
        headers = (await ask(sockname(server))).headers
    assert headers["content-type"] == "text/plain"
    assert headers["cache-control"] == "max-age=60"


async def test_a_validator_of_the_users_own(index: Path) -> None:
    made = page(index, extra_headers={"etag": 'W/"v7"'})
    async with serving({"/": made}) as server:
        name = sockname(server)
        assert (await ask(name)).tag == 'W/"v7"'
        assert (await ask(name, headers=[("If-None-Match", '"v7"')])).status == 304
        assert (await ask(name, headers=[("If-None-Match", '"v8"')])).status == 200


async def test_a_handler_around_it(index: Path) -> None:
    """It decides for which paths, also for some with a trailing slash."""
    made = page(index)

    async def handler(request: WSUpgradeRequest) -> Any:
        return made(request)

    async with serving({"/a": handler, "/b/": handler}) as server:
        for path in ("/a", "/b/", "/b/c/"):
            assert (await ask(sockname(server), path)).status == 200
    async with serving(made) as server:
        assert (await ask(sockname(server), "/x/")).status == 200


@plain_backends
async def test_a_large_page(backend: str, tmp_path: Path) -> None:
    """It is sent like a large file, so slow clients do not keep others out."""
    content = os.urandom(5_000_000)
    (tmp_path / "large").write_bytes(content)
    starting = serving({"/": page(tmp_path / "large")}, backend=backend, max_pending_handshakes=1)
    async with starting as server:
        name = sockname(server)
        async with await RawClient.connect(name) as client:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.reader.readuntil(b"\r\n\r\n")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            assert (server.connections, server.pending_handshakes) == (1, 0)
            response = await ask(name)
            assert response.body == content
            head = await ask(name, method="HEAD")
            assert (head.headers_without_date, head.body) == (response.headers_without_date, b"")
            unchanged = await ask(name, headers=[("If-None-Match", response.tag)])
            assert unchanged.status == 304


def test_what_cannot_be_served(tmp_path: Path, index: Path) -> None:
    with pytest.raises(FileNotFoundError):
        page(tmp_path / "nothing.html")
    with pytest.raises(WSInvalidOptionError):
        page(index, extra_headers={"X": "a\nb"})
    assert repr(page(index)) == f"page({str(index)!r})"
