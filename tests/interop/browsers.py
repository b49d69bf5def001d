"""Chromium and Firefox, without a window: JavaScript is run in a page of theirs.

The page comes from a little HTTP server in a thread of its own, asks it for what to run, and sends
back what became of it. So nothing is needed to drive a browser but the browser.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, List

from tests.interop.peers import find_program
from tests.support.foreign import environment

__all__ = ["BROWSERS", "Browser"]

START_TIMEOUT = 50.0
SCRIPT_TIMEOUT = 40.0
# Seconds; a page that asks for work hears "nothing yet" after it, and asks again.
POLL = 10.0

PAGE = Path(__file__).with_name("browser_page.html")

# A browser would ask its maker's servers for this and that; port 9 of this machine has no service.
CHROMIUM_OPTIONS = [
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-sandbox",  # it does not start as root otherwise
    "--proxy-server=127.0.0.1:9",
]
FIREFOX_PREFERENCES: Dict[str, Any] = {
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.share_proxy_settings": True,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.type": 1,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


def _chromium(profile: Path) -> List[str]:
    program = find_program("chromium", "chromium-browser", "google-chrome")
    return [program, *CHROMIUM_OPTIONS, f"--user-data-dir={profile}"]


def _firefox(profile: Path) -> List[str]:
    program = find_program("firefox-esr", "firefox")
    lines = [
        f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in FIREFOX_PREFERENCES.items()
    ]
    (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
    return [program, "--headless", "--no-remote", "--profile", str(profile)]


BROWSERS: Dict[str, Callable[[Path], List[str]]] = {"chromium": _chromium, "firefox": _firefox}


class Browser:
    """A running browser. Its methods block: call them in a thread of their own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        command = BROWSERS[name](directory)
        self._jobs: queue.Queue[str] = queue.Queue()
        self._results: queue.Queue[Dict[str, Any]] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._serving = threading.Thread(target=self._server.serve_forever)
        self._serving.start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._log = (directory / "browser.log").open("wb")
        self._process = subprocess.Popen(
            [*command, f"{self.origin}/"],
            env=environment(HOME=str(directory), MOZ_CRASHREPORTER_DISABLE="1"),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        try:
            self.run("return null", timeout=START_TIMEOUT)
        except BaseException:
            self.stop()
            raise

    def run(self, script: str, timeout: float = SCRIPT_TIMEOUT) -> Any:
        """Run the body of an asynchronous function and return what it returns, as JSON can."""
        self._jobs.put(script)
        try:
            result = self._results.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"{self.name} did not finish in {timeout} s: {script}") from None
        assert "error" not in result, result["error"]
        return result.get("value")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        jobs, results = self._jobs, self._results

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/job":
                    try:
                        self.respond(jobs.get(timeout=POLL).encode(), "text/plain; charset=utf-8")
                    except queue.Empty:
                        self.respond(b"", "text/plain", 204)
                elif self.path == "/":
                    self.respond(PAGE.read_bytes(), "text/html; charset=utf-8")
                else:
                    self.respond(b"", "text/plain", 404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                results.put(json.loads(body))
                self.respond(b"", "text/plain", 204)

            def respond(self, body: bytes, content_type: str, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):  # the browser has ended meanwhile
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
