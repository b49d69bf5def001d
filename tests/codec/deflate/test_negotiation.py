"""picows_codec.deflate.negotiation: offers and answers (RFC 7692, 5 and 7)."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import pytest

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSInvalidHeaderError,
    WSListener,
    WSOptions,
    WSPermessageDeflate,
)
from picows_codec.deflate.negotiation import (
    Agreement,
    accept_answer,
    accept_offers,
    offer_of,
    parse_extensions,
)
from tests.support import frames

PMD = "permessage-deflate"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", []),
        (" , ,", []),
        ("a", [("a", [])]),
        ("a, b;c", [("a", []), ("b", [("c", None)])]),
        (' a ; b = c ;d="e" , f', [("a", [("b", "c"), ("d", "e")]), ("f", [])]),
        ('a; b="1\\0"', [("a", [("b", "10")])]),
        ("a;b;b", [("a", [("b", None), ("b", None)])]),
        ("A;B", [("A", [("B", None)])]),
    ],
)
def test_parse(value: str, found: List[Tuple[str, Any]]) -> None:
    assert parse_extensions(value) == found


@pytest.mark.parametrize(
    "value",
    [
        "a b", "a;", "a; ;b", "a;b=", 'a;b="', 'a;b="c', 'a;b=""', 'a;b="c d"', 'a;b="c"d', "=",
        ";a",
        "a;b==c", "a\u00e9", "a;b=\u0661", '"a"', "a;\x00", "a/b", 'a;b="\\',
    ],
)  # fmt: skip
def test_what_is_no_list(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_extensions(value)


@pytest.mark.parametrize(
    ("given", "offer"),
    [
        ({}, "client_max_window_bits"),
        ({"client_max_window_bits": 10}, "client_max_window_bits=10"),
        ({"server_max_window_bits": 9}, "server_max_window_bits=9; client_max_window_bits"),
        (
            {"server_no_context_takeover": True, "client_no_context_takeover": True},
            "server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
        ({"level": 9, "client_compresses": True}, "client_max_window_bits"),
    ],
)
def test_offer(given: Dict[str, Any], offer: str) -> None:
    assert offer_of(WSPermessageDeflate(**given)) == f"{PMD}; {offer}"


@pytest.mark.parametrize(
    ("offers", "given", "answer", "agreed"),
    [
        ("", {}, "", (13, 15, False, False)),
        ("; client_max_window_bits", {}, "", (13, 15, False, False)),
        (
            "; client_max_window_bits",
            {"client_max_window_bits": 10},
            "; client_max_window_bits=10",
            (13, 10, False, False),
        ),
        (
            "; client_max_window_bits=9",
            {"client_max_window_bits": 10},
            "; client_max_window_bits=9",
            (13, 9, False, False),
        ),
        (
            '; client_max_window_bits="11"',
            {},
            "; client_max_window_bits=11",
            (13, 11, False, False),
        ),
        # Only a client that offers the parameter understands it (7.1.2.2).
        ("", {"client_max_window_bits": 10}, "", (13, 15, False, False)),
        ("; server_max_window_bits=10", {}, "; server_max_window_bits=10", (10, 15, False, False)),
        ("; server_max_window_bits=15", {}, "; server_max_window_bits=15", (13, 15, False, False)),
        ("; server_max_window_bits=8", {}, "; server_max_window_bits=8", (0, 15, False, False)),
        (
            "",
            {"server_max_window_bits": 15},
            "; server_max_window_bits=15",
            (15, 15, False, False),
        ),
        (
            "; server_max_window_bits=14",
            {"server_max_window_bits": 11},
            "; server_max_window_bits=11",
            (11, 15, False, False),
        ),
        ("; server_no_context_takeover", {}, "; server_no_context_takeover", (13, 15, True, False)),
        ("; client_no_context_takeover", {}, "; client_no_context_takeover", (13, 15, False, True)),
        (
            "",
            {"server_no_context_takeover": True, "client_no_context_takeover": True},
            "; server_no_context_takeover; client_no_context_takeover",
            (13, 15, True, True),
        ),
    ],
)
def test_server_accepts(
    offers: str, given: Dict[str, Any], answer: str, agreed: Tuple[int, int, bool, bool]
) -> None:
    parameters = WSPermessageDeflate(**given)
    assert accept_offers([PMD + offers], parameters) == (
        PMD + answer,
        Agreement(*agreed, parameters),
    )


WRONG_IN_BOTH = [
    "unknown",
    "unknown=1",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "server_max_window_bits",
    "server_max_window_bits=10; server_max_window_bits=10",
    *(
        f"{side}_max_window_bits={bits}"
        for side in ("server", "client")
        for bits in ("7", "16", "0", "08", "010", "+9", "9.0", "1", "100", "x", '"7"')
    ),
    "Server_max_window_bits=10",
]


@pytest.mark.parametrize(
    "wrong", [*WRONG_IN_BOTH, "client_max_window_bits; client_max_window_bits"]
)
def test_server_declines_an_offer(wrong: str) -> None:
    parameters = WSPermessageDeflate()
    assert accept_offers([f"{PMD}; {wrong}"], parameters) is None
    # ... and takes the next one, in the same header line or another.
    second = f"{PMD}; server_max_window_bits=9"
    for values in ([f"{PMD}; {wrong}, {second}"], [f"{PMD}; {wrong}", second]):
        accepted = accept_offers(values, parameters)
        assert accepted is not None
        assert accepted[0] == second


def test_server_passes_other_extensions_over() -> None:
    parameters = WSPermessageDeflate()
    assert accept_offers(["x-webkit-deflate-frame, permessage-bzip2; a=b"], parameters) is None
    accepted = accept_offers([f"mux; max=4, {PMD}"], parameters)
    assert accepted is not None


@pytest.mark.parametrize(
    ("answer", "given", "agreed"),
    [
        ("", {}, (0, 15, False, False)),
        ("", {"client_compresses": True}, (15, 15, False, False)),
        ("; client_max_window_bits=10", {"client_compresses": True}, (10, 15, False, False)),
        ("; client_max_window_bits=15", {"client_compresses": True}, (15, 15, False, False)),
        ("; client_max_window_bits=8", {"client_compresses": True}, (0, 15, False, False)),
        ("", {"client_compresses": True, "client_max_window_bits": 9}, (9, 15, False, False)),
        ("", {"client_compresses": True, "client_max_window_bits": 8}, (0, 15, False, False)),
        (
            "; client_max_window_bits=15",
            {"client_compresses": True, "client_max_window_bits": 15},
            (15, 15, False, False),
        ),
        # What a server may add on its own (7.1.1.1, 7.1.1.2, 7.1.2.1).
        ("; server_max_window_bits=9", {}, (0, 9, False, False)),
        ("; server_no_context_takeover", {}, (0, 15, False, True)),
        ("; client_no_context_takeover", {}, (0, 15, True, False)),
        (' ; server_max_window_bits = "9"', {"server_max_window_bits": 9}, (0, 9, False, False)),
        # A hint that the server does not repeat, or answers with more, is kept to all the same.
        (
            "; client_max_window_bits=15",
            {"client_compresses": True, "client_max_window_bits": 10},
            (10, 15, False, False),
        ),
        ("", {"client_no_context_takeover": True}, (0, 15, True, False)),
        (
            "; server_no_context_takeover",
            {"server_no_context_takeover": True},
            (0, 15, False, True),
        ),
    ],
)
def test_client_accepts(
    answer: str, given: Dict[str, Any], agreed: Tuple[int, int, bool, bool]
) -> None:
    parameters = WSPermessageDeflate(**given)
    assert accept_answer([PMD + answer], parameters) == Agreement(*agreed, parameters)


@pytest.mark.parametrize("answer", [*(f"; {wrong}" for wrong in WRONG_IN_BOTH)])
def test_client_refuses_wrong_parameters(answer: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 7692, 7\.1"):
        accept_answer([PMD + answer], WSPermessageDeflate())


@pytest.mark.parametrize(
    ("answers", "given"),
    [
        (["permessage-bzip2"], {}),
        ([f"{PMD}, {PMD}"], {}),
        ([PMD, PMD], {}),
        ([f"{PMD}, other"], {}),
        (["Permessage-Deflate"], {}),
        ([f"{PMD}; client_max_window_bits"], {}),
        ([PMD], {"server_no_context_takeover": True}),
        ([PMD], {"server_max_window_bits": 10}),
        ([f"{PMD}; server_max_window_bits=11"], {"server_max_window_bits": 10}),
        ([f"{PMD};"], {}),
    ],
)
def test_client_refuses_answer(answers: List[str], given: Dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        accept_answer(answers, WSPermessageDeflate(**given))


# In the handshakes


def client_of(compression: Any, answer: Optional[bytes]) -> ClientHandshake:
    handshake = ClientHandshake(
        "/", "localhost", lambda *_: WSListener(), WSOptions(compression=compression)
    )
    request = handshake.take_to_send()
    extra = b"" if answer is None else b"Sec-WebSocket-Extensions: " + answer + b"\r\n"
    response = frames.upgrade_response(request)
    handshake.feed_data(response[:-2] + extra + b"\r\n")
    assert handshake.done
    assert (b"Sec-WebSocket-Extensions: " in request) == (compression is not None)
    return handshake


def test_client_handshake() -> None:
    handshake = client_of("deflate", b"permessage-deflate")
    assert handshake.accepted
    assert handshake.compression.receive_bits == 15
    assert handshake.request is not None
    assert handshake.request.headers["Sec-WebSocket-Extensions"] == f"{PMD}; client_max_window_bits"
    for answer in (None, b"", b" , "):
        handshake = client_of("deflate", answer)
        assert handshake.accepted
        assert handshake.compression is None


def test_client_handshake_fails() -> None:
    for compression, answer in (
        (None, b"permessage-deflate"),
        ("deflate", b"permessage-deflate;x"),
    ):
        handshake = client_of(compression, answer)
        assert not handshake.accepted
        assert handshake.compression is None
        assert isinstance(handshake.error, WSInvalidHeaderError)
        assert "Sec-WebSocket-Extensions must not" in str(handshake.error)


def server_of(compression: Any, *offers: bytes) -> Tuple[ServerHandshake, bytes]:
    handshake = ServerHandshake(lambda _: WSListener(), WSOptions(compression=compression))
    extra = b"".join(b"Sec-WebSocket-Extensions: %b\r\n" % offer for offer in offers)
    handshake.feed_data(frames.upgrade_request(extra=extra))
    assert handshake.done
    return handshake, handshake.take_to_send()


def test_server_handshake() -> None:
    handshake, response = server_of("deflate", b"permessage-deflate; client_max_window_bits")
    assert handshake.accepted
    assert handshake.compression.send_bits == 13
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" in response
    assert handshake.response is not None
    assert handshake.response.headers["Sec-WebSocket-Extensions"] == PMD
    _, response = server_of("deflate", b"other, permessage-deflate;no", b"permessage-deflate")
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" in response


@pytest.mark.parametrize("offers", [(), (b"",), (b"other",), (b"permessage-deflate; x",)])
def test_server_handshake_without_compression(offers: Tuple[bytes, ...]) -> None:
    handshake, response = server_of("deflate", *offers)
    assert handshake.accepted
    assert handshake.compression is None
    assert b"Extensions" not in response


def test_server_ignores_offers_by_default() -> None:
    for offer in (b"permessage-deflate", b"not; ; a list"):
        handshake, response = server_of(None, offer)
        assert handshake.accepted
        assert b"Extensions" not in response


def test_server_refuses_what_is_no_list() -> None:
    handshake, response = server_of("deflate", b"permessage-deflate; ;")
    assert not handshake.accepted
    assert response.startswith(b"HTTP/1.1 400 ")
    assert isinstance(handshake.error, WSInvalidHeaderError)
