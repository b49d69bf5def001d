"""What a user writes on the command line, taken apart and checked."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import List, Literal, Optional, Sequence, Tuple, Union

from picows_client._version import __version__

__all__ = ["Arguments", "parsed"]

_DESCRIPTION = """\
Connect to a WebSocket server: each line of standard input is sent as a message, and each message
that arrives is printed. Errors go to standard error.
"""
_EPILOG = """\
When the input has ended, picows waits a second for replies (-w), then closes with 1000, and prints
what arrives until the server has closed, too. Exit status: 0; 1 if the connection was refused or
lost, too few messages came, one could not be inflated, a recording is damaged or has no
connection, or the output could not be written; 2 for wrong usage.
"""


_MOST_DIGITS = 18  # of a number of messages or pings
_FOR_CONNECTIONS = ("execute", "wait", "reconnect")
_FOR_SERVERS = (
    "header",
    "subprotocol",
    "insecure",
    "cacert",
    "cert",
    "key",
    "proxy",
    "compression",
)
_FOR_MESSAGES = ("json", "timestamps", "hex", "gunzip")


@dataclass(frozen=True)
class Arguments:
    """The command line. ``seconds_to_stay`` is infinite for "until the connection ends".

    There is a ``url``, or a recording to replay.
    """

    url: str
    headers: List[Tuple[str, str]]
    subprotocols: List[str]
    is_insecure: bool
    authorities: Optional[str]
    certificate: Optional[str]
    key: Optional[str]
    proxy: Union[str, Literal[True], None]
    compresses: bool
    messages: List[Union[str, bytes]]
    seconds_to_stay: Optional[float]
    count: Optional[int]
    is_hex: bool
    is_verbose: bool
    is_json: bool
    has_timestamps: bool
    inflates: bool
    pings: Optional[int]
    reconnects: bool
    recording: Optional[str]
    replayed: Optional[str]


def parsed(words: Optional[Sequence[str]] = None) -> Arguments:
    """Parse ``sys.argv``, or the words given. Ends the program for ``--help`` and wrong usage."""
    parser = _parser()
    found = parser.parse_args(words)
    try:
        _check(found)
        return Arguments(
            url=_complete_url(found.url or ""),
            headers=[_header(text) for text in found.header],
            subprotocols=[name.strip() for text in found.subprotocol for name in text.split(",")],
            is_insecure=found.insecure,
            authorities=found.cacert,
            certificate=found.cert,
            key=found.key,
            proxy={None: True, "none": None}.get(found.proxy, found.proxy),
            compresses=found.compression,
            messages=[_message(text, is_hex=found.hex) for text in found.execute],
            seconds_to_stay=found.wait,
            count=found.count,
            is_hex=found.hex,
            is_verbose=found.verbose,
            is_json=found.json,
            has_timestamps=found.timestamps,
            inflates=found.gunzip,
            pings=found.ping,
            reconnects=found.reconnect,
            recording=found.record,
            replayed=found.replay,
        )
    except ValueError as error:
        parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="picows", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "url", metavar="URL", nargs="?", help="ws:// or wss://; without a scheme it is ws://"
    )
    parser.add_argument("-V", "--version", action="version", version=f"picows-client {__version__}")
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the handshake, control frames and close code on standard error",
    )
    _add_connecting(parser.add_argument_group("connecting"))
    _add_talking(parser.add_argument_group("sending, and when to stop"))
    _add_showing(parser.add_argument_group("printing"))
    return parser


def _add_connecting(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    repeated: List[str] = []
    add(
        "-H",
        "--header",
        action="append",
        default=repeated,
        metavar="'NAME: VALUE'",
        help="a header of the upgrade request; repeatable",
    )
    add(
        "-s",
        "--subprotocol",
        action="append",
        default=repeated,
        metavar="NAME",
        help="a subprotocol to offer, best first; repeatable",
    )
    add("-k", "--insecure", action="store_true", help="accept any certificate of the server")
    add("--cacert", metavar="FILE", help="trust these authorities (PEM), not the system's")
    add("--cert", metavar="FILE", help="the client's certificate (PEM)")
    add("--key", metavar="FILE", help="its key, if that is not in the same file")
    add(
        "--proxy",
        metavar="URL",
        help="http://, https://, socks4:// or socks5://; none: a direct connection; default: the"
        " environment's (https_proxy, no_proxy, ...)",
    )
    add(
        "--compression",
        action="store_true",
        help="offer permessage-deflate, and compress what is sent if the server agrees",
    )
    add(
        "--reconnect",
        action="store_true",
        help="connect again whenever the connection is lost, with pauses that grow; -x is sent"
        " again, nothing else; -w also limits the time without a connection",
    )
    add("--record", metavar="FILE", help="record what is received and sent, for --replay")
    add(
        "--replay",
        metavar="FILE",
        help="instead of connecting, print the messages of a recording as if they arrived now",
    )


def _add_talking(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-x",
        "--execute",
        action="append",
        default=[],
        metavar="MESSAGE",
        help="send this when connected, and read no input; repeatable",
    )
    add(
        "-w",
        "--wait",
        type=_seconds,
        metavar="SECONDS",
        help="stay connected so long after the last message was sent; inf: until the connection"
        " ends; default: 0 after Ctrl-D on a terminal, else inf with -1, --count, --reconnect,"
        " else 1",
    )
    counts = group.add_mutually_exclusive_group()
    counts.add_argument(
        "-1",
        "--one",
        action="store_const",
        const=1,
        dest="count",
        help="print one message and leave",
    )
    counts.add_argument("--count", type=_count, metavar="N", help="print N messages and leave")
    counts.add_argument(
        "--ping",
        type=_count,
        metavar="N",
        help="measure N pings one after another, and print percentiles of their round trips",
    )


def _add_showing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "-b",
        "--hex",
        action="store_true",
        help="binary messages in hex, both ways: each line of input, and each -x, is sent as one",
    )
    add("--json", action="store_true", help="lay out JSON in lines, on a terminal in colour")
    add(
        "-t",
        "--timestamps",
        action="store_true",
        help="the local time before each message, and the seconds since the one before",
    )
    add(
        "--gunzip",
        action="store_true",
        help="inflate binary messages (gzip, zlib or raw DEFLATE); what is text then is shown so",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"a whole number of at least 1, and of at most {_MOST_DIGITS} digits, is wanted,"
            f" not {text!r}"
        )
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"a number of seconds, or inf, is wanted, not {text!r}")
    return seconds


def _check(found: argparse.Namespace) -> None:
    if found.replay is not None:
        _refuse(found, "--replay connects to nobody", "url", *_FOR_CONNECTIONS, "ping", "record")
        _refuse(found, "--replay connects to nobody", *_FOR_SERVERS)
    elif found.url is None:
        raise ValueError("the following arguments are required: URL")
    if found.key is not None and found.cert is None:
        raise ValueError("--key needs --cert")
    if found.ping is not None:
        _refuse(found, "--ping only measures", *_FOR_CONNECTIONS, *_FOR_MESSAGES)


def _refuse(found: argparse.Namespace, reason: str, *names: str) -> None:
    for name in names:
        if getattr(found, name) not in (None, False, []):
            option = "a URL" if name == "url" else f"--{name}"
            raise ValueError(f"{reason}: it does not go with {option}")


def _complete_url(text: str) -> str:
    """Take ``http`` for ``ws``, as other programs show it, and a host without scheme for both."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return f"ws://{text}"
    scheme = {"http": "ws", "https": "wss"}.get(scheme.lower(), scheme)
    return f"{scheme}://{rest}"


def _header(text: str) -> Tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"-H wants 'Name: value', not {text!r}")
    return name.strip(), value.strip()


def _message(text: str, *, is_hex: bool) -> Union[str, bytes]:
    if not is_hex:
        if any("\ud800" <= character <= "\udfff" for character in text):
            # Python makes surrogates of bytes that are not UTF-8.
            raise ValueError(f"-x wants UTF-8, not {text!r}; -b takes hex")
        return text
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"-x with -b wants hex digits, not {text!r}") from None
