"""What ``-v`` shows beside the messages: the handshake, control frames, and the end."""

from __future__ import annotations

import re
from typing import List, Optional

from picows_codec import WSFrame, WSHandshakeError, WSMsgType, WSTransport
from picows_codec.log_text import one_line
from picows_codec.socket_address import format_address

__all__ = ["control_frame", "ending", "opening", "refusal"]

_MOST_OF_BODY = 2000  # characters
_LINE_END = re.compile(r"\r\n|\n|\r")


def opening(transport: WSTransport) -> List[str]:
    """Return request and response in lines, as curl shows them."""
    address = transport.remote_address
    lines = []
    if address is not None:  # else it is a replay
        lines.append(f"* connected to {format_address(address)}{_tls_of(transport)}")
    lines += _head(">", transport.request.raw_header)
    lines += _head("<", transport.response.raw_header)
    return lines


def refusal(error: BaseException) -> List[str]:
    """Return what had arrived of the response that is no upgrade, if anything had."""
    if not isinstance(error, WSHandshakeError):
        return []
    lines = _head("<", error.raw_header)
    if error.raw_body:
        body = error.raw_body.decode("utf-8", "backslashreplace")
        more = "..." if len(body) > _MOST_OF_BODY else ""
        lines += [f"< {line}" for line in (body[:_MOST_OF_BODY] + more).splitlines()]
    return lines


def control_frame(frame: WSFrame) -> Optional[str]:
    """Return a line about a PING or PONG; None for a CLOSE frame, which the end tells."""
    if frame.opcode not in (WSMsgType.PING, WSMsgType.PONG):
        return None
    payload = one_line(frame.get_payload_as_bytes().decode("utf-8", "backslashreplace"))
    return f"* received {frame.opcode.name} {payload!r}"


def ending(transport: WSTransport) -> List[str]:
    """Return both CLOSE frames and the cause."""
    lines = []
    handshake = transport.close_handshake
    if handshake is not None:
        frames = [("received", handshake.recv), ("sent", handshake.sent)]
        if not handshake.recv_then_sent:
            frames.reverse()
        lines += [f"* {verb} CLOSE: {info}" for verb, info in frames if info is not None]
    return [*lines, f"* disconnected: {transport.disconnect_cause}"]


def _head(sign: str, raw: Optional[bytes]) -> List[str]:
    text = (raw or b"").decode("utf-8", "backslashreplace").rstrip("\r\n")
    # A line feed alone must not begin a line without the sign.
    return [f"{sign} {line}" for line in _LINE_END.split(text)] if text else []


def _tls_of(transport: WSTransport) -> str:
    below = transport.underlying_transport
    cipher = None if below is None else below.get_extra_info("cipher")
    return "" if cipher is None else f" by {cipher[1]}, {cipher[0]}"
