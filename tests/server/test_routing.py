"""picows_server.routing: which requests reach the listener factory, and how it is called."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, List, Optional

import pytest
from multidict import CIMultiDict

from picows_server import WSConnection, WSListener
from picows_server.routing import make_route, target_path


def request_for(path: str) -> Any:
    return SimpleNamespace(
        path=path, method="GET", headers=CIMultiDict(), remote_address=("127.0.0.1", 1)
    )


def test_class_as_factory() -> None:
    class Listener(WSListener):
        pass

    route = make_route(Listener, None)
    first, second = route(request_for("/")), route(request_for("/"))
    assert type(first) is type(second) is Listener
    assert first is not second


def test_factory_without_arguments() -> None:
    listener = WSListener()
    assert make_route(lambda: listener, None)(request_for("/")) is listener


def test_factory_with_the_request() -> None:
    requests: List[Any] = []

    def factory(request: Any) -> Optional[WSListener]:
        requests.append(request)
        return None

    request = request_for("/chat?room=1")
    assert make_route(factory, None)(request) is None
    assert requests == [request]


@pytest.mark.parametrize("factory", [None, "listener", WSListener(), lambda one, two: None])
def test_what_is_no_factory(factory: Any) -> None:
    with pytest.raises(TypeError, match="listener_factory"):
        make_route(factory, None)


@pytest.mark.parametrize("factory", [int, object, type, dict])
def test_class_of_something_else(factory: Any) -> None:
    with pytest.raises(TypeError, match=r"listener_factory must be a WSListener class.*<class '"):
        make_route(factory, None)


def test_coroutine_function() -> None:
    listener = WSListener()

    async def factory() -> WSListener:
        return listener

    route: Any = make_route(factory, "/chat")
    assert route(request_for("/other")) is None
    with pytest.raises(StopIteration) as ended:
        route(request_for("/chat")).send(None)
    assert ended.value.value is listener


async def handler(connection: WSConnection) -> None:
    """What ``serve`` wants."""


class Handlers:
    async def handle(self, connection: WSConnection) -> None:
        """The same as a method."""


@pytest.mark.parametrize("factory", [handler, Handlers().handle, partial(handler)])
def test_a_handler_of_serve(factory: Any) -> None:
    with pytest.raises(TypeError, match=r"takes a WSConnection, so it is a handler: write serve\("):
        make_route(factory, None)


@pytest.mark.parametrize(
    ("target", "is_served"),
    [
        ("/chat", True),
        ("/chat?room=1", True),
        ("/chat?", True),
        ("http://localhost:9001/chat", True),
        ("https://localhost/chat?room=/other", True),
        ("/", False),
        ("/chat/", False),
        ("/chat/room", False),
        ("/chats", False),
        ("//chat", False),
        ("/Chat", False),
        ("/%63hat", False),
        ("/?/chat", False),
        ("http://localhost/", False),
        ("http://localhost", False),
        ("http://chat", False),
    ],
)
def test_path_limits_what_reaches_the_factory(target: str, is_served: bool) -> None:
    listener = WSListener()
    asked: List[None] = []

    def factory() -> WSListener:
        asked.append(None)
        return listener

    assert make_route(factory, "/chat")(request_for(target)) is (listener if is_served else None)
    assert bool(asked) == is_served


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/b?c=/d?e", "/a/b"),
        ("http://host", "/"),
        ("http://host/", "/"),
        ("http://host?a", "/"),
        ("http://host/a//b?c", "/a//b"),
    ],
)
def test_target_path(target: str, path: str) -> None:
    assert target_path(target) == path
