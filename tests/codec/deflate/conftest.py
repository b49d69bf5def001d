"""The libraries that may deflate and inflate, one after the other."""

from __future__ import annotations

from typing import Iterator

import pytest

from picows_codec.deflate import engine
from tests.support.deflate import forget_streams

LIBRARIES = {
    "zlib": (),
    "zlib-ng": ("zlib_ng",),
    "isal+zlib-ng": ("isal_zlib", "zlib_ng"),
    "isal": ("isal_zlib",),
}


@pytest.fixture(scope="module", params=sorted(LIBRARIES))
def each_library(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the tests of a module once for each choice of libraries."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("isal_zlib", "zlib_ng"):
            if name not in LIBRARIES[request.param]:
                patch.setattr(engine, name, None)
            elif getattr(engine, name) is None:
                pytest.skip(f"{name} is not installed")
        if request.param == "isal":  # it inflates small messages, too
            patch.setattr(engine, "_SMALLEST_FOR_ISAL", 0)
        forget_streams()
        yield
    forget_streams()
