"""Programs that are not ours: engines, browsers, curl and others."""

from __future__ import annotations

import os
from typing import Dict

__all__ = ["environment"]


def environment(**more: str) -> Dict[str, str]:
    """The environment of such a program: without the sanitizers, which are for our own code.

    curl, for one, hangs with them before it begins.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return {**inherited, **more}
