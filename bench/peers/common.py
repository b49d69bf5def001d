"""What the adapters of the Python libraries share: command line, measured window, event loop.

An adapter is run by its library's own interpreter::

    python -m bench.peers.adapter_NAME SIDE ROLE [--OPTION VALUE ...]

SIDE is ``server`` or ``client``. A server prints ``{"port": N}`` once it listens and ends when its
standard input ends. A client is told the port. The roles:

- ``echo``: a server sends every message back; a client keeps ``--window`` messages in flight on
  one connection and compares what comes back;
- ``source``: sends messages as fast as the connection takes them;
- ``sink``: counts the messages of a source in C, which numbers them: none may be missing. With
  ``--payloads``, source and sink move the messages of a file, as text, over and over;
- ``broadcast`` (server): sends every message to all connections;
- ``churn`` (client): connects, upgrades and closes, again and again, ``--connections`` at a time;
  ``--messages`` then counts connections;
- ``tail`` (client): sends ``--rate`` messages a second and takes the time to each echo, see
  ``pacing``;
- ``idle`` (client): opens ``--first`` connections, each of which has one message echoed, prints
  ``{"idle": N}``, waits for a line on standard input, and does the rest of ``--connections``.

Whoever counts prints one line of JSON: count, seconds, cpu (seconds of this process), rss (bytes).
``adapter versions`` prints what is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time
from typing import (
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Dict,
    Iterator,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Type,
    Union,
)

__all__ = [
    "BATCH",
    "PATIENCE",
    "Adapter",
    "Arguments",
    "Window",
    "check_number",
    "fail",
    "main",
    "new_message",
    "spawn",
]

# Messages that a source sends in one go before it lets the loop run: a burst of updates.
BATCH = 256
# Seconds for an opening handshake where messages are counted, not time: under valgrind.
PATIENCE = 120.0
NUMBER_SIZE = 8  # bytes: a source's messages start with their number, little-endian
ALPHABET = bytes(range(ord("a"), ord("z") + 1))


@dataclass(frozen=True)
class Arguments:
    """The command line."""

    side: str
    role: str
    port: int
    size: int  # bytes of payload
    connections: int
    first: int
    window: int  # messages in flight
    rate: int  # messages per second, of a role that is paced
    messages: int  # if not 0: stop after so many instead of after a time
    seconds: float
    warmup: float
    loop: str
    # "python", "compiled", "batch" for all that takes many messages at once, "coroutine" for
    # connections that are awaited, "many" for those that give many messages at once; or who serves
    # an ASGI application
    listener: str
    cork: bool
    busy_poll: bool
    payloads: Optional[str]  # file of messages of that size, which are text
    deflate: bool  # permessage-deflate, with the library's defaults
    engine: str  # that deflates and inflates
    ca: Optional[str]
    cert: Optional[str]
    key: Optional[str]

    @property
    def secure(self) -> bool:
        """Whether the connection runs over TLS."""
        return self.ca is not None or self.cert is not None

    @property
    def url(self) -> str:
        """Where a client connects to; numeric, so that no resolver is needed."""
        return f"{'wss' if self.secure else 'ws'}://127.0.0.1:{self.port}/"

    def client_context(self) -> Optional[ssl.SSLContext]:
        """Return a context that trusts the bench's authority, or None for plain TCP."""
        return None if self.ca is None else ssl.create_default_context(cafile=self.ca)

    def server_context(self) -> Optional[ssl.SSLContext]:
        """Return a context with the bench's certificate, or None for plain TCP."""
        if self.cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


