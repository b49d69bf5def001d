"""Every public name of picows 2.3.1 is the same, or docs/coming-from/picows.md has a line.

What picows 2.3.1 has is written down below: names, and of functions the parameters with defaults.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Dict, Iterator, List, Set

import pytest

import picows_client
import picows_server
from picows_client import WSURL, WSCloseInfo
from picows_codec import WSAutoPingStrategy, WSCloseHandshake
from tests.examples.conftest import ROOT

TEXT = (ROOT / "docs" / "coming-from" / "picows.md").read_text("utf-8")

REQUIRED = inspect.Parameter.empty
IDLE = WSAutoPingStrategy.PING_WHEN_IDLE
FLAGS = {"fin": True, "rsv1": False, "rsv2": False, "rsv3": False}

# Of both functions, with the same defaults.
SHARED = {
    "disconnect_on_exception": True,
    "websocket_handshake_timeout": 5,
    "logger_name": None,
    "enable_auto_ping": False,
    "auto_ping_strategy": IDLE,
    "enable_auto_pong": True,
    "max_frame_size": 10 * 1024 * 1024,
    "read_buffer_init_size": 16 * 1024,
    "use_aiofastnet": None,
}
FUNCTIONS: Dict[str, Dict[str, Any]] = {
    "ws_connect": {
        "ws_listener_factory": REQUIRED,
        "url": REQUIRED,
        "ssl_context": None,
        "auto_ping_idle_timeout": 10,
        "auto_ping_reply_timeout": 10,
        "extra_headers": None,
        "max_redirects": 5,
        "proxy": None,
        "proxy_ssl_context": None,
        "socket_factory": None,
        "kwargs": REQUIRED,
        **SHARED,
    },
    "ws_create_server": {
        "ws_listener_factory": REQUIRED,
        "host": None,
        "port": None,
        "auto_ping_idle_timeout": 20,
        "auto_ping_reply_timeout": 20,
        "kwargs": REQUIRED,
        **SHARED,
    },
    "WSTransport.send": {"msg_type": REQUIRED, "message": REQUIRED, **FLAGS},
    "WSTransport.send_reuse_external_bytearray": {
        "msg_type": REQUIRED,
        "buffer": REQUIRED,
        "msg_offset": REQUIRED,
        **FLAGS,
    },
    "WSTransport.send_ping": {"message": None},
    "WSTransport.send_pong": {"message": None},
    "WSTransport.send_close": {"close_code": 0, "close_message": None},
    "WSTransport.disconnect": {"graceful": True},
    "WSTransport.wait_disconnected": {},
    "WSTransport.measure_roundtrip_time": {"rounds": REQUIRED},
    "WSTransport.notify_user_specific_pong_received": {},
    "WSListener.on_ws_connected": {"transport": REQUIRED},
    "WSListener.on_ws_frame": {"transport": REQUIRED, "frame": REQUIRED},
    "WSListener.on_ws_disconnected": {"transport": REQUIRED},
    "WSListener.send_user_specific_ping": {"transport": REQUIRED},
    "WSListener.is_user_specific_pong": {"frame": REQUIRED},
    "WSListener.pause_writing": {},
    "WSListener.resume_writing": {},
    "WSFrame.get_payload_as_bytes": {},
    "WSFrame.get_payload_as_utf8_text": {},
    "WSFrame.get_payload_as_ascii_text": {},
    "WSFrame.get_payload_as_memoryview": {},
    "WSFrame.get_close_code": {},
    "WSFrame.get_close_message": {},
    "WSFrame.get_close_reason": {},
    "WSUpgradeResponse.create_ok_response": {"body": None, "extra_headers": None},
    "WSUpgradeResponse.create_error_response": {
        "status": REQUIRED,
        "body": None,
        "extra_headers": None,
    },
    "WSUpgradeResponse.create_redirect_response": {
        "status": REQUIRED,
        "location": REQUIRED,
        "extra_headers": None,
    },
    "WSUpgradeResponse.create_101_response": {"extra_headers": None},
    "WSUpgradeResponse.to_bytes": {},
}
ATTRIBUTES: Dict[str, List[str]] = {
    "WSFrame": [
        *("msg_type", "fin", "rsv1", "rsv2", "rsv3", "last_in_buffer", "payload_size"),
        "tail_size",
    ],
    "WSTransport": [
        *("underlying_transport", "request", "response", "close_handshake", "is_client_side"),
        *("is_secure", "is_close_frame_sent", "is_disconnected"),
    ],
    "WSUpgradeRequest": ["method", "path", "version", "headers"],
    "WSUpgradeResponse": ["version", "status", "headers", "body"],
    "WSUpgradeResponseWithListener": ["response", "listener"],
    "WSParsedURL": [
        *("url", "scheme", "is_secure", "netloc", "host", "port", "path", "query", "username"),
        *("password", "resource_name", "user_info"),
    ],
}
# With the arguments of their constructors, each of which is an attribute unless it is the text.
ERRORS = {
    "WSError": [],
    "WSHandshakeError": ["description", "raw_header", "raw_body", "response"],
    "WSInvalidMessageError": ["description", "raw_header", "raw_body", "response"],
    "WSInvalidStatusError": ["description", "raw_header", "raw_body", "response"],
    "WSInvalidHeaderError": [
        *("description", "name", "value", "raw_header", "raw_body", "response"),
    ],
    "WSInvalidUpgradeError": [
        *("description", "name", "value", "raw_header", "raw_body", "response"),
    ],
    "WSInvalidURL": ["url", "msg"],
    "WSProtocolError": ["code", "message"],
}
BASES = {
    "WSHandshakeError": "WSError",
    "WSInvalidMessageError": "WSHandshakeError",
    "WSInvalidStatusError": "WSHandshakeError",
    "WSInvalidHeaderError": "WSHandshakeError",
    "WSInvalidUpgradeError": "WSInvalidHeaderError",
    "WSInvalidURL": "WSError",
    "WSProtocolError": "WSError",
}
MEMBERS = {
    "WSMsgType": {"CONTINUATION": 0, "TEXT": 1, "BINARY": 2, "CLOSE": 8, "PING": 9, "PONG": 10},
    "WSCloseCode": {
        "NO_INFO": 0,
        "OK": 1000,
        "GOING_AWAY": 1001,
        "PROTOCOL_ERROR": 1002,
        "UNSUPPORTED_DATA": 1003,
        "ABNORMAL_CLOSURE": 1006,
        "INVALID_TEXT": 1007,
        "POLICY_VIOLATION": 1008,
        "MESSAGE_TOO_BIG": 1009,
        "MANDATORY_EXTENSION": 1010,
        "INTERNAL_ERROR": 1011,
        "SERVICE_RESTART": 1012,
        "TRY_AGAIN_LATER": 1013,
        "BAD_GATEWAY": 1014,
    },
    "WSAutoPingStrategy": {"PING_WHEN_IDLE": 1, "PING_PERIODICALLY": 2},
}
MODULE = ["PICOWS_DEBUG_LL", *MEMBERS, *ERRORS, *ATTRIBUTES, "ws_connect", "ws_create_server"]

# What is not the same; each is a name in the first column of the document's tables.
DIFFERENCES = {
    "PICOWS_DEBUG_LL",
    "WSCloseCode.NO_INFO",
    "WSParsedURL.netloc",
    "WSParsedURL.url",
    "WSTransport.send(msg_type)",
    "WSTransport.send_close(close_code)",
    "WSTransport.send_close(close_message)",
    "WSTransport.send_reuse_external_bytearray(msg_offset)",
    "WSTransport.send_reuse_external_bytearray(msg_type)",
    "ws_connect(kwargs)",
    "ws_connect(logger_name)",
    "ws_connect(max_frame_size)",
    "ws_connect(read_buffer_init_size)",
    "ws_connect(use_aiofastnet)",
    "ws_connect(ws_listener_factory)",
    "ws_create_server(host)",
    "ws_create_server(kwargs)",
    "ws_create_server(logger_name)",
    "ws_create_server(max_frame_size)",
    "ws_create_server(port)",
    "ws_create_server(read_buffer_init_size)",
    "ws_create_server(use_aiofastnet)",
    "ws_create_server(ws_listener_factory)",
}
# The same name with other values, which a look at the names does not show.
OTHER_VALUES = {
    "WSFrame.get_close_code",
    "WSFrame.get_close_message",
    "WSFrame.get_close_reason",
    "WSTransport.disconnect",
    "WSTransport.wait_disconnected",
    "WSUpgradeRequest.method",
    "WSUpgradeRequest.path",
    "WSUpgradeRequest.version",
    "WSUpgradeResponse.status",
    "WSUpgradeResponse.version",
}


def find(name: str) -> Any:
    """The thing of that name in the client or else the server; None if there is none."""
    first, _, second = name.partition(".")
    for module in (picows_client, picows_server):
        found = getattr(module, first, None)
        if found is not None:
            return getattr(found, second, None) if second else found
    return None


def differences() -> Iterator[str]:
    """What picows 2.3.1 has and we have not, or not with the same value."""
    yield from (name for name in MODULE if find(name) is None)
    for name, parameters in FUNCTIONS.items():
        ours = inspect.signature(find(name)).parameters
        for parameter, default in parameters.items():
            # A parameter that had no default may have one.
            if parameter not in ours or default not in (REQUIRED, ours[parameter].default):
                yield f"{name}({parameter})"
    for owner, attributes in ATTRIBUTES.items():
        fields = getattr(find(owner), "__dataclass_fields__", {})
        for attribute in attributes:
            if not hasattr(find(owner), attribute) and attribute not in fields:
                yield f"{owner}.{attribute}"
    for owner, members in MEMBERS.items():
        others = members.items() - find(owner).__members__.items()
        yield from (f"{owner}.{member}" for member, _ in others)


def test_differences_are_known() -> None:
    assert set(differences()) == DIFFERENCES


def documented() -> Set[str]:
    """The names in the first column of the document's tables."""
    cells = re.findall(r"^\| (.*?) \|", TEXT, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("name", sorted(DIFFERENCES | OTHER_VALUES))
def test_differences_have_a_line(name: str) -> None:
    assert name in documented()


def test_order_of_positional_parameters() -> None:
    """Where names have changed, the places have not."""
    for name, parameters in FUNCTIONS.items():
        if name.startswith("WSTransport."):
            ours = list(inspect.signature(find(name)).parameters)
            assert ours[0] == "self"
            assert len(ours) - 1 >= len(parameters)
    assert list(inspect.signature(find("ws_connect")).parameters)[:3] == [
        *("url", "listener_factory", "logger_name"),  # as in picows 0.2.1
    ]


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    error = find(name)
    if name in BASES:
        assert issubclass(error, find(BASES[name]))
    arguments = [object() if argument != "code" else 1002 for argument in ERRORS[name]]
    made = error(*arguments)
    for attribute, value in zip(ERRORS[name], arguments):
        if attribute not in {"description", "msg", "message"}:
            assert getattr(made, attribute) is value


def test_close_handshake() -> None:
    handshake = WSCloseHandshake(WSCloseInfo(1000, "bye"), None, False)
    assert handshake.recv is not None
    assert (handshake.recv.code, handshake.recv.reason) == (1000, "bye")
    assert handshake.sent is None
    assert handshake.recv_then_sent is False


def test_parsed_url() -> None:
    assert picows_client.WSParsedURL is WSURL
    url = WSURL.parse("wss://me:secret@example.org/ws?a=1")
    assert url.resource_name == "/ws?a=1"
    assert url.user_info == ("me", "secret")
    assert WSURL.parse("ws://me@example.org").user_info == ("me", "")
    assert WSURL.parse("ws://example.org").user_info is None
