"""One run of the program: connect, send what is typed, print what arrives, and leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import ssl
from typing import Any, Callable, Dict, List, Optional, Protocol, Set, Union

from picows_client.cli.arguments import Arguments
from picows_client.cli.console import Console
from picows_client.cli.listening import Progress, QuietListener, VerboseListener, sent_as
from picows_client.cli.percentiles import progress_bar, table_of
from picows_client.cli.rendering import Rendering
from picows_client.cli.traffic import refusal
from picows_client.keep_connected import ws_keep_connected
from picows_client.link import WSLink, WSLinkState
from picows_client.tasks import DeadlinePassed, run_with_deadline
from picows_client.transience import Outcome, is_transient
from picows_client.url import WSURL
from picows_codec import (
    WSCloseCode,
    WSConnectionClosed,
    WSDisconnectKind,
    WSStateError,
    WSUsageError,
)

__all__ = ["LOST", "SUCCESS", "WRONG_USAGE", "Lines", "MakeConsole", "Session", "handle_signals"]

SUCCESS, LOST, WRONG_USAGE = 0, 1, 2  # exit codes

_ORDERLY = (WSCloseCode.NORMAL_CLOSURE, WSCloseCode.GOING_AWAY, WSCloseCode.NO_STATUS_RECEIVED)
_PROGRESS_INTERVAL = 0.05  # seconds
_SECONDS_FOR_REPLIES = 1.0  # to what was sent last: many servers drop them once they see our CLOSE
_KEEPALIVE = 20.0  # seconds: a connection that is gone is noticed, one that idles kept


MakeConsole = Callable[[Callable[[Optional[OSError]], object], Callable[[], object]], Console]


class Lines(Protocol):
    """Where the messages to send come from."""

    async def read_line(self) -> Optional[bytes]:
        """Return the next line, or None after the last one."""


class WrongInput(Exception):
    """A line of the input cannot be sent."""


class NoPong(Exception):
    """The server does not answer a ping, which RFC 6455, 5.5.2 requires."""


def handle_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` for each signal by which a user, or a terminal that hangs up, ends programs."""
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Who starts a program in the background, or by nohup, has it ignore some.
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop)


