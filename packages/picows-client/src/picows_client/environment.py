"""Which proxy the environment names for a URL: the variables that curl and others read."""

from __future__ import annotations

import ipaddress
from typing import Optional
from urllib.request import (  # type: ignore[attr-defined]  # typeshed leaves one out
    getproxies_environment,
    proxy_bypass_environment,
)

from picows_client.proxy import parse_proxy_url
from picows_client.url import WSURL
from picows_codec import WSInvalidOptionError, WSInvalidURL

__all__ = ["proxy_of_environment"]

_VARIABLES = {"wss": ("wss", "https", "all"), "ws": ("ws", "http", "all")}


def proxy_of_environment(url: WSURL) -> Optional[WSURL]:
    """Return the proxy for ``url``, or None for a direct connection.

    :raises WSInvalidURL: the variable has no URL of a proxy; WSInvalidOptionError: it has one that
        cannot be used.
    """
    if _is_loopback(url.bare_host):
        return None
    proxies = getproxies_environment()
    # An IPv6 address may be listed with or without brackets.
    places = {f"{url.bare_host}:{url.port}", url.host_and_port}
    if any(proxy_bypass_environment(place, proxies) for place in places):
        return None
    for name in _VARIABLES[url.scheme]:
        value = proxies.get(name, "").strip()
        if value:
            return _parsed(f"{name}_proxy", value)
    return None


def _parsed(variable: str, value: str) -> WSURL:
    """Take the value apart; many tools write it without a scheme, or with a slash at the end."""
    try:
        return parse_proxy_url(value if "://" in value else f"http://{value}")
    except (WSInvalidURL, WSInvalidOptionError) as error:
        error.args = (f"environment variable {variable}: {error}",)
        raise


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # before Python 3.13 no loopback address
    return address.is_loopback or (mapped is not None and mapped.is_loopback)
