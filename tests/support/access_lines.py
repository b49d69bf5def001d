"""The lines of an access log, taken apart."""

from __future__ import annotations

import logging
import re
from typing import Any, Dict, List

from tests.support.leaks import eventually

__all__ = ["Access"]

LINE = re.compile(
    r"peer=(?P<peer>\S+) id=(?P<id>\S+) method=(?P<method>\S+)"
    r' path=(?P<path>-|"(?:[^"\\]|\\.)*") status=(?P<status>\S+) cause=(?P<cause>\S+)'
    r" code=(?P<code>\S+) seconds=(?P<seconds>\d+\.\d{3}) received=(?P<received>\d+)"
    r" sent=(?P<sent>\d+) messages_received=(?P<messages_received>\d+)"
    r' messages_sent=(?P<messages_sent>\d+) agent=(?P<agent>-|"(?:[^"\\]|\\.)*")'
)


class Access(logging.Handler):
    """The records of an access log."""

    def __init__(self) -> None:
        super().__init__()
        self.records: List[Any] = []
        self.logger = logging.Logger("picows.test.access")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    async def line(self) -> Dict[str, str]:
        """The next line, taken apart."""
        await eventually(lambda: self.records)
        text = self.records.pop(0).getMessage()
        assert text.isascii()
        assert text.isprintable()
        found = LINE.fullmatch(text)
        assert found, text
        return found.groupdict()
