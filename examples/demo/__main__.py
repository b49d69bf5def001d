"""Measure five ways of using a connection, one after another, and print a line for each.

    python -m examples.demo [SECONDS]

Each line takes SECONDS (default: 2). ``make demo`` sets everything up.
"""

from __future__ import annotations

import asyncio
import platform
import ssl
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Dict

import trustme

from picows_client import __version__

from .display import Display
from .measuring import SCENES, WARM_UP, Window
from .server import running_servers

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

SECONDS = 2.0
NEXT = {
    "docs/start/install.md": "a first client and a first server, in five minutes",
    "examples/README.md": "short programs, each about one thing",
    "make market": "messages by topics, live in a browser",
    "make bench": "the same next to other libraries, in more than an hour",
}


async def measure(urls: Dict[str, str], authority: Path, seconds: float, display: Display) -> None:
    context = ssl.create_default_context(cafile=str(authority))
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    display.say(
        f"picows {__version__}, {python}, {loop}, {platform.system()} {platform.machine()}",
        f"client and server are two processes on this machine; a line takes {seconds:g} s",
    )
    display.head()
    display.expect(len(SCENES) * (seconds + WARM_UP))
    for name, scene in SCENES.items():
        window = Window(seconds, partial(display.progress, name))
        note = await scene(urls[name], context if urls[name].startswith("wss:") else None, window)
        display.row(name, window.per_second, window.percentile(50), window.percentile(99), note)
    display.finish(NEXT)


def main(seconds: float) -> None:
    display = Display()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            authority, certificate = Path(temporary, "authority.pem"), Path(temporary, "server.pem")
            issuer = trustme.CA()
            issuer.cert_pem.write_to_path(str(authority))
            issued = issuer.issue_cert("localhost")
            issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
            with running_servers(certificate) as urls:
                run(measure(urls, authority, seconds, display))
    except KeyboardInterrupt:
        display.hide_progress()
        sys.exit(130)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
