"""docs/coming-from has every name of websockets and aiohttp, and only names of ours that exist."""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib
import inspect
import re
import sys
from typing import Any, Dict, Iterator, List, Set, Tuple

import pytest

import picows_client
import picows_server
from picows_client import (
    WSCloseHandshake,
    WSConnection,
    WSConnectionClosed,
    WSDisconnectCause,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    connect,
)
from picows_client.option_names import CONNECT_MEANINGS
from picows_codec import WSOptions
from picows_server import WSServer, serve
from picows_server.option_names import SERVE_MEANINGS
from tests.examples.conftest import ROOT

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("aiohttp.web")
websockets = pytest.importorskip("websockets")

TEXT = "".join(
    (ROOT / "docs" / "coming-from" / f"{library}.md").read_text("utf-8")
    for library in ("websockets", "aiohttp", "picows")
)


def tables() -> Iterator[Tuple[str, str, str]]:
    """Every line of a table: its heading, what they have, what we have."""
    heading = ""
    for line in TEXT.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.endswith("| write instead |"):
            theirs, ours = line.strip("| ").split(" | ")
            yield heading, theirs, ours


TABLES = list(tables())


def theirs(*headings: str) -> Set[str]:
    """The names in the first column of these tables."""
    found: Set[str] = set()
    for heading in headings:
        cells = [cell for title, cell, _ in TABLES if title == heading]
        assert cells, heading
        found.update(name for cell in cells for name in re.findall(r"`([^`]+)`", cell))
    return found


