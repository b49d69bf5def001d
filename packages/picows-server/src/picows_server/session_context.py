"""The session ID context of a TLS context, without which OpenSSL resumes not all sessions."""

from __future__ import annotations

import ssl
import sys

__all__ = ["set_session_context"]

# What CPython sets, with the zero byte at its end.
_SESSION_CONTEXT = b"Python\0"

_IS_NEEDED = sys.version_info >= (3, 12)


def set_session_context(context: ssl.SSLContext) -> bool:
    """Set what CPython sets for each connection, for an engine that makes OpenSSL's objects itself.

    CPython set it in contexts, and since 3.12 sets it in each object that it makes
    (python/cpython#105293); aiofastnet (1.2) does not. With client certificates a TLS handshake
    then fails if the client wants to resume a session ("session id context uninitialized").

    Returns whether it was set. aiofastnet knows which library OpenSSL is; without one that is
    loaded dynamically it uses CPython's objects.
    """
    if not _IS_NEEDED:
        return False
    # Only on Python 3.12 and newer, when a server is created.
    try:
        import ctypes  # noqa: PLC0415

        from aiofastnet.openssl_compat import OPENSSL_DYN_LIBS  # noqa: PLC0415

        if OPENSSL_DYN_LIBS is None:
            return False
        function = ctypes.CDLL(OPENSSL_DYN_LIBS.libssl).SSL_CTX_set_session_id_context
    except (ImportError, AttributeError, OSError):
        return False
    function.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    # A context begins with the pointer to OpenSSL's, where aiofastnet takes it from, too.
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    return bool(function(pointer, _SESSION_CONTEXT, len(_SESSION_CONTEXT)))
