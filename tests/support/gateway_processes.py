"""Gateways with topics over an engine, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, Optional

from tests.support.engines import Engine, free_port

__all__ = ["Gateway"]


class Gateway:
    """A process of ``tests.support.gateway``."""

    def __init__(self, process: Any, port: int) -> None:
        self.process = process
        self.port = port

    @classmethod
    async def start(
        cls, engine: Engine, name: str, seconds: float, port: Optional[int] = None
    ) -> Gateway:
        """Start one, which publishes for so many seconds when it is told to go on."""
        port = port or free_port()
        arguments = ["-m", "tests.support.gateway", str(port), engine.url, name, str(seconds)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=pipe,
            stdout=pipe,
            # Where tests is; the rest is installed.
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        gateway = cls(process, port)
        assert await gateway.line() == b"up\n"
        return gateway

    async def line(self) -> bytes:
        line: bytes = await self.process.stdout.readline()
        return line

    async def said(self) -> Dict[str, Any]:
        said: Dict[str, Any] = json.loads(await self.line())
        return said

    def go_on(self) -> None:
        self.process.stdin.write(b"\n")

    def kill(self) -> None:
        """SIGKILL, if it has not ended."""
        if self.process.returncode is None:
            self.process.kill()
