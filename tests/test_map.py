"""Test files mirror the sources: every room has a file of its own, every file a room.

The tests of a folder's rooms lie in a folder of the same name, or beside all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Set

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("codec", "client", "server")

# Rooms that are tested in another file, and in which.
ELSEWHERE: Dict[str, Dict[str, str]] = {
    "codec": {
        "_version": "packaging/test_release.py",
        "coroutines.connection_coroutines": "codec/coroutines/test_connection.py",
        "option_types": "codec/test_option_table.py",
        "tap": "codec/connection/test_tapping.py",
        "tap_types": "codec/connection/test_tapping.py",
        "stats": "codec/connection/test_record.py",
        "recording.file_format": "codec/recording/test_reading.py",
        "recording.recording_tap": "codec/recording/test_recorder.py",
        "testing.frames": "codec/testing/test_connected.py",
        "testing.memory_connection": "codec/testing/test_connected.py",
        "testing.memory_transport": "codec/testing/test_connected.py",
        "transport_coroutines": "codec/test_transport.py",
        "write_queue": "codec/stream/test_wire.py",
    },
    "client": {
        "__main__": "client/cli/test_main.py",
        "_version": "packaging/test_release.py",
        "cli.listening": "client/cli/test_session.py",
        "connect_call": "client/test_coroutine.py",
        "connect_options": "client/test_keep_connected.py",
        "protocol": "client/test_opening.py",
        "resolve": "client/test_dial.py",
        "teardown": "client/test_faults.py",
        "testing": "codec/testing/test_connected.py",
    },
    "server": {
        "__main__": "server/running/test_main.py",
        "_version": "packaging/test_release.py",
        "backplane.counting": "server/backplane/test_interface.py",
        "backplane.redis_commands": "server/backplane/test_redis_backplane.py",
        "backplane.redis_dialing": "server/backplane/test_redis_backplane.py",
        "backplane.redis_engine": "server/backplane/test_redis_backplane.py",
        "backplane.redis_node": "server/backplane/test_redis_backplane.py",
        "backplane.redis_pipe": "server/backplane/test_redis_backplane.py",
        "backplane.redis_scripts": "server/backplane/test_redis_backplane.py",
        "running.run_options": "server/running/test_blocking.py",
        "running.workers.admin_metrics": "server/running/workers/test_admin.py",
        "running.workers.messages": "server/running/workers/test_channel.py",
        "testing": "codec/testing/test_connected.py",
    },
}

# Rooms with more tests than one file holds: further files, and what they are about.
FURTHER: Dict[str, Dict[str, str]] = {
    "codec": {
        "connection.cork": "connection.writer: when frames leave",
        "connection.send_many": "connection.sender: many messages in one call",
        "connection.nested_writes": "connection.writer: code that runs during a write",
        "connection.slow_peer": "connection.writer: watermarks, the cap of the queue",
        "connection.receiver_faults": "connection.receiver: violations",
        "connection.disconnected": "connection.closing: the end, during and after it",
        "connection.round_trips": "connection.keepalive: measure_roundtrip_time",
        "connection.deferred_response": "connection.handshaking: a factory that decides later",
        "connection.sent_response": "connection.handshaking: a response that is sent in parts",
        "deflate.inflating_limits": "deflate.inflating: limits, bombs, memory",
        "deflate.shapes": "deflate.extension: batches, messages, coroutines, many payloads",
        "stream.ends": "stream.transport: how a connection ends, and what is left of it",
    },
    "client": {"link_ending": "link: how it ends"},
    "server": {
        "asgi.uvicorn_closing": "asgi.uvicorn_protocol: pings, and how connections end",
        "drained_servers": "draining: servers, and what becomes of their connections",
        "running.workers.supervise_in_process": "running.workers.supervise: in this process",
        "running.workers.supervise_replacing": "running.workers.supervise: who dies or is replaced",
        "shutdown": "server: closing, and what becomes of the connections",
        "topics.shared_readings": "topics.recovery: many connections that come back at once",
    },
}

# What several rooms do together.
TOGETHER: Dict[str, Dict[str, str]] = {
    "codec": {
        "connection_log": "what the log says of a connection",
        "endpoint_faults": "what listeners and transports fail at",
        "misuse": "wrong arguments, wrong states",
        "resources": "what a hostile peer can make a connection hold",
        "violations": "what breaks the RFC, either way",
    },
    "client": {
        "addresses": "addresses of requests and transports",
        "cancel": "cancelling at every step",
        "chaos": "a link to a server that fails in every way",
        "compiled_programs": "compiled listeners",
        "faults": "what fails while a connection opens",
        "hostile_servers": "what a server can do to a client",
        "sealed": "nothing is imported or opened late",
        "taps": "what a tap sees over every backend",
        "tls_failures": "what a failed TLS handshake says",
    },
    "server": {
        "backplane.engines": "what every engine does alike",
        "backplane.killed_gateways": "processes that are killed, and clients that come back",
        "backplane.redis_faults": "engines that come back with older data, or have no memory left",
        "backplane.gateways": "topics of three processes over an engine that fails in every way",
        "addresses": "addresses of requests and transports",
        "batches": "batches, prepared messages and broadcast over every backend",
        "connection_log": "what the log says of a connection",
        "faults": "what fails while a connection opens",
        "decisions": "whom a server accepts: deferred responses, origins, subprotocols",
        "hostile_http": "what a client of plain HTTP can do to a server",
        "hostile_peers": "what a client can do to a server",
        "sealed": "nothing is imported or opened late",
        "taps": "what a tap sees over every backend",
        "tls_failures": "what a failed TLS handshake says",
        "tls_sessions": "which connections resume a TLS session",
    },
}


def rooms_of(package: str) -> Set[str]:
    """Return the rooms of a package, ``folder.room`` where they lie in a folder."""
    source = ROOT / "packages" / f"picows-{package}" / "src" / f"picows_{package}"
    return {
        ".".join(path.relative_to(source).with_suffix("").parts)
        for path in source.rglob("*.py*")
        if path.suffix in {".py", ".pyx"} and path.stem != "__init__"
    }


def files_of(package: str) -> Set[str]:
    """Return what the test files of a package are named after, with the folder they lie in."""
    tests = ROOT / "tests" / package
    return {
        ".".join((*path.relative_to(tests).parent.parts, path.stem[5:]))
        for path in tests.rglob("test_*.py")
    }


def file_of(package: str, room: str) -> str:
    """Return what the test file of a room is named after."""
    folder, _, name = room.rpartition(".")
    has_folder = folder and ROOT.joinpath("tests", package, *folder.split(".")).is_dir()
    return room if has_folder else name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_has_its_test_file(package: str) -> None:
    found = files_of(package)
    rooms = {room for room in rooms_of(package) if file_of(package, room) not in found}
    assert rooms == set(ELSEWHERE[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_test_file_has_its_room(package: str) -> None:
    rooms = {file_of(package, room) for room in rooms_of(package)}
    others = {*TOGETHER[package], *FURTHER[package]}
    assert files_of(package) - rooms == others


@pytest.mark.parametrize("package", PACKAGES)
def test_further_files_lie_beside_that_of_their_room(package: str) -> None:
    rooms = {file_of(package, room) for room in rooms_of(package)}
    for file, about in FURTHER[package].items():
        room = about.partition(":")[0]
        assert room in rooms, file
        assert room.rpartition(".")[0] == file.rpartition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_files_elsewhere_exist(package: str) -> None:
    for file in ELSEWHERE[package].values():
        assert (ROOT / "tests" / file).is_file(), file
