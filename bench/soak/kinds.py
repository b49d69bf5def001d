"""The kinds of connections: how each lives, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Tuple

from bench.soak.listeners import FLOOD_SIZE, ClientListener
from bench.soak.run import HANDSHAKE_TIMEOUT, PATIENCE, Kinds, Soak
from picows_codec import WSCloseCode, WSDisconnectKind, WSMsgType, WSTransport

FLOOD_COUNT = 150
ENDLESS_FLOOD_COUNT = 4000

# Connections of our client, and how they end


async def connection_that_lived(soak: Soak, number: int) -> Tuple[WSTransport, ClientListener]:
    """Let a connection send and receive for a while; it sends no more then."""
    transport, listener = await soak.connect(number)
    listener.start()
    await soak.live()
    listener.is_sending = False
    return transport, listener


async def closed_by_client(soak: Soak, number: int) -> None:
    """The client sends CLOSE after its last message, and gets all echoes before the server's."""
    transport, listener = await connection_that_lived(soak, number)
    transport.send_close(WSCloseCode.NORMAL_CLOSURE, "enough")
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_CLOSE)
    soak.check_complete(listener, await soak.server_gone(number, WSDisconnectKind.PEER_CLOSE))


async def closed_by_server(soak: Soak, number: int) -> None:
    """The server sends CLOSE after its last echo."""
    transport, listener = await connection_that_lived(soak, number)
    transport.send(WSMsgType.TEXT, "!close")
    await soak.client_gone(transport, listener, WSDisconnectKind.PEER_CLOSE)
    soak.check_complete(listener, await soak.server_gone(number, WSDisconnectKind.LOCAL_CLOSE))


async def disconnected_by_client(soak: Soak, number: int) -> None:
    """The client calls disconnect(): it gets no more echoes, but the server gets every message."""
    transport, listener = await connection_that_lived(soak, number)
    transport.disconnect()
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_CLOSE)
    server = await soak.server_gone(number, WSDisconnectKind.PEER_CLOSE)
    soak.tally.check(server.received == listener.sent, "server lost", listener.sent, number)


async def aborted_by_client(soak: Soak, number: int) -> None:
    """The client drops the connection."""
    transport, listener = await connection_that_lived(soak, number)
    transport.disconnect(graceful=False)
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_ABORT)
    server = await soak.server_gone(number, WSDisconnectKind.CONNECTION_LOST)
    soak.tally.check(server.received <= listener.sent, "server got more than was sent", number)


async def aborted_by_server(soak: Soak, number: int) -> None:
    """The server drops the connection."""
    transport, listener = await connection_that_lived(soak, number)
    transport.send(WSMsgType.TEXT, "!abort")
    await soak.client_gone(transport, listener, WSDisconnectKind.CONNECTION_LOST)
    await soak.server_gone(number, WSDisconnectKind.LOCAL_ABORT)


async def reset_by_client(soak: Soak, number: int) -> None:
    """The connection is reset."""
    transport, listener = await connection_that_lived(soak, number)
    sock = transport.underlying_transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.disconnect(graceful=False)
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_ABORT)
    await soak.server_gone(number, WSDisconnectKind.CONNECTION_LOST)


async def slow_reader(soak: Soak, number: int) -> None:
    """The client lets the server's messages wait for a while, and gets them all in the end."""
    transport, listener = await soak.connect(number)
    listener.expected.extend((index, FLOOD_SIZE, WSMsgType.BINARY) for index in range(FLOOD_COUNT))
    listener.drained = soak.loop.create_future()
    transport.underlying_transport.pause_reading()
    transport.send(WSMsgType.TEXT, f"!flood {FLOOD_COUNT}")
    await asyncio.sleep(soak.choice.uniform(0.2, 2.0))
    transport.underlying_transport.resume_reading()
    await asyncio.wait_for(listener.drained, PATIENCE)
    soak.tally.check(listener.received == FLOOD_COUNT, "slow reader got", listener.received)
    transport.send_close()
    await soak.client_gone(transport, listener, WSDisconnectKind.LOCAL_CLOSE)
    await soak.server_gone(number, WSDisconnectKind.PEER_CLOSE)


# Peers that misbehave


async def never_reads(soak: Soak, number: int) -> None:
    """The server gives up on a peer that reads nothing."""
    async with soak.never_reading:
        sock = await soak.raw_connect(number)
        with sock:
            await soak.loop.sock_sendall(sock, masked(0x81, b"!flood %d" % ENDLESS_FLOOD_COUNT))
            await soak.server_gone(number, WSDisconnectKind.SLOW_CONSUMER)


async def stalls_in_handshake(soak: Soak, number: int) -> None:
    """The server does not wait for the rest of a request."""
    sock = await soak.raw_socket()
    with sock:
        await soak.loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: loc"[: number % 25])
        started = soak.loop.time()
        with contextlib.suppress(ConnectionResetError):
            while await soak.loop.sock_recv(sock, 4096):
                pass
        waited = soak.loop.time() - started
        soak.tally.check(waited < HANDSHAKE_TIMEOUT + 5, "half a request is kept for", waited)


async def vanishes_in_frame(soak: Soak, number: int) -> None:
    """The peer vanishes in the middle of a large frame."""
    sock = await soak.raw_connect(number)
    with sock:
        frame = masked(0x82, b"%08x%08x" % (number, 0) + bytes(300_000))
        await soak.loop.sock_sendall(sock, frame[: 1 + number % 200_000])
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await soak.server_gone(number, WSDisconnectKind.CONNECTION_LOST)


async def breaks_protocol(soak: Soak, number: int) -> None:
    """The peer breaks RFC 6455 after a message that is delivered and echoed."""
    sock = await soak.raw_connect(number)
    with sock:
        good = masked(0x81, b"%08x%08x" % (number, 0))
        bad = (masked(0x83, b""), masked(0x81, b"\xff"), b"\x81\x00", masked(0x80, b""))[number % 4]
        await soak.loop.sock_sendall(sock, good + bad)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while True:
                received = await soak.loop.sock_recv(sock, 4096)
                if not received:
                    break
                answer += received
        code = b"\x03\xef" if number % 4 == 1 else b"\x03\xea"
        expected = b"\x81\x10%08x%08x" % (number, 0)
        soak.tally.check(answer.startswith(expected), "not echoed:", answer[:20])
        soak.tally.check(answer[20:22] == code, "answered with", answer[18:])
    await soak.server_gone(number, WSDisconnectKind.PROTOCOL_ERROR)


def masked(first_byte: int, payload: bytes) -> bytes:
    """A frame of a client whose masking key is zero."""
    size = len(payload)
    if size < 126:
        return bytes([first_byte, 0x80 | size, 0, 0, 0, 0]) + payload
    return struct.pack("!BBQI", first_byte, 0xFF, size, 0) + payload


# The kinds of connections, and how often each is chosen
KINDS: Kinds = {
    "closed by the client": (closed_by_client, 30),
    "closed by the server": (closed_by_server, 20),
    "disconnected by the client": (disconnected_by_client, 10),
    "aborted by the client": (aborted_by_client, 8),
    "aborted by the server": (aborted_by_server, 8),
    "reset by the client": (reset_by_client, 8),
    "slow readers": (slow_reader, 4),
    "never reading": (never_reads, 0.5),
    "stalled in the handshake": (stalls_in_handshake, 4),
    "vanished in a frame": (vanishes_in_frame, 4),
    "broke the protocol": (breaks_protocol, 4),
}
