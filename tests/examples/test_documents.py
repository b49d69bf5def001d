"""The programs in README.md and docs/ are what they claim to be."""

from __future__ import annotations

import ast
import importlib
import re
import socket
import sys
from pathlib import Path
from typing import Dict, List

import pytest

from tests.examples.conftest import ROOT, Examples

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "*/README.md", "*/*/README.md")
    for path in ROOT.glob(pattern)
)

# The quick starts of older programs, which must run as they are here.
CLIENT = """\
class ClientListener(WSListener):
    def on_ws_connected(self, transport: WSTransport):
        transport.send(WSMsgType.TEXT, b"Hello world")
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame):
        print(f"Echo reply: {frame.get_payload_as_ascii_text()}")
        transport.disconnect()

async def main(endpoint):
    (_, client) = await ws_connect(endpoint, ClientListener, "client")
    await client._transport.wait_until_closed()
"""

SERVER = """\
class ServerClientListener(WSListener):
    def on_ws_connected(self, transport: WSTransport):
        print("New client connected")
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame):
        transport.send(frame.opcode, frame.get_payload_as_bytes())
        if frame.opcode == WSMsgType.CLOSE:
            transport.disconnect()

async def main():
    url = "ws://127.0.0.1:9001"
    server = await ws_create_server(url, ServerClientListener, "server")
    print(f"Server started on {url}")
    await server.serve_forever()
"""

NAMES = "WSFrame, WSListener, WSMsgType, WSTransport"
OLDER_CLIENT = (
    f"import asyncio\nfrom picows_client import {NAMES}, ws_connect\n\n{CLIENT}\n"
    'asyncio.run(main("ws://127.0.0.1:9001"))\n'
)
OLDER_SERVER = (
    f"import asyncio\nfrom picows_server import {NAMES}, ws_create_server\n\n{SERVER}\n"
    "asyncio.run(main())\n"
)

needs_sigint = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")

# The other side of a program that is interrupted: it says when it is connected, and which close
# code it was sent.
SILENT = """
class Silent(WSListener):
    def on_ws_connected(self, transport):
        print("connected", flush=True)

    def on_ws_disconnected(self, transport):
        print(f"code {transport.close_handshake.recv.code:d}", flush=True)
"""
SILENT_SERVER = f"""
import asyncio, sys
from picows_server import WSListener, ws_create_server
{SILENT}
async def main():
    async with ws_create_server(sys.argv[1], Silent) as server:
        print("serving", flush=True)
        await server.serve_forever()
asyncio.run(main())
"""
SILENT_CLIENT = f"""
import asyncio, sys
from picows_client import WSListener, ws_connect
{SILENT}
async def main():
    async with ws_connect(sys.argv[1], Silent) as (transport, _):
        await transport.wait_disconnected()
asyncio.run(main())
"""


def blocks(document: Path) -> List[str]:
    """The Python programs and fragments of a document."""
    text = document.read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def programs_at_9001(document: Path) -> List[str]:
    """The programs that are one half of a pair, which meet at this port."""
    return [
        block
        for block in blocks(document)
        if "asyncio.run(main(" in block and "ws://127.0.0.1:9001" in block
    ]


def quick_starts() -> Dict[str, List[str]]:
    """Client and server, as the documents have them."""
    found: Dict[str, List[str]] = {"client": [], "server": []}
    for document in DOCUMENTS:
        for block in programs_at_9001(document):
            if "class ClientListener" in block:
                found["client"].append(block)
            elif "class ServerClientListener" in block:
                found["server"].append(block)
    return found


def coroutine_starts() -> Dict[str, List[str]]:
    """Client and server with coroutines."""
    programs = [block for document in DOCUMENTS for block in programs_at_9001(document)]
    return {
        "client": [block for block in programs if "picows_client import connect\n" in block],
        "server": [block for block in programs if "picows_server import serve\n" in block],
    }


PROGRAMS = quick_starts()
COROUTINES = coroutine_starts()


def same_program(one: str, other: str) -> bool:
    return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number: int = sock.getsockname()[1]
        return number


def test_architecture_has_every_room_of_the_codec() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    sources = (ROOT / "packages" / "picows-codec" / "src" / "picows_codec").iterdir()
    rooms = {path.name.partition(".")[0] for path in sources if path.suffix in {".py", ".pyx"}}
    missing = {name for name in rooms if f"`{name}`" not in table}
    assert missing == {"__init__", "_version"}


def test_quick_starts_are_shown() -> None:
    shown = {path.relative_to(ROOT).as_posix(): "".join(blocks(path)) for path in DOCUMENTS}
    assert "class ClientListener(WSListener)" in shown["docs/start/client.md"]
    assert "class ServerClientListener(WSListener)" in shown["docs/start/server.md"]
    assert {kind: len(programs) for kind, programs in PROGRAMS.items()} == {
        "client": 3,
        "server": 2,
    }
    for programs in (*PROGRAMS.values(), *COROUTINES.values()):
        for program in programs:
            assert same_program(program, programs[0])
            assert "._transport" not in program
    assert "def echo(ws)" in shown["docs/start/server.md"]
    assert {kind: len(found) for kind, found in COROUTINES.items()} == {"client": 3, "server": 2}


