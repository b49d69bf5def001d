"""What the options of backplanes may be."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple, Union
from urllib.parse import urlsplit

from picows_codec import WSInvalidOptionError
from picows_codec.option_table import Number, Seconds

__all__ = [
    "check_options",
    "check_url",
    "checked_addresses",
    "checked_library_options",
    "checked_prefix",
]

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


def check_url(url: Any, *schemes: str) -> None:
    """Check the URL of an engine. No error shows any of it, because it may have a password.

    :raises WSInvalidOptionError: it cannot be read, or has another scheme.
    :raises TypeError: it is no str.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, such as {schemes[0]}://host, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reads it
    except ValueError:
        raise WSInvalidOptionError(
            "the URL of the engine cannot be read: its port must be a number from 0 to 65535, an"
            " IPv6 address stands in brackets, and characters such as / ? # of a password are"
            " percent-encoded (urllib.parse.quote)"
        ) from None
    if parts.scheme not in schemes:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise WSInvalidOptionError(f"the URL of the engine must begin with {wanted}")


def checked_addresses(name: str, addresses: Any) -> List[Tuple[str, int]]:
    """Return pairs of host and port.

    :raises TypeError: they are something else.
    """
    found = list(addresses) if isinstance(addresses, (list, tuple)) else [addresses]
    for address in found:
        if not (isinstance(address, (list, tuple)) and len(address) == 2):
            break
        if not (isinstance(address[0], str) and type(address[1]) is int):
            break
    else:
        return [(host, port) for host, port in found]
    raise TypeError(
        f'{name} must be pairs of host and port, such as [("10.0.0.5", 6379)], not {addresses!r}'
    )


def checked_library_options(options: Any) -> Dict[str, Any]:
    """Return a copy of the options for a client library; None: there are none.

    :raises TypeError: they are no mapping.
    """
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"options must be a mapping, not {type(options).__name__}")
    return dict(options or {})
