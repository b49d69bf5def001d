"""picows_server.access_log: a line for each connection, which no peer can forge."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from picows_server import (
    WSUpgradeResponse,
    create_ssl_context,
    health,
    page,
    serve,
    ws_create_server,
)
from tests.support.access_lines import Access
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import (
    Echo,
    echo,
    plain_backends,
    quiet_logger,
    serving,
    sockname,
    tls_backends,
)


async def check_connection(context: Any = None, **options: Any) -> None:
    access = Access()
    async with serving(access_log=access.logger, logger_name=quiet_logger(), **options) as server:
        async with await RawClient.open(
            sockname(server), "/chat?token=secret", [("User-Agent", "me/1.0")], context=context
        ) as client:
            await echo(client)
            assert access.records == []
            client.write_close(1001)
            assert await client.read_close() == 1001
        (record,) = [await access.line()]
        assert record["peer"].startswith("127.0.0.1:")
        assert (record["method"], record["path"], record["status"]) == ("GET", '"/chat"', "101")
        assert (record["cause"], record["code"], record["agent"]) == (
            "peer_close",
            "1001",
            '"me/1.0"',
        )
        assert (record["messages_received"], record["messages_sent"]) == ("1", "1")
        stats = server.stats()
        assert int(record["received"]) == stats.bytes_received
        assert int(record["sent"]) == stats.bytes_sent


@plain_backends
async def test_a_connection(backend: str) -> None:
    await check_connection(backend=backend)


@tls_backends
async def test_over_tls(backend: str, certificates: Certificates) -> None:
    await check_connection(
        certificates.client_context(),
        url="wss://127.0.0.1:0",
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        backend=backend,
    )


async def test_http(tmp_path: Path) -> None:
    access = Access()
    (tmp_path / "page").write_bytes(b"hello")
    (tmp_path / "large").write_bytes(bytes(1_000_000))
    routes = {
        "/": Echo,
        "/healthz": health,
        "/page": page(tmp_path / "page"),
        "/large": page(tmp_path / "large"),
    }
    async with serving(routes, access_log=access.logger, logger_name=quiet_logger()) as server:
        for path, method, status in (
            ("/healthz", "GET", "200"),
            ("/page", "HEAD", "200"),
            ("/large", "GET", "200"),
            ("/page", "POST", "405"),
            ("/page", "OPTIONS", "204"),
            ("/", "GET", "426"),
            ("/", "HEAD", "426"),
        ):
            assert str((await ask(sockname(server), path, method=method)).status) == status
            line = await access.line()
            assert (line["method"], line["path"]) == (method, f'"{path}"')
            assert (line["status"], line["cause"], line["code"]) == (status, "-", "-")
            assert int(line["sent"]) > (1_000_000 if path == "/large" else 50)
        stats = server.stats()
        assert stats.responses == {200: 3, 204: 1, 405: 1, 426: 2}
        assert stats.refused == {}


async def test_refused_and_lost() -> None:
    access = Access()

    def route(request: object) -> WSUpgradeResponse:
        return WSUpgradeResponse.create_error_response(403, "no")

    async with serving(route, access_log=access.logger, logger_name=quiet_logger()) as server:
        async with await RawClient.connect(sockname(server)) as client:
            assert (await client.upgrade("/x")).status == 403
        line = await access.line()
        assert (line["status"], line["cause"], line["path"]) == ("403", "-", '"/x"')
        async with await RawClient.connect(sockname(server)):
            pass
        line = await access.line()
        assert (line["status"], line["cause"], line["method"]) == ("-", "handshake_failure", "-")
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"HELLO\r\n\r\n")
            assert (await client.read_response()).status == 400
        line = await access.line()
        assert (line["status"], line["method"], line["path"]) == ("400", "-", "-")


async def test_a_client_that_leaves_before_the_response() -> None:
    access = Access()

    async def route(request: object) -> None:
        await asyncio.sleep(60)

    async with serving(route, access_log=access.logger, logger_name=quiet_logger()) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\n\r\n")
            await eventually(lambda: server.connections or server.pending_handshakes)
            await asyncio.sleep(0.05)
            client.reset()
        line = await access.line()
        assert (line["method"], line["path"], line["agent"]) == ("GET", '"/x"', '"me"')
        assert (line["status"], line["cause"]) == ("-", "handshake_failure")


@pytest.mark.parametrize(
    "value",
    [
        'a" status=200 "',
        "back\\slash\\",
        "tab\tand é",
        "long " + "x" * 2000,
        "\u2028 \u202e \u009b31m",
    ],
)
async def test_a_peer_cannot_forge(value: str) -> None:
    access = Access()
    async with serving(access_log=access.logger, logger_name=quiet_logger()) as server:
        async with await RawClient.open(sockname(server), "/", [("User-Agent", value)]):
            pass
        line = await access.line()
        assert line["status"] == "101"
        assert len(line["agent"]) < 4000
        assert "\t" not in line["agent"]


@pytest.mark.parametrize("byte", ["\r", "\n", "\x1b", "\0", '"', "%0d%0a", "\\"])
async def test_bytes_in_paths_and_agents(byte: str) -> None:
    """What is no request is refused, and its line is one line, too."""
    access = Access()
    async with serving(access_log=access.logger, logger_name=quiet_logger()) as server:
        for path, agent in ((f"/a{byte}b", "x"), ("/", f"a{byte}b")):
            async with await RawClient.connect(sockname(server)) as client:
                response = await client.upgrade(path, [("User-Agent", agent)])
                assert response.status in {101, 400}
            line = await access.line()
            assert line["status"] == str(response.status)


async def test_fields_for_a_json_formatter() -> None:
    access = Access()
    async with serving(access_log=access.logger, logger_name=quiet_logger()) as server:
        async with await RawClient.open(sockname(server), "/feed") as client:
            await echo(client)
        await eventually(lambda: access.records)
    formatter = JSONFormatter()
    shown = json.loads(formatter.format(access.records[0]))
    assert shown["path"] == "/feed"
    assert shown["status"] == 101
    assert shown["cause"] == "connection_lost"
    assert shown["code"] == 1006
    assert shown["messages_sent"] == 1
    assert shown["connection_id"] in shown["message"]
    assert shown["bytes_received"] > 0
    assert shown["seconds"] >= 0


class JSONFormatter(logging.Formatter):
    """The guide's."""

    KNOWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None)))

    def format(self, record: logging.LogRecord) -> str:
        shown = {"time": record.created, "level": record.levelname, "message": record.getMessage()}
        shown.update({k: v for k, v in vars(record).items() if k not in self.KNOWN})
        return json.dumps(shown, default=str)