def write_program(directory: Path, name: str, program: str, port: int, loop_kind: str) -> Path:
    """Write a program of a document, for this port and this kind of loop."""
    if loop_kind == "uvloop":
        assert "\nimport asyncio\n" in f"\n{program}"
        program = "import uvloop\n" + program.replace("asyncio.run(", "uvloop.run(")
    path = directory / f"{name}.py"
    path.write_text(program.replace("127.0.0.1:9001", f"127.0.0.1:{port}"), "utf-8")
    return path


@pytest.mark.parametrize("kind", ["shown", "older"])
def test_quick_start(
    examples: Examples, tmp_path: Path, port: int, kind: str, loop_kind: str
) -> None:
    url = f"ws://127.0.0.1:{port}"
    programs = [PROGRAMS["client"][0], PROGRAMS["server"][0]]
    if kind == "older":
        programs = [OLDER_CLIENT, OLDER_SERVER]
    client_path, server_path = (
        write_program(tmp_path, name, program, port, loop_kind)
        for name, program in zip(("quick_client", "quick_server"), programs)
    )
    with examples.start(server_path) as server:
        assert server.read_line() == f"Server started on {url}"
        for _ in range(2):
            with examples.start(client_path) as client:
                assert client.finish() == ["Echo reply: Hello world"]
            assert server.read_line() == "New client connected"


@needs_sigint
def test_coroutine_quick_start(
    examples: Examples, tmp_path: Path, port: int, loop_kind: str
) -> None:
    """They understand each other; Ctrl-C of the server is the end of a client in the middle."""
    url = f"ws://127.0.0.1:{port}"
    client_path, server_path = (
        write_program(tmp_path, name, COROUTINES[side][0], port, loop_kind)
        for name, side in (("coroutine_client", "client"), ("coroutine_server", "server"))
    )
    silent_path = tmp_path / "silent_client.py"
    silent_path.write_text(SILENT_CLIENT, "utf-8")
    with examples.start(server_path) as server:
        assert server.read_line() == f"Server started on {url}"
        for _ in range(2):
            with examples.start(client_path) as client:
                assert client.finish() == ["Echo reply: Hello world"]
        with examples.start(silent_path, url) as client:
            assert client.read_line() == "connected"
            server.interrupt()
            assert server.finish() == []
            assert client.finish() == ["code 1001"]


def with_farewell(program: str) -> str:
    """Let the listener of a program say that it was told of the end."""
    farewell = "    def on_ws_disconnected(self, transport):\n        print('told of the end')\n\n"
    assert program.count("    def on_ws_connected") == 1
    return program.replace("    def on_ws_connected", f"{farewell}    def on_ws_connected")


@needs_sigint
def test_interrupted_client(examples: Examples, tmp_path: Path, port: int, loop_kind: str) -> None:
    """Ctrl-C: the server gets a CLOSE frame, the listener is told, nothing goes to stderr."""
    waiting = "        await transport.wait_disconnected()"
    program = with_farewell(PROGRAMS["client"][0])
    assert program.count(waiting) == 1
    program = program.replace(waiting, f"        print('open')\n{waiting}")
    path = write_program(tmp_path, "quick_client", program, port, loop_kind)
    server_path = tmp_path / "silent_server.py"
    server_path.write_text(SILENT_SERVER, "utf-8")
    with examples.start(server_path, f"ws://127.0.0.1:{port}") as server:
        assert server.read_line() == "serving"
        with examples.start(path) as client:
            assert client.read_line() == "open"
            client.interrupt()
            assert client.finish() == ["told of the end"]
        assert server.read_line() == "connected"
        assert server.read_line() == "code 1000"


@needs_sigint
def test_interrupted_server(examples: Examples, tmp_path: Path, port: int, loop_kind: str) -> None:
    """Ctrl-C: every client gets 1001, listeners are told, nothing goes to stderr."""
    program = with_farewell(PROGRAMS["server"][0])
    path = write_program(tmp_path, "quick_server", program, port, loop_kind)
    client_path = tmp_path / "silent_client.py"
    client_path.write_text(SILENT_CLIENT, "utf-8")
    with examples.start(path) as server:
        assert server.read_line() == f"Server started on ws://127.0.0.1:{port}"
        with examples.start(client_path, f"ws://127.0.0.1:{port}") as client:
            assert client.read_line() == "connected"
            assert server.read_line() == "New client connected"
            server.interrupt()
            assert server.finish() == ["told of the end"]
            assert client.finish() == ["code 1001"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_blocks_are_python(document: Path) -> None:
    """They compile, and what they import exists."""
    for block in blocks(document):
        tree = ast.parse(block)
        compile(tree, str(document), "exec")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("picows_"):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


def test_embedding_runs() -> None:
    """Its programs build on one another."""
    namespace: Dict[str, object] = {"__name__": "embedding"}
    for block in blocks(ROOT / "docs" / "embedding.md"):
        exec(compile(block, "embedding.md", "exec"), namespace)


@pytest.mark.parametrize("name", ["testing.md", "recording.md"])
def test_testing_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their programs build on one another, too; what they record goes into a file."""
    monkeypatch.chdir(tmp_path)
    namespace: Dict[str, object] = {"__name__": name}
    for block in blocks(ROOT / "docs" / name):
        exec(compile(block, name, "exec"), namespace)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    headings = {_anchor(line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        if not path:
            assert anchor in headings, anchor
        elif not re.match(r"[a-z]+:", path):
            assert (document.parent / path).exists(), path


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
