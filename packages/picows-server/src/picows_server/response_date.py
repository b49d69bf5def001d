"""The Date of responses (RFC 9110, 6.6.1)."""

from __future__ import annotations

import time
from functools import lru_cache

__all__ = ["response_date"]

# Not those of the locale, and without the modules of mail.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def response_date() -> bytes:
    """Return the time, as RFC 9110, 5.6.7, wants it; it is formatted once in a second."""
    return _formatted(int(time.time()))


@lru_cache(maxsize=1)
def _formatted(seconds: int) -> bytes:
    now = time.gmtime(seconds)
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return (
        f"{day}, {now.tm_mday:02} {month} {now.tm_year}"
        f" {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT"
    ).encode("ascii")