class Session:
    """One run of the program. :meth:`run` returns the exit code.

    :param lines: None: nothing is read.
    :param make_console: gets what :class:`Console` calls back.
    :param recorder: a tap that records the connections, or None.
    """

    def __init__(
        self,
        arguments: Arguments,
        context: Optional[ssl.SSLContext],
        lines: Optional[Lines],
        rendering: Rendering,
        make_console: MakeConsole,
        recorder: Any = None,
    ) -> None:
        self._arguments = arguments
        self._context = context
        self._lines = lines
        self._progress = Progress(arguments.count)
        self._console = make_console(self._output_gone, self._progress.resume)
        self._is_interactive = self._console.editor is not None
        kind = VerboseListener if arguments.is_verbose else QuietListener
        self._listener = kind(arguments, self._console, rendering, self._progress)
        self._recorder = recorder
        self._link: Optional[WSLink[QuietListener]] = None
        self._is_leaving = False  # whatever ends the connection now was meant to
        self._stopped = asyncio.Event()  # by the user, or by whoever read the output
        self._output_error: Optional[OSError] = None
        self._round_trips: List[float] = []
        self._patience: Optional[asyncio.TimerHandle] = None  # while there is no connection
        self._is_given_up = False

    # From outside

    def stop(self) -> None:
        """Leave in order; called again, drop the connection, or whatever else it is waiting for."""
        if self._stopped.is_set():
            self._console.close()  # nor wait for a slow reader
            transport = None if self._link is None else self._link.transport
            if transport is None:
                if self._recorder is not None:
                    with contextlib.suppress(OSError):
                        self._recorder.flush()
                os._exit(SUCCESS)  # a thread that resolves a name cannot be ended
            transport.disconnect(graceful=False)
        self._is_leaving = True
        self._stopped.set()

    def _output_gone(self, error: Optional[OSError]) -> None:
        self._output_error = error
        self._is_leaving = True
        self._stopped.set()

    # The run

    async def run(self) -> int:
        """Connect, talk, leave."""
        handle_signals(self.stop)
        try:
            code = await self._connect_and_talk()
            await self._console.drain()
        finally:
            self._console.close()
        if self._output_error is not None:
            self._console.complain(f"standard output: {self._output_error}")
            return LOST
        if self._recorder is not None and self._recorder.is_closed:
            self._console.complain("the recording ends early, because it could not be written")
            return LOST
        return code

    async def _connect_and_talk(self) -> int:
        try:
            self._link = ws_keep_connected(self._arguments.url, self._listener, **self._options())
            async with self._link:
                await self._until_it_ends(self._link)
        except WrongInput as error:
            self._console.complain(error)
            return WRONG_USAGE
        except (WSUsageError, TypeError) as error:
            self._console.complain(error)
            return WRONG_USAGE
        except Exception as error:  # noqa: BLE001 - of dialling, TLS, proxies, handshakes
            return self._code_for(error)
        finally:
            self._print_round_trips()
        return self._code_at_the_end()

    def _options(self) -> Dict[str, Any]:
        arguments = self._arguments
        logger = logging.Logger("picows")  # noqa: LOG001 - the console says everything
        logger.addHandler(logging.NullHandler())
        options: Dict[str, Any] = {
            "logger_name": logger,
            "on_change": self._on_change,
            "retry": self._is_to_try_again,
            "extra_headers": arguments.headers,
            "subprotocols": arguments.subprotocols,
            "proxy": arguments.proxy,
            "ssl_context": self._context,
            "enable_auto_pong": not arguments.is_verbose,
            "enable_auto_ping": arguments.pings is None,
            "auto_ping_idle_timeout": _KEEPALIVE,
            "auto_ping_reply_timeout": _KEEPALIVE,
        }
        if self._recorder is not None:
            options["tap"] = self._recorder
        if arguments.compresses:
            from picows_codec.deflate.parameters import WSPermessageDeflate  # noqa: PLC0415

            options["compression"] = WSPermessageDeflate(client_compresses=True)
        return options

    def _is_to_try_again(self, outcome: Outcome) -> bool:
        return self._arguments.reconnects and not self._is_leaving and is_transient(outcome)

    def _on_change(self, link: WSLink[QuietListener]) -> None:
        if link.state is not WSLinkState.CONNECTING:
            self._limit_time_away(link)
        if link.state is WSLinkState.WAITING:
            self._console.complain(f"{_text_of(link.last_error)}; connecting again")

    def _limit_time_away(self, link: WSLink[QuietListener]) -> None:
        """-w is also the longest time without a connection, from the first failure on."""
        is_away = link.state is WSLinkState.WAITING
        if self._patience is not None and not is_away:
            self._patience.cancel()
            self._patience = None
        seconds = self._arguments.seconds_to_stay
        if self._patience is None and is_away and seconds is not None and seconds < math.inf:
            self._patience = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._is_given_up = True
        self._is_leaving = True
        self._stopped.set()

    async def _until_it_ends(self, link: WSLink[QuietListener]) -> None:
        """Return when there is no more to do; raise the error that ended the link before."""
        work = asyncio.ensure_future(self._work(link))
        ended = asyncio.ensure_future(link.wait_closed())
        others = [
            asyncio.ensure_future(each)
            for each in (
                self._stopped.wait(),
                self._progress.is_satisfied.wait(),
                self._left_while_away(link),
            )
        ]
        every: Set[asyncio.Future[Any]] = {work, ended, *others}
        try:
            await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in every:
                task.cancel()
            await asyncio.wait(every)
        self._is_leaving = True
        for task in (ended, work):
            if not task.cancelled():
                task.result()

    async def _left_while_away(self, link: WSLink[QuietListener]) -> None:
        """Return after Ctrl-D if there is no connection, which has to be left in order."""
        editor = self._console.editor
        if editor is not None:
            await editor.wait_for_end()
        if editor is None or link.transport is not None:
            await asyncio.get_running_loop().create_future()  # until the task is cancelled

    async def _work(self, link: WSLink[QuietListener]) -> None:
        if self._arguments.pings is not None:
            await self._measure(link, self._arguments.pings)
            return
        await link.wait_connected()
        if self._lines is not None:
            await self._send_lines(link, self._lines)
        await self._stay()
        transport = link.transport
        if transport is not None:
            self._is_leaving = True
            with contextlib.suppress(WSStateError):  # the peer was faster
                transport.send_close()
            await transport.wait_disconnected()

    async def _stay(self) -> None:
        """Wait for what may come after the last message was sent."""
        seconds = self._arguments.seconds_to_stay
        if seconds is None:
            if self._is_interactive:
                seconds = 0.0
            elif self._progress.lacks_messages or self._arguments.reconnects:
                seconds = math.inf
            else:
                seconds = _SECONDS_FOR_REPLIES
        if seconds < math.inf:
            await asyncio.sleep(seconds)
        else:
            await asyncio.get_running_loop().create_future()  # until the task is cancelled

    async def _send_lines(self, link: WSLink[QuietListener], lines: Lines) -> None:
        while True:
            line = await lines.read_line()
            if line is None:
                return
            try:
                await self._send(link, self._message_of(line))
            except WrongInput as error:
                if not self._is_interactive:
                    raise
                self._console.complain(error)

    def _message_of(self, line: bytes) -> Union[str, bytes]:
        try:
            text = line.decode("utf-8")
            return bytes.fromhex(text) if self._arguments.is_hex else text
        except UnicodeDecodeError:
            raise WrongInput(f"not UTF-8, so not sent: {line[:40]!r}; -b takes hex") from None
        except ValueError:
            raise WrongInput(f"no hex digits, so not sent: {line[:40].decode()!r}") from None

    async def _send(self, link: WSLink[QuietListener], message: Union[str, bytes]) -> None:
        """Send as soon as there is a connection and room; what a user types, now or not at all."""
        while True:
            if link.transport is None and self._is_interactive:
                raise WrongInput(f"not sent: the link is {link.state.value}")
            transport = await link.wait_connected()
            await self._progress.may_send.wait()
            try:
                transport.send(sent_as(message), message)
            except WSStateError:  # it is closing: nothing was sent
                await transport.wait_disconnected()
            else:
                return

    # --ping

    async def _measure(self, link: WSLink[QuietListener], rounds: int) -> None:
        transport = await link.wait_connected()
        loop = asyncio.get_running_loop()
        shown_at = -math.inf
        for done in range(1, rounds + 1):
            try:
                self._round_trips += await run_with_deadline(
                    transport.measure_roundtrip_time(1), _KEEPALIVE, lambda _: None
                )
            except DeadlinePassed:
                raise NoPong(f"no answer to a ping within {_KEEPALIVE:g} seconds") from None
            if loop.time() - shown_at >= _PROGRESS_INTERVAL:
                shown_at = loop.time()
                self._console.show_progress(progress_bar(done, rounds))

    def _print_round_trips(self) -> None:
        self._console.clear_progress()
        if self._round_trips:
            url = WSURL.parse(self._arguments.url).for_log
            for line in (
                f"{len(self._round_trips)} round trips to {url}",
                *table_of(self._round_trips),
            ):
                self._console.print_line(line)

    # The end

    def _code_for(self, error: BaseException) -> int:
        """Return the exit code for what ended the link, and complain of it unless it is orderly."""
        if self._stopped.is_set():
            return self._code_at_the_end()  # a dial that failed at that moment is of no interest
        if isinstance(error, WSConnectionClosed) and self._is_orderly(error):
            if self._is_interactive:
                self._console.remark(f"Disconnected: {error}")
            return self._code_at_the_end()
        if self._arguments.is_verbose:
            for line in refusal(error):
                self._console.remark(line)
        self._console.complain(_text_of(error))
        return LOST

    def _is_orderly(self, error: WSConnectionClosed) -> bool:
        kind = None if error.cause is None else error.cause.kind
        if kind is WSDisconnectKind.PEER_CLOSE:
            return error.code in _ORDERLY
        return kind is WSDisconnectKind.LOCAL_CLOSE

    def _code_at_the_end(self) -> int:
        if self._is_given_up:
            self._console.complain(f"no connection within {self._arguments.seconds_to_stay:g} s")
            return LOST
        if self._progress.failure is not None:
            return LOST
        if self._progress.lacks_messages:
            self._console.complain(self._progress.shortage)
            return LOST
        return SUCCESS


def _text_of(error: Optional[BaseException]) -> str:
    return str(error) or repr(error)
