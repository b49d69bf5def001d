"""Reach a server through a proxy: first the proxy's dialogue, then the connection's transport."""

from __future__ import annotations

import asyncio
import socket
from typing import Optional

from picows_client.backend import Backend
from picows_client.dialogue import SocketDialogue, TransportDialogue
from picows_client.protocol import ClientProtocol
from picows_client.proxy import open_http_tunnel, open_socks_tunnel
from picows_client.redirects import Headers
from picows_client.tls import ClientTls
from picows_client.url import WSURL
from picows_codec import WSProxyError

__all__ = ["connect_through"]


async def connect_through(
    *,
    proxy: WSURL,
    proxy_tls: Optional[ClientTls],
    server: WSURL,
    tls: Optional[ClientTls],
    backend: Backend,
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    protocol: ClientProtocol,
    headers: Headers,
) -> None:
    """Make ``protocol`` talk to ``server`` over ``sock``, which is connected to ``proxy``.

    ``proxy_tls`` is the TLS to the proxy, ``tls`` the TLS to the server. An HTTP proxy gets the
    ``headers``.

    Raises :class:`WSProxyError`, or what the server's TLS raises.
    """
    if proxy_tls is None:
        try:
            if proxy.scheme == "http":
                await open_http_tunnel(SocketDialogue(loop, sock), proxy, server, headers)
            else:
                await open_socks_tunnel(loop, sock, proxy, server)
        except BaseException:
            sock.close()
            raise
        await backend.connect(sock, protocol, tls)
        return
    dialogue = TransportDialogue(loop)
    try:
        try:
            await backend.connect(sock, dialogue, proxy_tls)
        except OSError as error:
            raise WSProxyError(f"no TLS with the proxy {proxy}: {error}") from error
        await open_http_tunnel(dialogue, proxy, server, headers)
        if tls is not None:
            await backend.start_tls(dialogue, protocol, tls)
        else:
            dialogue.hand_over(protocol)
    except BaseException:
        dialogue.abort()
        raise
