"""What a user writes after ``python -m picows_server``, taken apart and checked."""

from __future__ import annotations

import argparse
import ast
import inspect
import math
import os
from difflib import get_close_matches
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from picows_server._version import __version__
from picows_server.draining import DrainPlan
from picows_server.running.loops import LOOPS
from picows_server.running.settings import RunSettings
from picows_server.running.worker_settings import WorkerSettings
from picows_server.serving import serve
from picows_server.url import parse_server_url

__all__ = ["Arguments", "parsed"]

_DESCRIPTION = """\
Serve WebSocket connections until SIGTERM or Ctrl-C, then drain: clients get a CLOSE at random
times, so that they do not all come back in the same second. A second signal aborts. SIGHUP looks at
the certificates.
"""
_EPILOG = """\
example: python -m picows_server chat:routes --url wss://0.0.0.0:8443 --ssl-cert server.pem
         --option max_connections=20000

Exit status: 0 after a drain; 1 if the server could not start; 2 for wrong usage; 128 + the number
of the signal if it was aborted.
"""

# A C int, as which the kernel takes descriptors.
_MOST_DESCRIPTORS = 1 << 31

# Those that have options of their own here, or are no values that can be written.
_FUNCTIONS = ("tap", "process_request")
_NO_OPTIONS = ("ssl_context", "unix_path", "sock", "start_serving", *_FUNCTIONS)


# What errors call the arguments of ``run``.
_SHOWN_AS = {
    "factory_or_routes": "MODULE:NAME",
    "handler": "MODULE:NAME",
    "lifespan": "--lifespan",
    "ssl_context": "--ssl-context",
}

_CONSTANTS = {"true": True, "false": False, "none": None}


class Arguments(NamedTuple):
    """The command line."""

    settings: RunSettings
    workers: WorkerSettings
    descriptors: Tuple[int, ...]


def parsed(words: Optional[Sequence[str]] = None) -> Arguments:
    """Parse ``sys.argv``, or the words given. Ends the program for ``--help`` and wrong usage."""
    parser = _parser()
    found = parser.parse_args(words)
    try:
        return _checked(found)
    except (TypeError, ValueError) as error:
        parser.error(str(error))


def _checked(found: argparse.Namespace) -> Arguments:
    if found.ssl_key is not None and found.ssl_cert is None:
        raise ValueError("--ssl-key needs --ssl-cert")
    for number in found.fd:
        if found.fd.count(number) > 1:
            raise ValueError(f"--fd {number} is given twice")
    arguments = [name for name in vars(found) if name not in ("application", "option")]
    options = dict(_option(text, arguments) for text in found.option)
    if found.unix_path is not None:
        options["unix_path"] = found.unix_path
    if found.logger is not None:
        options["logger_name"] = found.logger
    settings = RunSettings(
        found.url,
        None if found.handler else found.application,
        handler=found.application if found.handler else None,
        lifespan=found.lifespan,
        drain=DrainPlan(
            found.drain_grace,
            found.drain_spread,
            None if math.isinf(found.drain_timeout) else found.drain_timeout,
            found.drain_code,
            found.drain_reason,
            "--drain-",
        ),
        certificate=None if found.ssl_cert is None else (found.ssl_cert, found.ssl_key),
        ssl_context=found.ssl_context,
        server_options=options,
        loop=found.loop,
        log_level=None if found.log_config else found.log_level,
        log_config=None if found.log_config is None else os.path.abspath(found.log_config),
        app_dir=os.path.abspath(found.app_dir),
        shown_as=_SHOWN_AS,
    )
    _check_tls(found)
    workers = WorkerSettings(
        found.workers,
        found.admin_url,
        found.worker_timeout,
        None if math.isinf(found.start_timeout) else found.start_timeout,
        found.max_lifetime,
        found.max_rss,
    )
    return Arguments(settings, workers, tuple(found.fd))


def _check_tls(found: argparse.Namespace) -> None:
    is_secure = parse_server_url(found.url).is_secure
    given = "--ssl-cert" if found.ssl_cert else "--ssl-context" if found.ssl_context else None
    if is_secure and given is None:
        raise ValueError(
            f"--url {found.url} needs a certificate: --ssl-cert and --ssl-key, or --ssl-context"
        )
    if not is_secure and given is not None:
        raise ValueError(f"{given} is for wss:// URLs, and --url is {found.url}")


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:20]) >= _MOST_DESCRIPTORS:
        raise argparse.ArgumentTypeError(f"must be the number of an open descriptor, not {text!r}")
    return int(text)


def _option(text: str, arguments: Sequence[str]) -> Tuple[str, Any]:
    name, sign, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not sign:
        raise ValueError(f"--option must be NAME=VALUE, not {text!r}")
    known = _known_options()
    if name not in known:
        raise ValueError(f"--option: {_unknown(name, [*known], arguments)}")
    try:
        return name, ast.literal_eval(value.strip())
    except (SyntaxError, ValueError):
        text = value.strip()
        return name, _CONSTANTS.get(text.lower(), text)


