"""What a recording leaves out: credentials of the opening handshake, however it arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec.recording import Recorder, read_recording
from picows_codec.recording.redaction import HandshakeRedactor, redact_head, redact_url
from picows_codec.tap_types import WSDirection
from picows_codec.testing import connected
from tests.support.connection import Connection, both_roles
from tests.support.recording import Collector

RECEIVED, SENT = WSDirection.RECEIVED, WSDirection.SENT
SECRET = "hush-hush-42"
NEVER = ["Authorization", "proxy-authorization", "COOKIE", "Set-Cookie"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://user:pw@host:1/a?b=c", "ws://host:1/a?b=c"),
        ("wss://token@host/", "wss://host/"),
        ("/a?token=1&b=2;api_key=3", "/a?token=REDACTED&b=2;api_key=REDACTED"),
        ("/a?X-Amz-Signature=1", "/a?X-Amz-Signature=REDACTED"),
        ("/a?%74oken=1&token=&key", "/a?%74oken=REDACTED&token=&key"),
        ("/a?key=1&monkey=2&keyboard=3", "/a?key=REDACTED&monkey=2&keyboard=3"),
        ("/ws/eyJhbGciOi.eyJzdWIi.c2ln?x=1", "/ws/REDACTED?x=1"),
        ("/?listenKey=abc&streams=a@trade", "/?listenKey=REDACTED&streams=a@trade"),
        (
            "/?appKey=1&streamkey=2&X-AppKey=3",
            "/?appKey=REDACTED&streamkey=REDACTED&X-AppKey=REDACTED",
        ),
        ("/?userPwd=1&reqSig=2&design=3", "/?userPwd=REDACTED&reqSig=REDACTED&design=3"),
        ("/?Monkey=1&monkeys=2&keys=3&keyboard=4", "/?Monkey=1&monkeys=2&keys=3&keyboard=4"),
        ("/x;token=1;v=2/y;sid=3?a=b", "/x;token=REDACTED;v=2/y;sid=REDACTED?a=b"),
        ("ws://h/a#access_token=1&b=2", "ws://h/a#access_token=REDACTED&b=2"),
        ("/a?b=1#token=1", "/a?b=1#token=REDACTED"),
        ("/a?token=b/c?d&e=f", "/a?token=REDACTED&e=f"),
        ("/a?x=v1.eyJhbGciOi.eyJzdWIi.c2ln", "/a?x=v1.REDACTED"),
        ("/eyJ.a/eyJa", "/eyJ.a/eyJa"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert redact_url(url) == expected


@pytest.mark.parametrize("name", NEVER)
@pytest.mark.parametrize(
    "field",
    [
        "{}: {}\r\n",
        "{}:{}\r\n",
        "{} : {}\r\n",
        "{}: a\r\n\t{}\r\n  {}\r\n",
        "{}: {}\n",
        "{}:\r\n {}\r\n",
    ],
)
def test_headers(name: str, field: str) -> None:
    secret = field.format(name, SECRET, SECRET)
    head = f"GET /a HTTP/1.1\r\nHost: a\r\n{secret}X-Last: 1\r\n\r\n".encode()
    secrets: List[bytes] = []
    assert redact_head(head, secrets=secrets) == b"GET /a HTTP/1.1\r\nHost: a\r\nX-Last: 1\r\n\r\n"
    assert SECRET.encode() in secrets


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("X-API-Key: a", ""),
        ("OK-ACCESS-SIGN: a", ""),
        ("X-Auth-Token: a", ""),
        ("Sec-WebSocket-Key: abc==", "Sec-WebSocket-Key: abc=="),
        ("WWW-Authenticate: Basic", "WWW-Authenticate: Basic"),
        ("Location: wss://h/?token=a", "Location: wss://h/?token=REDACTED"),
        ("Sec-WebSocket-Protocol: v1,v2", "Sec-WebSocket-Protocol: v1,v2"),
        (
            "Sec-WebSocket-Protocol: v1, base64url.bearer.abc",
            "Sec-WebSocket-Protocol: v1, REDACTED",
        ),
        ("X-AppKey: a", ""),
        ("X-Streamkey: a", ""),
        (
            "Sec-WebSocket-Protocol: token, " + "0a" * 20,
            "Sec-WebSocket-Protocol: REDACTED, REDACTED",
        ),
        ("Sec-WebSocket-Protocol: v1, " + "0a" * 20, "Sec-WebSocket-Protocol: v1, REDACTED"),
        (
            "Sec-WebSocket-Protocol: bearer, ab, v1",
            "Sec-WebSocket-Protocol: REDACTED, REDACTED, v1",
        ),
        (
            "Sec-WebSocket-Protocol: access_token\r\nSec-WebSocket-Protocol: ab, v1",
            "Sec-WebSocket-Protocol: REDACTED\r\nSec-WebSocket-Protocol: REDACTED, v1",
        ),
        (
            "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.a, base64.binary.k8s.io",
            "Sec-WebSocket-Protocol: REDACTED, base64.binary.k8s.io",
        ),
        (
            "Sec-WebSocket-Protocol: v1, 123e4567-e89b-12d3-a456-426614174000",
            "Sec-WebSocket-Protocol: v1, REDACTED",
        ),
        (
            "Sec-WebSocket-Protocol: graphql-transport-ws, json.reliable.webpubsub.azure.v1, mqtt",
            "Sec-WebSocket-Protocol: graphql-transport-ws, json.reliable.webpubsub.azure.v1, mqtt",
        ),
        ("X-Note: eyJhbGciOi.eyJzdWIi.c2ln", "X-Note: REDACTED"),
        ("User-Agent: me", "User-Agent: me"),
    ],
)
def test_other_headers(field: str, expected: str) -> None:
    expected += "\r\n" if expected else ""
    found = redact_head(f"GET / HTTP/1.1\r\n{field}\r\n\r\n".encode())
    assert found == f"GET / HTTP/1.1\r\n{expected}\r\n".encode()


def test_first_lines() -> None:
    assert (
        redact_head(b"GET /?token=a HTTP/1.1\r\n\r\n") == b"GET /?token=REDACTED HTTP/1.1\r\n\r\n"
    )
    assert redact_head(b"HTTP/1.1 101 Switching\r\n\r\n") == b"HTTP/1.1 101 Switching\r\n\r\n"
    assert redact_head(b"GET /?token=abc") == b"GET /?token=REDACTED"
    assert redact_head(b"Cookie: a=b\r\nHost: a\r\n") == b"Host: a\r\n"


def test_a_hook() -> None:
    asked: Dict[str, str] = {}

    def redact(name: str, value: str) -> Optional[str]:
        asked[name] = value
        return {"target": "/x", "user-agent": None}.get(name, value + "\r\nX-Evil: 1")

    head = b"GET /listen/abc HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nCookie: b=c\r\n\r\n"
    assert redact_head(head, redact) == b"GET /x HTTP/1.1\r\nHost: a X-Evil: 1\r\n\r\n"
    assert asked == {"target": "/listen/abc", "host": "a", "user-agent": "me"}


def recorded(path: Path) -> bytes:
    return path.read_bytes()


@both_roles
@pytest.mark.parametrize("name", NEVER)
def test_a_recorded_connection(role: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    secret = [(name, f"Basic {SECRET}")]
    with Recorder(path) as recorder:
        connected(
            Collector(),
            role=role,
            url=f"ws://user:{SECRET}@host/?token={SECRET}&a=1",
            headers=secret if role == "client" else (),
            peer_headers=secret,
            tap=recorder,
        ).lose()
    assert SECRET.encode() not in recorded(path)
    assert name.lower().encode() not in recorded(path).lower()
    records = list(read_recording(path))
    assert b"".join(record.data for record in records).count(b"token=REDACTED&a=1") == 1


@pytest.mark.parametrize("piece", [1, 3, 1000])
@pytest.mark.parametrize("name", NEVER)
def test_a_refusal(name: str, piece: int, tmp_path: Path) -> None:
    """The body of a response shows the request, and a trailer sets a cookie."""
    path = tmp_path / "a.rec"
    refusal = (
        f"HTTP/1.1 103 Early Hints\r\n{name}: {SECRET}\r\n\r\n"
        f"HTTP/1.1 403 Forbidden\r\n{name}: {SECRET}\r\nX-Why: 1\r\nContent-Length: 200\r\n\r\n"
        f"you sent: {SECRET}\r\n{name}: {SECRET}-2\r\n"
    ).encode()
    with Recorder(path) as recorder:
        connection = Connection(
            "client", open=False, tap=recorder, headers=[("Authorization", f"Bearer {SECRET}")]
        )
        connection.start()
        connection.feed(*(refusal[at : at + piece] for at in range(0, len(refusal), piece)))
        connection.lose()
    assert SECRET.encode() not in recorded(path)
    received = [record for record in read_recording(path) if record.direction is RECEIVED]
    assert [record.is_handshake for record in received] == [True, True, False]
    assert b"X-Why: 1" in received[1].data
    body = refusal[refusal.index(b"you sent") :]
    assert len(received[2].data) == len(body)
    assert received[2].data.startswith(b"you sent: ************")


def end_of_refusal(request: bytes, body: bytes, **options: Any) -> bytes:
    redactor = HandshakeRedactor(is_client=True, **options)
    redactor.feed(SENT, request)
    redactor.feed(RECEIVED, b"HTTP/1.1 404 Not Found\r\n\r\n" + body)
    ((_, found, _),) = redactor.end()
    assert len(found) == len(body)
    return found


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        (b"/ws?token=hush", b"Cannot GET /ws?token=hush", b"Cannot GET /ws?token=****"),
        (
            b"/ws?token=abc",
            b"Cannot GET /ws?a=b&amp;token=abc<",
            b"Cannot GET /ws?a=b&amp;token=***<",
        ),
        (b"/ws?token=hush%21hush", b"hush!hush hush%21hush", b"********* ***********"),
        (b"/ws;sid=hushhush", b"sid is hushhush", b"sid is ********"),
        (b"/", b"eyJhbGciOi.eyJzdWIi.c2ln: no", b"*" * 24 + b": no"),
        (b"/feed?depth=5", b"Cannot GET /feed?depth=5", b"Cannot GET /feed?depth=5"),
        (b"/", b"see ws://me:hush@host/", b"see ws://********host/"),
        (b"http://me:hush@host/", b"hush", b"****"),
        (
            b"/",
            b"0\r\nSet-Cookie: a;\r\n hush\n\thush\nb",
            b"0\r\n" + b"*" * 14 + b"\r\n*****\n*****\nb",
        ),
        (b"/", b"Cookie : hush", b"*" * 13),
    ],
)
def test_the_body_of_a_refusal(target: bytes, body: bytes, expected: bytes) -> None:
    """It often shows what was asked for."""
    assert end_of_refusal(b"GET %s HTTP/1.1\r\n\r\n" % target, body) == expected


def test_the_body_shows_a_jwt_or_a_subprotocol() -> None:
    request = (
        b"GET /ws/eyJhbGciOi.eyJzdWIi.c2ln HTTP/1.1\r\nSec-WebSocket-Protocol: token, abcd\r\n\r\n"
    )
    found = end_of_refusal(request, b"/ws/eyJhbGciOi.eyJzdWIi.c2ln for abcd")
    assert found == b"/ws/%s for ****" % (b"*" * 24)


def test_the_body_shows_what_the_hook_withholds() -> None:
    def redact(name: str, value: str) -> Optional[str]:
        if name == "target":
            return value.partition("/ws/")[0] + "/ws/key"
        return None if name == "x-account" else value

    request = b"GET /v1/ws/hush%21?a=b HTTP/1.1\r\nX-Account: no. 4711\r\nHost: example\r\n\r\n"
    body = b"Cannot GET /v1/ws/hush%21?a=b, /ws/hush! of 4711 at example"
    expected = b"Cannot GET ******************, /ws/***** of **** at example"
    assert end_of_refusal(request, body, redact=redact) == expected


def test_a_response_chooses_a_secret_subprotocol() -> None:
    redactor = HandshakeRedactor(is_client=True)
    field = b"Sec-WebSocket-Protocol: "
    ((_, request, _),) = redactor.feed(SENT, b"GET / HTTP/1.1\r\n" + field + b"token, ab\r\n\r\n")
    assert request == b"GET / HTTP/1.1\r\n" + field + b"REDACTED, REDACTED\r\n\r\n"
    ((_, response, _),) = redactor.feed(RECEIVED, b"HTTP/1.1 101 \r\n" + field + b"ab\r\n\r\n")
    assert response == b"HTTP/1.1 101 \r\n" + field + b"REDACTED\r\n\r\n"


def test_a_long_body_takes_no_long_time() -> None:
    """No expression goes over it more than a few times."""
    for piece in (b"eyJ", b"a", b"a=", b"=", b"eyJ.", b"a;", b"token="):
        body = piece * (200_000 // len(piece))
        assert len(end_of_refusal(b"GET / HTTP/1.1\r\n\r\n", body)) == len(body)


def test_a_head_that_never_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(path) as recorder:
        connection = Connection("server", open=False, tap=recorder)
        connection.start()
        connection.feed(b"GET /?token=%s HTTP/1.1\r\nCookie: a" % SECRET.encode())
        connection.feed(b"=%s\r\nCook" % SECRET.encode())
        connection.lose()
    assert SECRET.encode() not in recorded(path)
    (head,) = [record for record in read_recording(path) if record.is_handshake and record.data]
    assert head.data == b"GET /?token=REDACTED HTTP/1.1\r\nCook"


def test_bytes_behind_a_head() -> None:
    """They are frames, or not, as the response says; until then they wait."""
    redactor = HandshakeRedactor(is_client=False)
    assert redactor.feed(RECEIVED, b"GET / HTTP/1.1\r\n\r\n\x81")[0][2]
    assert redactor.feed(RECEIVED, b"\x80abcd") == []
    response = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    assert redactor.feed(SENT, response + b"\x81\x00") == [
        (SENT, response, True),
        (RECEIVED, b"\x81\x80abcd", False),
        (SENT, b"\x81\x00", False),
    ]
    assert redactor.is_over
    assert redactor.feed(SENT, b"Cookie: a") == [(SENT, b"Cookie: a", False)]
    assert redactor.end() == []


FIELDS = st.lists(
    st.tuples(
        st.sampled_from([*NEVER, "Host", "X-Any", "Sec-WebSocket-Key", "set-cookie2"]),
        st.sampled_from([": ", ":", " : ", ":\t"]),
        st.sampled_from(["", " ", "\r\n ", "\r\n\t\t"]),
        st.sampled_from(["\r\n", "\n"]),
    ),
    max_size=8,
)


@given(FIELDS, st.lists(st.integers(1, 40), min_size=1, max_size=9), st.booleans(), st.booleans())
def test_no_secret_is_left(fields: Any, pieces: List[int], is_client: bool, is_whole: bool) -> None:
    """Whatever the head looks like, and however it is cut."""
    secret = any(name.lower() in {each.lower() for each in NEVER} for name, *_ in fields)
    lines = ["GET / HTTP/1.1\r\n"]
    for name, colon, fold, end in fields:
        is_never = name.lower() in {each.lower() for each in NEVER} or "cookie" in name
        lines.append(f"{name}{colon}{fold}{SECRET if is_never else 'public'}{end}")
    head = "".join([*lines, "\r\n" if is_whole else ""]).encode()
    redactor = HandshakeRedactor(is_client=is_client)
    direction = SENT if is_client else RECEIVED
    found: List[Any] = []
    start, turn = 0, 0
    while start < len(head):
        size = pieces[turn % len(pieces)]
        found += redactor.feed(direction, head[start : start + size])
        start, turn = start + size, turn + 1
    found += redactor.end()
    text = b"".join(data for _, data, _ in found)
    assert SECRET.encode() not in text
    assert text.count(b"public") == head.count(b"public")
    assert secret or text.startswith(b"GET / HTTP/1.1")


def test_a_head_that_is_too_long() -> None:
    """Its beginning is recorded when the connection opens."""
    redactor = HandshakeRedactor(is_client=False)
    line = b"Cookie: a=%s\r\n" % SECRET.encode()
    assert redactor.feed(RECEIVED, b"GET / HTTP/1.1\r\n" + line + b"X: " + b"x" * (1 << 20)) == []
    found = redactor.feed(SENT, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert [(direction, is_handshake) for direction, _, is_handshake in found] == [
        (SENT, True),
        (RECEIVED, True),
    ]
    assert found[1][1].startswith(b"GET / HTTP/1.1\r\nX: x")


@pytest.mark.parametrize(
    "field",
    [
        b"\xa0Cookie: hush\r\n",
        b"Cookie\x00: hush\r\n",
        b"\x0bCookie\t: hush\r\n",
        b"Link: <ws://me:hush@host/>\r\n",
    ],
)
def test_fields_that_are_not_as_they_should_be(field: bytes) -> None:
    """The codec refuses some of them, but they were received."""
    assert b"hush" not in redact_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n")
