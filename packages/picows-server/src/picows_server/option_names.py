"""What to write instead of other libraries' options."""

from __future__ import annotations

from picows_codec.option_names import COROUTINE_MEANINGS, LISTENER_NAMES, SHARED_MEANINGS

__all__ = ["MEANINGS", "RUN_MEANINGS", "SERVE_MEANINGS"]

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
_PATH = "it is a part of the URL, ws://host:port/path; that of a Unix socket is unix_path="
_CLOSE = "call server.close(), whose argument close_clients is True by default"
_OF_CLIENTS = "it is an option of ws_connect"
_OPEN = "write websocket_handshake_timeout= (seconds)"
_PROXY = (
    "write trusted_proxies=, networks from which proxies connect, with forwarded_header= or"
    " proxy_protocol=True"
)
_OF_ASGI = "it is an argument of picows_server.asgi.asgi_listener"

_HANDLER = f"{_FACTORY}; for a coroutine function write serve(handler, url)"

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
    "root_path": _OF_ASGI,
    "lifespan": f"{_OF_ASGI}, and of picows_server.run",
    "app": "pass picows_server.asgi.asgi_listener(app) after the URL",
    "workers": "call picows_server.run, which has it",
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
    "path": _PATH,
    "close_connections": _CLOSE,
    "close_clients": _CLOSE,
    "ws_max_size": _SIZE,
    "websocket_max_message_size": _SIZE,
    "ws_max_queue": _QUEUE,
    "open_timeout": _OPEN,
    "timeout": _OPEN,
    "handshake_timeout": _OPEN,
    "ssl_handshake_timeout": _OPEN,
    "shutdown_timeout": "write close_timeout= (seconds)",
    "limit_concurrency": "write max_connections=",
    "handler": _HANDLER,
    "ws_handler": _HANDLER,
    "connection_handler": _HANDLER,
    "uds": "write unix_path=",
    "sockets": "write sock=, which takes one socket or several",
    "keep_alive": "write enable_auto_ping=True; a listening socket of your own is sock=",
    "user_agent_header": "leave it out: a server sends no such header",
    "cookies": _OF_CLIENTS,
    "family": _OF_CLIENTS,
    "local_addr": _OF_CLIENTS,
    "max_redirects": _OF_CLIENTS,
    "proxy": _OF_CLIENTS,
    "proxy_ssl_context": _OF_CLIENTS,
    "server_hostname": _OF_CLIENTS,
    "socket_factory": _OF_CLIENTS,
    "user_agent": _OF_CLIENTS,
}

_TAKES_HANDLER = "the first argument is the handler, a coroutine function"
_RESPONSE = "write process_request=, and return WSUpgradeResponse.create_101_response"
_OF_SERVE = ("handler", "max_queue", "max_queue_bytes", "process_request")


def _meaning_for_serve(meaning: str) -> str:
    return {
        _HANDLER: _TAKES_HANDLER,
        _HEADERS: f"{_RESPONSE}(headers) from it",
        _QUEUE: "write max_queue= (messages)",
    }.get(meaning, meaning)


# The same for ``serve``, which has a handler instead of a listener factory, and a queue.
SERVE_MEANINGS = {
    **{
        name: _meaning_for_serve(meaning)
        for name, meaning in MEANINGS.items()
        if name not in _OF_SERVE
    },
    **COROUTINE_MEANINGS,
    **dict.fromkeys(LISTENER_NAMES, f"call ws_create_server for listeners; {_TAKES_HANDLER} here"),
    "select_subprotocol": f"{_RESPONSE}(headers, subprotocol) from it",
    "uri": "the URL is the second argument, url",
}

# The same for ``run``.
_OF_RUN = (*_OF_SERVE, "lifespan", "loop", "workers")
RUN_MEANINGS = {name: meaning for name, meaning in MEANINGS.items() if name not in _OF_RUN}
RUN_MEANINGS.update(
    ws_handler="write handler=",
    connection_handler="write handler=",
    app="pass it after the URL, as an object or an import string",
    start_serving="leave it out: what is to happen first is lifespan=",
    timeout_graceful_shutdown="write drain_timeout= (seconds)",
    use_uvloop="write loop='uvloop' or loop='asyncio'",
    timeout="write worker_timeout= (seconds)",
    timeout_worker_healthcheck="write worker_timeout= (seconds)",
    limit_max_requests="write max_lifetime= (seconds) or max_rss= (bytes)",
    max_requests="write max_lifetime= (seconds) or max_rss= (bytes)",
    reload="leave it out: use a program that watches files",
)
