"""Chromium driven over its DevTools protocol, by our own client: real clicks, keys and pictures.

``browsers.py`` runs scripts in a page of the tests; this opens any page, in any size and colours.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import subprocess
import time
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List, NamedTuple

from picows_client import WSConnection, WSConnectionClosed, connect
from tests.interop.browsers import BROWSERS
from tests.support.foreign import environment

__all__ = ["DESKTOP", "PHONE", "Chromium", "Page", "Screen"]

START_TIMEOUT = 50.0  # seconds
PATIENCE = 30.0
POLL = 0.05
MAX_MESSAGE = 64 * 1024 * 1024  # bytes; a picture is one message
# Virtual key codes of what is pressed without a text of its own.
KEYS = {"Tab": 9, "Enter": 13, "Space": 32, "ArrowLeft": 37, "ArrowRight": 39}
TEXTS = {"Enter": "\r", "Space": " "}


class Screen(NamedTuple):
    """What a page is shown on."""

    width: int
    height: int
    is_phone: bool = False
    is_dark: bool = False
    reduces_motion: bool = False


DESKTOP = Screen(1280, 800)
PHONE = Screen(390, 844, is_phone=True)


class Chromium:
    """A running Chromium without a window."""

    def __init__(self, directory: Path) -> None:
        command = BROWSERS["chromium"](directory)
        self._log = (directory / "browser.log").open("wb")
        self._process = subprocess.Popen(
            [*command, "--remote-debugging-port=0", "about:blank"],
            env=environment(HOME=str(directory)),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        try:
            self._url = self._wait_for_url(directory / "DevToolsActivePort")
        except BaseException:
            self.stop()
            raise

    def _wait_for_url(self, file: Path) -> str:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = file.read_text("ascii").splitlines() if file.exists() else []
            if len(lines) == 2:
                port, path = lines
                return f"ws://127.0.0.1:{port}{path}"
            time.sleep(POLL)
        raise TimeoutError(f"Chromium did not start in {START_TIMEOUT} s")

    @contextlib.asynccontextmanager
    async def open(self, url: str, screen: Screen = DESKTOP) -> AsyncIterator[Page]:
        """Open a page in a profile of its own, and close both in the end."""
        async with connect(
            self._url, proxy=None, max_message_size=MAX_MESSAGE, max_frame_size=MAX_MESSAGE
        ) as ws:
            devtools = _Devtools(ws)
            reading = asyncio.ensure_future(devtools.read())
            try:
                context = await devtools.call("Target.createBrowserContext")
                target = await devtools.call("Target.createTarget", url="about:blank", **context)
                attached = await devtools.call("Target.attachToTarget", flatten=True, **target)
                page = Page(devtools, attached["sessionId"])
                await page.show(screen)
                await page.go_to(url)
                yield page
                await devtools.call("Target.disposeBrowserContext", **context)
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    def stop(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class _Devtools:
    """Calls and their results over one connection."""

    def __init__(self, ws: WSConnection) -> None:
        self._ws = ws
        self._ids = itertools.count(1)
        self._waiting: Dict[int, asyncio.Future[Dict[str, Any]]] = {}
        self.events: List[Dict[str, Any]] = []

    async def read(self) -> None:
        with contextlib.suppress(WSConnectionClosed):
            async for text in self._ws:
                message = json.loads(text)
                waiting = self._waiting.pop(message.get("id"), None)
                if waiting is None:
                    self.events.append(message)
                elif not waiting.done():
                    waiting.set_result(message)

    async def call(self, method: str, session: str = "", **parameters: Any) -> Dict[str, Any]:
        number = next(self._ids)
        request: Dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._ws.send(json.dumps(request))
        reply = await asyncio.wait_for(self._waiting[number], PATIENCE)
        assert "error" not in reply, f"{method}: {reply['error']}"
        return dict(reply["result"])


class Page:
    """An open page."""

    def __init__(self, devtools: _Devtools, session: str) -> None:
        self._devtools = devtools
        self._session = session

    async def call(self, method: str, **parameters: Any) -> Dict[str, Any]:
        """Call a method of the DevTools protocol."""
        return await self._devtools.call(method, self._session, **parameters)

    async def show(self, screen: Screen) -> None:
        """Change size, colours and motion."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=screen.width,
            height=screen.height,
            deviceScaleFactor=2 if screen.is_phone else 1,
            mobile=screen.is_phone,
        )
        await self.call("Emulation.setTouchEmulationEnabled", enabled=screen.is_phone)
        scheme, motion = ("light", "dark"), ("no-preference", "reduce")
        features = [
            {"name": "prefers-color-scheme", "value": scheme[screen.is_dark]},
            {"name": "prefers-reduced-motion", "value": motion[screen.reduces_motion]},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def go_to(self, url: str) -> None:
        """Open another URL in it; what the page logs and throws is kept."""
        await self.call("Runtime.enable")
        await self.call("Log.enable")
        await self.call("Page.enable")
        result = await self.call("Page.navigate", url=url)
        assert "errorText" not in result, result
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of its promise."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        details = result.get("exceptionDetails")
        assert details is None, details
        return result["result"].get("value")

    async def wait_for(self, expression: str, timeout: float = PATIENCE) -> Any:
        """Wait until an expression is true; returns its value."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = await self.evaluate(expression)
            if value:
                return value
            await asyncio.sleep(POLL)
        raise TimeoutError(f"not within {timeout} s: {expression}")

    async def press(self, key: str) -> None:
        """Press a key and release it."""
        parameters: Dict[str, Any] = {
            "key": TEXTS.get(key, key) if key == "Space" else key,
            "code": key,
            "windowsVirtualKeyCode": KEYS[key],
        }
        text = {"text": TEXTS[key]} if key in TEXTS else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **parameters, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        x, y = await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def screenshot(self) -> bytes:
        """What is seen, as a PNG file."""
        result = await self.call("Page.captureScreenshot")
        return base64.b64decode(result["data"])

    @property
    def complaints(self) -> List[str]:
        """What the page threw, or logged as an error."""
        found: List[str] = []
        for event in self._devtools.events:
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] == "error":
                found.append(json.dumps(parameters["args"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
        return found
