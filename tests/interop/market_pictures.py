"""Make the pictures of examples/market in docs/images, in Debian's Chromium.

    python -m tests.interop.market_pictures [DIRECTORY]

Needs Chromium and Pillow, which makes the files small. It takes a minute and a half, so that there
is something to see: a stall and an absence on the desktop, the beginning of a visit on a phone.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

from PIL import Image

from examples.market import service
from picows_server import serve
from tests.interop.devtools import DESKTOP, PHONE, Chromium, Page, Screen

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
BEFORE = 60.0  # seconds of trades that the first visitor finds
COLORS = 128  # of a palette; nobody sees the difference

LAST_EVENT = "document.querySelector('#log p:last-child')?.textContent"


async def main(directory: Path) -> None:
    """Serve the market and visit it."""
    profile = tempfile.mkdtemp()
    chromium = await in_thread(Chromium, Path(profile))
    try:
        await visit(chromium, directory)
    finally:
        await in_thread(chromium.stop)
        # Its processes may still be ending.
        shutil.rmtree(profile, ignore_errors=True)


async def visit(chromium: Chromium, directory: Path) -> None:
    """Take all pictures of one market."""
    lifespan = service.lifespan_of(service.Settings())
    async with serve(
        service.watch,
        "ws://127.0.0.1:0",
        process_request=service.respond,
        **service.SERVER_OPTIONS,
    ) as server, lifespan(server) as server.state:
        url = server.url.replace("ws", "http", 1)
        await asyncio.sleep(BEFORE)
        async with chromium.open(url, DESKTOP) as page:
            await stall_and_leave(page)
            for name, is_dark in (("light", False), ("dark", True)):
                await take(page, directory / f"market-desktop-{name}.png", DESKTOP, is_dark)
        async with chromium.open(url, PHONE) as page:
            await page.wait_for(f"{LAST_EVENT}?.includes('history')")
            await asyncio.sleep(2.0)
            for name, is_dark in (("light", False), ("dark", True)):
                await take(page, directory / f"market-phone-{name}.png", PHONE, is_dark)


async def stall_and_leave(page: Page) -> None:
    await page.wait_for(f"{LAST_EVENT}?.includes('history')")
    await asyncio.sleep(5.0)
    await page.click("#stall")
    await page.wait_for(f"{LAST_EVENT}.includes('conflated')")
    await asyncio.sleep(4.0)
    await page.click("#leave")
    await page.wait_for(f"{LAST_EVENT}.includes('recovered')")
    await asyncio.sleep(3.0)


async def take(page: Page, path: Path, screen: Screen, is_dark: bool) -> None:
    await page.show(screen._replace(is_dark=is_dark))
    await asyncio.sleep(0.5)
    content = await page.screenshot()
    await in_thread(write_small, content, path)
    print(path, path.stat().st_size)  # noqa: ASYNC240, T201


def write_small(content: bytes, path: Path) -> None:
    """Write a picture with a palette."""
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").quantize(COLORS).save(path, optimize=True)


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
