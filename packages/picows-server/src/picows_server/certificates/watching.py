"""``watch_certificates``: certificates that are replaced when their files are."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections import abc
from sys import float_info
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union
from weakref import WeakKeyDictionary, WeakSet

from picows_codec import WSInvalidOptionError
from picows_codec.log_text import one_line
from picows_server.certificates.files import CertificateFiles, Password, Path, known_files
from picows_server.certificates.reloading import checked_context, replace_certificate
from picows_server.logs import Logger, resolve_logger
from picows_server.tls import ServerContexts

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["WSCertificateWatch", "check_on_sighup", "watch_certificates"]

# Seconds after which files that do not fit are looked at again before the log speaks of them:
# somebody may have replaced the key, and is about to replace the certificate.
_SECOND_LOOK = 1.0


def watch_certificates(
    ssl_context: ServerContexts,
    certfile: Optional[Path] = None,
    keyfile: Optional[Path] = None,
    password: Optional[Password] = None,
    *,
    interval: float = 60.0,
    sighup: bool = True,
    logger_name: Union[str, Logger, None] = "server",
) -> WSCertificateWatch:
    """Load certificates again when their files have changed, until the watch is closed.

    ::

        context = create_ssl_context("server.pem", "server.key")
        async with ws_create_server(url, Listener, ssl_context=context) as server:
            async with watch_certificates(context):
                await server.serve_forever()

    ``ssl_context``: a context, or a mapping of server names to contexts, as
    :func:`ws_create_server` takes them. Those of :func:`create_ssl_context` know their files. For
    any other context name them: ``certfile``, ``keyfile`` and ``password`` are as there, for one
    context, and are loaded at once.

    ``interval``: seconds between two looks. The contents are compared, so every way to replace
    files is seen: in place, by renaming, by symbolic links as in Kubernetes. New contents are
    looked at again after a second, because somebody may be writing them; if they are the same then,
    they are proven as by :func:`reload_certificate`. While they are no good (a file is missing, the
    certificate is new and the key still old) the old pair is used, and the log gets one warning
    for each reason. It gets a line for each certificate that was replaced.

    ``sighup``: look also when the process gets SIGHUP, where that exists, and take what is found at
    once. A handler of yours is left alone, and should call :meth:`WSCertificateWatch.check`; that
    of :func:`run` with one process does so.
    Without a watch SIGHUP ends the process, and does so again after the last one of a loop was
    closed.

    ``logger_name``: a name below ``picows.``, or a logger; None is ``"server"``.

    Authorities for client certificates (``client_ca``) are not watched.

    Call this in the thread of the running event loop, which reads the files. Raises
    :class:`WSInvalidOptionError`, :class:`TypeError`, and :class:`OSError` for the files named
    here.
    """
    loop = asyncio.get_running_loop()
    logger = resolve_logger(logger_name)
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        raise TypeError(f"interval must be a number of seconds, not {type(interval).__name__}")
    if not 0 < interval <= float_info.max:
        raise WSInvalidOptionError(f"interval must be a positive number of seconds, not {interval}")
    if not isinstance(sighup, bool):
        raise TypeError(f"sighup must be a bool, not {type(sighup).__name__}")
    contexts = _distinct_contexts(ssl_context)
    if certfile is None:
        if keyfile is not None or password is not None:
            raise WSInvalidOptionError("keyfile and password need certfile")
        watched = [_of_known_files(name, context) for name, context in contexts.items()]
    else:
        if len(contexts) > 1:
            raise WSInvalidOptionError(
                f"certfile is for one context, and ssl_context has {len(contexts)}: call"
                " watch_certificates for each"
            )
        (context,) = contexts.values()
        files = CertificateFiles(certfile, keyfile, password)
        replace_certificate(context, files, files.read())
        watched = [_Watched(context, files)]
    return WSCertificateWatch(loop, watched, interval, logger, sighup=sighup)


def _distinct_contexts(ssl_context: Any) -> Dict[str, ssl.SSLContext]:
    if not isinstance(ssl_context, abc.Mapping):
        return {"ssl_context": checked_context("ssl_context", ssl_context)}
    named = {f"ssl_context[{key!r}]": context for key, context in ssl_context.items()}
    if not named:
        raise WSInvalidOptionError("ssl_context: the mapping of server names to contexts is empty")
    distinct: Dict[int, str] = {}
    for name, context in named.items():
        distinct.setdefault(id(checked_context(name, context)), name)
    return {name: named[name] for name in distinct.values()}


def _of_known_files(name: str, context: ssl.SSLContext) -> _Watched:
    files = known_files(context)
    if files is None:
        raise WSInvalidOptionError(
            f"{name} was not made by create_ssl_context, so its files are not known: name certfile"
            " and keyfile, in a call for this context"
        )
    return _Watched(context, files)


class WSCertificateWatch:
    """What :func:`watch_certificates` returns; ``async with`` closes it at the end.

    All methods belong to the thread of the event loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        watched: List[_Watched],
        interval: float,
        logger: Logger,
        *,
        sighup: bool,
    ) -> None:
        self._loop = loop
        self._watched = watched
        self._interval = interval
        self._logger = logger
        self._is_closed = False
        self._timer = loop.call_soon(self._look)
        if sighup:
            _call_on_sighup(loop, self)

    def check(self) -> int:
        """Look at the files now; returns how many certificates were replaced.

        They must be complete: what is found is used at once.
        Errors are logged, also those that were logged before, and not raised.
        """
        if self._is_closed:
            return 0
        replaced = sum([each.look(self._logger, is_asked=True) for each in self._watched])
        self._logger.info("certificates looked at: %d, replaced: %d", len(self._watched), replaced)
        return replaced

    def close(self) -> None:
        """End the watch; the contexts keep what they have."""
        if not self._is_closed:
            self._is_closed = True
            self._timer.cancel()
            _end_on_sighup(self._loop, self)

    async def __aenter__(self) -> Self:
        """Return the watch."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the watch."""
        self.close()

    def _look(self) -> None:
        for each in self._watched:
            each.look(self._logger)
        delay = self._interval
        if any(each.is_doubtful or each.is_unsettled for each in self._watched):
            delay = min(delay, _SECOND_LOOK)
        self._timer = self._loop.call_later(delay, self._look)


