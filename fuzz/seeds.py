"""Where the corpus comes from: every seed with its name. ``python -m fuzz.seeds`` writes it.

Files of the corpus that are not in here were found by a fuzzer and stay (``found-...``).
"""

from __future__ import annotations

from typing import Dict, Iterator, Tuple

from fuzz.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, encode_frame
from fuzz.harness import CORPUS, TARGETS
from fuzz.http_heads import accept_for

__all__ = ["SEEDS"]

FIN = 0x80
WHOLE, BYTES = 255, 0
KEY = b"\x01\x02\x03\x04"
LIMITED = 2 | 4 | 8


# Parser: flags, cut, frames


def _frames(*frames: Tuple[int, bytes], server: bool) -> bytes:
    return b"".join(
        encode_frame(head, payload, KEY if server else None) for head, payload in frames
    )


def _parser_seeds() -> Iterator[Tuple[str, bytes]]:
    streams = {
        "text": [(FIN | TEXT, "grüße €".encode())],
        "fragments": [
            (TEXT, b"caf\xc3"),
            (FIN | PING, b"between"),
            (CONTINUATION, b"\xa9 "),
            (FIN | CONTINUATION, b""),
        ],
        "close": [(FIN | CLOSE, b"\x03\xe8bye"), (FIN | TEXT, b"late")],
        "empty-close": [(FIN | CLOSE, b"")],
        "lengths": [(FIN | BINARY, b"x" * size) for size in (0, 125, 126)],
        "invalid-text": [(FIN | TEXT, b"ok"), (TEXT, b"\xed\xa0\x80")],
        "cut-character": [(FIN | TEXT, b"\xe2\x82")],
        "one-byte-close": [(FIN | CLOSE, b"\x03")],
        "reserved-close-code": [(FIN | CLOSE, b"\x03\xed")],
        "invalid-reason": [(FIN | CLOSE, b"\x03\xe8\xff")],
        "reserved-opcode": [(FIN | 3, b"")],
        "reserved-bit": [(FIN | 0x40 | TEXT, b"a")],
        "lone-continuation": [(FIN | CONTINUATION, b"a")],
        "nested-message": [(TEXT, b"a"), (FIN | TEXT, b"b")],
        "fragmented-ping": [(PING, b"")],
    }
    for name, frames in streams.items():
        for server in (False, True):
            side = "server" if server else "client"
            cut = BYTES if server else WHOLE
            yield f"{side}-{name}", bytes([server, cut]) + _frames(*frames, server=server)
    yield "wrong-mask", bytes([1, WHOLE]) + _frames((FIN | TEXT, b"a"), server=False)
    yield "long-ping", bytes([0, WHOLE, FIN | PING, 126, 0, 126]) + b"p" * 126
    yield "long-length-16", b"\x00\xff\x82\x7e\x00\x7d" + b"x" * 125
    yield "long-length-64", b"\x00\xff\x82\x7f" + (65535).to_bytes(8, "big")
    yield "top-bit", b"\x00\xff\x82\x7f\xff" + b"\xff" * 7
    yield "largest-length", b"\x00\xff\x82\x7f\x7f" + b"\xff" * 7
    yield "length-64", b"\x00\x07\x82\x7f" + (65536).to_bytes(8, "big") + b"x" * 100
    big = _frames((BINARY, b"x" * 200), (CONTINUATION, b"y" * 250), server=True)
    yield "message-limit", bytes([1 | LIMITED, 9]) + big
    yield "frame-limit", bytes([LIMITED, 9]) + _frames((FIN | TEXT, b"x" * 301), server=False)
    many = _frames((TEXT, b"a"), *[(CONTINUATION, b"b")] * 3, server=False)
    yield "fragment-limit", bytes([LIMITED, WHOLE]) + many


# Handshakes: flags, cut, the peer's bytes

ACCEPT = accept_for(b"AAAAAAAAAAAAAAAAAAAAAA==")


def _lines(*lines: bytes, rest: bytes = b"") -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n" + rest


def _accepting(*more: bytes, rest: bytes = b"") -> bytes:
    return _lines(
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + ACCEPT,
        *more,
        rest=rest,
    )


