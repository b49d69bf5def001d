"""picows_server.option_names: names of other libraries lead to those of here."""

from __future__ import annotations

import inspect
import re

import pytest

from picows_client import ws_connect
from picows_server import run, serve, ws_create_server
from picows_server.option_names import MEANINGS, RUN_MEANINGS, SERVE_MEANINGS
from tests.support.servers import Echo

KNOWN = set(inspect.signature(ws_create_server).parameters)
KNOWN_TO_SERVE = set(inspect.signature(serve).parameters)
OF_CLIENTS = set(inspect.signature(ws_connect).parameters) - KNOWN


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_name_of_another_library(name: str) -> None:
    assert name not in KNOWN
    with pytest.raises(TypeError) as caught:
        ws_create_server("ws://127.0.0.1:1", Echo, **{name: 1})
    assert str(caught.value) == f"ws_create_server() has no option {name!r}: {MEANINGS[name]}"


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_what_is_recommended_exists(name: str) -> None:
    assert set(re.findall(r"(\w+)=", MEANINGS[name])) <= KNOWN


@pytest.mark.parametrize("name", sorted(SERVE_MEANINGS))
def test_name_that_serve_does_not_know(name: str) -> None:
    async def handler(connection: object) -> None: ...

    assert name not in KNOWN_TO_SERVE
    meaning = SERVE_MEANINGS[name]
    with pytest.raises(TypeError) as caught:
        serve(handler, "ws://127.0.0.1:1", **{name: 1})
    assert str(caught.value) == f"serve() has no option {name!r}: {meaning}"
    assert set(re.findall(r"(\w+)=", meaning)) <= KNOWN_TO_SERVE | {"decode"}


@pytest.mark.parametrize("name", sorted(RUN_MEANINGS))
def test_name_that_run_does_not_know(name: str) -> None:
    known = set(inspect.signature(run).parameters)
    assert name not in known
    meaning = RUN_MEANINGS[name]
    with pytest.raises(TypeError) as caught:
        run("ws://127.0.0.1:1", Echo, **{name: 1})
    assert str(caught.value) == f"run() has no option {name!r}: {meaning}"
    assert set(re.findall(r"(\w+)=", meaning)) <= known


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_every_name_is_known_to_serve(name: str) -> None:
    assert name in SERVE_MEANINGS or name in KNOWN_TO_SERVE


@pytest.mark.parametrize("name", sorted(OF_CLIENTS))
def test_option_of_the_other_side(name: str) -> None:
    assert name in MEANINGS


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("enable_autoping", "enable_auto_ping"), ("max_conections", "max_connections")],
)
def test_misspelt(name: str, suggestion: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}': did you mean '{suggestion}'?"):
        ws_create_server("ws://127.0.0.1:1", Echo, **{name: 1})
