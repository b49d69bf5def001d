"""The default ``ssl_context`` of clients: one for the whole process.

Loading the system's authorities takes some tens of milliseconds, so it happens once, in a thread,
and again only when the trust store or the environment has changed.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from concurrent.futures import Future
from typing import Callable, Dict, List, Optional, Tuple

from picows_client.tls import build_default_context

__all__ = ["DEFAULT_TRUST", "TrustStore"]

# What ssl and OpenSSL read when they load the authorities.
_ENVIRONMENT = ("SSLKEYLOGFILE", "OPENSSL_CONF", "OPENSSL_MODULES")

Fingerprint = Tuple[object, ...]


class TrustStore:
    """Keeps the context that ``build`` makes. All methods may be called from any thread."""

    def __init__(self, build: Callable[[], ssl.SSLContext] = build_default_context) -> None:
        self._build = build
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._kept: Optional[Tuple[Fingerprint, ssl.SSLContext]] = None
        self._builds: Dict[Fingerprint, Future[ssl.SSLContext]] = {}

    def kept(self) -> Optional[ssl.SSLContext]:
        """Return the context unless it is out of date. Takes microseconds."""
        kept = self._kept
        if kept is not None and kept[0] == _fingerprint():
            return kept[1]
        return None

    async def load(self, loop: asyncio.AbstractEventLoop) -> ssl.SSLContext:
        """Build the context in the loop's executor; calls at the same time share one build.

        A cancelled call leaves the build to the others, and to later ones.

        Raises :class:`OSError` if a file of the trust store cannot be read. Nothing is kept then.
        """
        fingerprint = _fingerprint()
        with self._lock:
            if self._kept is not None and self._kept[0] == fingerprint:
                return self._kept[1]  # built in the meantime
            build = self._builds.get(fingerprint)
            is_first = build is None
            if build is None:
                build = self._builds[fingerprint] = Future()
                build.set_running_or_notify_cancel()  # it cannot be cancelled from now on
        if is_first:
            try:
                loop.run_in_executor(None, self._run, fingerprint, build)
            except BaseException as error:  # noqa: BLE001
                self._end(fingerprint, build, None, error)
        try:
            return await asyncio.wrap_future(build, loop=loop)
        finally:
            del build  # a reference cycle: future, exception, traceback, this frame

    def _run(self, fingerprint: Fingerprint, build: Future[ssl.SSLContext]) -> None:
        try:
            _check_readable()
            context = self._build()
        except BaseException as error:  # noqa: BLE001
            # Without a traceback, whose frames refer to the future that keeps the exception.
            self._end(fingerprint, build, None, error.with_traceback(None))
        else:
            self._end(fingerprint, build, context, None)

    def _end(
        self,
        fingerprint: Fingerprint,
        build: Future[ssl.SSLContext],
        context: Optional[ssl.SSLContext],
        failure: Optional[BaseException],
    ) -> None:
        with self._lock:
            self._builds.pop(fingerprint, None)
            if context is not None and not _has_lost_authorities(context):
                self._kept = (fingerprint, context)
        if context is not None:
            build.set_result(context)
        else:
            build.set_exception(failure)


def _locations() -> List[Optional[str]]:
    """Where OpenSSL looks: a file and directories, which need not exist."""
    paths = ssl.get_default_verify_paths()
    file = os.environ.get(paths.openssl_cafile_env, paths.openssl_cafile)
    directories = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
    return [file, *directories.split(os.pathsep)]


def _fingerprint() -> Fingerprint:
    """A value that changes with the trust store's files and the environment."""
    parts: List[object] = [os.environ.get(name) for name in _ENVIRONMENT]
    for path in _locations():
        parts.append(path)
        try:
            status = os.stat(path) if path else None
        except (OSError, ValueError):
            status = None
        if status is not None:
            parts.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(parts)


def _check_readable() -> None:
    # OpenSSL would ignore a file that cannot be opened, and trust nobody.
    path = _locations()[0]
    if path and os.path.isfile(path):
        with open(path, "rb"):
            pass


def _has_lost_authorities(context: ssl.SSLContext) -> bool:
    """Whether the file could be opened before, but not when it was loaded."""
    path = _locations()[0]
    return bool(
        path
        and os.path.isfile(path)
        and os.path.getsize(path)
        and not context.cert_store_stats()["x509"]
    )


DEFAULT_TRUST = TrustStore()

if hasattr(os, "register_at_fork"):
    # In the child no other thread ends a build that it began.
    os.register_at_fork(after_in_child=DEFAULT_TRUST._forget)  # noqa: SLF001
