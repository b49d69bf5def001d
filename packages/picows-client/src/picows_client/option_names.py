"""What to write instead of other libraries' options."""

from __future__ import annotations

from picows_codec.option_names import COROUTINE_MEANINGS, LISTENER_NAMES, SHARED_MEANINGS

__all__ = ["CONNECT_MEANINGS", "KEEP_CONNECTED_MEANINGS", "MEANINGS"]

_TLS = "write ssl_context=, an ssl.SSLContext, with a wss:// URL"
_HEADERS = "write extra_headers= (a mapping or pairs)"
_IN_URL = "it is a part of the URL, ws://host:port/path"
_DIAL = "write websocket_handshake_timeout= (seconds), which covers everything"
_CALLBACK = "write it as a method of the listener"
_OF_SERVERS = "it is an option of ws_create_server"
_RECONNECTING = "call ws_keep_connected, with retry= and backoff="
_RECONNECTING_TO = "write async for ws in connect(...), with retry= and backoff="
_OF_LINKS = "it is an option of ws_keep_connected, which connects again"
_LISTENER = "call ws_connect, to which you pass a listener"
_HTTPS_PROXY = "write proxy_ssl_context="
_CERTIFICATES = "write ssl_context=, with the certificates loaded into it"

_NAMES_FOR_RECONNECTING = (
    *("process_exception", "reconnect_delays", "auto_reconnect", "reconnect", "max_retries"),
    *("retries", "retry_delay", "reconnect_interval", "on_reconnect"),
)
_OPTIONS_OF_LINKS = ("backoff", "retry", "max_attempts", "max_elapsed", "on_change")

# More names of websockets, aiohttp, websocket-client, Tornado, asyncio and older picows.
MEANINGS = {
    **SHARED_MEANINGS,
    "keepalive_interval": SHARED_MEANINGS["keepalive"],
    "ssl": _TLS,
    "sslopt": _TLS,
    "ssl_options": _TLS,
    "tls": _TLS,
    "certfile": _CERTIFICATES,
    "keyfile": _CERTIFICATES,
    "ca_certs": _CERTIFICATES,
    "verify_ssl": "write ssl_context=, with check_hostname and verify_mode set",
    "fingerprint": "write ssl_context=, and look at the certificate in on_ws_connected",
    "proxy_ssl": _HTTPS_PROXY,
    "proxy_server_hostname": _HTTPS_PROXY,
    "proxy_ssl_handshake_timeout": _DIAL,
    "proxy_ssl_shutdown_timeout": SHARED_MEANINGS["ssl_shutdown_timeout"],
    "headers": _HEADERS,
    "header": _HEADERS,
    "additional_headers": _HEADERS,
    "proxy_auth": "put user and password into the URL of proxy=",
    "auth": "put user and password into the URL, or write extra_headers= with Authorization",
    "cookie": "write cookies= (a mapping or an http.cookiejar.CookieJar)",
    "cookie_jar": "write cookies= (a mapping or an http.cookiejar.CookieJar)",
    "origin": "write extra_headers= with Origin",
    "user_agent_header": "write user_agent=",
    "protocols": "write subprotocols= (an iterable of str)",
    "subprotocol": "write subprotocols= (an iterable of str)",
    "host": _IN_URL,
    "port": _IN_URL,
    "path": _IN_URL,
    "params": _IN_URL,
    "open_timeout": _DIAL,
    "timeout": _DIAL,
    "connect_timeout": _DIAL,
    "handshake_timeout": _DIAL,
    "ssl_handshake_timeout": _DIAL,
    "closing_timeout": "write close_timeout= (seconds)",
    "on_open": f"{_CALLBACK}, on_ws_connected",
    "on_message_callback": SHARED_MEANINGS["on_message"],
    "on_error": f"{_CALLBACK}, on_ws_disconnected, and look at transport.disconnect_cause",
    **dict.fromkeys(_NAMES_FOR_RECONNECTING, _RECONNECTING),
    **dict.fromkeys(
        _OPTIONS_OF_LINKS, "it is an option of ws_keep_connected, which connects again"
    ),
    "session": "leave it out: a connection needs none",
    "trust_env": "write proxy=True, which takes the proxy from the environment",
    "method": "leave it out: it is always GET (RFC 6455, 4.1)",
    "server_name": "write server_hostname=",
    "http_proxy_host": "write proxy=, a URL",
    "http_proxy_port": "write proxy=, a URL",
    "follow_redirects": "write max_redirects= (a number; 0 for none)",
    "allow_redirects": "write max_redirects= (a number; 0 for none)",
    "happy_eyeballs_delay": "leave it out: addresses are tried a quarter of a second apart",
    "interleave": "leave it out: addresses of both families are tried alternately",
    "decode_text": "ask each frame: get_payload_as_utf8_text() or get_payload_as_bytes()",
    "access_log": _OF_SERVERS,
    "backlog": _OF_SERVERS,
    "forwarded_header": _OF_SERVERS,
    "max_connections": _OF_SERVERS,
    "max_pending_handshakes": _OF_SERVERS,
    "origins": _OF_SERVERS,
    "proxy_protocol": _OF_SERVERS,
    "reuse_address": _OF_SERVERS,
    "reuse_port": _OF_SERVERS,
    "start_serving": _OF_SERVERS,
    "trusted_proxies": _OF_SERVERS,
    "when_full": _OF_SERVERS,
}

# The same for ``connect``, which has a queue.
CONNECT_MEANINGS = {
    **{
        name: meaning
        for name, meaning in MEANINGS.items()
        if name not in {"max_queue", "max_queue_bytes", *_OPTIONS_OF_LINKS}
    },
    **COROUTINE_MEANINGS,
    **dict.fromkeys(LISTENER_NAMES, _LISTENER),
    **dict.fromkeys(_NAMES_FOR_RECONNECTING, _RECONNECTING_TO),
    "on_change": _OF_LINKS,
    "fingerprint": (
        "write ssl_context=, and look at the certificate of"
        " connection.transport.underlying_transport"
    ),
    "handler": "it is an option of serve",
    "process_request": "it is an option of serve",
}

# The same for ``ws_keep_connected``, which connects again by itself.
KEEP_CONNECTED_MEANINGS = {
    **{name: meaning for name, meaning in MEANINGS.items() if name not in _OPTIONS_OF_LINKS},
    **dict.fromkeys(_NAMES_FOR_RECONNECTING, "write retry=, backoff= and max_attempts="),
    "on_reconnect": f"{_CALLBACK}, on_ws_connected",
    "sock": "write socket_factory=, because a socket serves one connection only",
}