def _client_seeds() -> Iterator[Tuple[str, bytes]]:
    answers = {
        "accepted": (0, _accepting()),
        "frame-behind": (0, _accepting(rest=b"\x81\x02hi")),
        "subprotocol": (2, _accepting(b"Sec-WebSocket-Protocol: chat")),
        "wrong-subprotocol": (2, _accepting(b"Sec-WebSocket-Protocol: other")),
        "extension": (0, _accepting(b"Sec-WebSocket-Extensions: permessage-deflate")),
        "many-headers": (4, _accepting(*[b"X-%d: y" % index for index in range(9)])),
        "long-line": (4, _accepting(b"X: " + b"y" * 130)),
        "factory-raises": (8, _accepting()),
        "odd-spelling": (
            0,
            _lines(
                b"HTTP/1.1 101 ",
                b"UPGRADE:WebSocket",
                b"connection: keep-alive ,\t upgrade",
                b"sec-websocket-accept:  " + ACCEPT + b" \t",
                b"X-Empty:",
            ),
        ),
        "wrong-accept": (0, _accepting().replace(b"ICX", b"icx")),
        "body": (0, _lines(b"HTTP/1.1 404 Not Found", b"Content-Length: 5", rest=b"hello")),
        "chunked": (
            0,
            _lines(
                b"HTTP/1.1 500 Oh",
                b"Transfer-Encoding: chunked",
                rest=b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
            ),
        ),
        "until-the-end": (0, _lines(b"HTTP/1.0 200 OK", rest=b"body without a length")),
        "redirect": (0, _lines(b"HTTP/1.1 302 Found", b"Location: /b", rest=b"ignored")),
        "interim": (0, _lines(b"HTTP/1.1 100 Continue") + _accepting()),
        "folded": (0, _accepting(b"X: a", b" folded")),
        "bare-lf": (0, _accepting().replace(b"\r\n", b"\n")),
        "garbage": (0, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
        "nothing": (0, b""),
    }
    for name, (flags, answer) in answers.items():
        yield name, bytes([flags, WHOLE]) + answer
    yield "accepted-in-pieces", bytes([0, 7]) + _accepting(rest=b"\x81\x02hi")
    arguments = {
        "plain": (b"/chat?x=1", b"localhost:80", b"X-Token", b"value", b"chat"),
        "host": (b"/", b"[::1]:9001", b"Host", b"example.com", b"v1.x"),
        "injection": (b"/", b"h", b"X", b"a\r\nY: b", b"p"),
        "spaces": (b"/a b", b"h", b"X", b" a ", b"p q"),
        "own-header": (b"/", b"h", b"Upgrade", b"h2c", b"p"),
        "not-ascii": ("/ü".encode(), b"h", b"X", "ü €".encode(), b"p"),
    }
    for name, values in arguments.items():
        yield f"arguments-{name}", bytes([1, 0]) + b"\0".join(values)


def _asking(*more: bytes, rest: bytes = b"", start: bytes = b"GET /chat?a=b HTTP/1.1") -> bytes:
    return _lines(
        start,
        b"Host: example.com:80",
        b"Upgrade: websocket",
        b"Connection: keep-alive, Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        *more,
        rest=rest,
    )


def _server_seeds() -> Iterator[Tuple[str, bytes]]:
    requests = {
        "accepted": _asking(),
        "frame-behind": _asking(rest=b"\x81\x82\x00\x00\x00\x00hi"),
        "subprotocols": _asking(b"Sec-WebSocket-Protocol: chat, superchat"),
        "bad-subprotocols": _asking(b"Sec-WebSocket-Protocol: a b,,"),
        "marked": _asking(b"Origin: http://zqxj", start=b"GET /zqxj?zqxj HTTP/1.1"),
        "absolute": _asking(start=b"GET ws://example.com/a?b HTTP/1.1"),
        "old-version": _asking().replace(b": 13", b": 8"),
        "no-key": _asking().replace(b"Key", b"Kei"),
        "bad-key": _asking().replace(b"dGhl", b"dGh "),
        "two-keys": _asking(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        "two-hosts": _asking(b"Host: other"),
        "split-lists": _asking(b"Upgrade: h2c,", b"Connection: close"),
        "body": _asking(b"Content-Length: 5", rest=b"hello"),
        "chunked": _asking(b"Transfer-Encoding: chunked", rest=b"0\r\n\r\n"),
        "post": _asking(start=b"POST / HTTP/1.1"),
        "head": _asking(start=b"HEAD / HTTP/1.1"),
        "http-1-0": _asking(start=b"GET / HTTP/1.0"),
        "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "bad-line": _asking(start=b"GET  / HTTP/1.1"),
        "folded": _asking(b"X: a", b"\tfolded"),
        "space-before-colon": _asking(b"X : a"),
        "nul": _asking(b"X: a\0b"),
        "bare-cr": _asking(b"X: a\rb"),
        "bare-lf": _asking().replace(b"\r\n", b"\n"),
        "empty-lines-first": b"\r\n\r\n" + _asking(),
        "not-utf-8": _asking(b"X: \xff\xfe"),
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "unfinished": _asking()[:-2],
    }
    for number, (name, request) in enumerate(requests.items()):
        yield name, bytes([0, BYTES if number % 2 else WHOLE]) + request
    for route in range(1, 8):
        wanted = _asking(b"Sec-WebSocket-Protocol: chat")
        yield f"route-{route}", bytes([route, 11]) + wanted
    yield "small-limits-line", bytes([8, WHOLE]) + _asking(b"X: " + b"y" * 130)
    yield "small-limits-count", bytes([8, 5]) + _asking(*[b"X: y"] * 5)
    yield "small-limits-size", bytes([8, 5]) + _asking(b"X: " + b"y" * 110, b"Y: " + b"y" * 120)


# Endpoint: set-up, operations


def _set_up(
    *, flags: int = 0, limits: int = 0, timing: int = 0, on_frame: int = 0, others: int = 0
) -> bytes:
    return bytes([flags, limits, timing, on_frame, others, WHOLE])


CLIENT, NO_PONG, NO_DISCONNECT, SECURE, BUFFERED, PRIVATE, UNOPENED, SMALL_READS = (
    1 << bit for bit in range(8)
)
MESSAGES, PINGING, POLLER, SOCKET = 1 << 2, 2 << 2, 64, 128
IN_PLACE = 64


def _frame(head: int, payload: bytes = b"") -> bytes:
    return bytes([1, head, len(payload)]) + payload


def _send(head: int, payload: bytes = b"", bits: int = 0) -> bytes:
    return bytes([bits << 4 | 2, head, len(payload)]) + payload


PEER_CLOSES = _frame(FIN | CLOSE, b"\x03\xe8bye")
PEER_STOPS_READING = b"\x05\x00"
PEER_READS_ALL = b"\xf5\xff" * 4


def _endpoint_seeds() -> Iterator[Tuple[str, bytes]]:
    for role, name in ((0, "server"), (CLIENT, "client")):
        base = _set_up(flags=role)
        yield f"{name}-close", base + _frame(FIN | TEXT, b"hello") + PEER_CLOSES
        yield (
            f"{name}-echo",
            _set_up(flags=role | BUFFERED, on_frame=1)
            + _frame(TEXT, b"caf\xc3")
            + _frame(FIN | PING, b"p")
            + _frame(FIN, b"\xa9" + b"z" * 50)
            + PEER_CLOSES,
        )
        yield (
            f"{name}-echo-in-place",
            _set_up(flags=role, on_frame=1 | IN_PLACE)
            + _frame(TEXT, b"one")
            + _frame(FIN, b" two")
            + PEER_STOPS_READING
            + _frame(FIN | BINARY, b"x" * 200) * 3
            + PEER_READS_ALL
            + PEER_CLOSES,
        )
        yield (
            f"{name}-corks-in-place",
            _set_up(flags=role, on_frame=7 | IN_PLACE) + _frame(FIN | TEXT, b"a") * 2,
        )
        yield (
            f"{name}-sends",
            base
            + _send(FIN | TEXT, b"one")
            + _send(BINARY, b"two", bits=1)
            + _send(FIN | PING, b"three")
            + _send(FIN, b"four", bits=4)
            + b"\x57\x0f\xa0bye!!"
            + _frame(FIN | TEXT, b"crossing")
            + PEER_CLOSES,
        )
        large = b"\x03\x82\x40\x00" + b"\x53\x01\xff\xff" + b"\x93\x80\x20\x00"
        yield f"{name}-large", _set_up(flags=role | BUFFERED, on_frame=1) + large + b"\x0b"
        yield f"{name}-large-small-reads", _set_up(flags=role | BUFFERED | SMALL_READS) + large
        kept = _frame(FIN | TEXT, b"kept") * 3 + b"\x03\x82\x10\x00" + _frame(FIN | BINARY, b"new")
        yield f"{name}-keeps-frames", _set_up(flags=role, on_frame=2) + kept
        yield f"{name}-keeps-views", _set_up(flags=role | BUFFERED, on_frame=3) + kept
        yield f"{name}-raises", _set_up(flags=role, on_frame=4) + kept
        yield f"{name}-raises-on", _set_up(flags=role | NO_DISCONNECT, on_frame=4) + kept
        yield f"{name}-disconnects-in-frame", _set_up(flags=role, on_frame=5) + kept
        yield f"{name}-closes-in-frame", _set_up(flags=role, on_frame=6) + kept + PEER_CLOSES
        yield f"{name}-corks-in-frame", _set_up(flags=role, on_frame=7) + kept
        yield f"{name}-violation", base + _frame(FIN | TEXT, b"ok") + _frame(FIN | TEXT, b"\xff")
        yield f"{name}-violation-secure", _set_up(flags=role | SECURE) + _frame(3)
        yield (
            f"{name}-messages",
            _set_up(flags=role, timing=MESSAGES, on_frame=1)
            + _frame(TEXT, b"one")
            + _frame(CONTINUATION, b" two")
            + _frame(FIN | PING)
            + _frame(FIN | CONTINUATION, b" three"),
        )
        yield f"{name}-limits", _set_up(flags=role, limits=0x15) + _frame(TEXT, b"x" * 126)
        yield (
            f"{name}-slow-peer",
            _set_up(flags=role, limits=0x80, others=0x20)
            + PEER_STOPS_READING
            + _send(FIN | BINARY, b"x" * 200) * 3
            + _frame(FIN | PING, b"a")
            + _frame(FIN | PING, b"b")
            + PEER_READS_ALL,
        )
        flood = _send(FIN | BINARY, b"x" * 200, bits=4) * 3
        yield f"{name}-overflow", _set_up(flags=role, limits=0x40) + PEER_STOPS_READING + flood
        yield f"{name}-corks", base + b"\x09" + _send(FIN | TEXT, b"a") + b"\x09\x19\x19"
        yield f"{name}-ping-timeout", _set_up(flags=role, timing=1) + b"\x7d\x0f\xfd\x7d"
        yield f"{name}-ping-periodically", _set_up(flags=role, timing=3) + b"\x7d\x0f" * 3 + b"\xfd"
        yield (
            f"{name}-ping-of-its-own",
            _set_up(flags=role, timing=1 | PINGING) + b"\x1a\x7d" + _frame(FIN | BINARY, b"!") * 2,
        )
        yield f"{name}-round-trip", base + b"\x1a\x0a\x0f\x1a" + PEER_CLOSES
        yield f"{name}-ping-flood", base + PEER_STOPS_READING + b"\x1f\x1f" + PEER_READS_ALL
        yield f"{name}-disconnect", base + b"\x18" + _frame(FIN | TEXT, b"late") + PEER_CLOSES
        yield f"{name}-abort", base + b"\x08"
        yield f"{name}-end-of-stream", base + _frame(TEXT, b"half") + b"\x16"
        yield f"{name}-reset", base + b"\x00\x03\x82\x05x" + b"\x26"
        yield (
            f"{name}-unopened",
            _set_up(flags=role | UNOPENED) + b"\x00\x10" + b"HTTP/1.1 404 X\r\n",
        )
        yield f"{name}-opens-late", _set_up(flags=role | UNOPENED) + b"\x7d\x34" + PEER_CLOSES
        yield f"{name}-never-opens", _set_up(flags=role | UNOPENED) + b"\xfd\xfd"
        yield f"{name}-misuse", base + b"".join(bytes([12, index]) for index in range(20))
    for bits in range(4):
        others = bits << 6 | bits << 4 | bits << 2 | bits
        yield f"callbacks-{bits}", _set_up(others=others) + PEER_STOPS_READING + PEER_CLOSES
    yield "private-buffers", _set_up(flags=BUFFERED | PRIVATE, on_frame=3) + kept
    yield "no-auto-pong", _set_up(flags=NO_PONG, on_frame=1) + _frame(FIN | PING, b"p") * 2


def _socket_seeds(seeds: Dict[str, bytes]) -> Iterator[Tuple[str, bytes]]:
    """Some of the same over the codec's own transport, with and without its poller."""
    chosen = (
        "echo",
        "sends",
        "large",
        "keeps-views",
        "violation",
        "slow-peer",
        "overflow",
        "reset",
    )
    names = [f"{role}-{end}" for role in ("server", "client") for end in chosen]
    for number, name in enumerate([*names, "server-echo-in-place", "client-echo-in-place"]):
        data = bytearray(seeds[name])
        data[2] |= SOCKET | (POLLER if number % 2 else 0)
        yield f"socket-{name}", bytes(data)


# Compression: flags, cut, frames of a byte, a size and a payload; or a header


def _compression_seeds() -> Iterator[Tuple[str, bytes]]:
    last, rsv1, deflates, repeats = 4, 8, 16, 32

    def frame(bits: int, payload: bytes) -> bytes:
        return bytes([bits, len(payload)]) + payload

    whole = last | rsv1 | deflates
    streams = {
        "text": frame(whole, b'{"id":1}') * 3,
        "repeats": frame(whole | repeats, b"again ") * 2,
        "plain-between": frame(whole, b"one") + frame(last | 1, b"two") + frame(whole, b"one"),
        "fragments": (
            frame(rsv1 | deflates, b"caf\xc3")
            + frame(last | 3, b"ping")
            + frame(deflates | 2, b"")
            + frame(last | deflates | 2, b"\xa9")
        ),
        "empty": frame(last | rsv1, b"\x00") + frame(last | rsv1, b""),
        "invalid-text": frame(whole, b"ok") + frame(whole, b"\xff"),
        "broken": frame(last | rsv1 | 1, b"\x06\xff\xff"),
        "final-block": frame(last | rsv1 | 1, b"\x4b\x04\x00") + frame(whole, b"after"),
        "stored-block": frame(last | rsv1 | 1, b"\x00\x03\x00\xfc\xffabc\x00"),
        "cut-off": frame(last | rsv1 | 1, b"\x00\x09\x00\xf6\xffabc"),
        "rsv1-on-ping": frame(last | rsv1 | 3, b""),
        "rsv1-on-continuation": frame(rsv1 | deflates, b"a") + frame(whole | 2, b"b"),
    }
    for name, stream in streams.items():
        for server in (False, True):
            side = "server" if server else "client"
            yield f"{side}-{name}", bytes([server | 16, BYTES if server else WHOLE]) + stream
            yield f"{side}-{name}-alone", bytes([server | 2 | 4 | 16, 9]) + stream
    for number, header in enumerate(
        (
            b"permessage-deflate",
            b"permessage-deflate; client_max_window_bits",
            b'permessage-deflate; server_max_window_bits="10", x; y="a\\"b"',
            b"x, permessage-deflate; unknown, permessage-deflate; client_no_context_takeover",
            b"permessage-deflate; server_max_window_bits=8; client_max_window_bits=9",
        )
    ):
        yield f"header-{number}", bytes([8, 0]) + header


# PROXY protocol: cut, the header of a proxy and what follows


def _proxy_seeds() -> Iterator[Tuple[str, bytes]]:
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    four = b"\xcb\0\x71\x09\x0a\0\0\1\x12\x67\1\xbb"
    six = bytes(15) + b"\1" + bytes(10) + b"\xff\xff\xcb\0\x71\x09" + b"\x12\x67\1\xbb"
    path = b"/run/client".ljust(108, b"\0") + bytes(108)
    checked = signature + b"\x21\x11\0\x13" + four + b"\3\0\4\x69\x50\x0d\x1f"
    headers = {
        "tcp4": b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        "tcp6": b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n",
        "mapped": b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n",
        "unknown": b"PROXY UNKNOWN what ever\r\n",
        "long-line": b"PROXY UNKNOWN " + b"x" * 120 + b"\r\n",
        "bad-port": b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        "zeros": b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
        "binary-4": signature + b"\x21\x11\0\x0c" + four,
        "binary-6": signature + b"\x21\x21\0\x24" + six,
        "binary-unix": signature + b"\x21\x31\0\xd8" + path,
        "binary-local": signature + b"\x20\0\0\0",
        "binary-unspec": signature + b"\x21\0\0\5hello",
        "binary-fields": signature + b"\x21\x11\0\x13" + four + b"\2\0\1a\4\0\0",
        "binary-checksum": checked,
        "binary-cut-field": signature + b"\x21\x11\0\x0f" + four + b"\2\0\5",
        "binary-large": signature + b"\x21\x11\xff\xff" + four,
        "binary-family": signature + b"\x21\x41\0\x0c" + four,
        "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    }
    for number, (name, header) in enumerate(headers.items()):
        yield name, bytes([BYTES if number % 2 else WHOLE]) + header + b"GET /"
    yield "unfinished", bytes([7]) + headers["tcp4"][:-1]


# ClientHello: cut, what a client sends first


def _sized(length_size: int, data: bytes) -> bytes:
    return len(data).to_bytes(length_size, "big") + data


def _hello(
    *extensions: Tuple[int, bytes], size: int = 16384, behind: bytes = b"", is_old: bool = False
) -> bytes:
    body = b"\3\3" + bytes(range(32)) + _sized(1, bytes(32)) + _sized(2, b"\x13\1\xc0\x2b")
    content = (kind.to_bytes(2, "big") + _sized(2, data) for kind, data in extensions)
    body += _sized(1, b"\0")
    if not is_old:
        body += _sized(2, b"".join(content)) + behind
    message = b"\1" + _sized(3, body)
    return b"".join(
        b"\x16\3\1" + _sized(2, message[start : start + size])
        for start in range(0, len(message), size)
    )


def _hello_seeds() -> Iterator[Tuple[str, bytes]]:
    def names(*entries: bytes) -> Tuple[int, bytes]:
        return 0, _sized(2, b"".join(b"\0" + _sized(2, name) for name in entries))

    name = names(b"Example.com.")
    grease, alpn = (0x1A1A, b"\0"), (16, b"\0\x09\x08http/1.1")
    hellos = {
        "name": _hello(name),
        "no-name": _hello(grease, alpn),
        "grease": _hello(grease, alpn, name, (0xFE0D, bytes(40)), (0xDADA, b"")),
        "no-extensions": _hello(is_old=True),
        "fragments": _hello(name, alpn, size=7),
        "bytes": _hello(name, size=1),
        "twice": _hello(name, name),
        "two-names": _hello(names(b"a", b"b")),
        "empty-name": _hello(names(b"")),
        "empty-list": _hello((0, b"\0\0")),
        "not-ascii": _hello(names(b"stra\xc3\x9fe")),
        "other-kind": _hello((0, b"\0\4\1\0\1a")),
        "behind": _hello(name, behind=b"x"),
        "cut": _hello(name)[:-3],
        "followed": _hello(name) + b"\x14\3\3\0\1\1",
        "alert": b"\x15\3\1\0\2\1\0",
        "empty-record": b"\x16\3\1\0\0",
        "large-record": b"\x16\3\1\x40\1",
        "large": b"\x16\3\1\0\4\1\xff\xff\xff",
        "ssl2": b"\x80\x2e\1\3\1",
        "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    }
    for number, (title, hello) in enumerate(hellos.items()):
        yield title, bytes([BYTES if number % 2 else WHOLE]) + hello


_ENDPOINT_SEEDS = dict(_endpoint_seeds())

SEEDS: Dict[str, Dict[str, bytes]] = {
    "parser": dict(_parser_seeds()),
    "client_handshake": dict(_client_seeds()),
    "server_handshake": dict(_server_seeds()),
    "endpoint": {**_ENDPOINT_SEEDS, **dict(_socket_seeds(_ENDPOINT_SEEDS))},
    "compression": dict(_compression_seeds()),
    "proxy_protocol": dict(_proxy_seeds()),
    "client_hello": dict(_hello_seeds()),
}


def main() -> None:
    """Write the corpus."""
    for target in TARGETS:
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.iterdir():
            if not path.name.startswith("found-"):
                path.unlink()
        for name, data in SEEDS[target].items():
            (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
