"""Recorder: a tap that writes what connections receive and send into a file."""

from __future__ import annotations

import asyncio
import json
import math
import os
import stat
import threading
import time
import weakref
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any, BinaryIO, Dict, MutableMapping, Optional, Type, Union

from picows_codec._version import __version__
from picows_codec.errors import WSInvalidOptionError, WSStateError
from picows_codec.recording.file_format import (
    DATA,
    END,
    OPEN,
    RecordingError,
    encode_record,
    file_head,
)
from picows_codec.recording.reading import AnyPath, files_of, whole_records
from picows_codec.recording.recording_tap import RecordingTap
from picows_codec.recording.redaction import HandshakeRedactor, RedactionHook, redact_url

fcntl: Any = None  # on Windows
with suppress(ImportError):
    fcntl = import_module("fcntl")

__all__ = ["Recorder"]

# Bytes that are written at once.
_MOST_HELD = 65536


class Recorder:
    """Records what connections receive and send, for :func:`replay`: pass it as the option ``tap``.

    ::

        with Recorder("feed.rec") as recorder:
            async with ws_connect(url, Feed, tap=recorder):
                ...

    One recorder serves any number of connections, those of redirects and of reconnecting included,
    also of several threads, but of one process: in a forked one it writes nothing. It appends to a
    recording that is there; what a crash has left of a last record is cut off first.

    Records are gathered, and written when there are 64 KiB of them, ``flush_interval`` seconds
    after the first of them, when a connection ends, and by :meth:`flush` and :meth:`close`. The
    file is not synced to the disk: a crash of the process loses what was not written yet, and a
    crash of the machine what its kernel had not. Either way everything up to the last whole record
    can be read. If a write fails, that is logged once for each connection, and recording stops; the
    connections go on. The files that it creates can be read and written by their owner only (mode
    0o600), whatever the umask is.

    Opening handshakes are recorded without Authorization, Proxy-Authorization, Cookie and
    Set-Cookie, and without other headers, and parameters of URLs, whose names say that they hold a
    credential. Messages are recorded as they are, those that log in, too.

    :param path: the file.
    :param max_bytes: a file that would get larger is renamed to ``path.1``, the next one to
        ``path.2`` and so on; at least 4096. None: it grows without limit. A file begins with the
        handshakes of the connections that are open; if these are more than half of it, it may grow
        to twice their size.
    :param keep: how many renamed files to keep, at least 1; the oldest are deleted. None: all. It
        is for ``max_bytes``.
    :param flush_interval: seconds; 0 to write each record at once. It needs a running event loop;
        without one, records are written when the next one comes after that time.
    :param redact: called as ``redact(name, value)`` with ``"url"``, ``"target"`` (path and query of
        a request) or the name of a header in lower case, after what is left out by default; returns
        what to record instead, or None to leave a header out.
    :raises WSInvalidOptionError: a number out of its range.
    :raises RecordingError: the file is something else, or is damaged, or another recorder writes it
        (which is noticed on POSIX).
    :raises OSError: as ``open`` does.
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        max_bytes: Optional[int] = None,
        keep: Optional[int] = None,
        flush_interval: float = 1.0,
        redact: Optional[RedactionHook] = None,
    ) -> None:
        for name, value, least in (("max_bytes", max_bytes, 4096), ("keep", keep, 1)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} must be an int or None, not {value!r}")
            if value is not None and value < least:
                raise WSInvalidOptionError(f"{name} must be at least {least}, not {value!r}")
        if keep is not None and max_bytes is None:
            raise WSInvalidOptionError("keep is for the files that max_bytes makes: pass both")
        if isinstance(flush_interval, bool) or not isinstance(flush_interval, (int, float)):
            raise TypeError(f"flush_interval must be a number, not {flush_interval!r}")
        if not (flush_interval >= 0 and math.isfinite(flush_interval)):
            raise WSInvalidOptionError(
                f"flush_interval must be finite and not negative: {flush_interval!r}"
            )
        if redact is not None and not callable(redact):
            raise TypeError(f"redact must be a callable or None, not {redact!r}")
        # The program may change its directory before the file is renamed.
        self._path = os.path.abspath(os.fspath(path))
        self._process = os.getpid()
        self._max_bytes = max_bytes
        self._keep = keep
        self._interval = flush_interval
        self._redact = redact
        self._lock = threading.RLock()
        self._taps: Dict[int, RecordingTap] = {}
        self._held = bytearray()
        self._held_since = 0.0
        # Of each loop that has to write. A timer is cancelled on its own loop's thread only; one
        # that another thread has done the work of finds nothing to do, or writes sooner.
        self._timers: MutableMapping[Any, Any] = weakref.WeakKeyDictionary()
        self._last_number = 0
        self._size = 0
        self._beginning = len(file_head())  # bytes of this file that other files have, too
        self._error: Optional[BaseException] = None
        self._file: Optional[BinaryIO] = self._opened()

    # As a tap

    def new_tap(self, role: str, url: str) -> RecordingTap:
        """Return the tap of a new connection, which calls this."""
        url = redact_url(url)
        if self._redact is not None:
            url = self._redact("url", url) or ""
        with self._lock:
            self._last_number += 1
            number = self._last_number
            facts = {"role": role, "url": url, "recorder": f"picows-codec {__version__}"}
            redactor = HandshakeRedactor(is_client=role == "client", redact=self._redact)
            tap = RecordingTap(number, facts, self._write, self._ended, redactor)
            self._append(_encoded(OPEN, number, facts))
            self._taps[number] = tap
        return tap

    def _write(
        self, number: int, data: bytes, is_sent: bool, is_handshake: bool, time_ns: Optional[int]
    ) -> None:
        record = encode_record(
            DATA,
            number,
            time.monotonic_ns(),
            time.time_ns() if time_ns is None else time_ns,
            data,
            is_sent=is_sent,
            is_handshake=is_handshake,
        )
        with self._lock:
            self._append(record)

    def _ended(self, tap: RecordingTap, cause: Any) -> None:
        if cause is None:  # it has failed, and is used no more
            with self._lock:
                self._taps.pop(tap.number, None)
            return
        facts = {"cause": cause.kind.name}
        if cause.close is not None:
            facts["code"] = int(cause.close.code)
        with self._lock:
            self._taps.pop(tap.number, None)
            self._append(_encoded(END, tap.number, facts))
            self._write_held()

    # For its owner

    def flush(self) -> None:
        """Give all records to the kernel now."""
        with self._lock:
            self._write_held()

    def close(self) -> None:
        """Write what is left and close the file. What happens later is not recorded.

        A connection that is still open then has no end in the recording.
        """
        with self._lock:
            file = self._file
            if file is None:
                return
            try:
                self._write_held()
            finally:
                self._file = None
                self._taps = {}
                file.close()

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called, or a write has failed."""
        return self._file is None or self._error is not None

    def __enter__(self) -> Recorder:  # noqa: PYI034 - not made for subclasses
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None and self._error is None:
            self.close()

    def __repr__(self) -> str:
        return f"<Recorder {self._path!r}{' closed' if self.is_closed else ''}>"

    # The file

    def _opened(self) -> BinaryIO:
        """Open the file; go on behind its last whole record."""
        # It stays open.
        file = open(self._path, "ab+", buffering=0, opener=_for_owner)  # noqa: SIM115
        try:
            _lock(file, self._path)
            file.seek(0)
            end = self._end_of(self._path)
            self._look_for_last_number()
            size, head = file.seek(0, os.SEEK_END), file_head()
            # New, or its first write was cut off?
            end = 0 if size < len(head) else max(end, len(head))
            if size > end:
                file.truncate(end)
            if not end:
                self._write_all(file, head)
                end = len(head)
            self._size = end
        except BaseException:
            file.close()
            raise
        return file

    def _end_of(self, path: AnyPath) -> int:
        """Return the offset behind a file's last whole record; remember the highest number."""
        end = 0
        with open(path, "rb") as reader:
            for end, record in whole_records(reader, path):  # noqa: B007
                if record is not None:
                    last = record.facts.get("continues", {}).get("last", 0)
                    self._last_number = max(self._last_number, record.connection, last)
        return end

    def _look_for_last_number(self) -> None:
        """Numbers rise from file to file, so that the newest one that has any has the highest."""
        for path in reversed(files_of(self._path)[:-1]):
            if self._last_number:
                return
            with suppress(OSError, RecordingError):  # deleted meanwhile, or damaged
                self._end_of(path)

    def _append(self, record: bytes) -> None:
        self._check_process()
        if self._error is not None:
            raise RecordingError(f"{self._path} could not be written") from self._error
        if self._file is None:
            raise WSStateError(f"the recorder of {self._path} is closed")
        size = self._size + len(self._held)
        if (
            self._max_bytes is not None
            and size + len(record) > self._max_bytes
            # Otherwise the heads of many connections alone might fill one file after another.
            and size >= 2 * self._beginning
        ):
            self._rotate()
        if not self._held:
            self._held_since = time.monotonic()
            self._set_timer()
        self._held += record
        if len(self._held) >= _MOST_HELD or time.monotonic() - self._held_since >= self._interval:
            self._write_held()

    def _set_timer(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop not in self._timers:
            self._timers[loop] = loop.call_later(self._interval, self._time_is_up)

    def _time_is_up(self) -> None:
        with self._lock:
            self._timers.pop(asyncio.get_running_loop(), None)
            self._write_held()

    def _cancel_timer(self) -> None:
        if not self._timers:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        timer = self._timers.pop(loop, None)
        if timer is not None:
            timer.cancel()

    def _check_process(self) -> None:
        """Leave it to the parent to write, if this is a process that was forked."""
        if os.getpid() != self._process:
            self._held = bytearray()
            self._error = WSStateError("a recorder is for the process that made it")

    def _write_held(self) -> None:
        self._check_process()
        self._cancel_timer()
        if not self._held or self._file is None or self._error is not None:
            return
        held, self._held = self._held, bytearray()
        try:
            self._write_all(self._file, held)
        except BaseException as error:
            # Part of a record may be there: nothing may follow it.
            self._error = error
            raise
        self._size += len(held)

    @staticmethod
    def _write_all(file: BinaryIO, data: Union[bytes, bytearray]) -> None:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    def _rotate(self) -> None:
        """Rename the file, and begin another one with what is needed to go on."""
        self._write_held()
        file = self._file
        if file is None:
            return
        file.close()
        try:
            older = files_of(self._path)[:-1]
            number = int(older[-1].suffix[1:]) + 1 if older else 1
            os.rename(self._path, f"{self._path}.{number}")
            self._file = open(self._path, "ab", buffering=0, opener=_for_owner)  # noqa: SIM115
            _lock(self._file, self._path)
        except BaseException as error:
            self._error = error
            raise
        self._held += file_head()
        self._size = 0
        for tap in self._taps.values():
            facts = tap.facts_of_continuation()
            facts["continues"]["last"] = self._last_number
            self._held += _encoded(OPEN, tap.number, facts)
            for is_sent, head in tap.heads:
                self._held += encode_record(
                    DATA,
                    tap.number,
                    time.monotonic_ns(),
                    time.time_ns(),
                    head,
                    is_sent=is_sent,
                    is_handshake=True,
                )
        self._beginning = len(self._held)
        self._write_held()
        if self._keep is not None:
            for each in older[: max(0, len(older) + 1 - self._keep)]:
                # It may be gone, or in use: that is no reason to record no more.
                with suppress(OSError):
                    each.unlink()


def _lock(file: BinaryIO, path: AnyPath) -> None:
    """Keep other recorders away, which would cut off or rename what this one writes."""
    if fcntl is None or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordingError(f"{path} is being written by another recorder") from None
    except OSError:  # this file system has no locks
        pass


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _encoded(kind: int, number: int, facts: Dict[str, Any]) -> bytes:
    data = json.dumps(facts).encode()
    return encode_record(kind, number, time.monotonic_ns(), time.time_ns(), data)
