"""What options of other libraries are called here."""

from __future__ import annotations

__all__ = ["MEANINGS"]

_PINGS = "write enable_auto_ping=True and auto_ping_idle_timeout= (seconds)"
_PONGS = "write enable_auto_ping=True and auto_ping_reply_timeout= (seconds)"
_TLS = "write ssl_context=, an ssl.SSLContext, with a wss:// URL"
_HEADERS = "write extra_headers= (a mapping or pairs)"
_IN_URL = "it is a part of the URL, ws://host:port/path"
_DIAL = "write websocket_handshake_timeout= (seconds), which covers everything"
_SIZE = "write max_message_size= and max_frame_size= (bytes)"
_QUEUE = "frames are not queued: on_ws_frame gets each as it arrives"
_FACTORY = "pass a listener class or a callable that makes a listener, after the URL"
_CALLBACK = "write it as a method of the listener"
_COMPRESSION = "leave it out: frames are not compressed"
_CERTIFICATES = "write ssl_context=, with the certificates loaded into it"

# Names of websockets, aiohttp, websocket-client, Tornado, asyncio and older picows.
MEANINGS = {
    "ping_interval": _PINGS,
    "ping_timeout": _PONGS,
    "heartbeat": _PINGS,
    "auto_ping_interval": _PINGS,
    "keepalive": _PINGS,
    "keepalive_interval": _PINGS,
    "autoping": "write enable_auto_pong=, which answers pings",
    "autoclose": "leave it out: CLOSE frames are answered, after on_ws_frame has seen them",
    "ssl": _TLS,
    "sslopt": _TLS,
    "ssl_options": _TLS,
    "tls": _TLS,
    "certfile": _CERTIFICATES,
    "keyfile": _CERTIFICATES,
    "ca_certs": _CERTIFICATES,
    "verify_ssl": "write ssl_context=, with check_hostname and verify_mode set",
    "fingerprint": "write ssl_context=, and look at the certificate in on_ws_connected",
    "proxy_ssl": "write proxy_ssl_context=",
    "headers": _HEADERS,
    "header": _HEADERS,
    "additional_headers": _HEADERS,
    "proxy_headers": "put user and password into the URL of proxy=",
    "proxy_auth": "put user and password into the URL of proxy=",
    "auth": "put user and password into the URL, or write extra_headers= with Authorization",
    "cookie": "write extra_headers= with Cookie",
    "cookies": "write extra_headers= with Cookie",
    "origin": "write extra_headers= with Origin",
    "user_agent_header": "write user_agent=",
    "protocols": "write subprotocols= (an iterable of str)",
    "subprotocol": "write subprotocols= (an iterable of str)",
    "host": _IN_URL,
    "port": _IN_URL,
    "path": _IN_URL,
    "uri": "the URL is the first argument, url",
    "params": _IN_URL,
    "max_size": _SIZE,
    "max_msg_size": _SIZE,
    "max_queue": _QUEUE,
    "read_limit": "write read_buffer_init_size= (bytes)",
    "write_limit": "write write_high_watermark= and write_low_watermark= (bytes)",
    "open_timeout": _DIAL,
    "timeout": _DIAL,
    "connect_timeout": _DIAL,
    "handshake_timeout": _DIAL,
    "ssl_handshake_timeout": _DIAL,
    "ssl_shutdown_timeout": "write close_timeout= (seconds)",
    "closing_timeout": "write close_timeout= (seconds)",
    "receive_timeout": "write data_timeout= (seconds)",
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
    "on_open": f"{_CALLBACK}, on_ws_connected",
    "on_message": f"{_CALLBACK}, on_ws_frame or on_ws_message",
    "on_message_callback": f"{_CALLBACK}, on_ws_frame or on_ws_message",
    "on_close": f"{_CALLBACK}, on_ws_disconnected",
    "on_error": f"{_CALLBACK}, on_ws_disconnected, and look at transport.disconnect_cause",
    "process_exception": "catch what ws_connect raises, and call it again",
    "loop": "leave it out: the running loop is used",
    "unix": "write unix_path=",
    "server_name": "write server_hostname=",
    "http_proxy_host": "write proxy=, a URL",
    "http_proxy_port": "write proxy=, a URL",
    "follow_redirects": "write max_redirects= (a number; 0 for none)",
    "allow_redirects": "write max_redirects= (a number; 0 for none)",
    "happy_eyeballs_delay": "leave it out: addresses are tried a quarter of a second apart",
    "interleave": "leave it out: addresses of both families take turns",
    "decode_text": "ask each frame: get_payload_as_utf8_text() or get_payload_as_bytes()",
}
