"""However the bytes of a ClientHello are cut, the same is read from them."""

from __future__ import annotations

from typing import List, Optional, Tuple

from hypothesis import given
from hypothesis import strategies as st

from picows_server.sni.client_hello import MOST_BYTES, ClientHello, ClientHelloError
from tests.support.client_hellos import hello_by_hand, hello_of_openssl, name_extension, records

REAL = (
    hello_of_openssl("example.com"),
    hello_of_openssl("a.b.xn--e1afmkfd.xn--p1ai", alpn=["http/1.1", "h2"]),
    hello_of_openssl(None),
)

labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
others = st.tuples(st.integers(1, 65535), st.binary(max_size=40))
messages = st.builds(
    lambda before, name, after: hello_by_hand(
        [*before, *([] if name is None else [name_extension(name.encode())]), *after]
    ),
    st.lists(others, max_size=5),
    st.none() | names,
    st.lists(others, max_size=5),
)


def outcome(pieces: List[bytes]) -> Tuple[object, ...]:
    hello = ClientHello()
    try:
        for piece in pieces:
            before = hello.wanted
            hello.feed(piece)
            # What was wanted was less than everything, or everything has come.
            assert hello.wanted >= before - len(piece)
    except ClientHelloError as error:
        return "refused", str(error), error.alert
    return "read", hello.server_name, hello.wanted == 0


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> List[bytes]:
    places = draw(st.lists(st.integers(0, len(data)), max_size=20))
    ends = sorted({0, len(data), *places})
    return [data[start:end] for start, end in zip(ends, ends[1:])]


@given(data=st.data(), hello=st.sampled_from(REAL), size=st.integers(1, 600))
def test_real_ones(data: st.DataObject, hello: bytes, size: int) -> None:
    """Also over other records than OpenSSL wrote."""
    expected = outcome([hello])
    assert expected[0] == "read"
    assert outcome(data.draw(cut(hello))) == expected
    fragments = records(hello[5:], size)
    assert outcome(data.draw(cut(fragments))) == expected


@given(data=st.data(), name=st.none() | names, size=st.integers(1, 600))
def test_names(data: st.DataObject, name: Optional[str], size: int) -> None:
    extensions = [] if name is None else [name_extension(name.encode())]
    hello = records(hello_by_hand(extensions), size)
    assert outcome(data.draw(cut(hello))) == ("read", name, True)


@given(data=st.data(), message=messages, change=st.binary(max_size=4))
def test_damaged_ones(data: st.DataObject, message: bytes, change: bytes) -> None:
    hello = bytearray(records(message, data.draw(st.integers(1, 200))))
    place = data.draw(st.integers(0, len(hello)))
    hello[place : place + len(change)] = change
    del hello[data.draw(st.integers(0, len(hello))) :]
    damaged = bytes(hello)
    assert outcome(data.draw(cut(damaged))) == outcome([damaged])


@given(data=st.data(), noise=st.binary(max_size=200))
def test_noise(data: st.DataObject, noise: bytes) -> None:
    for start in (b"", b"\x16\3\1", b"\x16\3\1\0\x40\1\0\0\x3c\3\3"):
        given_bytes = start + noise
        assert outcome(data.draw(cut(given_bytes))) == outcome([given_bytes])


@given(size=st.integers(1, 80), padding=st.integers(0, 70000))
def test_the_limit(size: int, padding: int) -> None:
    """In records of a few bytes the limit is that of their bytes, headers included."""
    message = hello_by_hand([(21, bytes(min(padding, 65000))), name_extension(b"a")])
    hello = records(message, size)
    wanted: Tuple[object, ...] = ("read", "a", True)
    if len(hello) > MOST_BYTES:
        wanted = ("refused", f"the ClientHello has more than {MOST_BYTES} bytes", 50)
    assert outcome([hello]) == wanted
