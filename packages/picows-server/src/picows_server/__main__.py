"""``python -m picows_server MODULE:NAME``: see :func:`picows_server.run`."""

from __future__ import annotations

import sys

from picows_server.running.main import main

if __name__ == "__main__":
    sys.exit(main())
