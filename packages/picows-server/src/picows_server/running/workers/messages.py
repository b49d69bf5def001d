"""What supervisor and workers tell each other."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

from picows_server.stats import WSServerStats

__all__ = [
    "Abort",
    "Drain",
    "Failed",
    "Heartbeat",
    "Leaving",
    "Ready",
    "StartWorker",
    "StoppedAccepting",
]


class StartWorker(NamedTuple):
    """The first message to a worker: all that it needs."""

    slot: int
    #: File descriptors of the listening sockets.
    sockets: Tuple[int, ...]
    #: Seconds between two heartbeats.
    heartbeat_interval: float
    #: ``RunSettings``, pickled, because user code has to be imported for them.
    settings: bytes
    #: The script of the user, if the settings refer to it: ("name" or "path", which).
    main_module: Optional[Tuple[str, str]]
    sys_path: List[str]
    argv: List[str]


class Drain(NamedTuple):
    """Drain, and exit then.

    ``grace`` in seconds, None for that of the settings. ``leaves_waiting``: what waits in the queue
    of the sockets is for the worker that comes next.
    """

    grace: Optional[float] = None
    leaves_waiting: bool = False


class Abort(NamedTuple):
    """Drop all connections and exit."""


class Heartbeat(NamedTuple):
    """A worker's loop runs."""

    #: Bytes; None where the platform does not tell.
    rss: Optional[int]
    connections: int
    #: As soon as there is a server.
    stats: Optional[WSServerStats]


class Ready(NamedTuple):
    """The worker accepts connections."""


class Failed(NamedTuple):
    """The worker exits because of an error."""

    #: The text of the error, or its traceback.
    reason: str


class StoppedAccepting(NamedTuple):
    """The draining worker has closed its listening sockets."""


class Leaving(NamedTuple):
    """The worker got SIGTERM from somebody else and would like to be replaced."""