def fail(message: str) -> NoReturn:
    """End the program from anywhere, also from a callback whose exceptions a library catches."""
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def spawn(work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    """Start a task whose failure ends the program."""

    def ended(task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception() is not None:
            task.print_stack()
            fail(f"a task failed: {task.exception()!r}")

    task = asyncio.ensure_future(work)
    task.add_done_callback(ended)
    return task


def new_message(size: int) -> bytes:
    """Return the payload that everybody sends: letters from a to z, over and over."""
    return (ALPHABET * (size // len(ALPHABET) + 1))[:size]


def check_number(payload: Any, count: int) -> None:
    """Fail unless ``payload``, bytes, is the ``count``-th that a source has sent."""
    number = int.from_bytes(payload[:NUMBER_SIZE], "little")
    if number + 1 != count:
        fail(f"{count} messages were counted when number {number} arrived")


def read_texts(arguments: Arguments) -> List[str]:
    """Return the messages of ``--payloads``, or none."""
    if arguments.payloads is None:
        return []
    text = Path(arguments.payloads).read_text(encoding="utf-8")
    size = arguments.size
    return [text[start : start + size] for start in range(0, len(text), size)]


class Window:
    """A warm-up and the measured seconds after it; or, with ``--messages``, all of them.

    ``count`` returns the messages so far; ``check`` is called at both ends of the window.
    """

    def __init__(
        self,
        arguments: Arguments,
        count: Callable[[], int],
        check: Optional[Callable[[], None]] = None,
    ) -> None:
        self._arguments = arguments
        self._count = count
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._begun = False
        self._start = (0, 0.0, 0.0)
        self.result: Dict[str, float] = {}

    def begin(self) -> None:
        """Start the warm-up, once."""
        if self._begun:
            return
        self._begun = True
        if self._arguments.messages:
            self._start = (0, perf_counter(), process_time())
        else:
            self._loop.call_later(self._arguments.warmup, self._open)

    def _open(self) -> None:
        if self._check is not None and self._count():
            self._check()
        self._start = (self._count(), perf_counter(), process_time())
        self._loop.call_later(self._arguments.seconds, self.close)

    def close(self) -> None:
        """End the window; called by whoever sends or receives the last of ``--messages``."""
        if self._done.done():
            return
        count, time, cpu = self._start
        self.result = {
            "count": self._count() - count,
            "seconds": perf_counter() - time,
            "cpu": process_time() - cpu,
            "rss": resident_bytes(),
        }
        if self._check is not None and self._count():
            self._check()
        self._done.set_result(None)

    @property
    def is_open(self) -> bool:
        """Whether the warm-up is over."""
        return self._start[1] != 0

    @property
    def over(self) -> bool:
        """Whether the result is there."""
        return self._done.done()

    async def wait(self) -> None:
        """Wait for the end of the window."""
        await self._done


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Adapter:
    """A library. Subclasses fill in the roles that it can play."""

    distributions: Sequence[str] = ()  # on the index, the library itself first

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.message = new_message(arguments.size)
        self.texts = read_texts(arguments)

    def bursts(self) -> Iterator[List[Union[str, bytes]]]:
        """Give what a source sends in one go, without an end."""
        messages: List[Union[str, bytes]] = [*self.texts] or [self.message] * BATCH
        return cycle([messages[start : start + BATCH] for start in range(0, len(messages), BATCH)])

    def check(self, payload: Any, count: int) -> None:
        """Fail unless ``payload``, bytes or str, is the ``count``-th of the other side's source."""
        if not self.texts:
            check_number(payload, count)
        elif payload != self.texts[(count - 1) % len(self.texts)]:
            fail(f"message {count} is another: {payload!r}")

    def window(
        self, count: Callable[[], int], check: Optional[Callable[[], None]] = None
    ) -> Window:
        """Make the window of a role that counts."""
        return Window(self.arguments, count, check)

    # Servers: start one and return its port. A sink puts its window into `reports`.

    async def serve_echo(self) -> int:
        raise NotImplementedError

    async def serve_source(self) -> int:
        raise NotImplementedError

    async def serve_sink(self, report: Callable[[Window], None]) -> int:
        raise NotImplementedError

    async def serve_broadcast(self) -> int:
        raise NotImplementedError

    # Clients: play the role until the window is over, and return it.

    async def echo(self) -> Window:
        raise NotImplementedError

    async def source(self) -> Window:
        raise NotImplementedError

    async def sink(self) -> Window:
        raise NotImplementedError

    async def tail(self) -> Window:
        raise NotImplementedError

    async def open_and_close(self) -> None:
        """One whole life of a connection, with both handshakes."""
        raise NotImplementedError

    async def open_idle(self) -> object:
        """Open a connection, have one message echoed, return what keeps it open."""
        raise NotImplementedError


def main(adapter: Type[Adapter], variants: Optional[Mapping[str, Type[Adapter]]] = None) -> None:
    """Run an adapter's command line; ``variants`` are adapters for some of the listeners."""
    if sys.argv[1:] == ["versions"]:
        names: List[str] = list(adapter.distributions)
        print_json(
            {
                "python": platform.python_version(),
                "openssl": ssl.OPENSSL_VERSION.split()[1],
                **{name: version_of(name) for name in names},
            }
        )
        return
    arguments = parse_arguments()

    async def play() -> None:
        player = (variants or {}).get(arguments.listener, adapter)(arguments)
        if arguments.side == "server":
            await play_server(player, arguments.role)
        else:
            await play_client(player, arguments)

    if arguments.loop == "uvloop":
        import uvloop  # noqa: PLC0415 - not every environment has it

        uvloop.run(play())
    else:
        asyncio.run(play())


def version_of(distribution: str) -> str:
    """Return what is installed of it; a build in place leaves no trace."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "in place"


def parse_arguments() -> Arguments:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["server", "client"])
    parser.add_argument("role")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument(
        "--listener",
        choices=[
            *("python", "compiled", "batch", "coroutine", "many"),
            # who serves an ASGI application, and "+fastapi"
            *("uvicorn", "uvicorn-ours", "granian", "asgi"),
            *("uvicorn+fastapi", "uvicorn-ours+fastapi", "asgi+fastapi"),
        ],
        default="python",
    )
    parser.add_argument("--cork", action="store_true")
    parser.add_argument("--busy-poll", action="store_true")
    parser.add_argument("--payloads")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--engine", default="zlib")
    parser.add_argument("--ca")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    return Arguments(**vars(parser.parse_args()))


async def play_server(player: Adapter, role: str) -> None:
    """Serve until standard input ends."""
    stopped = asyncio.Event()

    def on_stdin() -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            stopped.set()

    def report(window: Window) -> None:
        async def wait() -> None:
            await window.wait()
            print_json(window.result)

        tasks.append(spawn(wait()))

    tasks: List[asyncio.Task[object]] = []
    starts: Dict[str, Callable[[], Awaitable[int]]] = {
        "echo": player.serve_echo,
        "source": player.serve_source,
        "sink": lambda: player.serve_sink(report),
        "broadcast": player.serve_broadcast,
    }
    port = await starts[role]()
    asyncio.get_running_loop().add_reader(0, on_stdin)
    print_json({"port": port})
    await stopped.wait()
    # End the process with its connections, because nothing is measured any more.
    os._exit(0)


async def play_client(player: Adapter, arguments: Arguments) -> None:
    """Play the role and print the result."""
    if arguments.role == "idle":
        await hold_idle(player, arguments)
    elif arguments.role == "churn":
        print_json((await churn(player, arguments)).result)
    else:
        roles = {
            "echo": player.echo,
            "source": player.source,
            "sink": player.sink,
            "tail": player.tail,
        }
        print_json((await roles[arguments.role]()).result)
    os._exit(0)


async def churn(player: Adapter, arguments: Arguments) -> Window:
    """Open and close connections, several at a time."""
    count = 0
    window = Window(arguments, lambda: count)

    async def one_after_another() -> None:
        nonlocal count
        while not window.over:
            await player.open_and_close()
            count += 1
            if count == arguments.messages:
                window.close()

    tasks = [spawn(one_after_another()) for _ in range(arguments.connections)]
    window.begin()
    await window.wait()
    for task in tasks:
        task.cancel()
    return window


async def hold_idle(player: Adapter, arguments: Arguments) -> None:
    """Open connections in two steps and hold them."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bool] = asyncio.Queue()
    loop.add_reader(0, lambda: lines.put_nowait(bool(os.read(0, 4096))))
    held: List[object] = []
    for target in (arguments.first, arguments.connections):
        while len(held) < target:
            step = min(32, target - len(held))
            held += await asyncio.gather(*(player.open_idle() for _ in range(step)))
        print_json({"idle": len(held)})
        if not await lines.get():
            return
    with suppress(asyncio.CancelledError):
        await lines.get()


def print_json(value: Dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(value), flush=True)
