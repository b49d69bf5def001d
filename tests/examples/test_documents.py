"""The programs in README.md and docs/ are what they claim to be."""

from __future__ import annotations

import ast
import importlib
import re
import socket
from pathlib import Path
from typing import Dict, List

import pytest

from picows_codec import WSOptions
from tests.examples.conftest import ROOT, Examples

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "*/README.md", "packages/*/README.md")
    for path in ROOT.glob(pattern)
)

# The two quick starts, which must run as they are here, with only the import lines adapted.
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
CLIENT_PROGRAM = (
    f"import asyncio\nfrom picows_client import {NAMES}, ws_connect\n\n{CLIENT}\n"
    'asyncio.run(main("ws://127.0.0.1:9001"))\n'
)
SERVER_PROGRAM = (
    f"import asyncio\nfrom picows_server import {NAMES}, ws_create_server\n\n{SERVER}\n"
    "asyncio.run(main())\n"
)


def blocks(document: Path) -> List[str]:
    """The Python programs and fragments of a document."""
    text = document.read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def quick_starts() -> Dict[str, List[str]]:
    """Client and server, as here and as the documents have them."""
    found = {"client": [CLIENT_PROGRAM], "server": [SERVER_PROGRAM]}
    for document in DOCUMENTS:
        for block in blocks(document):
            if "asyncio.run(main(" in block and "class ClientListener" in block:
                found["client"].append(block)
            elif "asyncio.run(main(" in block and "class ServerClientListener" in block:
                found["server"].append(block)
    return found


PROGRAMS = quick_starts()


def same_program(one: str, other: str) -> bool:
    return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number: int = sock.getsockname()[1]
        return number


def test_quick_starts_are_shown() -> None:
    shown = {path.relative_to(ROOT).as_posix(): "".join(blocks(path)) for path in DOCUMENTS}
    assert "class ClientListener(WSListener)" in shown["README.md"]
    assert "class ServerClientListener(WSListener)" in shown["README.md"]
    for program in PROGRAMS["client"]:
        assert same_program(program, CLIENT_PROGRAM)
    for program in PROGRAMS["server"]:
        assert same_program(program, SERVER_PROGRAM)


def test_quick_start(examples: Examples, tmp_path: Path, port: int) -> None:
    url = f"ws://127.0.0.1:{port}"
    for name, program in (("client", CLIENT_PROGRAM), ("server", SERVER_PROGRAM)):
        path = tmp_path / f"quick_start_{name}.py"
        path.write_text(program.replace("ws://127.0.0.1:9001", url), "utf-8")
    with examples.start(tmp_path / "quick_start_server.py") as server:
        assert server.read_line() == f"Server started on {url}"
        for _ in range(2):
            with examples.start(tmp_path / "quick_start_client.py") as client:
                assert client.finish() == ["Echo reply: Hello world"]
            assert server.read_line() == "New client connected"


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


def test_options_are_documented() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text("utf-8")
    documented = re.findall(r"^\| `(\w+)` \| .* \| .* \| .* \|$", guide, re.MULTILINE)
    assert [name for name in documented if name in WSOptions.names()] == list(WSOptions.names())


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
