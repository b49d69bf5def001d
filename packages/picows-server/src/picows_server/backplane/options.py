"""What the options of backplanes may be."""

from __future__ import annotations

from typing import Any, Dict, Union

from picows_codec.option_table import Number, Seconds

__all__ = ["check_options", "checked_prefix"]

_MOST_BYTES = 2**63 - 1
_SECONDS = Seconds()
_CHECKS: Dict[str, Union[Number, Seconds]] = {
    "connect_timeout": _SECONDS,
    "probe_interval": _SECONDS,
    "close_timeout": _SECONDS,
    "topic_ttl": _SECONDS,
    "producer_ttl": _SECONDS,
    "presence_ttl": Seconds(is_optional=True),
    "max_pending_messages": Number(1, 2**31 - 1, "messages"),
    "max_pending_bytes": Number(1, _MOST_BYTES, "bytes"),
    "max_payload": Number(1, _MOST_BYTES, "bytes"),
}


def check_options(**options: Any) -> None:
    """Check options by their names.

    :raises WSInvalidOptionError: one is out of range.
    :raises TypeError: one is of another type.
    """
    for name, value in options.items():
        _CHECKS[name](name, value)


def checked_prefix(prefix: Any) -> str:
    """Return it.

    :raises TypeError: it is no str.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, not {type(prefix).__name__}: {prefix!r}")
    return prefix
