"""What client and server share about TLS; the engines are aiofastnet's and the loop's.

Nothing here imports ssl or asyncio: contexts, errors and loops are looked at by their attributes.
"""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from picows_codec.errors import WSInvalidOptionError

__all__ = [
    "ENGINE_TIMEOUT",
    "ContextCheck",
    "FastnetLoop",
    "describe_tls_failure",
    "is_file_failure",
    "log_loop_tls",
    "name_tls_failure",
]

# Seconds that the engines get for a handshake, so many that they never judge it: they take no
# second look. Client and server time handshakes themselves.
ENGINE_TIMEOUT = 24 * 3600.0

_CLOSED = "the peer closed the connection"
_ENDS = (ConnectionResetError, BrokenPipeError)
_ENDS_OF_SSL = frozenset(("SSLEOFError", "SSLSyscallError", "SSLZeroReturnError"))

# What the system says when a file cannot be opened or written.
_FILE_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        "EACCES",
        "EDQUOT",
        "EEXIST",
        "EMFILE",
        "ENFILE",
        "ENOENT",
        "ENOSPC",
        "ENOTDIR",
        "EPERM",
        "EROFS",
    )
    if hasattr(errno, name)
)

# Loop iterations after which a task has heard of the end of its handshake, if it ever will.
_ITERATIONS = 5

_PROTOCOL_TLS_CLIENT, _PROTOCOL_TLS_SERVER = 16, 17

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_NAME_MISMATCHES = {62: "Hostname", 64: "IP address"}

# OpenSSL's errors for bytes that are not TLS; the last two since 3.2.
_NOT_TLS = frozenset(
    (
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "WRONG_VERSION_NUMBER",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    )
)

# The second one is set from the environment's SSLKEYLOGFILE by ssl.create_default_context().
_CALLBACKS = ("sni_callback", "keylog_filename", "_msg_callback")
_METHODS = ("wrap_bio", "_wrap_bio", "wrap_socket", "_wrap_socket")


class ContextCheck:
    """Whether aiofastnet carries an ``ssl.SSLContext``; ``context_class`` is that class.

    aiofastnet (1.2) makes OpenSSL's objects itself, from the ``SSL_CTX`` inside the context, and
    copies a context's host flags, which is not all that ``_ssl.c`` does (``newPySSLSocket``):

    - CPython's C callbacks for SNI, key logs, messages and PSK take the Python object from
      OpenSSL's. aiofastnet's objects have none, so the interpreter crashes; PSK handshakes fail.
    - CPython switches on post-handshake authentication for each object; aiofastnet does not.
    - aiofastnet calls no method of a subclass, and ignores the classes that it names for its
      objects. The ``SSL_CTX`` of a subclass need not be the one that it uses (truststore's is not,
      and verifies nothing).
    """

    def __init__(self, context_class: Any) -> None:
        # ssl.SSLContext itself, also where a package has put a subclass in its place.
        self._class = next(
            base for base in context_class.__mro__ if base.__base__.__module__ == "_ssl"
        )
        self._object_class = self._class.sslobject_class
        self._can_have_psk = hasattr(self._class, "set_psk_client_callback")  # Python 3.13
        # Found when a context is first looked at: who has no TLS needs no ctypes.
        self._psk_words: tuple[int, ...] | None = None
        self._has_looked = False

    def why_not(self, context: Any) -> str | None:
        """Say why ``context`` needs the loop's TLS, or return None if aiofastnet can carry it.

        Costs a microsecond or two (some attribute reads): a server asks for each connection,
        because callbacks may be set later.
        """
        if type(context) is not self._class:
            return f"{type(context).__name__} is a subclass of ssl.SSLContext"
        for name in _CALLBACKS:
            if getattr(context, name) is not None:
                return f"{name} is set"
        if context.post_handshake_auth:
            return "post_handshake_auth is set"
        own = context.__dict__
        if context.sslobject_class is not self._object_class or any(
            name in own for name in _METHODS
        ):
            return "a method or class of it was replaced"
        return self._why_not_psk(context) if self._can_have_psk else None

    def check(self, context: Any) -> None:
        """Raise :class:`WSInvalidOptionError` with the reason if aiofastnet cannot carry it."""
        reason = self.why_not(context)
        if reason is not None:
            raise WSInvalidOptionError(
                f"backend='aiofastnet' cannot use the ssl_context: {reason}; 'auto' and 'loop' can"
            )

    def _why_not_psk(self, context: Any) -> str | None:  # pragma: no cover - Python 3.13
        if not self._has_looked:
            self._psk_words = _psk_words(self._class)
            self._has_looked = True
        if self._psk_words is None:
            return "it cannot be seen whether a PSK callback is set"
        if any(_read_word(context, offset) for offset in self._psk_words):
            return "a PSK callback is set"
        return None


