"""picows_server.running.arguments: the command line of ``python -m picows_server``."""

from __future__ import annotations

import os
from typing import Any

import pytest

from picows_server import __version__
from picows_server.draining import DrainPlan
from picows_server.running.arguments import parsed
from picows_server.running.settings import RunSettings
from picows_server.running.worker_settings import WorkerSettings


def test_defaults() -> None:
    found = parsed(["chat:routes"])
    assert found.settings == RunSettings(
        "ws://127.0.0.1:9001",
        "chat:routes",
        drain=DrainPlan(prefix="--drain-"),
        log_level="info",
        app_dir=os.getcwd(),
    )
    assert (found.workers, found.descriptors) == (WorkerSettings(), ())


def test_everything() -> None:
    text = (
        "chat:routes --url wss://[::]:443 --unix-path /run/s --fd 3 --fd 4"
        " --workers 2 --admin-url http://[::1]:9 --worker-timeout 5"
        " --start-timeout inf --max-lifetime 3600 --max-rss 1000"
        " --app-dir / --lifespan chat:life --loop asyncio --ssl-cert a.pem --ssl-key a.key"
        " --drain-grace 1.5 --drain-spread 2 --drain-timeout inf --drain-code 1001"
        " --drain-reason bye --log-level debug --logger chat --option max_connections=5"
        " --option when_full=refuse --option enable-auto-ping=True --option origins=['https://a',None]"
    )
    found = parsed(text.split())
    assert found.settings == RunSettings(
        "wss://[::]:443",
        "chat:routes",
        lifespan="chat:life",
        drain=DrainPlan(1.5, 2, None, 1001, "bye", "--drain-"),
        certificate=("a.pem", "a.key"),
        server_options={
            "unix_path": "/run/s",
            "logger_name": "chat",
            "max_connections": 5,
            "when_full": "refuse",
            "enable_auto_ping": True,
            "origins": ["https://a", None],
        },
        loop="asyncio",
        log_level="debug",
        app_dir=os.path.abspath("/"),
    )
    assert (found.workers, found.descriptors) == (
        WorkerSettings(2, "http://[::1]:9", 5.0, None, 3600.0, 1000),
        (3, 4),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("false", False),
        ("NONE", None),
        (" true ", True),
        ("5", 5),
        ("refuse", "refuse"),
        ("[1, 'a']", [1, "a"]),
        ("[1, a]", "[1, a]"),
        ("", ""),
    ],
)
def test_values_of_options(text: str, value: object) -> None:
    settings = parsed(["chat:x", "--option", f"access_log={text}"]).settings
    assert settings.server_options == {"access_log": value}


def test_handler() -> None:
    settings = parsed(["chat:talk", "--handler", "--option", "max_queue=5"]).settings
    assert (settings.factory_or_routes, settings.handler) == (None, "chat:talk")
    assert settings.server_options == {"max_queue": 5}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "MODULE:NAME"),
        ("chat", "MODULE:NAME must be an import string"),
        ("chat --handler", "MODULE:NAME must be an import string"),
        ("chat:x --lifespan life", "--lifespan must be an import string"),
        ("chat:x --url wss://a --ssl-context c", "--ssl-context must be an import string"),
        ("chat:x --url wss://a", "needs a certificate: --ssl-cert and --ssl-key, or --ssl-context"),
        ("chat:x --url ws://a --ssl-cert a", "--ssl-cert is for wss:// URLs, and --url is ws://a"),
        ("chat:x --ssl-context a:b", "--ssl-context is for wss:// URLs"),
        ("chat:x --url http://a", "http"),
        ("chat:x --workers 0", "workers must be at least 1"),
        ("chat:x --workers many", "invalid int value"),
        ("chat:x --ssl-key a", "--ssl-key needs --ssl-cert"),
        ("chat:x --drain-timeout 1", "--drain-grace and --drain-spread must end within"),
        ("chat:x --drain-code 1006", "1006"),
        ("chat:x --option max_connections", "--option must be NAME=VALUE"),
        ("chat:x --option max_conections=5", "'max_conections': did you mean 'max_connections'?"),
        ("chat:x --option worker=5", "there is no 'worker': did you mean --workers?"),
        ("chat:x --option port=5", "there is no 'port'; the names are: max_queue, "),
        (
            "chat:x --option ssl_context=5",
            "'ssl_context' has an argument of its own: --ssl-context",
        ),
        ("chat:x --option process_request=a:b", "cannot be written here: call picows_s"),
        ("chat:x --loop trio", "invalid choice"),
        ("chat:x --fd -1", "--fd: must be the number of an open descriptor, not '-1'"),
        ("chat:x --fd ²", "not '²'"),
        ("chat:x --fd 99999999999999999999999", "must be the number of an open descriptor"),
        ("chat:x --fd 3 --fd 3", "--fd 3 is given twice"),
    ],
)
def test_wrong_usage(text: str, error: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(text.split())
    assert caught.value.code == 2
    assert error in capsys.readouterr().err


def test_help_and_version(capsys: Any) -> None:
    for option, text in (("--help", "--drain-grace SECONDS"), ("--version", __version__)):
        with pytest.raises(SystemExit) as caught:
            parsed([option])
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_a_configuration_of_logs_stands_instead_of_a_level() -> None:
    settings = parsed(["chat:x", "--log-config", "log.json", "--log-level", "debug"]).settings
    assert (settings.log_config, settings.log_level) == (os.path.abspath("log.json"), None)
