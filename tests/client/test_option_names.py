"""picows_client.option_names: names of other libraries lead to those of here."""

from __future__ import annotations

import inspect
import re

import pytest

from picows_client import connect, ws_connect, ws_keep_connected
from picows_client.option_names import CONNECT_MEANINGS, KEEP_CONNECTED_MEANINGS, MEANINGS
from picows_server import ws_create_server
from tests.client.exchange import Recorder

KNOWN = set(inspect.signature(ws_connect).parameters)
KNOWN_TO_CONNECT = set(inspect.signature(connect).parameters)
KNOWN_TO_KEEP_CONNECTED = set(inspect.signature(ws_keep_connected).parameters)
OF_SERVERS = set(inspect.signature(ws_create_server).parameters) - KNOWN
OF_RECV = {"decode"}


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_name_of_another_library(name: str) -> None:
    assert name not in KNOWN
    with pytest.raises(TypeError) as caught:
        ws_connect("ws://127.0.0.1:1", Recorder, **{name: 1})
    assert str(caught.value) == f"ws_connect() has no option {name!r}: {MEANINGS[name]}"


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_what_is_recommended_exists(name: str) -> None:
    assert set(re.findall(r"(\w+)=", MEANINGS[name])) <= KNOWN | KNOWN_TO_KEEP_CONNECTED


@pytest.mark.parametrize("name", sorted(CONNECT_MEANINGS))
def test_name_of_another_library_for_connect(name: str) -> None:
    meaning = CONNECT_MEANINGS[name]
    assert name not in KNOWN_TO_CONNECT
    with pytest.raises(TypeError) as caught:
        connect("ws://127.0.0.1:1", **{name: 1})
    assert str(caught.value) == f"connect() has no option {name!r}: {meaning}"
    assert set(re.findall(r"(\w+)=", meaning)) <= KNOWN_TO_CONNECT | OF_RECV


@pytest.mark.parametrize("name", sorted(OF_SERVERS))
def test_option_of_the_other_side(name: str) -> None:
    assert name in MEANINGS
    assert name in CONNECT_MEANINGS


@pytest.mark.parametrize("name", sorted(KEEP_CONNECTED_MEANINGS))
def test_name_of_another_library_for_links(name: str) -> None:
    meaning = KEEP_CONNECTED_MEANINGS[name]
    assert name not in KNOWN_TO_KEEP_CONNECTED
    with pytest.raises(TypeError) as caught:
        ws_keep_connected("ws://127.0.0.1:1", Recorder, **{name: 1})
    assert str(caught.value) == f"ws_keep_connected() has no option {name!r}: {meaning}"
    assert set(re.findall(r"(\w+)=", meaning)) <= KNOWN_TO_KEEP_CONNECTED


@pytest.mark.parametrize("name", ["backoff", "retry", "max_attempts", "max_elapsed", "on_change"])
def test_option_of_a_link(name: str) -> None:
    with pytest.raises(TypeError, match="it is an option of ws_keep_connected"):
        ws_connect("ws://127.0.0.1:1", Recorder, **{name: None})


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("enable_autoping", "enable_auto_ping"), ("extra_header", "extra_headers")],
)
def test_misspelt(name: str, suggestion: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}': did you mean '{suggestion}'?"):
        ws_connect("ws://127.0.0.1:1", Recorder, **{name: 1})
