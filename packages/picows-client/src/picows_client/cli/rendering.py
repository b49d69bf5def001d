"""From a message to the bytes that standard output gets."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Callable, Optional, Tuple, Union

from picows_client.cli.arguments import Arguments
from picows_client.cli.inflating import TooMuchInflated, inflated
from picows_client.cli.json_text import pretty_json
from picows_client.cli.terminal_text import harmless, indented

__all__ = ["Rendering"]

_PREVIEW = 32  # bytes of a binary message on a terminal
_INDENT = 2  # of the further lines of a message that begins with something else
_NANOSECONDS = 1_000_000_000


class Rendering:
    """How messages look.

    :param is_terminal: whether the output is one: then what the peer wrote is made harmless.
    :param is_coloured: whether JSON is.
    :param prefix: before each message, where they stand between what a user types.
    :param encoding: of a terminal; other output is UTF-8, as the messages are.
    :param clock: tells nanoseconds since the epoch, and those of a monotonic clock.
    """

    def __init__(
        self,
        arguments: Arguments,
        *,
        is_terminal: bool,
        is_coloured: bool = False,
        prefix: str = "",
        encoding: str = "utf-8",
        clock: Callable[[], Tuple[int, int]] = lambda: (time.time_ns(), time.monotonic_ns()),
    ) -> None:
        self._arguments = arguments
        self._is_terminal = is_terminal
        self._is_coloured = is_coloured
        self._prefix = prefix
        self._encoding = encoding if is_terminal else "utf-8"
        self._clock = clock
        self._previous_ns: Optional[int] = None
        self.failure: Optional[str] = None  # why the first message was not inflated

    def start_gaps(self) -> None:
        """Measure the gap of the next message from here: the connection has opened."""
        self._previous_ns = self._clock()[1]

    def render(self, payload: Union[str, bytes]) -> bytes:
        """Return a TEXT message (str) or a BINARY one (bytes) that has just arrived, as printed."""
        if isinstance(payload, bytes) and self._arguments.inflates:
            payload, note = self._inflated_if_possible(payload)
        else:
            note = ""
        if isinstance(payload, bytes) and self._is_written_as_it_is:
            return payload
        head = self._head() + self._prefix
        body = self._text(payload) if isinstance(payload, str) else self._binary(payload)
        if self._is_terminal:
            body = indented(body + note, _INDENT if head else 0)
        return f"{head}{body}\n".encode(self._encoding, "backslashreplace")

    @property
    def _is_written_as_it_is(self) -> bool:
        """Whether binary messages are: not in lines of text, and not on a terminal."""
        return not (self._is_terminal or self._arguments.is_hex or self._arguments.has_timestamps)

    def _text(self, text: str) -> str:
        if self._arguments.is_json:
            pretty = pretty_json(
                text, is_for_terminal=self._is_terminal, is_coloured=self._is_coloured
            )
            if pretty is not None:
                return pretty
        return harmless(text) if self._is_terminal else text

    def _binary(self, data: bytes) -> str:
        if self._arguments.is_hex or not self._is_terminal:
            return data.hex()
        more = "..." if len(data) > _PREVIEW else ""
        return f"({len(data)} bytes) {data[:_PREVIEW].hex()}{more}"

    def _head(self) -> str:
        if not self._arguments.has_timestamps:
            return ""
        wall_ns, monotonic_ns = self._clock()
        seconds, rest = divmod(wall_ns, _NANOSECONDS)
        local = datetime.fromtimestamp(seconds).astimezone()
        gap = 0 if self._previous_ns is None else monotonic_ns - self._previous_ns
        self._previous_ns = monotonic_ns
        return f"{local:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d} +{gap / _NANOSECONDS:.6f} "

    def _inflated_if_possible(self, data: bytes) -> Tuple[Union[str, bytes], str]:
        """Return what is inside, as a str if it is text, and a remark if it is too much."""
        try:
            content = inflated(data)
        except TooMuchInflated as error:
            self.failure = self.failure or str(error)
            return data, f" ({error})"
        if content is None:
            return data, ""
        try:
            return content.decode("utf-8"), ""
        except UnicodeDecodeError:
            return content, ""
