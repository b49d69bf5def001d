"""How a connection of ours ended."""

from __future__ import annotations

from typing import NamedTuple

from picows_codec import WSCloseInfo, WSDisconnectCause, WSTransport

__all__ = ["Closing", "cause_of", "closing_of"]


class Closing(NamedTuple):
    """A closing handshake that was completed."""

    received: WSCloseInfo
    sent: WSCloseInfo
    received_first: bool


def cause_of(transport: WSTransport) -> WSDisconnectCause:
    cause = transport.disconnect_cause
    assert cause is not None
    return cause


def closing_of(transport: WSTransport) -> Closing:
    handshake = transport.close_handshake
    assert handshake is not None
    assert handshake.recv is not None
    assert handshake.sent is not None
    return Closing(handshake.recv, handshake.sent, handshake.recv_then_sent)
