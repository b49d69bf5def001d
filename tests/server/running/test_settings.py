"""picows_server.running.settings: checks, import strings, and what passes to other processes."""

from __future__ import annotations

import logging
import pickle
import re
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Dict

import pytest

from picows_server import (
    WSInvalidOptionError,
    WSInvalidURL,
    WSListener,
    create_ssl_context,
    health,
    metrics,
    page,
    ready,
)
from picows_server.draining import DrainPlan
from picows_server.hosting import HostedApplication
from picows_server.running.settings import (
    RunSettings,
    check_importable,
    configure_logging,
    options_of,
    resolve_settings,
)
from tests.support.certificates import Certificates

URL = "ws://127.0.0.1:0"
THIS = __name__


class Chat(WSListener):
    pass


async def app(scope: Any, receive: Any, send: Any) -> None: ...


async def handler(connection: Any) -> None: ...


async def generator() -> AsyncIterator[int]:
    yield 5


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def lifespan_of(server: object) -> AsyncIterator[None]:
    yield


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


routes = {"/ws": Chat}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module under a name without the folders."""
    monkeypatch.setitem(sys.modules, "settings_of_test", sys.modules[THIS])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"url": "http://a"}, WSInvalidURL, "http"),
        ({"loop": "trio"}, WSInvalidOptionError, "loop must be"),
        ({"log_level": "loud"}, WSInvalidOptionError, "log_level must be one of critical"),
        ({"factory_or_routes": "chat"}, WSInvalidOptionError, "must be an import string"),
        ({"factory_or_routes": {"/": "chat"}}, WSInvalidOptionError, "the path '/' must be"),
        ({"lifespan": "chat"}, WSInvalidOptionError, "lifespan must be an import string"),
        ({"ssl_context": "chat"}, WSInvalidOptionError, "ssl_context must be an import string"),
        ({"factory_or_routes": {"/": "a.html"}}, WSInvalidOptionError, r"a file is page\(path\)"),
        ({"handler": handler}, WSInvalidOptionError, r"handler, .*: both are there"),
        ({"factory_or_routes": None}, WSInvalidOptionError, r"handler, .*: neither of them is"),
        ({"handler": "chat", "factory_or_routes": None}, WSInvalidOptionError, "handler must be"),
        ({"lifespan": 5}, TypeError, "lifespan must be a function"),
        ({"lifespan": lifespan()}, TypeError, "pass the function, not its result"),
        ({"lifespan": lambda a, b: None}, TypeError, "lifespan must be a function"),
        ({"lifespan": app}, TypeError, "not a coroutine function"),
        ({"certificate": ("a", None), "ssl_context": context}, WSInvalidOptionError, "exclude"),
    ],
)
def test_wrong_at_once(arguments: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        RunSettings(**{"url": URL, "factory_or_routes": Chat, **arguments})


def test_import_strings() -> None:
    name = "settings_of_test"
    settings = RunSettings(
        URL, f"{name}:routes", lifespan=f"{name}:lifespan_of", ssl_context=f"{name}:context"
    )
    found = resolve_settings(settings)
    assert found.factory_or_routes == routes
    assert found.lifespan is lifespan_of
    assert isinstance(found.ssl_context, ssl.SSLContext)
    strings = {"/a": f"{name}:Chat", "/b": Chat, "/c": f"{name}:app"}
    mapping = resolve_settings(RunSettings(URL, strings))
    assert mapping.factory_or_routes["/a"] is Chat
    assert mapping.factory_or_routes["/b"] is Chat
    assert isinstance(mapping.factory_or_routes["/c"], HostedApplication)


@pytest.mark.parametrize("name", ["factory_or_routes", "handler", "lifespan", "ssl_context"])
def test_what_errors_call_an_argument(name: str) -> None:
    others = {} if name in ("factory_or_routes", "handler") else {"factory_or_routes": Chat}
    for text in ("no_import_string", "settings_of_test:nothing"):
        with pytest.raises(WSInvalidOptionError, match=f"^the {name} (is|must)"):
            resolve_settings(
                RunSettings(URL, **{**others, name: text}, shown_as={name: f"the {name}"})
            )


def test_an_import_string_of_a_str() -> None:
    text = r"^factory_or_routes is 'settings_of_test:URL', which is a str: 'ws://"
    with pytest.raises(WSInvalidOptionError, match=text):
        resolve_settings(RunSettings(URL, "settings_of_test:URL"))


def test_objects_stay() -> None:
    found = resolve_settings(RunSettings(URL, handler="settings_of_test:handler"))
    assert found.handler is resolve_settings(RunSettings(URL, handler=handler)).handler is handler
    made = context()
    for each in (made, {"*": made}, None):
        assert resolve_settings(RunSettings(URL, Chat, ssl_context=each)).ssl_context is each
    assert isinstance(resolve_settings(RunSettings(URL, app)).factory_or_routes, HostedApplication)


def test_what_an_import_string_names_is_checked() -> None:
    with pytest.raises(TypeError, match="not a coroutine function"):
        resolve_settings(RunSettings(URL, Chat, lifespan="settings_of_test:app"))


async def test_a_generator_is_made_a_context_manager() -> None:
    async with resolve_settings(RunSettings(URL, Chat, lifespan=generator)).lifespan() as value:
        assert value == 5


def test_certificate(certificates: Certificates) -> None:
    files = (str(certificates.server_chain), str(certificates.server_key))
    found = resolve_settings(RunSettings("wss://127.0.0.1:0", Chat, certificate=files))
    assert isinstance(found.ssl_context, ssl.SSLContext)
    assert found.certificate is None


def test_app_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_in_app_dir.py").write_text("def Chat(): pass")
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = RunSettings(URL, "found_in_app_dir:Chat", app_dir=str(tmp_path))
    for _ in range(2):
        assert resolve_settings(settings).factory_or_routes.__module__ == "found_in_app_dir"
    assert sys.path.count(str(tmp_path)) == 1
    del sys.modules["found_in_app_dir"]


def test_options() -> None:
    options: Dict[str, Any] = {
        "unix_path": "a",
        "sock": None,
        "reuse_port": True,
        "reuse_address": None,
        "backlog": 5,
    }
    settings = RunSettings(URL, Chat, server_options=options)
    assert options_of(settings, has_sockets=False) == {**options, "ssl_context": None}
    assert options_of(settings, has_sockets=True) == {"backlog": 5, "ssl_context": None}


def test_logger() -> None:
    assert RunSettings(URL, Chat).logger.name == "picows.server"  # type: ignore[union-attr]
    named = RunSettings(URL, Chat, server_options={"logger_name": "chat"})
    assert named.logger.name == "picows.chat"  # type: ignore[union-attr]


def test_logging_is_the_programs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: calls.append(options["level"]))
    configure_logging(RunSettings(URL, Chat))
    configure_logging(RunSettings(URL, Chat, log_level="debug"))
    assert calls == ["DEBUG"]


# Several processes


@pytest.mark.parametrize(
    "arguments",
    [
        {"factory_or_routes": "module:attribute"},
        {"factory_or_routes": Chat},
        {"factory_or_routes": {"/": Chat, "/a": "module:attribute", "/b": health}},
        {"factory_or_routes": None, "handler": handler},
        {"factory_or_routes": None, "handler": "module:attribute"},
        {"lifespan": lifespan},
        {"lifespan": "module:attribute"},
        {"ssl_context": context},
        {"ssl_context": "module:attribute"},
        {"certificate": ("a", None)},
        {"server_options": {"origins": [re.compile("a"), None], "sock": [5], "logger_name": "a"}},
        {"drain": DrainPlan(1, 2, 3, 1001, "bye", "drain_")},
    ],
)
def test_importable(arguments: Any) -> None:
    settings = RunSettings(**{"url": URL, "factory_or_routes": Chat, **arguments})
    check_importable(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings


def local() -> Any:
    class Local(WSListener):
        pass

    return Local


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"factory_or_routes": lambda: None}, "factory_or_routes: with several workers"),
        ({"factory_or_routes": local()}, "a function at the top of a module"),
        ({"factory_or_routes": {"/": page(__file__)}}, "the path '/': with several workers"),
        ({"factory_or_routes": {"/": page(__file__)}}, "the import string of the mapping"),
        ({"factory_or_routes": None, "handler": lambda: 5}, "handler: with several workers"),
        ({"lifespan": lambda: None}, "lifespan: with several workers"),
        ({"ssl_context": context()}, "a TLS context cannot be passed to other processes"),
        ({"ssl_context": {"*": context()}}, "a TLS context cannot be passed"),
        ({"ssl_context": lambda: None}, "ssl_context: with several workers"),
        ({"loop": lambda: None}, "loop: with several workers"),
        ({"server_options": {"tap": lambda: None}}, "tap cannot be passed to other processes"),
    ],
)
def test_not_importable(arguments: Any, text: str) -> None:
    settings = RunSettings(**{"url": URL, "factory_or_routes": Chat, **arguments})
    with pytest.raises(WSInvalidOptionError, match=text):
        check_importable(settings)


def test_context_of_files(certificates: Certificates) -> None:
    made = create_ssl_context(certificates.server_chain, certificates.server_key)
    with pytest.raises(WSInvalidOptionError, match="ssl_context"):
        check_importable(RunSettings("wss://a", Chat, ssl_context=made))


def test_metrics_pass_to_other_processes() -> None:
    found = RunSettings(URL, {"/metrics": metrics, "/healthz": health, "/readyz": ready})
    check_importable(found)
    assert pickle.loads(pickle.dumps(found)) == found


LOG_CONFIG = """{"version": 1, "formatters": {"json": {"()": "%s"}}, "handlers": {"h":
    {"class": "logging.NullHandler", "formatter": "json"}},
    "loggers": {"picows.test-of-settings": {"handlers": ["h"], "level": "DEBUG"}}}"""


def test_a_configuration_of_logs(tmp_path: Path) -> None:
    file = tmp_path / "log.json"
    file.write_text(LOG_CONFIG % "logging.Formatter", encoding="utf-8")
    bystander = logging.getLogger("bystander-of-settings")
    configure_logging(RunSettings(URL, "a:b", log_config=str(file)))
    assert logging.getLogger("picows.test-of-settings").level == logging.DEBUG
    assert not bystander.disabled


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "no JSON file"),
        ("{}", "version"),
        (LOG_CONFIG % "no_such_module.Formatter", "no_such_module"),
    ],
)
def test_a_wrong_configuration_of_logs(tmp_path: Path, content: Any, text: str) -> None:
    file = tmp_path / "log.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(WSInvalidOptionError, match=f"log_config: .*{text}"):
        configure_logging(RunSettings(URL, "a:b", log_config=str(file)))
