"""Opening a connection: from hop to hop, until a server accepts or something fails.

One :class:`Opening` is one call of ``ws_connect``, with its arguments checked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Optional, Tuple, TypeVar

from picows_client.backend import choose_backend
from picows_client.dial import attempt_at_once, dial
from picows_client.logs import Logger
from picows_client.protocol import ClientProtocol
from picows_client.redirects import Headers, headers_for, redirect_url
from picows_client.settings import Settings
from picows_client.tasks import DeadlinePassed, run_with_deadline, undisturbed
from picows_client.teardown import abandon
from picows_client.tls import ClientTls, encoded_server_name
from picows_client.trust import DEFAULT_TRUST
from picows_client.tunnel import connect_through
from picows_client.url import WSURL
from picows_codec import (
    ClientHandshake,
    WSHandshakeTimeout,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSProxyError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
)
from picows_codec.deadlines import time_left
from picows_codec.readiness import has_readers

if TYPE_CHECKING:
    from picows_client.cookies import CallCookies

__all__ = ["Opening"]

T = TypeVar("T")


class Opening:
    """The steps to one open connection. The arguments are those of ``ws_connect``, parsed."""

    def __init__(
        self,
        url: WSURL,
        listener_factory: Callable[[WSUpgradeRequest, WSUpgradeResponse], Any],
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        logger: Logger,
        ssl_context: Optional[ssl.SSLContext],
        proxy_ssl_context: Optional[ssl.SSLContext],
        cookies: Optional[CallCookies],
    ) -> None:
        self._url = url
        self._listener_factory = listener_factory
        self._settings = settings
        self._loop = loop
        self._logger = logger
        self._ssl_context = ssl_context
        self._proxy_ssl_context = proxy_ssl_context
        self._cookies = cookies
        timeout = settings.options.websocket_handshake_timeout
        self._deadline = None if timeout is None else loop.time() + timeout

    async def run(self) -> Tuple[WSTransport, Any]:
        """Return the open transport and its listener; raises what ``ws_connect`` does."""
        url, headers = self._url, self._settings.extra_headers
        redirects = 0
        while True:
            try:
                return await self._open(url, headers)
            except WSInvalidStatusError as error:
                if self._cookies is not None and error.response is not None:
                    self._cookies.take(url, error.response)
                target = redirect_url(url, error) if self._settings.max_redirects else None
                if target is None or not self._is_in_reach(target, url):
                    raise
                if redirects == self._settings.max_redirects:
                    raise WSInvalidStatusError(
                        f"{self._url.for_log} led to more than max_redirects={redirects} redirects,"
                        f" the last one to {target.for_log}",
                        error.raw_header,
                        error.raw_body,
                        error.response,
                        error.status,
                    ) from error
                self._logger.info(
                    "%s: redirected (status %d) to %s",
                    url.host_and_port,
                    error.status,
                    target.for_log,
                )
            redirects += 1
            headers = headers_for(target, url, headers)
            url = target

    def _is_in_reach(self, target: WSURL, url: WSURL) -> bool:
        if self._settings.first_hop.sock is not None:
            return False  # it is used up
        is_unix = self._settings.first_hop.unix_path is not None
        leads_to_one_server = is_unix and self._settings.proxy_for(target) is None
        return target.origin == url.origin or not leads_to_one_server

    async def _open(self, url: WSURL, headers: Headers) -> Tuple[WSTransport, Any]:
        """Open a connection to ``url``, without redirects."""
        listener_factory = self._listener_factory
        if self._cookies is not None:
            headers = self._cookies.added_to(headers, url)
            listener_factory = self._cookies.taking(url, listener_factory)
        handshake = ClientHandshake(
            url.target,
            url.host_header,
            listener_factory,
            self._settings.options,
            _with_credentials(headers, url),
            self._settings.subprotocols,
        )
        proxy = self._settings.proxy_for(url)
        proxy_tls = None if proxy is None else await self._tls_of_proxy(proxy)
        tls = await self._tls_of(url)
        contexts = [settings.context for settings in (proxy_tls, tls) if settings is not None]
        backend = choose_backend(self._settings.backend, self._loop, contexts, self._logger)
        protocol = ClientProtocol(
            self._settings.options,
            handshake,
            self._loop,
            self._logger,
            shared_reads=has_readers(self._loop),
            handshake_deadline=self._deadline,
        )
        opened = protocol.opened
        try:
            sock = await self._dial_first_hop(url, proxy)
        except BaseException:
            protocol.give_up()  # it and its WSTransport refer to each other
            raise
        try:
            if contexts:  # again, because callbacks may have been set on them meanwhile
                backend = choose_backend(self._settings.backend, self._loop, contexts, self._logger)
            if proxy is not None:
                await self._in_time(
                    connect_through(
                        proxy=proxy,
                        proxy_tls=proxy_tls,
                        server=url,
                        tls=tls,
                        backend=backend,
                        loop=self._loop,
                        sock=sock,
                        protocol=protocol,
                        headers=_headers_for_proxy(self._settings.proxy_headers, headers),
                    )
                )
            elif backend.connects_at_once:
                await backend.connect(sock, protocol, tls)
            else:
                await self._in_time(backend.connect(sock, protocol, tls))
            return await opened  # the endpoint knows the deadline
        except BaseException as error:
            if isinstance(error, WSInvalidMessageError) and tls is None and not error.raw_header:
                # A server that speaks TLS drops a plain request without a response.
                error.args = (f"{error} (does {url.host_and_port} want TLS? Then use wss://)",)
            # A second cancellation must not leave half of it behind.
            await undisturbed(abandon(protocol, sock))
            raise
        finally:
            if not opened.cancel() and not opened.cancelled():
                opened.exception()  # retrieved, so that asyncio does not report it once more
            # A reference cycle: each refers to the exception, whose traceback has this frame.
            del handshake, protocol, opened

    async def _dial_first_hop(self, url: WSURL, proxy: Optional[WSURL]) -> socket.socket:
        if proxy is not None:
            return await self._in_time(self._dial_proxy(proxy), socket.socket.close)
        attempt = (
            attempt_at_once(url, self._settings.first_hop) if has_readers(self._loop) else None
        )
        if attempt is None:
            return await self._in_time(
                dial(self._loop, url, self._settings.first_hop), socket.socket.close
            )
        if not attempt.is_connected:
            try:
                await self._in_time(attempt.finish(self._loop))
            except BaseException:
                attempt.sock.close()
                raise
        return attempt.sock

    async def _dial_proxy(self, proxy: WSURL) -> socket.socket:
        try:
            return await dial(self._loop, proxy, self._settings.first_hop)
        except OSError as error:
            raise WSProxyError(f"cannot reach the proxy {proxy}: {error}") from error

    async def _in_time(
        self, work: Coroutine[Any, Any, T], discard: Callable[[T], object] = lambda _: None
    ) -> T:
        """Run a step that may take long within the time that is left."""
        left = None
        if self._deadline is not None:
            # If an earlier step ended after the deadline, the loop was blocked: it gives time back.
            left = time_left(self._deadline, self._loop.time())
        try:
            return await run_with_deadline(work, left, discard)
        except DeadlinePassed:
            raise WSHandshakeTimeout(
                f"no connection to {self._url.for_log} within websocket_handshake_timeout="
                f"{self._settings.options.websocket_handshake_timeout} seconds"
            ) from None

    async def _tls_of(self, url: WSURL) -> Optional[ClientTls]:
        if not url.is_secure:
            return None
        if self._ssl_context is None:
            self._ssl_context = await self._default_context()
        name = self._settings.server_hostname
        if name is None or url.origin != self._url.origin:
            name = url.bare_host
        return ClientTls(
            self._ssl_context,
            encoded_server_name(name),
            self._settings.options.close_timeout,
            url.host_and_port,
        )

    async def _tls_of_proxy(self, proxy: WSURL) -> Optional[ClientTls]:
        if proxy.scheme != "https":
            return None
        if self._proxy_ssl_context is None:
            self._proxy_ssl_context = await self._default_context()
        return ClientTls(
            self._proxy_ssl_context,
            proxy.bare_host,
            self._settings.options.close_timeout,
            proxy.host_and_port,
        )

    async def _default_context(self) -> ssl.SSLContext:
        context = DEFAULT_TRUST.kept()
        if context is None:
            context = await self._in_time(DEFAULT_TRUST.load(self._loop))
        return context


def _with_credentials(headers: Headers, url: WSURL) -> Headers:
    """Add the URL's user and password, unless the caller has passed an Authorization header."""
    credentials = url.basic_credentials
    if credentials is None or any(name.lower() == "authorization" for name, _ in headers):
        return headers
    return [*headers, ("Authorization", credentials)]


def _headers_for_proxy(proxy_headers: Headers, headers: Headers) -> Headers:
    """Add the User-Agent of the upgrade request, unless the proxy is to get another one."""
    if any(name.lower() == "user-agent" for name, _ in proxy_headers):
        return proxy_headers
    return [*proxy_headers, *(pair for pair in headers if pair[0].lower() == "user-agent")]
