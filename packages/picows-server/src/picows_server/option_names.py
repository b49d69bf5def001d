"""What to write instead of other libraries' options."""

from __future__ import annotations

from picows_codec.option_names import SHARED_MEANINGS

__all__ = ["MEANINGS"]

_PINGS = SHARED_MEANINGS["ping_interval"]
_PONGS = SHARED_MEANINGS["ping_timeout"]
_SIZE = SHARED_MEANINGS["max_size"]
_QUEUE = SHARED_MEANINGS["max_queue"]
_FACTORY = SHARED_MEANINGS["handler"]
_TLS = "write ssl_context=, made by create_ssl_context(certfile, keyfile), with a wss:// URL"
_HEADERS = (
    "return WSUpgradeResponseWithListener from the listener factory, with the headers in its"
    " response"
)
_REQUEST = "let the listener factory take one argument, the request, and return"
_SUBPROTOCOL = f"{_REQUEST} WSUpgradeResponseWithListener with the subprotocol of your choice"
_SUBPROTOCOLS = "write subprotocols=, those that the server speaks, best first"
_IN_URL = "it is a part of the URL, ws://host:port"
_OF_CLIENTS = "it is an option of ws_connect"
_OPEN = "write websocket_handshake_timeout= (seconds)"
_PROXY = "let the listener factory take one argument, the request, and read its headers"

# More names of websockets, aiohttp, uvicorn, Tornado, asyncio and older picows.
MEANINGS = {
    **SHARED_MEANINGS,
    "ws_ping_interval": _PINGS,
    "ws_ping_timeout": _PONGS,
    "websocket_ping_interval": _PINGS,
    "websocket_ping_timeout": _PONGS,
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
    "subprotocol": _SUBPROTOCOLS,
    "protocols": _SUBPROTOCOLS,
    "origin": "write origins=, several of them",
    "host": _IN_URL,
    "port": _IN_URL,
    "path": _IN_URL,
    "ws_max_size": _SIZE,
    "websocket_max_message_size": _SIZE,
    "ws_max_queue": _QUEUE,
    "open_timeout": _OPEN,
    "timeout": _OPEN,
    "handshake_timeout": _OPEN,
    "ssl_handshake_timeout": _OPEN,
    "shutdown_timeout": "write close_timeout= (seconds)",
    "limit_concurrency": "write max_connections=",
    "ws_handler": _FACTORY,
    "connection_handler": _FACTORY,
    "uds": "write unix_path=",
    "sockets": "write sock=, which takes one socket or several",
    "keep_alive": "write enable_auto_ping=True; a listening socket of your own is sock=",
    "user_agent_header": "leave it out: a server sends no such header",
    "family": _OF_CLIENTS,
    "local_addr": _OF_CLIENTS,
    "max_redirects": _OF_CLIENTS,
    "proxy": _OF_CLIENTS,
    "proxy_ssl_context": _OF_CLIENTS,
    "server_hostname": _OF_CLIENTS,
    "socket_factory": _OF_CLIENTS,
    "user_agent": _OF_CLIENTS,
}
