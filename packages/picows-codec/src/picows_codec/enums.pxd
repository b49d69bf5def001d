"""Opcodes and close codes as C constants under the names of the Python enums (stable tier).

``from picows_codec cimport WSMsgType, WSCloseCode``, then ``WSMsgType.BINARY`` and
``WSCloseCode.OK``: plain numbers, usable without the GIL. A file that cimports a name cannot
import the Python enum of that name, too. There is no module of this name at run time.
"""

cimport picows_codec.abi

cdef enum WSMsgType:
    # RFC 6455, 5.2. The same numbers as ws_opcode in constants.pxd.
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

cdef enum WSCloseCode:
    # RFC 6455, 7.4.1. The same numbers as ws_close_code in constants.pxd.
    NORMAL_CLOSURE = 1000
    OK = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    NO_INFO = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD_DATA = 1007
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015

cdef enum WSAutoPingStrategy:
    PING_WHEN_IDLE = 1
    PING_PERIODICALLY = 2
