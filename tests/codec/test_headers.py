from __future__ import annotations

import base64
import hashlib
import sys
from contextlib import suppress
from typing import Callable, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec import headers
from picows_codec.errors import WSInvalidMessageError
from picows_codec.headers import ChunkedDecoder, HeadScanner

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
    assert headers.parse_request_line(line) == parsed


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
    ],
)
def test_malformed_request_line(line: bytes) -> None:
    with pytest.raises(WSInvalidMessageError, match="malformed") as caught:
        headers.parse_request_line(line)
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
    assert headers.parse_status_line(line) == parsed


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
        headers.parse_status_line(line)


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
    assert headers.parse_field_line(line) == parsed


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
        headers.parse_field_line(line)
    assert caught.value.status == 400


def test_every_byte_in_a_name() -> None:
    for byte in EVERY_BYTE:
        name = bytes([0x61, byte, 0x61])
        assert headers.is_token(name) == (byte in TCHARS)
        if byte in TCHARS:
            assert headers.parse_field_line(name + b": b") == (name.decode(), "b")
        elif byte != 0x3A:
            with pytest.raises(WSInvalidMessageError):
                headers.parse_field_line(name + b": b")


# Values


def test_token() -> None:
    assert headers.is_token(b"a")
    assert not headers.is_token(b"")
    assert not headers.is_token(b"a ")


def test_every_byte_in_a_value() -> None:
    for byte in EVERY_BYTE:
        assert headers.is_field_value(bytes([byte])) == (byte in LINE_BYTES)
        assert headers.is_field_value(bytes([0x61, byte])) == (byte in LINE_BYTES)


def test_empty_value() -> None:
    assert headers.is_field_value(b"")


def test_every_byte_in_a_target() -> None:
    for byte in EVERY_BYTE:
        assert headers.is_target(b"/" + bytes([byte])) == (0x21 <= byte <= 0x7E and byte != 0x23)


@pytest.mark.parametrize(
    ("target", "valid"),
    [(b"", False), (b"/", True), (b"a", False), (b"http://a", True), (b"ws://a/", False)],
)
def test_target(target: bytes, valid: bool) -> None:
    assert headers.is_target(target) is valid


@pytest.mark.parametrize(
    "host",
    [
        b"a",
        b"example.com",
        b"example.com.",
        b"EXAMPLE.com:80",
        b"a:0",
        b"a:65535",
        b"a:00080",
        b"a:",
        b"127.0.0.1:8080",
        b"[::1]",
        b"[::1]:443",
        b"[fe80::1%25eth0]:80",
        b"[v1.a:b]",
        b"under_score~!$&'()*+,;=",
        b"%C3%9C.example",
    ],
)
def test_host(host: bytes) -> None:
    assert headers.is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"a:65536",
        b"a:000080",
        b"a:8a",
        b"a:-1",
        b"a:80:80",
        b"::1",
        b"[]",
        b"[]:80",
        b"[::1",
        b"[::1]80",
        b"[::1]]",
        b"::1]",
        b"[",
        b"user@a",
        b"user:password@a",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a b",
        b"a\\b",
        b"a, b",
        b"%",
        b"%4",
        b"%zz",
        b"a%4g",
        b"\xc3\x9c",
        b"a\x00",
        b"a\r\nb: c",
        b"http://a",
    ],
)
def test_invalid_host(host: bytes) -> None:
    assert not headers.is_host(host)


KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def test_key() -> None:
    assert headers.is_key(KEY.encode())


@given(st.binary(max_size=20))
def test_only_16_bytes_are_a_key(nonce: bytes) -> None:
    assert headers.is_key(base64.b64encode(nonce)) == (len(nonce) == 16)


@pytest.mark.parametrize("position", [0, 10, 21, 22, 23])
def test_every_byte_in_a_key(position: int) -> None:
    for byte in EVERY_BYTE:
        key = bytearray(KEY.encode())
        key[position] = byte
        try:
            nonce = base64.b64decode(key, validate=True)
        except ValueError:
            nonce = b""
        assert headers.is_key(bytes(key)) == (len(nonce) == 16 and base64.b64encode(nonce) == key)


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"000", 0),
        (b"17", 17),
        (b"0017", 17),
        (str(sys.maxsize // 10).encode(), sys.maxsize // 10),
        (str(sys.maxsize + 1).encode(), sys.maxsize),
        (b"9" * 100, sys.maxsize),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1 ", None),
        (b"1, 1", None),
        (b"0x1", None),
        (b"1.0", None),
        (b"9" * 100 + b"x", None),
    ],
)
def test_content_length(value: bytes, length: Optional[int]) -> None:
    assert headers.parse_content_length(value) == length


