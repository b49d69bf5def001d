"""What the codec's tests share."""

from __future__ import annotations

import gc
from typing import Iterator

import pytest


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Runs the test with the garbage collector off: what dies, dies by its reference count."""
    gc.disable()
    yield
    gc.enable()
