"""Serves an application by our own front end: ``python own_server.py MODULE``."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from pathlib import Path

from picows_server import ws_create_server
from picows_server.asgi import asgi_listener


async def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent / "apps"))
    app = importlib.import_module(sys.argv[1]).app
    logging.basicConfig(level=logging.INFO)
    async with ws_create_server("ws://127.0.0.1:0", asgi_listener(app)) as server:
        host, port = server.sockets[0].getsockname()[:2]
        logging.getLogger("own").info("running on http://%s:%d", host, port)
        await server.serve_forever()


asyncio.run(main())
