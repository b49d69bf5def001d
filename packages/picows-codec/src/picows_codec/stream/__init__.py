"""The fast lane for plain sockets: an asyncio-shaped transport that drives an endpoint in C.

Readiness comes from the loop (``add_reader``, ``add_writer``) or, for a server's many connections,
from one epoll descriptor of our own, so that one event of the loop serves a whole batch. From
there to the listener's callback no Python function is called.

POSIX only: on Windows this package cannot be imported.
"""

from __future__ import annotations

from picows_codec.stream.poller import Poller
from picows_codec.stream.socket_view import SocketView
from picows_codec.stream.transport import StreamTransport, attach

__all__ = ["Poller", "SocketView", "StreamTransport", "attach"]