def log_loop_tls(logger: Any, reason: str) -> None:
    """Log that the loop's TLS is used, and the reason that :meth:`ContextCheck.why_not` gave."""
    logger.warning(
        "TLS is carried by the event loop, because aiofastnet cannot use the ssl_context: %s",
        reason,
    )


def _psk_words(context_class: Any) -> tuple[int, ...] | None:  # pragma: no cover - Python 3.13
    """Find where a context keeps its PSK callbacks, which have no getters and are hidden from gc.

    A new context is given a callback, and its memory is searched for that. Returns None if nothing
    was found or there is no ctypes.
    """

    def callback(*_: object) -> None:
        raise NotImplementedError

    client, server = context_class(_PROTOCOL_TLS_CLIENT), context_class(_PROTOCOL_TLS_SERVER)
    try:
        client.set_psk_client_callback(callback)
        server.set_psk_server_callback(callback)
    except NotImplementedError:
        return ()  # an OpenSSL without PSK
    try:
        words = [
            offset
            for context in (client, server)
            for offset in range(0, context_class.__basicsize__, 8)
            if _read_word(context, offset) == id(callback)
        ]
    except ImportError:
        return None
    client.set_psk_client_callback(None)
    server.set_psk_server_callback(None)
    return tuple(words) if len(words) == 2 else None


def _read_word(thing: object, offset: int) -> int | None:  # pragma: no cover - Python 3.13
    # Only on Python 3.13 and newer, and only with TLS.
    from ctypes import c_void_p  # noqa: PLC0415

    return c_void_p.from_address(id(thing) + offset).value


class FastnetLoop:
    """The loop as aiofastnet's transports see it.

    It drops one report. If a peer hangs up during the TLS handshake, aiofastnet (1.2) passes the
    class ConnectionResetError instead of an exception to the loop's exception handler; the logging
    module cannot print that, and there is nothing to report.

    It tells a task that its handshake is over when the transport gives up the descriptor, because
    aiofastnet (1.2) decodes a certificate by a temporary file and wakes nobody if it can make none.

    With a poller one event of the loop serves all connections that are ready.
    """

    def __init__(self, loop: Any, poller: Any = None) -> None:
        self._loop = loop
        self._watcher = watcher = loop if poller is None else poller
        self.remove_writer = watcher.remove_writer
        self._guards: dict[int, _Guard] = {}

    @contextmanager
    def guarding(
        self, fd: int, why_not: Callable[[], str | None], stop: Callable[[], object]
    ) -> Iterator[None]:
        """Serve a descriptor in its TLS handshake only as long as ``why_not`` returns None.

        If a context is changed while a handshake is under way, the interpreter could crash: see
        :class:`ContextCheck`. So ``stop`` is called, which must cancel what runs inside; the
        context manager then raises :class:`ConnectionAbortedError` with the reason.

        ``stop`` is also called if aiofastnet gave up and what runs inside still waits. If it gave
        up because a file could not be opened, an :class:`OSError` with that ``errno`` is raised.
        """
        guard = self._guards[fd] = _Guard(why_not, stop)
        del stop  # a reference cycle: task, exception, traceback, this frame
        try:
            yield
        except BaseException as error:
            if guard.reason is not None:
                raise ConnectionAbortedError(
                    f"the ssl_context was changed during the handshake: {guard.reason}"
                ) from None
            if guard.was_stopped:
                raise _build_loss(*guard.loss) from None
            if is_file_failure(error):
                raise _build_loss(*_describe_loss(error)) from None
            raise
        finally:
            guard.stop = None
            if self._guards.get(fd) is guard:
                del self._guards[fd]

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """As the loop's."""
        self._watch(self._watcher.add_reader, fd, callback)

    def remove_reader(self, fd: int) -> bool:
        """As the loop's."""
        guard = self._guards.get(fd) if self._guards else None
        if guard is not None:
            # Transports call this while they handle the exception that ends them.
            guard.note_loss(sys.exc_info()[1], self._loop.call_soon)
        removed: bool = self._watcher.remove_reader(fd)
        return removed

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        """As the loop's."""
        self._watch(self._watcher.add_writer, fd, callback)

    def _watch(self, add: Any, fd: int, callback: Any) -> None:
        guard = self._guards.get(fd) if self._guards else None
        add(fd, callback if guard is None else guard.around(add, fd, callback))

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._loop, name)
        # The next look-up finds it here, without this detour.
        setattr(self, name, value)
        return value

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Pass on everything but the report that the class describes."""
        if context.get("exception") is not ConnectionResetError:
            self._loop.call_exception_handler(context)


class _Guard:
    """Watches one TLS handshake, until ``stop`` is None.

    ``reason``: how the context was changed. ``loss``: the arguments for :func:`_build_loss` once
    the transport has given up the descriptor. ``was_stopped``: ``stop`` was called for the loss.
    """

    __slots__ = ("_why_not", "loss", "reason", "stop", "was_stopped")

    def __init__(self, why_not: Callable[[], str | None], stop: Callable[[], object]) -> None:
        self._why_not = why_not
        self.stop: Callable[[], object] | None = stop
        self.reason: str | None = None
        self.loss: Any = None
        self.was_stopped = False

    def note_loss(self, error: BaseException | None, call_soon: Any) -> None:
        """The transport does not watch its descriptor any more, perhaps because of ``error``."""
        # Do not keep the error: its traceback refers to this guard.
        self.loss = _describe_loss(error)
        call_soon(self._look, call_soon, _ITERATIONS)

    def _look(self, call_soon: Any, iterations: int) -> None:
        if self.stop is None or self.reason is not None or self.loss is None:
            return  # over, or it was only a pause
        if iterations:
            call_soon(self._look, call_soon, iterations - 1)
        elif not self.was_stopped:
            self.was_stopped = True
            self.stop()

    def around(self, add: Any, fd: int, callback: Any) -> Callable[[], None]:
        """Return what to call instead of a transport's ``callback``."""
        if not self.was_stopped:
            self.loss = None

        def guarded() -> None:
            if self.stop is None:
                add(fd, callback)  # from now on without this detour
                callback()
            elif self.reason is None:
                self.reason = self._why_not()
                if self.reason is None:
                    callback()
                else:
                    self.stop()

        return guarded


