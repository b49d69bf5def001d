"""``python -m picows_client URL``: see :mod:`picows_client.cli`."""

from __future__ import annotations

import sys

from picows_client.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
