"""What options of other libraries are called here."""

from __future__ import annotations

__all__ = ["MEANINGS"]

_PINGS = "write enable_auto_ping=True and auto_ping_idle_timeout= (seconds)"
_PONGS = "write enable_auto_ping=True and auto_ping_reply_timeout= (seconds)"
_TLS = "write ssl_context=, made by create_ssl_context(certfile, keyfile), with a wss:// URL"
_HEADERS = (
    "return WSUpgradeResponseWithListener from the listener factory, with the headers in its"
    " response"
)
_REQUEST = "let the listener factory take one argument, the request, and return"
_SUBPROTOCOL = f"{_REQUEST} WSUpgradeResponseWithListener with the subprotocol of your choice"
_IN_URL = "it is a part of the URL, ws://host:port"
_OPEN = "write websocket_handshake_timeout= (seconds)"
_SIZE = "write max_message_size= and max_frame_size= (bytes)"
_QUEUE = "frames are not queued: on_ws_frame gets each as it arrives"
_FACTORY = "pass a listener class or a callable that makes a listener, after the URL"
_CALLBACK = "write it as a method of the listener"
_COMPRESSION = "leave it out: frames are not compressed"
_PROXY = f"{_REQUEST} what its headers (X-Forwarded-For, ...) are worth"

# Names of websockets, aiohttp, uvicorn, Tornado, asyncio and older picows.
MEANINGS = {
    "ping_interval": _PINGS,
    "ping_timeout": _PONGS,
    "heartbeat": _PINGS,
    "auto_ping_interval": _PINGS,
    "keepalive": _PINGS,
    "ws_ping_interval": _PINGS,
    "ws_ping_timeout": _PONGS,
    "websocket_ping_interval": _PINGS,
    "websocket_ping_timeout": _PONGS,
    "autoping": "write enable_auto_pong=, which answers pings",
    "autoclose": "leave it out: CLOSE frames are answered, after on_ws_frame has seen them",
    "ssl": _TLS,
    "ssl_options": _TLS,
    "tls": _TLS,
    "certfile": _TLS,
    "keyfile": _TLS,
    "ssl_certfile": _TLS,
    "ssl_keyfile": _TLS,
    "headers": _HEADERS,
    "extra_headers": _HEADERS,
    "additional_headers": _HEADERS,
    "server_header": _HEADERS,
    "proxy_headers": _PROXY,
    "forwarded_allow_ips": _PROXY,
    "process_request": f"{_REQUEST} a listener, a WSUpgradeResponse to refuse, or None for 404",
    "process_response": _HEADERS,
    "select_subprotocol": _SUBPROTOCOL,
    "subprotocols": _SUBPROTOCOL,
    "subprotocol": _SUBPROTOCOL,
    "protocols": _SUBPROTOCOL,
    "origin": f"{_REQUEST} WSUpgradeResponse.create_error_response(403) for other origins",
    "origins": f"{_REQUEST} WSUpgradeResponse.create_error_response(403) for other origins",
    "host": _IN_URL,
    "port": _IN_URL,
    "path": _IN_URL,
    "uri": "the URL is the first argument, url",
    "max_size": _SIZE,
    "max_msg_size": _SIZE,
    "ws_max_size": _SIZE,
    "websocket_max_message_size": _SIZE,
    "max_queue": _QUEUE,
    "ws_max_queue": _QUEUE,
    "read_limit": "write read_buffer_init_size= (bytes)",
    "write_limit": "write write_high_watermark= and write_low_watermark= (bytes)",
    "open_timeout": _OPEN,
    "timeout": _OPEN,
    "handshake_timeout": _OPEN,
    "ssl_handshake_timeout": _OPEN,
    "ssl_shutdown_timeout": "write close_timeout= (seconds)",
    "shutdown_timeout": "write close_timeout= (seconds)",
    "receive_timeout": "write data_timeout= (seconds)",
    "limit_concurrency": "write max_connections=",
    "compression": _COMPRESSION,
    "compress": _COMPRESSION,
    "compression_options": _COMPRESSION,
    "extensions": _COMPRESSION,
    "logger": "write logger_name=, which takes a name or a logger",
    "create_protocol": _FACTORY,
    "create_connection": _FACTORY,
    "klass": _FACTORY,
    "protocol_factory": _FACTORY,
    "ws_listener_factory": _FACTORY,
    "listener": _FACTORY,
    "handler": _FACTORY,
    "ws_handler": _FACTORY,
    "connection_handler": _FACTORY,
    "on_message": f"{_CALLBACK}, on_ws_frame or on_ws_message",
    "on_close": f"{_CALLBACK}, on_ws_disconnected",
    "loop": "leave it out: the running loop is used",
    "unix": "write unix_path=",
    "uds": "write unix_path=",
    "sockets": "write sock=, which takes one socket or several",
    "keep_alive": "write enable_auto_ping=True; a listening socket of your own is sock=",
    "user_agent_header": "leave it out: a server sends no such header",
}
