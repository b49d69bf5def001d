"""Where a redirect leads (RFC 9110, 15.4), and which headers may follow it."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from picows_client.url import WSURL
from picows_codec import WSInvalidHeaderError, WSInvalidStatusError, WSInvalidURL

__all__ = ["Headers", "headers_for", "redirect_url"]

Headers = Sequence[Tuple[str, str]]

_REDIRECTS = (301, 302, 303, 307, 308)

# Refused Locations in the text of an error: how many of them, and how many characters of each.
_MAX_NAMED = 2
_MAX_SIZE = 100

# Secrets of one origin that another one must not see, and its name.
_BOUND_HEADERS = ("authorization", "cookie", "proxy-authorization", "host")


def redirect_url(url: WSURL, error: WSInvalidStatusError) -> Optional[WSURL]:
    """Return where the response to the request for ``url`` redirects the client, or None.

    Raises :class:`WSInvalidHeaderError` for a Location that cannot be followed, because it is no
    WebSocket URL or leads from ``wss://`` to ``ws://``.
    """
    response = error.response
    if response is None or response.status not in _REDIRECTS:
        return None
    locations = response.headers.getall("Location", [])
    if not locations:
        return None

    def refusal(reason: str) -> WSInvalidHeaderError:
        named = ", ".join(map(_named, locations[:_MAX_NAMED]))
        return WSInvalidHeaderError(
            f"{url.for_log} redirects (status {response.status}) to {named}: {reason}",
            "Location",
            locations[0],
            raw_header=error.raw_header,
            raw_body=error.raw_body,
            response=response,
            status=response.status,
        )

    if len(locations) > 1:
        raise refusal("one Location is wanted")
    try:
        target = url.join(locations[0])
    except WSInvalidURL as invalid:
        raise refusal(_shortened(str(invalid))) from invalid
    if url.is_secure and not target.is_secure:
        raise refusal("this would give up TLS")
    return target


def _named(location: str) -> str:
    """Write a refused value as errors of handshakes do: escaped, bounded, without a query."""
    place, mark, _ = location.partition("?")
    place = f"{place}?..." if mark else place
    return repr(place) if len(place) <= _MAX_SIZE else f"{place[:_MAX_SIZE]!r}..."


def _shortened(reason: str) -> str:
    """Leave out the middle of a long text, because the end says what is wrong."""
    size = _MAX_SIZE
    return reason if len(reason) <= 2 * size else f"{reason[:size]}...{reason[-size:]}"


def headers_for(target: WSURL, url: WSURL, headers: Headers) -> Headers:
    """Leave out what was meant for the origin of ``url`` if ``target`` has another one."""
    if target.origin == url.origin:
        return headers
    return [(name, value) for name, value in headers if name.lower() not in _BOUND_HEADERS]
