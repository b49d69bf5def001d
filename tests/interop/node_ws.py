"""Clients and servers of npm's ws: one Node.js process for all tests (node/peer.cjs)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any, AsyncIterator, Coroutine, Dict, List, Optional, Tuple, Union

from tests.interop.conftest import Setting
from tests.interop.peers import find_ws
from tests.interop.their_clients import MAX_SIZE, SUBPROTOCOLS, Closed, Refused, TheirClient
from tests.interop.their_servers import TheirServer
from tests.support.foreign import environment

__all__ = ["WsClient", "connect_ws", "serve_ws", "stop_node"]

PROGRAM = Path(__file__).with_name("node") / "peer.cjs"
LINE_LIMIT = 2 * MAX_SIZE  # bytes of a command or of its answer

Message = Union[str, bytes]


class _Node:
    """The process, from its first use on."""

    process: Optional[subprocess.Popen[str]] = None
    port = 0

    @classmethod
    def start(cls) -> int:
        """Return the port on which it takes commands; skips the test without ws."""
        if cls.process is None:
            node, modules = find_ws()
            cls.process = subprocess.Popen(
                [node, str(PROGRAM)],
                env=environment(NODE_PATH=str(modules)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
            assert cls.process.stdout is not None
            cls.port = int(cls.process.stdout.readline())
        return cls.port


def stop_node() -> None:
    """End the process if there is one: it ends with its standard input."""
    process, _Node.process = _Node.process, None
    if process is not None:
        process.communicate(timeout=30)


class _Session:
    """What a test opens in the process; it ends with the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._asked: Dict[int, asyncio.Future[Dict[str, Any]]] = {}
        self._number = 0

    async def ask(self, do: str, **argument: Any) -> Dict[str, Any]:
        self._number += 1
        answered = self._asked[self._number] = asyncio.get_running_loop().create_future()
        command = {"id": self._number, "do": do, **argument}
        self._writer.write(json.dumps(command).encode() + b"\n")
        await self._writer.drain()
        answer = await answered
        assert "error" not in answer, answer["error"]
        return answer

    async def read(self) -> None:
        """Hand out answers."""
        while True:
            line = await self._reader.readline()
            if not line:
                for waiting in self._asked.values():
                    waiting.cancel()
                break
            answer = json.loads(line)
            waiting = self._asked.pop(answer["id"])
            if not waiting.done():
                waiting.set_result(answer)


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something endless beside the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def _open_session() -> AsyncIterator[_Session]:
    reader, writer = await asyncio.open_connection("127.0.0.1", _Node.start(), limit=LINE_LIMIT)
    session = _Session(reader, writer)
    try:
        async with _running(session.read()):
            yield session
    finally:
        writer.close()
        await writer.wait_closed()


def _pack(message: Message) -> Dict[str, str]:
    if isinstance(message, str):
        return {"text": message}
    return {"binary": base64.b64encode(message).decode()}


def _unpack(answer: Dict[str, Any]) -> Union[Message, Closed]:
    if "close" in answer:
        return Closed(*answer["close"])
    if "text" in answer:
        text: str = answer["text"]
        return text
    return base64.b64decode(answer["binary"])


class WsClient(TheirClient):
    """A connection of ws as a client."""

    def __init__(self, session: _Session, opened: Dict[str, Any]) -> None:
        self._session = session
        self._opened = opened

    async def send(self, message: Message, **options: Any) -> None:
        await self._session.ask("send", message=_pack(message), options=options)

    async def send_fragments(self, fragments: List[Message]) -> None:
        await self._session.ask("send_fragments", messages=[_pack(each) for each in fragments])

    async def receive(self) -> Union[Message, Closed]:
        return _unpack(await self._session.ask("receive"))

    async def ping(self) -> None:
        await self._session.ask("ping")

    async def close(self, code: int, reason: str) -> None:
        await self._session.ask("close", code=code, reason=reason)

    @property
    def subprotocol(self) -> Optional[str]:
        protocol: Optional[str] = self._opened["protocol"]
        return protocol

    def header(self, name: str) -> Optional[str]:
        header: Optional[str] = self._opened["headers"].get(name.lower())
        return header


@contextlib.asynccontextmanager
async def connect_ws(
    url: str, context: Optional[ssl.SSLContext], **options: Any
) -> AsyncIterator[WsClient]:
    """``options`` are those of ws, which offers permessage-deflate by default."""
    authority = None
    if context is not None:
        authority = [ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(True)]
    async with _open_session() as session:
        opened = await session.ask(
            "connect",
            url=url,
            protocols=SUBPROTOCOLS,
            authority=authority,
            options={"maxPayload": MAX_SIZE, **options},
        )
        if "status" in opened:
            raise Refused(opened["status"])
        yield WsClient(session, opened)


@contextlib.asynccontextmanager
async def serve_ws(setting: Setting, **options: Any) -> AsyncIterator[TheirServer]:
    """``options`` are those of ws, which accepts no permessage-deflate by default."""
    tls = None
    if setting.server_context is not None:
        tls = {
            "cert": setting.certificates.server_chain.read_text(),
            "key": setting.certificates.server_key.read_text(),
        }
    closes: List[Tuple[Optional[int], str]] = []

    async def collect(session: _Session) -> None:
        while True:
            code, reason = (await session.ask("next_close"))["close"]
            closes.append((code, reason))

    async with _open_session() as session:
        answer = await session.ask("listen", tls=tls, options={"maxPayload": MAX_SIZE, **options})
        async with _running(collect(session)):
            yield TheirServer(f"{setting.scheme}://127.0.0.1:{answer['port']}", closes)
