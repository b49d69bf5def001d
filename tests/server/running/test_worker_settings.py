"""picows_server.running.worker_settings: the arguments of ``run`` about several processes."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from picows_server import WSInvalidOptionError
from picows_server.running.worker_settings import WorkerSettings


def test_one_process_needs_no_supervisor() -> None:
    assert not WorkerSettings().needs_supervisor
    assert not WorkerSettings(worker_timeout=3, start_timeout=None).needs_supervisor


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 2},
        {"admin_url": "http://127.0.0.1:9000"},
        {"admin_url": "http://[::1]:9000/"},
        {"max_lifetime": 3600},
        {"max_rss": 1 << 30},
    ],
)
def test_what_needs_one(options: Dict[str, Any]) -> None:
    assert WorkerSettings(**options).needs_supervisor


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"workers": "2"}, "workers must be an int, not str"),
        ({"workers": True}, "workers must be an int, not bool"),
        ({"worker_timeout": 0}, "worker_timeout must be positive and finite, not 0"),
        ({"worker_timeout": 0.999}, "worker_timeout must be at least 1 second, not 0.999: "),
        ({"worker_timeout": float("nan")}, "worker_timeout must be positive and finite, not nan"),
        ({"worker_timeout": 10**400}, "worker_timeout must be positive and finite"),
        ({"worker_timeout": None}, "worker_timeout must be a number of seconds, not NoneType"),
        ({"start_timeout": -1.0}, "start_timeout must be positive"),
        ({"max_lifetime": float("inf")}, "max_lifetime must be positive and finite"),
        ({"max_lifetime": True}, "max_lifetime must be a number of seconds, not bool"),
        ({"max_rss": 0}, "max_rss must be at least 1"),
        ({"max_rss": 1.5}, "max_rss must be an int, not float"),
        ({"admin_url": 9000}, "admin_url must be a str, not int"),
        ({"admin_url": "127.0.0.1:9000"}, "admin_url must be http://HOST:PORT, such as"),
        ({"admin_url": "https://127.0.0.1:9000"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://127.0.0.1:9000/admin"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://127.0.0.1:9000?x=1"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://127.0.0.1:9000#x"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://me@127.0.0.1:9000"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://::1:9000"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://127.0.0.1:²"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http:"}, "admin_url must be http://HOST:PORT"),
        ({"admin_url": "http://127.0.0.1"}, "admin_url must have a port, as in http://127"),
        ({"admin_url": "http://[::1]:/"}, "admin_url must have a port"),
        ({"admin_url": "http://127.0.0.1:99999"}, "admin_url: 99999 is not a port from 0 to 65535"),
        ({"admin_url": f"http://a:{'9' * 5000}"}, "admin_url: 9+ is not a port"),
        ({"admin_url": "http://[1.2.3.4]:80"}, r"admin_url: '\[1.2.3.4\]' is neither a host name"),
        ({"admin_url": "http://a b:80"}, "admin_url: 'a b' is neither a host name nor an address"),
        ({"admin_url": "http://a:80\n"}, "admin_url must be http://HOST:PORT"),
    ],
)
def test_wrong_ones(options: Dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, WSInvalidOptionError), match=message):
        WorkerSettings(**options)
