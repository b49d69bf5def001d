"""The page of examples/market in Chromium: what it shows, its buttons, keyboard, colours, sizes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Sequence

import pytest

from examples.market import service
from picows_server import WSServer, serve
from tests.interop.devtools import DESKTOP, PHONE, Chromium, Page, Screen
from tests.interop.peers import find_axe

Run = Callable[..., Any]

# A processor that is busy with other tests makes the page late, and then it says so.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        os.environ.get("PICOWS_INTEROP") != "all", reason="tox -e interop looks at the page"
    ),
]

SCREENS = {
    f"{name}-{colors}": screen._replace(is_dark=colors == "dark")
    for name, screen in (("desktop", DESKTOP), ("phone", PHONE))
    for colors in ("light", "dark")
}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    running = Chromium(Path(tmp_path_factory.mktemp("chromium")))
    yield running
    running.stop()


class Visit:
    """The page, and the gateway that serves it."""

    def __init__(self, page: Page, server: WSServer) -> None:
        self.page = page
        self.server = server

    async def text(self, selector: str) -> str:
        return str(await self.page.evaluate(f"document.querySelector({selector!r}).innerText"))

    async def wait_for_event(self, words: str) -> str:
        """Wait for the last line of the log to have these words; returns it."""
        last = "document.querySelector('#log p:last-child')?.innerText"
        await self.page.wait_for(f"{last}?.includes({words!r})")
        return str(await self.page.evaluate(last))

    async def wait_until_live(self) -> None:
        await self.page.wait_for(
            "document.querySelector('#state').innerText === 'Live'"
            " && document.querySelectorAll('#bids tr').length === 10"
            " && document.querySelectorAll('#trade-rows tr').length > 5"
            " && document.querySelector('#messages').innerText.includes('/s')"
        )


@contextlib.asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[WSServer]:
    lifespan = service.lifespan_of(service.Settings())
    async with serve(
        service.watch,
        f"ws://127.0.0.1:{port}",
        process_request=service.respond,
        **service.SERVER_OPTIONS,
    ) as server, lifespan(server) as server.state:
        for _ in range(100):  # five seconds
            server.state.publisher.publish()
        yield server
        server.close_clients()


@contextlib.asynccontextmanager
async def visiting(chromium: Chromium, screen: Screen = DESKTOP) -> AsyncIterator[Visit]:
    async with serving() as server, chromium.open(
        server.url.replace("ws", "http", 1), screen
    ) as page:
        visit = Visit(page, server)
        await visit.wait_until_live()
        yield visit
        assert page.complaints == []


def number(text: str) -> float:
    return float(text.split(maxsplit=1)[0].replace(",", ""))


def test_what_it_shows(run: Run, chromium: Chromium) -> None:
    async def main() -> None:
        async with visiting(chromium) as visit:
            rows = await visit.page.evaluate(
                "[...document.querySelectorAll('#asks tr, #bids tr')]"
                ".map((row) => row.cells[0].innerText)"
            )
            prices = [number(text) for text in rows]
            assert len(prices) == 20
            assert prices == sorted(prices, reverse=True)
            assert number(await visit.text("#messages")) > 5
            assert number(await visit.text("#data")) > 20
            assert 0 <= number(await visit.text("#latency")) < 1000
            assert number(await visit.text("#round-trip")) > 0
            label = await visit.page.evaluate("document.querySelector('#price-plot').ariaLabel")
            assert label.startswith("BTC-USD, last 2 minutes: ")
            assert "bid and" in await visit.page.evaluate(
                "document.querySelector('#depth-plot').ariaLabel"
            )
            await visit.page.wait_for(
                "document.querySelector('#served').innerText.includes('to you and nobody else')"
            )

    run(main)


def test_another_symbol(run: Run, chromium: Chromium) -> None:
    """By the keyboard; and back again, where what was missed meanwhile is recovered."""

    async def main() -> None:
        async with visiting(chromium) as visit:
            await visit.page.evaluate("document.querySelector('#symbols input:checked').focus()")
            await visit.page.press("ArrowRight")
            await visit.wait_for_event("ETH-USD: ")
            await visit.page.wait_for(
                "document.querySelector('#bids td').innerText.startsWith('3,')"
                " && document.title.endsWith('ETH-USD')"
            )
            await asyncio.sleep(1.0)
            await visit.page.press("ArrowLeft")
            event = await visit.wait_for_event("BTC-USD: ")
            assert event.endswith("recovered")
            assert number(await visit.text("#missed")) == 0

    run(main)


def test_stalling(run: Run, chromium: Chromium) -> None:
    async def main() -> None:
        async with visiting(chromium) as visit:
            (ours,) = visit.server.open_connections
            await visit.page.click("#stall")
            await visit.page.wait_for("document.querySelector('#state').innerText === 'Stalled'")
            event = await visit.wait_for_event("conflated")
            stats = visit.server.state.topics.stats_of(ours)
            found = re.search(
                r"(\d+) of (\d+) books conflated, (\d+) of (\d+) trades missed", event
            )
            assert found is not None, event
            conflated, books, missed, trades = map(int, found.groups())
            assert 0 < conflated < books
            assert conflated <= stats.replaced
            assert missed == 0 < trades
            await visit.wait_until_live()

    run(main)


def test_leaving(run: Run, chromium: Chromium) -> None:
    async def main() -> None:
        async with visiting(chromium) as visit:
            await visit.page.click("#leave")
            await visit.page.wait_for(
                "document.querySelector('#state').innerText === 'Disconnected'"
            )
            event = await visit.wait_for_event("recovered")
            assert "Away for 5." in event
            await visit.page.wait_for("+document.querySelector('#recovered').innerText > 5")
            assert number(await visit.text("#missed")) == 0
            await visit.wait_until_live()

    run(main)


def test_a_gateway_that_sends_it_away(run: Run, chromium: Chromium) -> None:
    async def main() -> None:
        async with visiting(chromium) as visit:
            visit.server.close_clients()
            await visit.wait_for_event("recovered")
            assert "Disconnected (code 1001)" in await visit.text("#log")
            await visit.wait_until_live()

    run(main)


def test_another_life_of_the_gateway(run: Run, chromium: Chromium) -> None:
    """Its history went with it: the page says so, and begins anew."""

    async def main() -> None:
        async with chromium.open("about:blank") as page:
            async with serving() as server:
                port = int(server.url.rpartition(":")[2])
                await page.go_to(server.url.replace("ws", "http", 1))
                visit = Visit(page, server)
                await visit.wait_until_live()
            await visit.wait_for_event("Disconnected")
            async with serving(port) as server:
                event = await visit.wait_for_event("of the history")
                assert "Away for " in event
                # Attempts in between are not told.
                assert (await visit.text("#log")).count("Disconnected") == 1
                await visit.wait_until_live()

    run(main)


def test_a_publisher_that_is_started_again(run: Run, chromium: Chromium) -> None:
    """It counts its books anew; the page, which another gateway may serve, does not count back."""

    async def main() -> None:
        async with visiting(chromium) as visit:
            visit.server.state.publisher._step = 0
            await asyncio.sleep(2.5)  # the page shows its numbers once a second
            assert number(await visit.text("#conflated")) >= 0

    run(main)


def test_without_news(run: Run, chromium: Chromium) -> None:
    async def main() -> None:
        async with visiting(chromium) as visit:
            visit.server.state.publisher.publish = lambda: None
            await visit.page.wait_for("document.querySelector('#state').innerText === 'No news'")
            del visit.server.state.publisher.publish
            await visit.wait_until_live()

    run(main)


def test_by_the_keyboard_alone(run: Run, chromium: Chromium) -> None:
    async def main() -> None:
        async with visiting(chromium) as visit:
            reached: List[str] = []
            for _ in range(5):
                await visit.page.press("Tab")
                reached.append(
                    await visit.page.evaluate(
                        "document.activeElement.id || document.activeElement.name"
                    )
                )
                outline = "getComputedStyle(document.activeElement.closest('label')"
                outline += " ?? document.activeElement).outlineStyle"
                assert await visit.page.evaluate(outline) == "solid", reached
                if reached[-1] == "price-plot":
                    await read_trades(visit)
            assert reached == ["symbol", "price-plot", "stall", "leave", "log"]
            await visit.page.evaluate("document.querySelector('#leave').focus()")
            await visit.page.press("Enter")
            await visit.wait_for_event("recovered")
            # It has not lost its place.
            assert await visit.page.evaluate("document.activeElement.id") == "leave"

    run(main)


async def read_trades(visit: Visit) -> None:
    readings = []
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight"):
        await visit.page.press(key)
        readings.append(await visit.text("#reading"))
    assert readings[1] == readings[3]
    assert all("64," in each or "63," in each for each in readings)
    assert await visit.page.evaluate("document.querySelector('#reading').ariaLive") == "polite"


@pytest.mark.parametrize("screen", SCREENS.values(), ids=[*SCREENS])
def test_accessibility(chromium: Chromium, screen: Screen) -> None:
    """What axe finds, contrast of texts included; and nothing is wider than the screen."""
    axe = find_axe().read_text("utf-8")

    async def main() -> None:
        async with visiting(chromium, screen) as visit:
            await visit.page.evaluate(f"{axe}; null")
            report: Dict[str, Any] = json.loads(
                await visit.page.evaluate("axe.run().then((found) => JSON.stringify(found))")
            )
            found = [
                (rule["id"], [node["html"] for node in rule["nodes"]])
                for rule in report["violations"]
            ]
            assert found == []
            assert "color-contrast" in {rule["id"] for rule in report["passes"]}
            await check_bars(visit.page)
            width = await visit.page.evaluate("document.documentElement.scrollWidth")
            assert width <= screen.width

    asyncio.run(main())


async def check_bars(page: Page) -> None:
    """The texts of the book on their bars, of which axe cannot tell (WCAG 2.2, 1.4.3)."""
    names = ["panel", "text", "bid", "ask", "bid-bar", "ask-bar"]
    colors: Dict[str, str] = await page.evaluate(
        "(() => { const style = getComputedStyle(document.documentElement); return"
        f" Object.fromEntries({names}.map((name) => [name, style.getPropertyValue('--' + name)]))"
        " })()"
    )
    for side in ("bid", "ask"):
        red, green, blue, alpha = bytes.fromhex(colors[f"{side}-bar"].strip()[1:])
        panel = bytes.fromhex(colors["panel"].strip()[1:])
        behind = [
            below + (above - below) * alpha / 255 for above, below in zip((red, green, blue), panel)
        ]
        for name in (side, "text"):
            assert contrast([*bytes.fromhex(colors[name].strip()[1:])], behind) >= 4.5, name


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """The contrast ratio of two colours as WCAG defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: Sequence[float]) -> float:
    shares = [each / 255 for each in color]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", [320, 390, 601, 800, 1001, 1280, 2000])
def test_no_screen_is_too_narrow(chromium: Chromium, width: int) -> None:
    async def main() -> None:
        async with visiting(chromium, Screen(width, 800, is_phone=width < 600)) as visit:
            assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width
            # No text leaves its box.
            wide = await visit.page.evaluate(
                "[...document.querySelectorAll('section, td, th, dd, dt, button, #symbols label')]"
                ".filter((each) => !each.closest('.unseen') && each.scrollWidth > each.clientWidth)"
                ".map((each) => each.outerHTML.slice(0, 80))"
            )
            assert wide == []

    asyncio.run(main())


def test_reduced_motion(run: Run, chromium: Chromium) -> None:
    """It is drawn once a second, not twenty times."""

    async def main() -> None:
        async with visiting(chromium, DESKTOP._replace(reduces_motion=True)) as visit:
            changes = await visit.page.evaluate(
                "new Promise((resolve) => { let changes = 0; let last = '';"
                " const timer = setInterval(() => {"
                " const text = document.querySelector('#bids').innerText;"
                " if (text !== last) { changes += 1; last = text } }, 20);"
                " setTimeout(() => { clearInterval(timer); resolve(changes) }, 3000) })"
            )
            assert changes <= 4

    run(main)
