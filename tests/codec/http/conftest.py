"""What the tests of the opening handshake share."""

from __future__ import annotations

import pytest

from tests.support.handshakes import Feed, feed_byte_by_byte, feed_whole, feed_with_tail


@pytest.fixture(params=[feed_whole, feed_byte_by_byte, feed_with_tail])
def feed(request: pytest.FixtureRequest) -> Feed:
    return request.param