def is_file_failure(error: BaseException) -> bool:
    """Whether the system refused a file, which is no fault of the peer."""
    # The errno of ssl's errors is not the system's.
    return (
        isinstance(error, OSError)
        and type(error).__module__ == "builtins"
        and error.errno in _FILE_ERRORS
    )


def _describe_loss(error: BaseException | None) -> tuple[int | None, str]:
    if error is None:
        return None, "aiofastnet gave the connection up; backend='loop' may do"
    if isinstance(error, OSError) and is_file_failure(error):
        return error.errno, (
            "aiofastnet opens a file to decode the peer's certificate, and could not "
            f"({error}); backend='loop' needs none"
        )
    words = str(error) or type(error).__name__
    return None, f"aiofastnet gave the connection up ({words}); backend='loop' may do"


def _build_loss(number: int | None, text: str) -> OSError:
    return ConnectionAbortedError(text) if number is None else OSError(number, text)


def describe_tls_failure(error: BaseException, expected_name: str | None = None) -> str:
    """Say in OpenSSL's words why a TLS handshake failed, the same on every backend.

    ``expected_name`` is what a client wanted to find in the certificate.
    """
    reason = getattr(error, "reason", None)
    if is_file_failure(error):
        words = str(getattr(error, "strerror", ""))
    elif not isinstance(reason, str) or not reason:
        # Backends differ in how they see an end: EOF, a reset, an error while writing.
        is_end = isinstance(error, _ENDS) or type(error).__name__ in _ENDS_OF_SSL
        words = _CLOSED if is_end else str(error) or type(error).__name__
    elif reason == "UNEXPECTED_EOF_WHILE_READING":
        words = _CLOSED
    else:
        words = reason.replace("SSL/TLS_ALERT", "SSLV3_ALERT").lower().replace("_", " ")
        if reason == "CERTIFICATE_VERIFY_FAILED":
            words += f": {_verify_message(error, expected_name)}"
        elif reason in _NOT_TLS:
            words += ": the peer does not speak TLS"
    return words


def _verify_message(error: BaseException, expected_name: str | None) -> str:
    kind = _NAME_MISMATCHES.get(getattr(error, "verify_code", 0))
    if kind is not None and expected_name is not None:
        return f"{kind} mismatch, certificate is not valid for '{expected_name}'."
    return str(getattr(error, "verify_message", ""))


def name_tls_failure(error: OSError, peer: str, expected_name: str) -> None:
    """Let the text of ``error`` name the server; its class and attributes stay.

    ``peer`` is host and port, ``expected_name`` what the certificate had to name.
    """
    text = (
        f"the TLS handshake with {peer} (expected name {expected_name!r}) failed: "
        f"{describe_tls_failure(error, expected_name)}"
    )
    if hasattr(error, "verify_message"):
        error.verify_message = _verify_message(error, expected_name)
    if getattr(error, "library", None) == "SSL ROUTINES":  # aiofastnet's name for it
        error.library = "SSL"  # type: ignore[attr-defined]
        error.errno = error.errno or 1  # SSL_ERROR_SSL
    if error.errno is None:
        error.args = (text,)
    else:
        error.strerror = text
        error.args = (error.errno, text)
