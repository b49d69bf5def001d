"""A process that opens no file and imports no module any more: out of descriptors, or chrooted.

``python -m tests.support.sealed server KIND BACKEND [CHAIN KEY]`` serves, sealed, until its input
ends; the tests talk to it. ``... names`` does so with a TLS context for a name, ``... handlers``
with coroutines, ``... routes`` with paths, behind a proxy.
``... client KIND BACKEND [AUTHORITY CHAIN KEY]`` connects in each way, seals itself and does all of
it again. The last line of output is what was tried, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import Any, List

# Events of sys.audit that stand for an import or a file; the value is which argument to report.
_FORBIDDEN = frozenset(("import", "open", "os.listdir", "os.scandir", "ctypes.dlopen"))


_logger = logging.getLogger("sealed")


class Seal:
    """Refuses every import and file once it is closed, and remembers them."""

    def __init__(self) -> None:
        self.is_closed = False
        self.broken: List[str] = []
        sys.addaudithook(self._look)

    def close(self, *, keep_root: bool = False) -> None:
        """From now on nothing is opened; the file system is gone, too, where root runs the test.

        The working directory becomes the root: it should be empty.
        """
        self.is_closed = True
        if not keep_root and hasattr(os, "chroot") and os.geteuid() == 0:
            os.chroot(".")

    def _look(self, event: str, arguments: Any) -> None:
        if not self.is_closed or event not in _FORBIDDEN:
            return
        what = str(arguments[0])
        # A traceback in the log reads source files, but does not need them. From Python 3.13 on it
        # also parses a line, under this name.
        if event == "open" and what.endswith((".py", ".pyx", "<unknown>")):
            raise OSError(24, "sealed", what)
        self.broken.append(f"{event} {what}")
        _logger.error("%s %s", event, what)
        if event == "import":
            raise ImportError(f"sealed: {what}")
        raise OSError(24, "sealed", what)


def main(role: str, kind: str, *arguments: str) -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    seal = Seal()
    if kind == "uvloop":
        import uvloop  # noqa: PLC0415  pytest, which new_loop() needs, would import too much

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    roles = {
        "server": _serve,
        "names": _serve_names,
        "handlers": _serve_by_coroutines,
        "routes": _serve_routes,
        "client": _connect,
    }
    loop.run_until_complete(roles[role](seal, *arguments))
    seal.is_closed = False
    _print(json.dumps(seal.broken))


def _print(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _serve(seal: Seal, backend: str, *files: str) -> None:
    from picows_server import create_ssl_context  # noqa: PLC0415

    await _serve_with(seal, backend, create_ssl_context(*files) if files else None)


async def _serve_names(seal: Seal, backend: str, *files: str) -> None:
    from picows_server import create_ssl_context  # noqa: PLC0415

    await _serve_with(seal, backend, {"localhost": create_ssl_context(*files)})


async def _serve_with(seal: Seal, backend: str, ssl_context: Any) -> None:
    from picows_server import ws_create_server  # noqa: PLC0415

    server = await ws_create_server(
        "ws://127.0.0.1:0/" if ssl_context is None else "wss://127.0.0.1:0/",
        _make_route(),
        ssl_context=ssl_context,
        backend=backend,
        enable_auto_ping=True,
        auto_ping_idle_timeout=0.3,
        auto_ping_reply_timeout=0.3,
        websocket_handshake_timeout=1.0,
        close_timeout=1.0,
        max_connections=50,
    )
    await _serve_until_input_ends(seal, server)


async def _serve_by_coroutines(seal: Seal, backend: str) -> None:
    from picows_server import (  # noqa: PLC0415
        WSConnection,
        WSUpgradeRequest,
        WSUpgradeResponse,
        serve,
    )

    async def handler(connection: WSConnection) -> None:
        async for message in connection:
            if message == "raise":
                raise LookupError("as asked for")
            if message == "fragments":
                await connection.send(["one", "two"])
            elif message == "ping":
                await connection.send(str(await connection.ping() > 0))
            else:
                await connection.send(message)

    async def process_request(request: WSUpgradeRequest) -> Any:
        if request.path == "/raise":
            raise LookupError("as asked for")
        if request.path == "/none":
            return WSUpgradeResponse.create_error_response(404)
        await asyncio.sleep(0)
        return None

    server = await serve(
        handler,
        "ws://127.0.0.1:0/",
        process_request=process_request,
        backend=backend,
        close_timeout=1.0,
    )
    await _serve_until_input_ends(seal, server)


async def _serve_routes(seal: Seal, backend: str) -> None:
    from picows_server import (  # noqa: PLC0415
        WSListener,
        files,
        health,
        page,
        ready,
        ws_create_server,
    )

    async def check() -> bool:
        await asyncio.sleep(0)
        return True

    Path("page.html").write_bytes(b"page")  # noqa: ASYNC240 - nothing else runs yet
    server = await ws_create_server(
        "ws://127.0.0.1:0/",
        {
            "/ws": WSListener,
            "/": page("page.html"),
            "/static/": files("."),
            "/healthz": health,
            "/readyz": ready,
        },
        backend=backend,
        close_timeout=1.0,
        proxy_protocol=True,
        forwarded_header="X-Forwarded-For",
        trusted_proxies=["127.0.0.1"],
    )
    server.ready_checks["check"] = check
    await _serve_until_input_ends(seal, server)


async def _serve_until_input_ends(seal: Seal, server: Any) -> None:
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    loop.add_reader(sys.stdin, lambda: finished.done() or finished.set_result(None))
    seal.close()
    _print(server.sockets[0].getsockname()[1])
    await finished
    server.close()
    await server.wait_closed()


def _make_route() -> Any:
    from picows_server import (  # noqa: PLC0415  only the package of the role
        WSFrame,
        WSListener,
        WSTransport,
        WSUpgradeRequest,
        WSUpgradeResponse,
        WSUpgradeResponseWithListener,
    )

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            payload = frame.get_payload_as_bytes()
            if payload == b"raise":
                raise LookupError("as asked for")
            if payload == b"break a rule":
                transport.underlying_transport.write(b"\x83\x00")
            elif frame.opcode < 8:
                transport.send(frame.opcode, frame)

    def with_headers() -> Any:
        response = WSUpgradeResponse.create_101_response({"X-Id": "1"}, "chat")
        return WSUpgradeResponseWithListener(response, Echo())

    answers = {
        "/page": lambda: WSUpgradeResponse.create_ok_response("fine"),
        "/none": lambda: None,
        "/wrong": lambda: "no listener",
        "/headers": with_headers,
        "/": Echo,
    }

    def route(request: WSUpgradeRequest) -> Any:
        assert request.headers["Host"]
        return answers[request.path]()  # a KeyError for any other

    return route


async def _connect(seal: Seal, backend: str, *files: str) -> None:
    """Connect in each way to a server of this process; then the same again, sealed."""
    from picows_server import create_ssl_context, ws_create_server  # noqa: PLC0415

    authority, *pair = files or [None]
    server = await ws_create_server(
        "wss://127.0.0.1:0/" if pair else "ws://127.0.0.1:0/",
        _make_route(),
        ssl_context=create_ssl_context(*pair) if pair else None,
        enable_auto_pong=False,
        close_timeout=1.0,
    )
    contexts = [ssl.create_default_context(cafile=authority), ssl.create_default_context()]
    await _connect_in_each_way(server.url, backend, contexts)
    seal.close(keep_root=True)  # names are looked up, which needs /etc
    await _connect_in_each_way(server.url, backend, contexts)
    server.close()
    await server.wait_closed()


async def _connect_in_each_way(url: str, backend: str, contexts: List[ssl.SSLContext]) -> None:
    from picows_client import WSError, WSFrame, WSListener, WSTransport, ws_connect  # noqa: PLC0415

    class Client(WSListener):
        def __init__(self, first: bytes) -> None:
            self._first = first

        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(1, self._first)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.get_payload_as_bytes() == b"fail here":
                raise LookupError("as asked for")
            transport.disconnect()

    firsts = (b"hello", b"raise", b"break a rule", b"fail here")
    cases = [(url + "/", first, contexts[0]) for first in firsts]
    cases.append((url.replace("127.0.0.1", "localhost") + "/", b"hello", contexts[0]))
    cases += [(url + path, b"hello", contexts[0]) for path in ("/none", "/page", "/error")]
    cases.append((url + "/", b"hello", contexts[1]))
    for target, first, context in cases:
        try:
            transport, _ = await ws_connect(
                target,
                lambda first=first: Client(first),
                ssl_context=context if url.startswith("wss:") else None,
                backend=backend,
            )
        except (WSError, OSError) as error:
            _logger.info("not connected: %s", error)
        else:
            await transport.wait_disconnected()
            _logger.info("disconnected: %r", transport.disconnect_cause)
    # Nobody answers this ping.
    transport, _ = await ws_connect(
        url,
        WSListener,
        ssl_context=contexts[0] if url.startswith("wss:") else None,
        backend=backend,
        enable_auto_ping=True,
        auto_ping_idle_timeout=0.1,
        auto_ping_reply_timeout=0.1,
        close_timeout=0.1,
    )
    await transport.wait_disconnected()
    _logger.info("disconnected: %r", transport.disconnect_cause)


if __name__ == "__main__":
    main(*sys.argv[1:])