def _unknown(name: str, known: Sequence[str], arguments: Sequence[str]) -> str:
    if name in arguments:
        return f"{name!r} has an argument of its own: {_flag(name)}"
    if name in _FUNCTIONS:
        return f"{name!r} cannot be written here: call picows_server.run in a program"
    similar = get_close_matches(name, [*known, *arguments], 1)
    if similar:
        meant = repr(similar[0]) if similar[0] in known else _flag(similar[0])
        return f"there is no {name!r}: did you mean {meant}?"
    return f"there is no {name!r}; the names are: {', '.join(known)}"


def _flag(argument: str) -> str:
    return "--" + argument.replace("_", "-")


def _known_options() -> Dict[str, inspect.Parameter]:
    parameters = inspect.signature(serve).parameters.values()
    return {
        parameter.name: parameter
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in _NO_OPTIONS
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m picows_server",
        usage="%(prog)s MODULE:NAME [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "application",
        metavar="MODULE:NAME",
        help="a listener factory, a mapping of paths, or an ASGI application",
    )
    add(
        "--handler",
        action="store_true",
        help="MODULE:NAME is the coroutine function of serve(): async def handler(connection)",
    )
    add("--version", action="version", version=f"picows-server {__version__}")
    add(
        "--url",
        default="ws://127.0.0.1:9001",
        help="where to listen: ws://HOST:PORT, wss://HOST:PORT (default: %(default)s)",
    )
    add("--unix-path", metavar="PATH", help="listen on this Unix socket instead")
    add(
        "--fd",
        type=_descriptor,
        action="append",
        default=[],
        metavar="N",
        help="listen on this inherited socket instead; may be given again. Those of systemd"
        " (LISTEN_FDS) are found without it, and exclude it",
    )
    add("--app-dir", default="", metavar="DIR", help="where MODULE is (default: here)")
    add(
        "--lifespan",
        metavar="MODULE:NAME",
        help="a function that returns an async context manager around serving",
    )
    add("--loop", choices=LOOPS, default="auto", help="auto: uvloop where it is installed")
    seconds: Dict[str, Any] = {"type": float, "metavar": "SECONDS"}
    processes = parser.add_argument_group("processes (not on Windows)")
    add = processes.add_argument
    add(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="how many (default: 1). Then SIGHUP replaces them one by one; SIGTTIN and SIGTTOU add"
        " and remove one",
    )
    add(
        "--admin-url",
        metavar="URL",
        help="pages of all workers, such as http://127.0.0.1:9000: /metrics, /healthz, /readyz,"
        " /workers",
    )
    add(
        "--worker-timeout",
        **seconds,
        default=30.0,
        help="kill a worker whose loop is blocked for so long, at least 1 (default: 30)",
    )
    add(
        "--start-timeout",
        **seconds,
        default=60.0,
        help="kill a worker that is not ready after so long; inf: never (default: 60)",
    )
    add("--max-lifetime", **seconds, help="replace a worker that has served for so long")
    add(
        "--max-rss",
        type=int,
        metavar="BYTES",
        help="replace a worker that uses more memory (Linux)",
    )
    tls = parser.add_argument_group("TLS")
    add = tls.add_argument
    add("--ssl-cert", metavar="FILE", help="certificate and those between it and the authority")
    add("--ssl-key", metavar="FILE", help="its private key, if it is in another file")
    add("--ssl-context", metavar="MODULE:NAME", help="a TLS context, or a function that makes it")
    ending = parser.add_argument_group("the end")
    add = ending.add_argument
    add(
        "--drain-grace",
        **seconds,
        default=5.0,
        help="accept for so long while readiness is 503 (default: 5)",
    )
    add("--drain-spread", **seconds, default=30.0, help="then close within (default: 30)")
    add(
        "--drain-timeout",
        **seconds,
        default=60.0,
        help="abort after so long, counted from the beginning; inf: never (default: 60)",
    )
    add("--drain-code", type=int, default=1012, metavar="CODE", help="of the CLOSE (default: 1012)")
    add("--drain-reason", metavar="TEXT", help="of the CLOSE (default: none)")
    rest = parser.add_argument_group("the rest")
    add = rest.add_argument
    levels = ("critical", "error", "warning", "info", "debug")
    add("--log-level", choices=levels, default="info", help="(default: info)")
    add(
        "--log-config",
        metavar="FILE",
        help="JSON as logging.config.dictConfig takes it, instead of --log-level; for the"
        " supervisor and each worker",
    )
    add("--logger", metavar="NAME", help="of the log, below 'picows.' (default: server)")
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of ws_create_server or serve, such as max_connections=20000; may be"
        " given again; VALUE is a Python literal, or else text",
    )
    return parser
