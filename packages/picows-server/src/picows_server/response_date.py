"""The Date of responses (RFC 9110, 6.6.1)."""

from __future__ import annotations

import time
from typing import Dict

__all__ = ["response_date"]

# Not those of the locale, and without the modules of mail.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# The second of now, or the last one that was asked for.
_known: Dict[int, bytes] = {}


def response_date() -> bytes:
    """Return the time, as RFC 9110, 5.6.7, wants it; it is formatted once in a second."""
    seconds = int(time.time())
    date = _known.get(seconds)
    if date is None:
        date = _formatted(seconds)
        _known.clear()
        _known[seconds] = date
    return date


def _formatted(seconds: int) -> bytes:
    now = time.gmtime(seconds)
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return (
        f"{day}, {now.tm_mday:02} {month} {now.tm_year}"
        f" {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT"
    ).encode("ascii")
