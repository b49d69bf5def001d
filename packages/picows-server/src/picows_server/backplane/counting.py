"""What one engine has done so far: the numbers of its ``BackplaneStats`` as they grow."""

from __future__ import annotations

from typing import Any

from picows_server.backplane.interface import BackplaneStats

__all__ = ["EngineCounts"]


class EngineCounts:
    """Running totals, by the names of :class:`BackplaneStats`."""

    __slots__ = (
        "acknowledged",
        "duplicates",
        "failed",
        "failed_attempts",
        "gaps",
        "malformed",
        "published",
        "published_bytes",
        "received",
        "received_bytes",
        "reconnects",
        "recovered",
        "refused",
        "resent",
        "silences",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    published: int
    published_bytes: int
    acknowledged: int
    refused: int
    resent: int
    failed: int
    received: int
    received_bytes: int
    duplicates: int
    malformed: int
    recovered: int
    gaps: int
    reconnects: int
    failed_attempts: int
    silences: int

    def stats(self, **now: Any) -> BackplaneStats:
        """Return the totals, with what there is now."""
        return BackplaneStats(**{name: getattr(self, name) for name in self.__slots__}, **now)
