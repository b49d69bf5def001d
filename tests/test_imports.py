"""Which way imports go: between the rooms of the codec, between the packages, at run time."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

PACKAGES = Path(__file__).resolve().parents[1] / "packages"
CODEC = PACKAGES / "picows-codec" / "src" / "picows_codec"

# Every module of a package; each may import from those before it only, for types too. So there are
# no cycles, and nothing depends on the codec's stream. "folder.room" is a file in a folder; a
# folder's "__init__" comes before its rooms and holds nothing but its docstring. That of stream
# comes after its rooms: client and server import their names from there. Stubs are not looked at:
# the objects that they describe know each other.
CODEC_ROOMS = (
    "_version",
    "abi",
    "constants",
    "enums",
    "errors",
    "url_grammar",
    "log_text",
    "disconnect",
    "stats",
    "socket_address",
    "readiness",
    "lazy_names",
    "option_names",
    "deflate.__init__",
    "deflate.parameters",
    "tap",
    "tap_types",
    "option_table",
    "option_types",
    "calls",
    "tls",
    "simd",
    "mask",
    "utf8",
    "close",
    "frame_header",
    "parser",
    "totals",
    "buffers",
    "write_queue",
    "options",
    "exports",
    "text",
    "frames",
    "timer_wheel",
    "deadlines",
    "http.__init__",
    "http.grammar",
    "http.target",
    "http.head",
    "http.body",
    "http.key",
    "http.fields",
    "http.upgrade_head",
    "http.set_cookie",
    "http.reason_phrases",
    "http.upgrade",
    "deflate.negotiation",
    "deferred_response",
    "http.handshake",
    "http.client_handshake",
    "http.server_handshake",
    "listener_factory",
    "connection.__init__",
    "connection.state",
    "connection.record",
    "connection.writer",
    "connection.sender",
    "deflate.engine",
    "deflate.deflating",
    "deflate.inflating",
    "deflate.extension",
    "transport_coroutines",
    "transport",
    "listener",
    "callbacks",
    "connection.dispatcher",
    "connection.receiver",
    "connection.closing",
    "connection.following",
    "connection.progress",
    "connection.keepalive",
    "connection.handshaking",
    "connection.tapping",
    "connection.endpoint",
    "batch",
    "prepared",
    "delivery",
    "broadcasting",
    "fan_out",
    "coroutines.__init__",
    "coroutines.ending",
    "coroutines.turns",
    "coroutines.waiter",
    "coroutines.inbox",
    "coroutines.compiled_coroutine",
    "coroutines.operation",
    "coroutines.events",
    "coroutines.fragments",
    "coroutines.connection_coroutines",
    "coroutines.connection",
    "__init__",
    "stream.poller",
    "stream.wire",
    "stream.socket_view",
    "stream.transport",
    "stream.__init__",
    "testing.clock",
    "testing.frames",
    "testing.memory_transport",
    "testing.memory_connection",
    "testing.connected",
    "testing.__init__",
    "recording.file_format",
    "recording.reading",
    "recording.redaction",
    "recording.recording_tap",
    "recording.recorder",
    "recording.replaying",
    "recording.__init__",
)
CLIENT_ROOMS = (
    "_version",
    "logs",
    "option_names",
    "url",
    "redirects",
    "cookies",
    "tls",
    "trust",
    "tasks",
    "protocol",
    "dialogue",
    "backend",
    "teardown",
    "resolve",
    "race",
    "first_hop",
    "dial",
    "proxy",
    "tunnel",
    "settings",
    "opening",
    "connect_options",
    "call",
    "connecting",
    "environment",
    "backoff",
    "transience",
    "redial",
    "connections",
    "connect_call",
    "coroutine",
    "link",
    "keep_connected",
    "testing",
    "__init__",
    "cli.__init__",
    "cli.arguments",
    "cli.tls_context",
    "cli.terminal_text",
    "cli.json_text",
    "cli.inflating",
    "cli.rendering",
    "cli.percentiles",
    "cli.input",
    "cli.line_editor",
    "cli.output",
    "cli.console",
    "cli.traffic",
    "cli.listening",
    "cli.session",
    "cli.replaying",
    "cli.main",
    "__main__",
)
SERVER_ROOMS = (
    "_version",
    "logs",
    "option_names",
    "url",
    "certificates.__init__",
    "certificates.files",
    "kernel_tls",
    "tls",
    "tls_deadline",
    "session_context",
    "certificates.reloading",
    "certificates.watching",
    "origins",
    "response_date",
    "routing",
    "limits",
    "slices",
    "listen",
    "accept",
    "loop_lag",
    "backplane.interface",
    "backplane.lifecycle",
    "backplane.options",
    "backplane.cancellation",
    "backplane.counting",
    "backplane.envelope",
    "backplane.numbering",
    "backplane.outbox",
    "backplane.delivery",
    "backplane.reconnecting",
    "backplane.redis_dialing",
    "backplane.redis_pipe",
    "backplane.redis_scripts",
    "backplane.redis_commands",
    "backplane.redis_node",
    "backplane.redis_cluster",
    "backplane.redis_engine",
    "backplane.redis_presence",
    "backplane.redis_backplane",
    "backplane.nats_credentials",
    "backplane.nats_client",
    "backplane.nats_backplane",
    "backplane.sharded",
    "backplane.__init__",
    "topics.names",
    "topics.stats",
    "topics.rules",
    "topics.retention",
    "topics.history",
    "topics.membership",
    "topics.local",
    "topics.recovery",
    "topics.relay",
    "topics.topics",
    "topics.__init__",
    "stats",
    "protocol",
    "access_log",
    "backend",
    "sni.__init__",
    "sni.client_hello",
    "sni.names",
    "sni.peeking",
    "sni.backend",
    "connections",
    "proxies.__init__",
    "proxies.networks",
    "proxies.forwarded",
    "proxies.header",
    "proxies.connections",
    "proxies.trust",
    "handlers",
    "hosting",
    "draining",
    "http.__init__",
    "http.entity",
    "http.download",
    "http.files",
    "http.pages",
    "http.health",
    "http.routes",
    "server",
    "http.topics_metrics",
    "http.metrics",
    "call",
    "create",
    "serving",
    "asgi.scope",
    "asgi.refusal",
    "asgi.lifespan",
    "asgi.connection",
    "asgi.lean_transport",
    "asgi.uvicorn_protocol",
    "asgi.application",
    "asgi.__init__",
    "running.__init__",
    "running.failures",
    "running.standard_streams",
    "running.import_strings",
    "running.loops",
    "running.settings",
    "running.worker_settings",
    "running.forked_children",
    "running.process",
    "running.service_manager",
    "running.signals",
    "running.workers.__init__",
    "running.workers.messages",
    "running.workers.channel",
    "running.workers.parent_death",
    "running.workers.memory",
    "running.workers.main_module",
    "running.workers.control",
    "running.workers.serving_worker",
    "running.workers.worker",
    "running.workers.launching",
    "running.workers.steering",
    "running.workers.slot_sockets",
    "running.workers.timing",
    "running.workers.worker_process",
    "running.workers.rolling",
    "running.workers.slot",
    "running.workers.supervisor",
    "running.workers.admin_metrics",
    "running.workers.admin",
    "running.workers.supervise",
    "running.run_options",
    "running.blocking",
    "testing",
    "__init__",
    "running.arguments",
    "running.main",
    "__main__",
)
ROOMS = {
    "picows_codec": CODEC_ROOMS,
    "picows_client": CLIENT_ROOMS,
    "picows_server": SERVER_ROOMS,
}
# An error holds the response that it is about, and reading a response raises errors. Callers read
# the response's own type off the error: a protocol in errors would take that from them.
TYPES_FROM_ABOVE = {
    ("errors", "http.upgrade"),
    ("errors", "disconnect"),
    ("coroutines.connection_coroutines", "coroutines.connection"),
}
# What comes on top of frames is imported by those who use it.
LAYERS = (
    "picows_codec.batch picows_codec.prepared picows_codec.broadcasting"
    " picows_codec.coroutines.connection picows_client.coroutine picows_server.serving"
    " picows_server.handlers picows_server.asgi picows_codec.coroutines.events"
    " picows_server.handlers picows_codec.tap picows_codec.tap_types picows_codec.testing"
    " picows_codec.connection.tapping picows_codec.recording"
    " picows_server.http picows_server.proxies picows_server.sni"
    " picows_server.kernel_tls picows_server.certificates.reloading"
    " picows_server.certificates.watching"
    " picows_server.draining picows_server.running picows_server.backplane"
    " picows_server.topics picows_codec.fan_out"
)
# What unit tests use may know asyncio, and nothing that is not of its folder imports it. A waiter
# asks it which task runs.
WITH_ASYNCIO = ("testing.", "recording.", "coroutines.waiter")
NEVER_IN_CODEC = {"asyncio", "logging", "select", "selectors", "socket", "ssl", "uvloop"}
SOURCES = sorted(
    path
    for package in ROOMS
    for path in (PACKAGES / package.replace("_", "-") / "src" / package).rglob("*.p*")
    if path.suffix in {".py", ".pyx", ".pxd"}
)

CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n]+)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)
STRING_OR_COMMENT = re.compile(r'""".*?"""|#[^\n]*', re.DOTALL)


def place_of(path: Path) -> Tuple[str, str]:
    """Return the package and the room that a source file belongs to."""
    package, *folders = path.relative_to(PACKAGES).with_suffix("").parts[2:]
    return package, ".".join(folders)


def imports_of(path: Path, *, for_types: bool = False) -> Iterator[str]:
    """Yield the dotted names that a source file imports when it is compiled or run.

    ``for_types``: also what only a type checker imports.
    """
    text = path.read_text(encoding="utf-8")
    is_python = path.suffix == ".py"
    pairs = _python_imports(text, for_types=for_types) if is_python else _cython_imports(text)
    for source, names in pairs:
        if source in ROOMS:
            for name in names:
                yield f"{source}.{name}"
        else:
            yield source


def _cython_imports(text: str) -> Iterator[Tuple[str, List[str]]]:
    for match in CYTHON_IMPORT.finditer(STRING_OR_COMMENT.sub("", text)):
        if match["source"]:
            names = match["names"].strip("() \t\n").split(",")
            yield match["source"], [name.split()[0] for name in names if name.strip()]
        else:
            for module in match["modules"].split(","):
                yield module.split()[0], []


def _python_imports(text: str, *, for_types: bool) -> Iterator[Tuple[str, List[str]]]:
    pending: List[ast.AST] = [ast.parse(text)]
    while pending:
        node = pending.pop()
        is_for_types = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        if isinstance(node, ast.If) and is_for_types and not for_types:
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]
        pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_its_place(package: str) -> None:
    found = {room for owner, room in map(place_of, SOURCES) if owner == package}
    assert found == set(ROOMS[package])
    assert len(ROOMS[package]) == len(set(ROOMS[package]))


@pytest.mark.parametrize(
    ("title", "package"),
    [("The rooms of the client", "picows_client"), ("The rooms of the server", "picows_server")],
)
def test_rooms_are_described_in_their_order(title: str, package: str) -> None:
    text = (PACKAGES.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.split(f"## {title}\n\n")[1].split("\n\n")[0]
    cells = (row.split("|")[1] for row in table.splitlines()[2:])
    described = [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]
    rooms = [name for name in ROOMS[package] if not name.rpartition(".")[2].startswith("_")]
    assert described == rooms


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_imports_go_one_way(path: Path) -> None:
    package, own = place_of(path)
    reachable = ROOMS[package][: ROOMS[package].index(own)]
    for name in imports_of(path, for_types=True):
        top, _, room = name.partition(".")
        assert top, f"{path.name}: write the import in full, not {name!r}"
        if top != package:
            assert top == "picows_codec" or top not in ROOMS, f"{path.name} imports {name}"
        elif room != own and (own, room) not in TYPES_FROM_ABOVE:  # a .pyx may name its own .pxd
            assert room in reachable, f"{path.name} imports {name}, which is not below it"
    for name in imports_of(path):
        if package == "picows_codec" and not own.startswith(WITH_ASYNCIO):
            assert name.partition(".")[0] not in NEVER_IN_CODEC, f"{path.name} imports {name}"
        assert name not in {f"{package}.{room}" for room in ROOMS[package][len(reachable) + 1 :]}


def test_imports_are_found() -> None:
    assert list(_cython_imports('"""\nimport no\n"""\nimport os, a.b as c\ncimport cython\n')) == [
        ("os", []),
        ("a.b", []),
        ("cython", []),
    ]
    assert list(_cython_imports("from a.b cimport (  # why\n    c,\n    d as e,\n)\n")) == [
        ("a.b", ["c", "d"])
    ]
    assert list(_cython_imports("    from . cimport frame\n")) == [(".", ["frame"])]
    typed = "if TYPE_CHECKING:\n    import a\nelse:\n    from b import c\n"
    assert {name for name, _ in _python_imports(typed, for_types=False)} == {"b"}
    assert {name for name, _ in _python_imports(typed, for_types=True)} == {"a", "b"}
    assert "picows_codec.frames" in set(imports_of(CODEC / "transport.pyx"))
    assert "picows_codec.listener" in set(imports_of(CODEC / "__init__.pxd"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("picows_codec", f"asyncio socket ssl {LAYERS}"),
        pytest.param(
            "picows_codec.stream",
            "asyncio socket ssl",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="not built on Windows"),
        ),
        ("picows_client", f"picows_server picows_client.cli argparse readline {LAYERS}"),
        ("picows_server", f"picows_client {LAYERS}"),
    ],
)
def test_what_an_import_loads(module: str, unwanted: str) -> None:
    program = (
        "import sys; before = set(sys.modules);"
        f"import {module};"
        f"loaded = (set(sys.modules) - before) & set({unwanted.split()!r});"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("package", ["picows_codec", "picows_client", "picows_server"])
def test_tests_run_on_installed_wheels(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert PACKAGES not in Path(spec.origin).resolve().parents
