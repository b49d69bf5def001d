"""``WorkerSettings``: the arguments of ``run`` that are about several processes, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from sys import float_info
from typing import Optional

from picows_codec import WSInvalidOptionError, WSInvalidURL
from picows_server.url import parse_server_url

__all__ = ["WorkerSettings"]

_ADMIN_URL = re.compile(r"http://([^/?#@\[\]:]+|\[[^/?#@\[\]]+\])(?::([0-9]*))?/?", re.IGNORECASE)
_MAX_PORT = 65535

# Seconds. A worker makes four heartbeats in its worker_timeout, and a loop that is busy with a
# garbage collection or an import is not blocked.
_SHORTEST_WORKER_TIMEOUT = 1.0


@dataclass(frozen=True)
class WorkerSettings:
    """How many processes serve, and how they are looked after; see :func:`picows_server.run`."""

    workers: int = 1
    admin_url: Optional[str] = None
    worker_timeout: float = 30.0
    start_timeout: Optional[float] = 60.0
    max_lifetime: Optional[float] = None
    max_rss: Optional[int] = None

    def __post_init__(self) -> None:
        """Check everything but what depends on the platform."""
        _check_count("workers", self.workers)
        _check_seconds("worker_timeout", self.worker_timeout)
        if self.worker_timeout < _SHORTEST_WORKER_TIMEOUT:
            raise WSInvalidOptionError(
                f"worker_timeout must be at least {_SHORTEST_WORKER_TIMEOUT:g} second, not"
                f" {self.worker_timeout:g}: shorter pauses of a loop are no reason to kill a worker"
            )
        if self.start_timeout is not None:
            _check_seconds("start_timeout", self.start_timeout)
        if self.max_lifetime is not None:
            _check_seconds("max_lifetime", self.max_lifetime)
        if self.max_rss is not None:
            _check_count("max_rss", self.max_rss)
        if self.admin_url is not None:
            _check_admin_url(self.admin_url)

    @property
    def needs_supervisor(self) -> bool:
        """Whether one process alone cannot do it."""
        wanted = (self.admin_url, self.max_lifetime, self.max_rss)
        return self.workers > 1 or any(option is not None for option in wanted)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise WSInvalidOptionError(f"{name} must be at least 1, not {value}")


def _check_seconds(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not 0 < value <= float_info.max:
        raise WSInvalidOptionError(f"{name} must be positive and finite, not {value}")


def _check_admin_url(url: object) -> None:
    if not isinstance(url, str):
        raise TypeError(f"admin_url must be a str, not {type(url).__name__}")
    found = _ADMIN_URL.fullmatch(url)
    if found is None:
        raise WSInvalidOptionError(
            f"admin_url must be http://HOST:PORT, such as http://127.0.0.1:9000, not {url!r}"
        )
    host, port = found.groups()
    if not port:
        raise WSInvalidOptionError(
            f"admin_url must have a port, as in http://127.0.0.1:9000: {url!r}"
        )
    if int(port[:9]) > _MAX_PORT:
        raise WSInvalidOptionError(f"admin_url: {port} is not a port from 0 to {_MAX_PORT}")
    try:
        parse_server_url(f"ws://{host}:{port}")
    except WSInvalidURL:
        raise WSInvalidOptionError(
            f"admin_url: {host!r} is neither a host name nor an address"
        ) from None
