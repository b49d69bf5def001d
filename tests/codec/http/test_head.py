from __future__ import annotations

from contextlib import suppress
from typing import Callable, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.errors import WSInvalidMessageError
from picows_codec.http.grammar import is_token
from picows_codec.http.head import (
    HeadScanner,
    parse_field_line,
    parse_request_line,
    parse_status_line,
)

TCHARS = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
LINE_BYTES = frozenset([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
EVERY_BYTE = range(256)
HEAD = b"GET / HTTP/1.1\r\nHost: example.com\r\nA:\r\n\r\n"
LINES = [(0, 14), (16, 17), (35, 2)]


def scan_whole(scanner: HeadScanner, head: bytes) -> List[bytes]:
    return [head[start : start + size] for start, size in scanner.feed(head)]


def scan_byte_by_byte(scanner: HeadScanner, head: bytes) -> List[bytes]:
    lines = []
    for end in range(1, len(head) + 1):
        lines += [head[start : start + size] for start, size in scanner.feed(head[:end])]
    return lines


def scan_with_tail(scanner: HeadScanner, head: bytes) -> List[bytes]:
    return scan_whole(scanner, head + b"\r\n\x00tail\n")


Scan = Callable[[HeadScanner, bytes], List[bytes]]


@pytest.fixture(params=[scan_whole, scan_byte_by_byte, scan_with_tail])
def scan(request: pytest.FixtureRequest) -> Scan:
    return request.param


# Lines


def test_head(scan: Scan) -> None:
    scanner = HeadScanner()
    assert scan(scanner, HEAD) == [HEAD[start : start + size] for start, size in LINES]
    assert scanner.finished
    assert scanner.position == len(HEAD)


def test_head_without_headers(scan: Scan) -> None:
    scanner = HeadScanner()
    assert scan(scanner, b"GET / HTTP/1.1\r\n\r\n") == [b"GET / HTTP/1.1"]
    assert scanner.finished
    assert scanner.position == 18


def test_a_finished_scanner_finds_no_more() -> None:
    scanner = HeadScanner()
    scanner.feed(HEAD)
    assert scanner.feed(HEAD + b"A: b\r\n") == []
    assert scanner.position == len(HEAD)


def test_unfinished_head() -> None:
    scanner = HeadScanner()
    assert scanner.feed(HEAD[:20]) == LINES[:1]
    assert scanner.feed(HEAD[:20]) == []
    assert scanner.feed(b"") == []
    assert not scanner.finished


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like(kind: Callable[[bytes], bytes]) -> None:
    assert HeadScanner().feed(kind(HEAD)) == LINES


def test_text_is_not_bytes_like() -> None:
    with pytest.raises(TypeError):
        HeadScanner().feed("GET / HTTP/1.1\r\n")


def test_scanning_is_linear() -> None:
    # What was looked at is spoilt: a second look at any of it would be an error. The position
    # counts the looks, one for each byte that arrives, but for the CR whose LF is missing.
    head = b"GET / HTTP/1.1\r\n" + b"Name: " + b"x" * 3000 + b"\r\n" + b"A: b\r\n" * 100 + b"\r\n"
    scanner = HeadScanner()
    lines = []
    arrived = bytearray()
    for byte in head:
        arrived.append(byte)
        lines += scanner.feed(arrived)
        assert len(arrived) - scanner.position == (byte == 0x0D)
        arrived[: scanner.position] = b"\x00" * scanner.position
    assert scanner.finished
    assert len(lines) == 102


def refused(scan: Scan, head: bytes, **limits: int) -> WSInvalidMessageError:
    with pytest.raises(WSInvalidMessageError) as caught:
        scan(HeadScanner(**limits), head)
    return caught.value


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nA: b"])
def test_every_byte_in_a_line(scan: Scan, before: bytes) -> None:
    reasons = {0x0A: "LF without CR", 0x0D: "CR without LF"}
    for byte in EVERY_BYTE:
        head = before + bytes([byte]) + b"c\r\n\r\n"
        if byte in LINE_BYTES:
            assert scan(HeadScanner(), head)[-1].endswith(bytes([byte]) + b"c")
        else:
            error = refused(scan, head)
            assert error.status == 400
            assert reasons.get(byte, "control character") in str(error)


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"\r\nGET / HTTP/1.1\r\n\r\n", "empty line"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "LF without CR"),
        (b"GET / HTTP/1.1\r\nA: b\n\r\n", "LF without CR"),
        (b"GET / HTTP/1.1\r\n\n", "LF without CR"),
        (b"GET / HTTP/1.1\rA: b\r\n\r\n", "CR without LF"),
        (b"GET / HTTP/1.1\r\rA: b\r\n\r\n", "CR without LF"),
        (b"GET / HTTP/1.1\r\nA: b\r\n\rx", "CR without LF"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\n A: b\r\n\r\n", "folded"),
        (b"GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n", "folded"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "control character"),
    ],
)
def test_malformed_lines(scan: Scan, head: bytes, text: str) -> None:
    error = refused(scan, head)
    assert text in str(error)
    assert error.status == 400


