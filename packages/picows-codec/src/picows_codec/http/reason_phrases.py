"""The reason phrases of HTTP statuses."""

from __future__ import annotations

from http import HTTPStatus

__all__ = ["reason_phrase"]

_PHRASES = {
    **{int(status): status.phrase for status in HTTPStatus},
    # RFC 9110, 15. Older versions of Python have the phrases of RFC 7231 and 4918.
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    # RFC 8470; Python 3.8 does not know it.
    425: "Too Early",
}


def reason_phrase(status: int) -> str:
    """Return the phrase of a status; an empty one for a status that nobody has registered."""
    return _PHRASES.get(status, "")