async def test_python_json_logger() -> None:
    jsonlogger = pytest.importorskip("pythonjsonlogger")
    access = Access()
    async with serving(access_log=access.logger, logger_name=quiet_logger()) as server:
        async with await RawClient.open(sockname(server), "/feed"):
            pass
        await eventually(lambda: access.records)
    make = getattr(jsonlogger, "jsonlogger", None) or pytest.importorskip("pythonjsonlogger.json")
    shown = json.loads(make.JsonFormatter().format(access.records[0]))
    assert shown["path"] == "/feed"
    assert shown["peer"].startswith("127.0.0.1:")


async def test_names_of_loggers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for value, name in ((True, "picows.access"), ("mine", "picows.mine")):
        async with serving(access_log=value, logger_name=quiet_logger()) as server:
            async with await RawClient.open(sockname(server)):
                pass
            await eventually(lambda: caplog.records)
        assert [record.name for record in caplog.records] == [name]
        caplog.clear()


async def test_off_and_wrong() -> None:
    access = Access()
    access.logger.setLevel(logging.WARNING)
    async with serving(access_log=access.logger, logger_name=quiet_logger()) as server:
        async with await RawClient.open(sockname(server)):
            pass
        await eventually(lambda: server.stats().opened and not server.stats().connections)
    (record,) = access.records
    assert record.levelno == logging.WARNING
    assert "writes nothing as long as its logger is not enabled" in record.getMessage()
    for wrong in (1, None, b"name"):
        with pytest.raises(TypeError, match="access_log"):
            await ws_create_server("ws://127.0.0.1:0", Echo, access_log=wrong)  # type: ignore[arg-type]


async def test_coroutines() -> None:
    access = Access()

    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    server = await serve(handler, "ws://127.0.0.1:0", quiet_logger(), access_log=access.logger)
    async with server:
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)
            client.write_close(1000)
            assert await client.read_close() == 1000
        line = await access.line()
        assert (line["messages_received"], line["messages_sent"]) == ("1", "1")
