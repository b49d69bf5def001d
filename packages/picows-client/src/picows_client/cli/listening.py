"""The listener of the command line: it prints messages, and tells the session what happens."""

from __future__ import annotations

import asyncio
from typing import Any, List, Optional, Union

from picows_client.cli.arguments import Arguments
from picows_client.cli.console import Console
from picows_client.cli.rendering import Rendering
from picows_client.cli.traffic import control_frame, ending, opening
from picows_client.url import WSURL
from picows_codec import WSFrame, WSMessage, WSMessageListener, WSMsgType, WSTransport

__all__ = ["Progress", "QuietListener", "VerboseListener", "sent_as"]


def sent_as(message: Union[str, bytes]) -> WSMsgType:
    """Tell the opcode of a message: TEXT for a str, BINARY for bytes."""
    return WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY


class Progress:
    """How far a session is, over all its connections.

    :param wanted: the number of messages to print, or None for all.
    """

    def __init__(self, wanted: Optional[int]) -> None:
        self.wanted = wanted
        self.printed = 0
        self.failure: Optional[str] = None  # of a message that could not be printed as wanted
        self._paused: List[Any] = []  # transports below connections
        self.may_send = asyncio.Event()  # set while there is room in the write queue
        self.may_send.set()
        self.is_satisfied = asyncio.Event()  # so many messages are printed

    @property
    def lacks_messages(self) -> bool:
        """Whether fewer messages have come than are wanted."""
        return self.wanted is not None and self.printed < self.wanted

    @property
    def shortage(self) -> str:
        """What to say then."""
        return f"{self.printed} of {self.wanted} messages had arrived"

    def pause(self, below: Any) -> None:
        """Read no more from a connection until :meth:`resume`."""
        if below not in self._paused:
            self._paused.append(below)
            below.pause_reading()

    def resume(self) -> None:
        """Read on."""
        paused, self._paused = self._paused, []
        for below in paused:
            if not below.is_closing():
                below.resume_reading()

    def count(self) -> None:
        """Note that a message was printed."""
        self.printed += 1
        if self.printed == self.wanted:
            self.is_satisfied.set()


class QuietListener(WSMessageListener):
    """Prints messages; sends those of ``-x`` when a connection has opened."""

    def __init__(
        self, arguments: Arguments, console: Console, rendering: Rendering, progress: Progress
    ) -> None:
        self._arguments = arguments
        self._console = console
        self._rendering = rendering
        self._progress = progress

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._progress.may_send.set()
        self._rendering.start_gaps()
        if self._console.editor is not None:  # somebody is there
            url = WSURL.parse(self._arguments.url).for_log
            self._console.remark(f"Connected to {url}. Each line is a message; Ctrl-D leaves.")
        for message in self._arguments.messages:
            transport.send(sent_as(message), message)

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        if self._progress.is_satisfied.is_set():
            return
        payload: Union[str, bytes]
        if message.opcode is WSMsgType.TEXT:
            payload = message.get_payload_as_utf8_text()
        else:
            payload = message.get_payload_as_bytes()
        self._console.print_message(self._rendering.render(payload))
        if self._rendering.failure is not None and self._progress.failure is None:
            self._progress.failure = self._rendering.failure
            self._console.complain(f"a message is printed as it came: {self._rendering.failure}")
        self._progress.count()
        below = transport.underlying_transport
        if self._console.is_full and below is not None:
            self._progress.pause(below)

    def pause_writing(self) -> None:
        self._progress.may_send.clear()

    def resume_writing(self) -> None:
        self._progress.may_send.set()


class VerboseListener(QuietListener):
    """Shows also the handshake, control frames and the end. It answers pings itself to see them."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._remark(opening(transport))
        super().on_ws_connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        line = control_frame(frame)
        if line is not None:
            self._remark([line])
        if frame.opcode == WSMsgType.PING and not transport.is_close_frame_sent:
            transport.send_pong(frame)
        super().on_ws_frame(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._remark(ending(transport))

    def _remark(self, lines: List[str]) -> None:
        self._console.remark("\n".join(lines))
