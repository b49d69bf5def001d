"""A third-party client; prints the reply that it gets from the URL on its command line."""

from __future__ import annotations

import sys

from websockets.sync.client import connect

with connect(sys.argv[1]) as connection:
    connection.send("Hello world")
    print(f"Echo reply: {connection.recv()}")
