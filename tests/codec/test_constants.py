from __future__ import annotations

import ctypes
import pickle
from typing import Dict

import pytest

from picows_codec import constants
from picows_codec.constants import WSAutoPingStrategy, WSCloseCode, WSMsgType
from tests.support.capi import c_function

OPCODES = {"CONTINUATION": 0, "TEXT": 1, "BINARY": 2, "CLOSE": 8, "PING": 9, "PONG": 10}
CLOSE_CODES = {
    "NORMAL_CLOSURE": 1000,
    "GOING_AWAY": 1001,
    "PROTOCOL_ERROR": 1002,
    "UNSUPPORTED_DATA": 1003,
    "NO_STATUS_RECEIVED": 1005,
    "ABNORMAL_CLOSURE": 1006,
    "INVALID_PAYLOAD_DATA": 1007,
    "POLICY_VIOLATION": 1008,
    "MESSAGE_TOO_BIG": 1009,
    "MANDATORY_EXTENSION": 1010,
    "INTERNAL_ERROR": 1011,
    "SERVICE_RESTART": 1012,
    "TRY_AGAIN_LATER": 1013,
    "BAD_GATEWAY": 1014,
    "TLS_HANDSHAKE": 1015,
}
ALIASES = {"OK": 1000, "NO_INFO": 1005, "INVALID_TEXT": 1007}

# Violation: the close code that answers it.
VIOLATIONS = {
    **dict.fromkeys(range(-14, 0), 1002),
    -11: 1007,  # text that is not UTF-8
    -14: 1007,  # close reason that is not UTF-8
    -15: 1009,  # frame too big
    -16: 1009,  # message too big
    -17: 1008,  # too many fragments
}

ws_opcode_member = c_function(constants, "ws_opcode_member", ctypes.py_object, ctypes.c_int)
ws_close_code_member = c_function(constants, "ws_close_code_member", ctypes.py_object, ctypes.c_int)
ws_violation_close_code = c_function(
    constants, "ws_violation_close_code", ctypes.c_int, ctypes.c_int
)
ws_violation_text = c_function(constants, "ws_violation_text", ctypes.c_char_p, ctypes.c_int)


@pytest.mark.parametrize(
    ("enumeration", "members"),
    [
        (WSMsgType, OPCODES),
        (WSCloseCode, {**CLOSE_CODES, **ALIASES}),
        (WSAutoPingStrategy, {"PING_WHEN_IDLE": 1, "PING_PERIODICALLY": 2}),
    ],
)
def test_members(enumeration: type, members: Dict[str, int]) -> None:
    assert {name: int(member) for name, member in enumeration.__members__.items()} == members
    for member in enumeration:
        assert member == int(member)
        assert f"{member:d}" == str(int(member))
        assert pickle.loads(pickle.dumps(member)) is member


def test_opcode_lookup_gives_members_and_builds_nothing() -> None:
    for number in range(16):
        found = ws_opcode_member(number)
        assert found == number
        if number in OPCODES.values():
            assert found is WSMsgType(number)
        else:
            assert type(found) is int


def test_close_code_lookup_gives_members_and_builds_nothing() -> None:
    for number in CLOSE_CODES.values():
        assert ws_close_code_member(number) is WSCloseCode(number)
    for number in (0, 999, 1004, 1016, 3000, 4999, 65_535):
        found = ws_close_code_member(number)
        assert found == number
        assert type(found) is int


def test_every_violation_has_a_close_code_and_its_own_text() -> None:
    assert {violation: ws_violation_close_code(violation) for violation in VIOLATIONS} == VIOLATIONS
    texts = [ws_violation_text(violation).decode() for violation in [0, *VIOLATIONS]]
    assert texts[0] == "no violation"
    assert len(set(texts)) == len(texts)
    # They travel as the reason of a close frame.
    assert max(map(len, texts)) <= 123
    for violation in range(-14, 0):
        assert "(RFC 6455, " in ws_violation_text(violation).decode()
    for violation in (-17, -16, -15):
        assert "exceeds max_" in ws_violation_text(violation).decode()