def parameters(function: Any) -> Set[str]:
    """Those that have a name."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = inspect.signature(function).parameters.values()
    return {each.name for each in found if each.kind not in kinds and each.name != "self"}


def public(names: Any) -> Set[str]:
    return {name for name in names if not name.startswith("_")}


# websockets

OF_BOTH = "Options of `connect` and `serve` of websockets"
NAMES = ("Functions and classes of websockets", "Exceptions of websockets")

# Attributes that its constructors set, and methods without underscore that its documentation lacks.
ATTRIBUTES = {
    *("id", "logger", "debug", "request", "response", "loop", "latency", "protocol", "transport"),
    *("ping_interval", "ping_timeout", "close_timeout", "server", "username", "handler"),
    "handler_kwargs",
}
INTERNAL = {
    *("acknowledge_pings", "close_exc", "drain", "handshake", "keepalive", "process_event"),
    *("send_context", "send_data", "set_connection_exc", "start_keepalive"),
    *("terminate_pending_pings", "close_transport", "set_recv_exc", "abort_pings"),
    *("conn_handler", "start_connection_handler", "wrap", "handshake_connection"),
}

of_websockets = pytest.mark.skipif(
    int(websockets.__version__.partition(".")[0]) > 17, reason="the page is about websockets 17"
)
of_aiohttp = pytest.mark.skipif(
    tuple(map(int, aiohttp.__version__.split(".")[:2])) > (3, 14),
    reason="the page is about aiohttp 3.14",
)


@of_websockets
@pytest.mark.parametrize("kind", ["asyncio", "sync"])
@pytest.mark.parametrize(("side", "name"), [("client", "connect"), ("server", "serve")])
def test_options_of_websockets(kind: str, side: str, name: str) -> None:
    function = getattr(importlib.import_module(f"websockets.{kind}.{side}"), name)
    known = theirs(OF_BOTH, f"Options of `{name}` of websockets")
    assert parameters(function) <= known | {"sock", "ssl", "server_hostname"}
    assert len(parameters(function) & known) > 10


@of_websockets
def test_names_of_websockets() -> None:
    known = theirs(*NAMES)
    assert {*websockets.__all__} <= known
    for module in ("exceptions", "asyncio.client", "asyncio.server"):
        assert {*importlib.import_module(f"websockets.{module}").__all__} <= known


@of_websockets
def test_connections_of_websockets() -> None:
    client = importlib.import_module("websockets.asyncio.client").ClientConnection
    server = importlib.import_module("websockets.asyncio.server").ServerConnection
    known = theirs("A connection of websockets")
    found = public({*dir(client), *dir(server), *ATTRIBUTES})
    assert found - INTERNAL - {*dir(asyncio.Protocol)} <= known


@of_websockets
def test_servers_of_websockets() -> None:
    server = importlib.import_module("websockets.asyncio.server").Server
    assert public(dir(server)) - INTERNAL <= theirs("A server of websockets")


# aiohttp


@of_aiohttp
def test_options_of_aiohttp() -> None:
    known = theirs("Options of `ws_connect` of aiohttp")
    assert parameters(aiohttp.ClientSession._ws_connect) <= known
    assert len(known) > 20
    assert parameters(web.WebSocketResponse) <= theirs(
        "Options of `WebSocketResponse` of aiohttp", "Methods of `WebSocketResponse` of aiohttp"
    )


@of_aiohttp
def test_connections_of_aiohttp() -> None:
    known = theirs("The client's connection of aiohttp")
    assert public(vars(aiohttp.ClientWebSocketResponse)) <= known
    known |= theirs(
        "Options of `WebSocketResponse` of aiohttp", "Methods of `WebSocketResponse` of aiohttp"
    )
    assert public(vars(web.WebSocketResponse)) <= known


@of_aiohttp
def test_names_of_aiohttp() -> None:
    known = theirs("Other names of aiohttp")
    of_errors = {
        name
        for name in aiohttp.__all__
        if name.startswith(("WS", "WebSocket", "ClientWS", "ClientConn"))
    }
    # Of HTTP requests.
    assert of_errors <= known | {"ClientConnectionResetError"}


# Hints

OF_CONNECT = "Options of `connect` of websockets"
OF_SERVE = "Options of `serve` of websockets"


@pytest.mark.parametrize(
    ("function", "meanings", "headings"),
    [
        (connect, CONNECT_MEANINGS, (OF_BOTH, OF_CONNECT, "Options of `ws_connect` of aiohttp")),
        (serve, SERVE_MEANINGS, (OF_BOTH, OF_SERVE, "Options of `WebSocketResponse` of aiohttp")),
    ],
    ids=["connect", "serve"],
)
def test_options_have_a_hint(function: Any, meanings: Any, headings: Any) -> None:
    """Who passes one of them to ours is told what to write."""
    # legacy is of the threading API.
    assert theirs(*headings) - parameters(function) - {"legacy"} <= {*meanings}


# picows.websockets of picows 2.3.1, which the tests do not install

PICOWS_NAMES = (
    "BytesLike ClientConnection WebSocketClientProtocol CloseCode Data DataLike Server"
    " ServerHandshakeConnection ServerConnection ConcurrencyError ConnectionClosed"
    " ConnectionClosedError ConnectionClosedOK DuplicateParameter ExtensionName"
    " ExtensionParameter HeadersLike InvalidHandshake InvalidHeader InvalidHeaderFormat"
    " InvalidHeaderValue InvalidMessage InvalidOrigin InvalidParameterName"
    " InvalidParameterValue InvalidProxy InvalidProxyMessage InvalidProxyStatus InvalidState"
    " InvalidStatus InvalidUpgrade InvalidURI LoggerLike NegotiationError Origin PayloadTooBig"
    " ProtocolError ProxyError Request Response SecurityError State StatusLike Subprotocol"
    " WebSocketException basic_auth broadcast connect exceptions process_exception protocol route"
    " serve ClientConnection.open ClientConnection.closed ServerConnection.open"
    " ServerConnection.closed"
)


def test_names_of_picows_websockets() -> None:
    assert {*PICOWS_NAMES.split()} <= theirs(*NAMES, "picows.websockets")


# Our names

MODULES = {
    **{each.__name__: each for each in (picows_client, picows_server)},
    **{
        name: importlib.import_module(name)
        for name in (
            *("asyncio", "functools", "json", "logging", "multidict", "ssl", "urllib.parse"),
            "weakref",
        )
    },
}
# What the page calls things, and what they are.
THINGS: Dict[str, Any] = {
    "ws": WSConnection,
    "server": WSServer,
    "request": WSUpgradeRequest,
    "error": WSConnectionClosed,
}
# What an attribute is, where the page goes on from it.
ATTRIBUTE_TYPES: Dict[Tuple[Any, str], Any] = {
    (WSConnection, "transport"): WSTransport,
    (WSConnection, "request"): WSUpgradeRequest,
    (WSConnection, "response"): WSUpgradeResponse,
    (WSTransport, "underlying_transport"): asyncio.Transport,
    (WSTransport, "disconnect_cause"): WSDisconnectCause,
    (WSTransport, "close_handshake"): WSCloseHandshake,
    (WSConnectionClosed, "cause"): WSDisconnectCause,
}
# Whose names are said without it in a table.
OWNERS = {
    "A connection of websockets": WSConnection,
    "The client's connection of aiohttp": WSConnection,
    "A server of websockets": WSServer,
}
# Words of examples, and names of other libraries that are said in passing.
FREE = {
    *("path", "handler", "data", "text", "certfile", "keyfile", "orjson", "async with"),
    *("async for", "wss://", "getall", "check_hostname", "verify_mode"),
    *("socks4", "socks4a", "socks5", "socks5h", "raise_exceptions", "rcvd_then_sent", "get_all"),
    *("NO_STATUS_RCVD", "INVALID_DATA", "CONT", "status_code", "reason_phrase", "basic_auth"),
    *("ClientConnection", "ServerConnection", "Server", "ProtocolError", "InvalidStatus"),
    *("close_connections=False", "ws_close", "ws_receive", "heartbeat=30", "receive_timeout"),
    *("timeout", "message=", "CLOSING", "CLOSED", "ERROR", "request.match_info", "ws_connect"),
    "cleanup_ctx",
}


def public_name(name: str) -> Any:
    return getattr(picows_client, name, None) or getattr(picows_server, name, None)


OPTIONS = {
    *WSOptions.names(),
    *parameters(picows_client.connect),
    *parameters(picows_server.serve),
    *parameters(picows_server.run),
}


def has(owner: Any, name: str) -> bool:
    """Whether instances have the attribute: of the class, or set by its constructor."""
    if hasattr(owner, name) or name in getattr(owner, "__dataclass_fields__", {}):
        return True
    return issubclass(owner, BaseException) and name in parameters(owner.__init__)


def keywords(owner: Any) -> Set[str]:
    """Names of parameters of any method."""
    methods = [getattr(owner, name) for name in public(vars(owner))]
    return {name for each in methods if inspect.isroutine(each) for name in parameters(each)}


class Checker:
    """Looks up every name in the code of one line."""

    def __init__(self, heading: str, line: str) -> None:
        self.wrong: List[str] = []
        named = [public_name(name) for name in re.findall(r"\bWS\w+", line)]
        self.owners = [each for each in [OWNERS.get(heading), *named] if isinstance(each, type)]

    def check(self, code: str) -> None:
        if code in FREE:
            return
        if re.fullmatch(r"\w+=", code):
            code = f"{code}None"
        try:
            tree = ast.parse(code.replace("await ", ""), mode="eval").body
        except SyntaxError:
            tree = ast.parse(f"connect({code})", mode="eval").body
        self.visit(tree)

    def visit(self, node: ast.AST) -> Any:
        """Return the class of the value, or a class, function or module; None if it is unknown."""
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(self.visit(node.value), node.attr)
        if isinstance(node, ast.Call):
            function = self.visit(node.func)
            for argument in node.args:
                self.visit(argument)
            for keyword in node.keywords:
                self.keyword(function, str(keyword.arg))
                self.visit(keyword.value)
            return None
        for child in ast.iter_child_nodes(node):
            self.visit(child)
        return None

    def name(self, name: str) -> Any:
        for names in (THINGS, MODULES):
            if name in names:
                return names[name]
        if public_name(name) is not None:
            return public_name(name)
        known = hasattr(builtins, name) or name in FREE | OPTIONS or name == "urllib"
        if not known and not any(has(each, name) or name in keywords(each) for each in self.owners):
            self.wrong.append(name)
        return None

    def attribute(self, owner: Any, name: str) -> Any:
        if owner is None:
            return None
        if inspect.ismodule(owner):
            if (name, sys.version_info < (3, 11)) == ("timeout", True):
                return None
            return getattr(owner, name)
        if not has(owner, name):
            self.wrong.append(f"{owner.__name__}.{name}")
            return None
        found = getattr(owner, name, None)
        return ATTRIBUTE_TYPES.get((owner, name), found if inspect.isroutine(found) else None)

    def keyword(self, function: Any, name: str) -> None:
        if function is None or inspect.ismodule(function):
            return
        if getattr(function, "__name__", "") in {"connect", "serve"}:
            known = OPTIONS.union(*map(keywords, self.owners))
        else:
            known = parameters(function)
        if name not in known:
            self.wrong.append(f"{name}=")


OURS = [
    each
    for each in TABLES
    if each[0].endswith(("of websockets", "of aiohttp", "picows.websockets"))
]


@pytest.mark.parametrize(
    ("heading", "names", "cell"), OURS, ids=[f"{heading}: {names}" for heading, names, _ in OURS]
)
def test_our_names_exist(heading: str, names: str, cell: str) -> None:
    checker = Checker(heading, cell)
    for code in re.findall(r"`([^`]+)`", cell):
        checker.check(code)
    assert not checker.wrong


@pytest.mark.parametrize(
    "code",
    [
        *("ws.rcv()", "connect(url, origin=1)", "origin=", "WSTransport.foo", "foo"),
        *("ws.transport.foo", "ws.close(text=1)", "asyncio.wait_for(ws.rcv(), 3)"),
    ],
)
def test_the_checker_finds_wrong_names(code: str) -> None:
    checker = Checker("A server of websockets", code)
    checker.check(code)
    assert len(checker.wrong) == 1
