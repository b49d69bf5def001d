"""A server of ours in a process of its own, for all tests of a module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator, List

import pytest

from tests.client.cli.running import Peer, serving

NEEDS_POSIX = {"console", "line_editor", "main", "replaying", "session", "traffic"}


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Pipes and terminals are POSIX's here."""
    for item in items:
        if Path(__file__).parent == item.path.parent and sys.platform == "win32":
            if item.path.stem[5:] in NEEDS_POSIX:
                item.add_marker(pytest.mark.skip(reason="needs POSIX"))


@pytest.fixture(scope="module")
def _peer() -> Iterator[Peer]:
    with serving() as peer:
        yield peer


@pytest.fixture
def peer(_peer: Peer) -> Iterator[Peer]:
    """The server; at the end every connection of the test has ended."""
    yield _peer
    _peer.forget_events()