# Limits: (a head that just passes, the first byte that is too much)


def passes_until(head: bytes, end: int, **limits: int) -> WSInvalidMessageError:
    """The head is fine up to `end` bytes and refused with the next one."""
    scanner = HeadScanner(**limits)
    for size in range(end + 1):
        scanner.feed(head[:size])
    assert not scanner.finished
    with pytest.raises(WSInvalidMessageError) as caught:
        scanner.feed(head[: end + 1])
    with pytest.raises(WSInvalidMessageError, match=str(caught.value).replace("(", ".")):
        HeadScanner(**limits).feed(head)
    return caught.value


def test_first_line_at_its_limit(scan: Scan) -> None:
    assert scan(HeadScanner(max_line_size=17), HEAD)
    error = passes_until(b"GET /" + b"x" * 100, 17, max_line_size=17)
    assert "max_handshake_line_size" in str(error)
    assert error.status == 414


def test_header_line_at_its_limit(scan: Scan) -> None:
    head = b"GET / HTTP/1.1\r\nA: " + b"x" * 17 + b"\r\n\r\n"
    assert scan(HeadScanner(max_line_size=20), head)
    error = passes_until(b"GET / HTTP/1.1\r\n" + b"x" * 100, 16 + 20, max_line_size=20)
    assert "max_handshake_line_size" in str(error)
    assert error.status == 431


def test_crlf_does_not_count_as_line(scan: Scan) -> None:
    head = b"x" * 20 + b"\r\n\r\n"
    assert scan(HeadScanner(max_line_size=20), head) == [b"x" * 20]
    error = refused(scan, b"x" * 21 + b"\r\n\r\n", max_line_size=20)
    assert "max_handshake_line_size" in str(error)


def test_header_count(scan: Scan) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5
    assert len(scan(HeadScanner(max_headers=5), head + b"\r\n")) == 6
    error = passes_until(head + b"A: b\r\n", len(head), max_headers=5)
    assert "max_handshake_headers" in str(error)
    assert error.status == 431


def test_no_header_at_all(scan: Scan) -> None:
    assert scan(HeadScanner(max_headers=0), b"GET / HTTP/1.1\r\n\r\n")
    refused(scan, b"GET / HTTP/1.1\r\nA: b\r\n\r\n", max_headers=0)


def test_size(scan: Scan) -> None:
    assert scan(HeadScanner(max_size=len(HEAD)), HEAD)
    error = passes_until(HEAD, len(HEAD) - 2, max_size=len(HEAD) - 1)
    assert "max_handshake_size" in str(error)
    assert error.status == 431


def test_size_within_the_first_line() -> None:
    error = passes_until(b"GET /" + b"x" * 100, 29, max_size=30)
    assert "max_handshake_size" in str(error)
    assert error.status == 414


def test_a_tail_does_not_count() -> None:
    scanner = HeadScanner(max_size=len(HEAD))
    assert scanner.feed(HEAD + b"x" * 1000) == LINES
    assert scanner.finished


# Request line


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"GET / HTTP/1.1", ("GET", "/", "HTTP/1.1")),
        (b"GET /a/b?c=d&e=%20 HTTP/1.1", ("GET", "/a/b?c=d&e=%20", "HTTP/1.1")),
        (b'GET /{a|b}^c`"<> HTTP/1.1', ("GET", '/{a|b}^c`"<>', "HTTP/1.1")),
        (b"GET //a HTTP/1.1", ("GET", "//a", "HTTP/1.1")),
        (b"GET http://a.b:80/c?d HTTP/1.1", ("GET", "/c?d", "HTTP/1.1")),
        (b"GET HTTPS://[::1]/c HTTP/1.1", ("GET", "/c", "HTTP/1.1")),
        (b"GET http://a HTTP/1.1", ("GET", "", "HTTP/1.1")),
        (b"GET http://a?b HTTP/1.1", ("GET", "?b", "HTTP/1.1")),
        (b"GET / HTTP/1.0", ("GET", "/", "HTTP/1.0")),
        (b"PRI * HTTP/2.0", ("PRI", "*", "HTTP/2.0")),
        (b"OPTIONS * HTTP/1.1", ("OPTIONS", "*", "HTTP/1.1")),
        (b"CONNECT a:80 HTTP/1.1", ("CONNECT", "a:80", "HTTP/1.1")),
        (b"get / HTTP/1.1", ("get", "/", "HTTP/1.1")),
        (b"GETS / HTTP/1.1", ("GETS", "/", "HTTP/1.1")),
    ],
)
def test_request_line(line: bytes, parsed: tuple) -> None:
    assert parse_request_line(line) == parsed


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"GET",
        b"GET ",
        b"GET /",
        b"GET / ",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET / a HTTP/1.1",
        b"GET HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"G\xc3\x9cT / HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/11",
        b"GET / HTTP/1.10",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1,1",
        b"GET / HTTP/a.1",
        b"GET / HTTP/1.b",
        b"GET / HTPT/1.1",
        b"GET a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET ?a HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET http:///a HTTP/1.1",
        b"GET https:// HTTP/1.1",
        b"GET http://user@a/ HTTP/1.1",
        b"GET ftp://a/ HTTP/1.1",
        b"GET http:/a HTTP/1.1",
        b"POST /#a HTTP/1.1",
        b"HEAD * HTTP/1.1",
        b"HEAD ../a HTTP/1.1",
        b"HEAD ftp://a/ HTTP/1.1",
    ],
)
def test_malformed_request_line(line: bytes) -> None:
    with pytest.raises(WSInvalidMessageError, match="malformed") as caught:
        parse_request_line(line)
    assert caught.value.status == 400


