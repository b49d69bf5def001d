"""What to write instead of an option that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Mapping, Sequence

__all__ = [
    "CONNECTION_MEANINGS",
    "COROUTINE_MEANINGS",
    "LISTENER_NAMES",
    "SHARED_MEANINGS",
    "explain_option",
]

_PINGS = "write enable_auto_ping=True and auto_ping_idle_timeout= (seconds)"
_PONGS = "write enable_auto_ping=True and auto_ping_reply_timeout= (seconds)"
_SIZE = "write max_message_size= and max_frame_size= (bytes)"
_QUEUE = (
    "frames are not queued: on_ws_frame gets each as it arrives; connect (picows_client) and serve"
    " (picows_server) queue messages"
)
_FACTORY = "pass a listener class or a callable that makes a listener, after the URL"
_CALLBACK = "write it as a method of the listener"
_COMPRESSION = 'write compression="deflate" or compression=WSPermessageDeflate(...)'

# What websockets, aiohttp, uvicorn, Tornado, asyncio and older picows call an option of WSOptions.
CONNECTION_MEANINGS = {
    "ping_interval": _PINGS,
    "ping_timeout": _PONGS,
    "heartbeat": _PINGS,
    "auto_ping_interval": _PINGS,
    "keepalive": _PINGS,
    "autoping": "write enable_auto_pong=, which answers pings",
    "max_size": _SIZE,
    "max_msg_size": _SIZE,
    "read_limit": "write read_buffer_init_size= (bytes)",
    "writer_limit": "set write_high_watermark= and write_low_watermark= (bytes)",
    "write_limit": "set write_high_watermark= and write_low_watermark= (bytes)",
    "ssl_shutdown_timeout": "write close_timeout= (seconds)",
    "receive_timeout": "write data_timeout= (seconds)",
}

# More names that mean the same on a client and on a server.
SHARED_MEANINGS = {
    **CONNECTION_MEANINGS,
    "autoclose": "leave it out: CLOSE frames are answered, after on_ws_frame has seen them",
    "uri": "the URL is the first argument, url",
    "max_queue": _QUEUE,
    "max_queue_bytes": _QUEUE,
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
    "on_message": f"{_CALLBACK}, on_ws_frame or on_ws_message",
    "on_close": f"{_CALLBACK}, on_ws_disconnected",
    "loop": "leave it out: the running loop is used",
    "unix": "write unix_path=",
    "use_aiofastnet": 'write backend="aiofastnet", or backend="loop" for False',
}

# What is another matter for ``connect`` and ``serve``, which have coroutines instead of a listener.
COROUTINE_MEANINGS = {
    "autoping": "leave it out: pings are answered, and neither pings nor pongs are received",
    "autoclose": "leave it out: CLOSE frames are answered",
    "decode_text": "write recv(decode=False), which returns bytes",
    "receive_timeout": (
        "write asyncio.wait_for(connection.recv(), seconds), which loses nothing, or data_timeout="
        " (seconds), which ends the connection"
    ),
}

# Names of functions and classes that are called for whatever happens, as a listener is.
LISTENER_NAMES = (
    *("create_connection", "create_protocol", "klass", "listener", "listener_factory"),
    *("on_message", "on_close", "on_open", "on_error", "on_message_callback", "protocol_factory"),
    "ws_listener_factory",
)


def explain_option(name: str, known: Sequence[str], meanings: Mapping[str, str]) -> str:
    """Return the name with what to write instead, or with the name that it resembles.

    ``meanings`` has names of other libraries, each with a phrase that says what to write.
    """
    meaning = meanings.get(name)
    if meaning is not None:
        return f"{name!r}: {meaning}"
    similar = get_close_matches(name, [*known, *meanings], n=1)
    if not similar:
        return repr(name)
    if similar[0] in known:
        return f"{name!r}: did you mean {similar[0]!r}?"
    return f"{name!r}: if you mean {similar[0]!r}: {meanings[similar[0]]}"
