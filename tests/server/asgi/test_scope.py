"""picows_server.asgi.scope: what an application is told of a connection."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from picows_codec import WSTransport
from tests.support.asgi import accept, fronts, served
from tests.support.rawclient import RawClient


@fronts
@pytest.mark.parametrize("root_path", ["", "/root"])
async def test_every_key(front: str, root_path: str) -> None:
    scopes = []

    async def app(scope: Dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)
        await accept(receive, send)
        await receive()

    async with served(front, app, root_path=root_path) as server:
        client = await RawClient.open(
            server.sockname,
            "/h%C3%B6he%2Fx?a=b%20c",
            [("X-Twice", "1"), ("x-twice", "2"), ("Sec-WebSocket-Protocol", "one, two")],
        )
        async with client:
            name = client.writer.get_extra_info("sockname")
    (scope,) = scopes
    headers = scope.pop("headers")
    assert isinstance(scope.pop("picows.transport"), WSTransport)
    assert headers[:2] == [(b"host", b"localhost"), (b"upgrade", b"websocket")]
    assert [value for key, value in headers if key == b"x-twice"] == [b"1", b"2"]
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": f"{root_path}/höhe/x",
        "raw_path": root_path.encode() + b"/h%C3%B6he%2Fx",
        "query_string": b"a=b%20c",
        "root_path": root_path,
        "client": name,
        "server": server.sockname,
        "subprotocols": ["one", "two"],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }


@fronts
async def test_bytes_of_headers_are_kept(front: str) -> None:
    scopes = []

    async def app(scope: Dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)
        await accept(receive, send, headers=[(b"x-back", b"\xe4\xff")])
        await receive()

    async with served(front, app) as server, await RawClient.connect(server.sockname) as client:
        client.writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlIGtleQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"X-Name: \xc3\xa4\xff\r\n\r\n"
        )
        head = await client.reader.readuntil(b"\r\n\r\n")
    assert (b"x-name", b"\xc3\xa4\xff") in scopes[0]["headers"]
    assert b"x-back: \xe4\xff\r\n" in head


@fronts
async def test_the_state_is_a_shallow_copy(front: str) -> None:
    if front == "uvicorn":
        pytest.importorskip("uvicorn", "0.22")
    states = []

    async def app(scope: Dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"].update(number=1, shared=[])
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})
            return
        states.append({**scope["state"], "shared": list(scope["state"]["shared"])})
        scope["state"]["number"] = 2
        scope["state"]["shared"].append("x")
        await accept(receive, send)
        await receive()

    async with served(front, app, lifespan="on") as server:
        for _ in range(2):
            client = await RawClient.open(server.sockname)
            await client.close()
    assert states == [{"number": 1, "shared": []}, {"number": 1, "shared": ["x"]}]