# Status line


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"HTTP/1.1 101 Switching Protocols", ("HTTP/1.1", 101, "Switching Protocols")),
        (b"HTTP/1.1 101 ", ("HTTP/1.1", 101, "")),
        (b"HTTP/1.1 101", ("HTTP/1.1", 101, "")),
        (b"HTTP/1.0 404  Nope ", ("HTTP/1.0", 404, " Nope ")),
        (b"HTTP/2.0 100 \xc3\x9c\xff", ("HTTP/2.0", 100, "Ü\udcff")),
        (b"HTTP/1.1 999 \t", ("HTTP/1.1", 999, "\t")),
    ],
)
def test_status_line(line: bytes, parsed: tuple) -> None:
    assert parse_status_line(line) == parsed


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 10",
        b"HTTP/1.1  101",
        b"HTTP/1.1\t101 OK",
        b"HTTP/1.1 1011 OK",
        b"HTTP/1.1 101OK",
        b"HTTP/1.1 101\tOK",
        b"HTTP/1.1 1x1 OK",
        b"HTTP/1.1 x01 OK",
        b"HTTP/1.1 10x OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/11 101 OK",
        b"http/1.1 101 OK",
        b" HTTP/1.1 101 OK",
        b"ICY 200 OK",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2",
        b"220 mail.example.com ESMTP",
    ],
)
def test_malformed_status_line(line: bytes) -> None:
    with pytest.raises(WSInvalidMessageError, match="malformed status line"):
        parse_status_line(line)


# Header lines


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"Host: a", ("Host", "a")),
        (b"Host:a", ("Host", "a")),
        (b"Host:", ("Host", "")),
        (b"Host: \t ", ("Host", "")),
        (b"Host: \t a b\t \t", ("Host", "a b")),
        (b"a:b:c", ("a", "b:c")),
        (b"a: :", ("a", ":")),
        (b"!#$%&'*+-.^_`|~9z: \xc3\x9c", ("!#$%&'*+-.^_`|~9z", "Ü")),
        (b"a: \xff\xfe", ("a", "\udcff\udcfe")),
    ],
)
def test_field_line(line: bytes, parsed: tuple) -> None:
    assert parse_field_line(line) == parsed


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "without a colon"),
        (b"Host", "without a colon"),
        (b":", "without a name"),
        (b": a", "without a name"),
        (b"Host : a", "white space"),
        (b"Host\t: a", "white space"),
        (b"Ho st: a", "white space"),
        (b" : a", "white space"),
        (b"Ho(st: a", "malformed header name"),
        (b'"Host": a', "malformed header name"),
        (b"H\xc3\xb6st: a", "malformed header name"),
    ],
)
def test_malformed_field_line(line: bytes, text: str) -> None:
    with pytest.raises(WSInvalidMessageError, match=text) as caught:
        parse_field_line(line)
    assert caught.value.status == 400


def test_every_byte_in_a_name() -> None:
    for byte in EVERY_BYTE:
        name = bytes([0x61, byte, 0x61])
        assert is_token(name) == (byte in TCHARS)
        if byte in TCHARS:
            assert parse_field_line(name + b": b") == (name.decode(), "b")
        elif byte != 0x3A:
            with pytest.raises(WSInvalidMessageError):
                parse_field_line(name + b": b")


@given(st.binary(max_size=64))
def test_any_bytes_are_survived(data: bytes) -> None:
    for function in (parse_request_line, parse_status_line, parse_field_line):
        with suppress(WSInvalidMessageError):
            function(data)