# Lists


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (b"", []),
        (b",", []),
        (b" , \t,", []),
        (b"a", [b"a"]),
        (b"a,b", [b"a", b"b"]),
        (b" a ,\tb\t, c d ,,", [b"a", b"b", b"c d"]),
    ],
)
def test_list(value: bytes, elements: List[bytes]) -> None:
    assert headers.list_elements(value) == elements


@given(
    st.lists(
        st.tuples(
            st.text("abc-1", max_size=3).map(str.encode),
            st.sampled_from([b"", b" ", b"\t "]),
            st.sampled_from([b"", b" "]),
        )
    )
)
def test_list_round_trip(parts: List[tuple]) -> None:
    value = b",".join(before + element + after for element, before, after in parts)
    assert headers.list_elements(value) == [element for element, _, _ in parts if element]


@pytest.mark.parametrize(
    "value",
    [b"upgrade", b"UPGRADE", b"Upgrade", b"keep-alive, Upgrade", b",a,uPgRaDe ,b", b"\tupgrade"],
)
def test_list_contains(value: bytes) -> None:
    assert headers.list_contains(value, b"upgrade")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"upgrad",
        b"upgrades",
        b"no-upgrade",
        b"up grade",
        b"a upgrade",
        b"upgrade;q=1",
        b'"upgrade"',
    ],
)
def test_list_does_not_contain(value: bytes) -> None:
    assert not headers.list_contains(value, b"upgrade")


def test_case_is_that_of_letters_only() -> None:
    # "[" and "{", "\x0d" and "-", "@" and "`" differ in the same bit as letters do.
    assert not headers.list_contains(b"keep\x0dalive", b"keep-alive")
    assert not headers.list_contains(b"@", b"`")
    assert not headers.list_contains(b"[", b"{")


# Accept


def test_accept_of_the_rfc() -> None:
    assert headers.accept_for_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(st.binary(min_size=16, max_size=16))
def test_accept(nonce: bytes) -> None:
    key = base64.b64encode(nonce).decode()
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert headers.accept_for_key(key) == base64.b64encode(digest).decode()


# Chunked

CHUNKED = b'4\r\nWiki\r\n0a ;name="v"\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\n'
CONTENT = b"Wiki0123456789"


def test_chunked_whole() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(CHUNKED) == CONTENT
    assert decoder.done
    assert not decoder.broken
    assert decoder.feed(b"4\r\nmore\r\n") == b""


def test_chunked_byte_by_byte() -> None:
    decoder = ChunkedDecoder()
    content = b"".join(decoder.feed(bytes([byte])) for byte in CHUNKED)
    assert content == CONTENT
    assert decoder.done


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 50))
def test_chunked_round_trip(chunks: List[bytes], step: int) -> None:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    decoder = ChunkedDecoder()
    content = b"".join(
        decoder.feed(coded[start : start + step]) for start in range(0, len(coded), step)
    )
    assert content == b"".join(chunks)
    assert decoder.done
    assert not decoder.broken


@pytest.mark.parametrize(
    ("coded", "content"),
    [
        (b"x", b""),
        (b"\r\n", b""),
        (b";a\r\n", b""),
        (b"4x\r\n", b""),
        (b"4\n", b""),
        (b"4\rx", b""),
        (b"4;a\nb", b""),
        (b"4;a\x00", b""),
        (b"1\r\nab", b"a"),
        (b"1\r\na\rb", b"a"),
        (b"1\r\na\r\n\r\n", b"a"),
        (b"f" * 17, b""),
        (b"1" + b"0" * 16, b""),
    ],
)
def test_broken_chunks(coded: bytes, content: bytes) -> None:
    for pieces in ([coded], [bytes([byte]) for byte in coded]):
        decoder = ChunkedDecoder()
        assert b"".join(decoder.feed(piece) for piece in pieces) == content
        assert decoder.broken
        assert not decoder.done
        assert decoder.feed(b"1\r\na\r\n0\r\n\r\n") == b""


@given(st.binary(max_size=64))
def test_any_bytes_are_survived(data: bytes) -> None:
    for function in (
        headers.parse_request_line,
        headers.parse_status_line,
        headers.parse_field_line,
    ):
        with suppress(WSInvalidMessageError):
            function(data)
    for check in (headers.is_token, headers.is_target, headers.is_host, headers.is_key):
        assert check(data) in (True, False)
    headers.list_elements(data)
    assert len(ChunkedDecoder().feed(data)) <= len(data)
