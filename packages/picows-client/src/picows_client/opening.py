"""Opening a connection: from hop to hop, until a server accepts or something ends it.

One :class:`Opening` is one call of ``ws_connect``, with its arguments checked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Callable, Optional, Sequence, Tuple

from picows_client.backend import choose_backend, has_readers
from picows_client.dial import dial
from picows_client.logs import Logger
from picows_client.protocol import ClientProtocol
from picows_client.redirects import Headers, headers_for, redirect_url
from picows_client.route import Route
from picows_client.tasks import DeadlinePassed, run_with_deadline
from picows_client.teardown import abandon, abort
from picows_client.tls import TlsSettings, default_ssl_context
from picows_client.tunnel import connect_through
from picows_client.url import WSURL
from picows_codec import (
    ClientHandshake,
    WSHandshakeTimeout,
    WSInvalidStatusError,
    WSOptions,
    WSProxyError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
)

__all__ = ["Opening"]


class Opening:
    """The way to one open connection. The arguments are those of ``ws_connect``, parsed."""

    def __init__(
        self,
        url: WSURL,
        listener_factory: Callable[[WSUpgradeRequest, WSUpgradeResponse], Any],
        *,
        loop: asyncio.AbstractEventLoop,
        logger: Logger,
        options: WSOptions,
        route: Route,
        proxy: Optional[WSURL],
        ssl_context: Optional[ssl.SSLContext],
        proxy_ssl_context: Optional[ssl.SSLContext],
        server_hostname: Optional[str],
        subprotocols: Sequence[str],
        extra_headers: Headers,
        max_redirects: int,
        backend: str,
    ) -> None:
        self._url = url
        self._listener_factory = listener_factory
        self._loop = loop
        self._logger = logger
        self._options = options
        self._route = route
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._proxy_ssl_context = proxy_ssl_context
        self._server_hostname = server_hostname
        self._subprotocols = subprotocols
        self._extra_headers = extra_headers
        self._max_redirects = max_redirects
        self._backend = backend
        # Why the handshake that was under way failed when it was interrupted.
        self._interrupted: Optional[BaseException] = None

    async def run(self) -> Tuple[WSTransport, Any]:
        """Return the open transport and its listener; raises what ``ws_connect`` does."""
        timeout = self._options.websocket_handshake_timeout
        try:
            return await run_with_deadline(self._follow_redirects(), timeout, _discard)
        except DeadlinePassed:
            raise self._take_interrupted() or WSHandshakeTimeout(
                f"no connection to {self._url} within websocket_handshake_timeout={timeout} seconds"
            ) from None

    def _take_interrupted(self) -> Optional[BaseException]:
        interrupted, self._interrupted = self._interrupted, None
        return interrupted

    async def _follow_redirects(self) -> Tuple[WSTransport, Any]:
        url, headers = self._url, self._extra_headers
        redirects = 0
        while True:
            try:
                return await self._open(url, headers)
            except WSInvalidStatusError as error:
                target = redirect_url(url, error) if self._max_redirects else None
                if target is None or not self._is_in_reach(target, url):
                    raise
                if redirects == self._max_redirects:
                    raise WSInvalidStatusError(
                        f"{self._url} led to more than max_redirects={redirects} redirects,"
                        f" the last one to {target}",
                        error.raw_header,
                        error.raw_body,
                        error.response,
                        error.status,
                    ) from error
                self._logger.info("redirected (status %d) to %s", error.status, target)
            redirects += 1
            headers = headers_for(target, url, headers)
            url = target

    def _is_in_reach(self, target: WSURL, url: WSURL) -> bool:
        if self._route.sock is not None:
            return False  # it is used up
        leads_to_one_server = self._route.unix_path is not None and self._proxy is None
        return target.origin == url.origin or not leads_to_one_server

    async def _open(self, url: WSURL, headers: Headers) -> Tuple[WSTransport, Any]:
        """Open a connection to ``url``, without redirects."""
        handshake = ClientHandshake(
            url.target,
            url.host_header,
            self._listener_factory,
            extra_headers=_with_credentials(headers, url),
            subprotocols=self._subprotocols,
            options=self._options,
        )
        proxy_tls = self._tls_of_proxy()
        tls = self._tls_of(url)
        needs_tls = tls is not None or proxy_tls is not None
        backend = choose_backend(self._backend, self._loop, needs_tls)
        protocol = ClientProtocol(
            self._options,
            handshake,
            self._loop,
            self._logger,
            shared_reads=has_readers(self._loop),
        )
        opened = protocol.opened
        sock = await self._dial_first_hop(url)
        try:
            if self._proxy is None:
                await backend.connect(sock, protocol, tls)
            else:
                await connect_through(
                    self._proxy, proxy_tls, url, tls, backend, self._loop, sock, protocol
                )
            # Awaiting the future itself would let a cancellation of this task cancel it.
            await asyncio.wait({opened})
            result = opened.result()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and protocol.is_connected:
                # The handshake knows best what there was of an answer.
                handshake.feed_timeout()
                self._interrupted = handshake.error
            await abandon(protocol, sock)
            raise
        else:
            return result
        finally:
            if not opened.cancel():
                opened.exception()  # seen: asyncio must not report it once more
            # Each of these leads to the exception, whose traceback leads to this frame.
            del handshake, protocol, opened

    async def _dial_first_hop(self, url: WSURL) -> socket.socket:
        if self._proxy is None:
            return await dial(self._loop, url, self._route)
        try:
            return await dial(self._loop, self._proxy, self._route)
        except OSError as error:
            raise WSProxyError(f"cannot reach the proxy {self._proxy}: {error}") from error

    def _tls_of(self, url: WSURL) -> Optional[TlsSettings]:
        if not url.is_secure:
            return None
        if self._ssl_context is None:
            self._ssl_context = default_ssl_context()
        name = self._server_hostname
        if name is None or url.origin != self._url.origin:
            name = url.bare_host
        return TlsSettings(self._ssl_context, name, self._options.close_timeout)

    def _tls_of_proxy(self) -> Optional[TlsSettings]:
        if self._proxy is None or self._proxy.scheme != "https":
            return None
        if self._proxy_ssl_context is None:
            self._proxy_ssl_context = default_ssl_context()
        return TlsSettings(
            self._proxy_ssl_context, self._proxy.bare_host, self._options.close_timeout
        )


def _with_credentials(headers: Headers, url: WSURL) -> Headers:
    """Add the URL's user and password, unless a redirect's are not wanted: the caller's win."""
    credentials = url.basic_credentials
    if credentials is None or any(name.lower() == "authorization" for name, _ in headers):
        return headers
    return [*headers, ("Authorization", credentials)]


async def _discard(result: Tuple[WSTransport, Any]) -> None:
    transport, _ = result
    await abort(transport)
