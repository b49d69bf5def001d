"""The command line, taken apart."""

from __future__ import annotations

import math
from typing import Any

import pytest

from picows_client import __version__
from picows_client.cli.arguments import Arguments, parsed

URL = "ws://host/feed"


def test_defaults() -> None:
    assert parsed([URL]) == Arguments(
        url=URL,
        headers=[],
        subprotocols=[],
        is_insecure=False,
        authorities=None,
        certificate=None,
        key=None,
        proxy=True,
        compresses=False,
        messages=[],
        seconds_to_stay=None,
        count=None,
        is_hex=False,
        is_verbose=False,
        is_json=False,
        has_timestamps=False,
        inflates=False,
        pings=None,
        reconnects=False,
        recording=None,
        replayed=None,
    )


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("-H A:b --header C:d:e", "headers", [("A", "b"), ("C", "d:e")]),
        ("-s v1 -s v2,v3", "subprotocols", ["v1", "v2", "v3"]),
        ("-k", "is_insecure", True),
        ("--cacert a.pem", "authorities", "a.pem"),
        ("--cert c.pem", "certificate", "c.pem"),
        ("--cert c.pem --key k.pem", "key", "k.pem"),
        ("--proxy http://proxy:1", "proxy", "http://proxy:1"),
        ("--proxy none", "proxy", None),
        ("--compression", "compresses", True),
        ("-x one -x two", "messages", ["one", "two"]),
        ("-b -x 0a0B", "messages", [b"\n\x0b"]),
        ("-w 2.5", "seconds_to_stay", 2.5),
        ("-w 0", "seconds_to_stay", 0.0),
        ("-w inf", "seconds_to_stay", math.inf),
        ("--reconnect -w 1", "seconds_to_stay", 1.0),
        ("--reconnect", "reconnects", True),
        ("-1", "count", 1),
        ("--count 7", "count", 7),
        ("--count 12345678901", "count", 12345678901),
        ("--ping 9", "pings", 9),
        ("-b", "is_hex", True),
        ("-v", "is_verbose", True),
        ("--json", "is_json", True),
        ("-t", "has_timestamps", True),
        ("--gunzip", "inflates", True),
        ("--record file", "recording", "file"),
    ],
)
def test_options(words: str, name: str, value: Any) -> None:
    assert getattr(parsed([*words.split(), URL]), name) == value
    assert getattr(parsed([URL, *words.split()]), name) == value


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("host:9001/path?a=b", "ws://host:9001/path?a=b"),
        ("localhost", "ws://localhost"),
        ("wss://host", "wss://host"),
        ("http://host", "ws://host"),
        ("HTTPS://host/x", "wss://host/x"),
        ("ftp://host", "ftp://host"),
    ],
)
def test_urls(text: str, url: str) -> None:
    assert parsed([text]).url == url


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "URL"),
        ("ws://a ws://b", "unrecognized arguments: ws://b"),
        ("--verb ws://a", "unrecognized arguments: --verb"),
        ("-H nonsense ws://a", "-H wants 'Name: value', not 'nonsense'"),
        ("-H :value ws://a", "-H wants"),
        ("-w soon ws://a", "a number of seconds, or inf, is wanted, not 'soon'"),
        ("-w -1 ws://a", "expected one argument"),
        ("--wait=-1 ws://a", "wanted, not '-1'"),
        ("-w nan ws://a", "wanted"),
        ("--count 0 ws://a", "wanted, not '0'"),
        ("--count 1.5 ws://a", "wanted, not '1.5'"),
        ("--count 1234567890123456789 ws://a", "at most 18 digits, is wanted"),
        ("--ping x ws://a", "wanted, not 'x'"),
        ("-1 --count 2 ws://a", "not allowed with"),
        ("-1 --ping 2 ws://a", "not allowed with"),
        ("--ping 2 -x a ws://a", "--ping only measures: it does not go with --execute"),
        ("--ping 2 --reconnect ws://a", "it does not go with --reconnect"),
        ("--replay file ws://a", "--replay connects to nobody: it does not go with a URL"),
        ("--replay file --record other", "it does not go with --record"),
        ("--replay file -x a", "it does not go with --execute"),
        ("--replay file --ping 2", "it does not go with --ping"),
        ("--replay file -H a:b", "it does not go with --header"),
        ("--replay file -k", "it does not go with --insecure"),
        ("--ping 2 --json ws://a", "it does not go with --json"),
        ("--ping 2 -t ws://a", "it does not go with --timestamps"),
        ("--ping 2 -b ws://a", "it does not go with --hex"),
        ("--ping 2 --gunzip ws://a", "it does not go with --gunzip"),
        ("--key k ws://a", "--key needs --cert"),
        ("-b -x xyz ws://a", "-x with -b wants hex digits, not 'xyz'"),
        ("-x \udcff ws://a", "-x wants UTF-8, not '\\udcff'; -b takes hex"),
        ("-x \udcff --reconnect ws://a", "-x wants UTF-8"),
        ("-b -x \udcff ws://a", "-x with -b wants hex digits"),
    ],
)
def test_wrong_usage(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(words.split())
    assert caught.value.code == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("usage: picows ")
    assert complaint in errors


def test_replay() -> None:
    arguments = parsed(["--replay", "file", "-1"])
    assert (arguments.replayed, arguments.count) == ("file", 1)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("-V", "--help"):
        with pytest.raises(SystemExit) as caught:
            parsed([word])
        assert caught.value.code == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert output.startswith(f"picows-client {__version__}\nusage: picows ")
