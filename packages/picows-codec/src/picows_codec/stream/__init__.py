"""The fast path for plain sockets: an asyncio transport that drives an endpoint in C.

Readiness comes from the loop (``add_reader``, ``add_writer``) or, for a server's many connections,
from one epoll descriptor of our own, so that one event of the loop serves many connections. No
Python function is called between that event and the listener's callback.

POSIX only: on Windows this package cannot be imported.
"""

from __future__ import annotations

from picows_codec.stream.poller import Poller
from picows_codec.stream.socket_view import SocketView
from picows_codec.stream.transport import StreamTransport, attach

__all__ = ["Poller", "SocketView", "StreamTransport", "attach"]