class _Watched:
    """One context and its files."""

    def __init__(self, context: ssl.SSLContext, files: CertificateFiles) -> None:
        self._context = context
        self._files = files
        # The last problem. One that is seen the first time may be over soon.
        self._problem: Optional[str] = None
        self.is_doubtful = False
        # New contents that were seen once may be half-written: a chain without its last
        # certificates looks like a whole one.
        self._seen: Optional[int] = None
        self.is_unsettled = False

    def look(self, logger: Logger, *, is_asked: bool = False) -> bool:
        """Replace the certificate if the files have another one; returns whether they had."""
        files = self._files
        try:
            contents = files.read()
            mark = hash(contents)
            if mark == files.mark:
                self._problem = None
                self._seen = None
                self.is_doubtful = self.is_unsettled = False
                return False
            self.is_unsettled = mark != self._seen and not is_asked
            self._seen = mark
            if self.is_unsettled:
                return False
            kind = files.kind
            expiry = replace_certificate(self._context, files, contents)
        except Exception as error:  # noqa: BLE001 - also what a password's function raises
            self._note(logger, one_line(error), is_asked=is_asked)
            return False
        self._problem = None
        self.is_doubtful = False
        name = one_line(files.certfile)
        logger.info("the certificate in %s is new: it is used, until %s", name, expiry)
        if kind is not None and files.kind != kind:
            logger.warning(
                "the certificate in %s has another kind of key (%s, not %s): until a restart, some"
                " clients get the old one",
                name,
                files.kind,
                kind,
            )
        return True

    def _note(self, logger: Logger, problem: str, *, is_asked: bool) -> None:
        self.is_unsettled = False  # there is nothing new to look at a second time
        is_new = problem != self._problem
        # It may have another text each time, as that of a remote store of passwords does.
        if is_asked or self.is_doubtful:
            logger.warning("a certificate is not replaced: %s", problem)
            self.is_doubtful = False
        elif is_new:
            self.is_doubtful = True
        self._problem = problem


# The watches of each loop that look on SIGHUP, and the loops whose handler for it is theirs.
_ON_SIGHUP: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[WSCertificateWatch]] = (
    WeakKeyDictionary()
)
_HANDLED: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def check_on_sighup(loop: asyncio.AbstractEventLoop) -> bool:
    """Let the watches of a loop look that do so on SIGHUP; returns whether there is one.

    For the handler of SIGHUP, theirs or that of a process.
    """
    watches = list(_ON_SIGHUP.get(loop, ()))
    for watch in watches:
        watch.check()
    return bool(watches)


def _call_on_sighup(loop: asyncio.AbstractEventLoop, watch: WSCertificateWatch) -> None:
    _ON_SIGHUP.setdefault(loop, WeakSet()).add(watch)
    number = getattr(signal, "SIGHUP", None)
    if number is None or signal.getsignal(number) != signal.SIG_DFL:
        return
    try:
        loop.add_signal_handler(number, check_on_sighup, loop)
    except (NotImplementedError, RuntimeError, ValueError):  # not this loop, or not this thread
        return
    _HANDLED.add(loop)


def _end_on_sighup(loop: asyncio.AbstractEventLoop, watch: WSCertificateWatch) -> None:
    watches = _ON_SIGHUP.get(loop)
    if watches is None or watch not in watches:
        return
    watches.discard(watch)
    if not watches:
        del _ON_SIGHUP[loop]
        if loop in _HANDLED:
            _HANDLED.discard(loop)
            loop.remove_signal_handler(signal.SIGHUP)
