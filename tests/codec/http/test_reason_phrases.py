"""picows_codec.http.reason_phrases: the words of RFC 9110 on every version of Python."""

from __future__ import annotations

import pytest

from picows_codec import WSUpgradeResponse
from picows_codec.http.reason_phrases import reason_phrase

# RFC 9110, 15; 425, 428, 429, 431 and 511 are of RFC 8470 and 6585.
PHRASES = {
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non-Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    425: "Too Early",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    511: "Network Authentication Required",
}


@pytest.mark.parametrize("status", PHRASES)
def test_phrases(status: int) -> None:
    assert reason_phrase(status) == PHRASES[status]


def test_a_status_that_nobody_has_registered() -> None:
    assert reason_phrase(599) == ""


def test_a_response_has_the_phrase() -> None:
    response = WSUpgradeResponse.create_error_response(414)
    assert response.to_bytes().startswith(b"HTTP/1.1 414 URI Too Long\r\n")
