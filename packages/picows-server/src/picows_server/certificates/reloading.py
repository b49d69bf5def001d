"""``reload_certificate``: a new certificate for a context that is in use."""

from __future__ import annotations

import _ssl
import contextlib
import os
import ssl
import tempfile
import time
from typing import Any, Iterator, List, Optional, Union

from picows_codec import WSInvalidOptionError
from picows_server.certificates.files import (
    CertificateFiles,
    Contents,
    Password,
    Path,
    known_files,
)

# What decodes a certificate in a file; ssl has no public function for it.
_decode: Any = getattr(_ssl, "_test_decode_cert", None)

__all__ = ["checked_context", "reload_certificate", "replace_certificate"]


def reload_certificate(
    context: ssl.SSLContext,
    certfile: Path,
    keyfile: Optional[Path] = None,
    password: Optional[Password] = None,
) -> None:
    """Give a server's context a new certificate and key while it is in use.

    TLS handshakes from now on use them; open connections, and sessions that are resumed, stay as
    they are. The arguments are those of :func:`create_ssl_context`.

    The new pair is loaded into another context first. If a file cannot be read, the key does not
    belong to the certificate, or the certificate has expired or is not valid yet, this raises an
    error that names the file, and the old pair stays: :class:`OSError`,
    :class:`WSInvalidOptionError`, :class:`TypeError`.

    A context holds one pair of each kind (RSA, ECDSA). A pair of another kind is added to the old
    one, which clients may then still get.

    Call this in the thread of the context's event loop, which it blocks for some milliseconds. See
    :func:`watch_certificates` for files that are replaced from time to time.
    """
    files = CertificateFiles(certfile, keyfile, password)
    replace_certificate(checked_context("context", context), files, files.read())


def checked_context(name: str, context: object) -> ssl.SSLContext:
    """Raise TypeError or WSInvalidOptionError unless this is a context for servers."""
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(context).__name__}")
    if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise WSInvalidOptionError(f"{name} was made for clients (PROTOCOL_TLS_CLIENT)")
    return context


def replace_certificate(
    context: ssl.SSLContext, files: CertificateFiles, contents: Contents
) -> str:
    """Load ``contents``, which ``files`` had, into ``context`` if they are proven to be good.

    Returns until when the certificate is valid, in words.
    """
    password = _Once(files)
    # Both contexts get the same bytes, whatever happens to the files meanwhile: after a failure in
    # the second one the server would have a certificate without a key.
    with _copies(contents) as (certfile, *rest):
        keyfile = rest[0] if rest else None
        files.load(_scratch_context(context), certfile, keyfile, password)
        expiry = _check_dates(files, certfile)
        files.load(context, certfile, keyfile, password)
    files.note(contents)
    known = known_files(context)
    if known is not None and known.has_paths_of(files):
        known.note(contents)  # nothing is new for a watch
    return expiry


class _Once:
    """Asks a password's function once, for both contexts."""

    def __init__(self, files: CertificateFiles) -> None:
        self._source = files.password_or_refusal
        self._password: Union[str, bytes, bytearray, None] = None

    def __call__(self) -> Union[str, bytes, bytearray]:
        if self._password is None:
            self._password = self._source() if callable(self._source) else self._source
        return self._password


def _scratch_context(context: ssl.SSLContext) -> ssl.SSLContext:
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    level = getattr(context, "security_level", None)  # Python 3.10
    if level is not None and level != scratch.security_level:
        # It says which keys are too small.
        scratch.set_ciphers(f"ALL:@SECLEVEL={level}")
    return scratch


def _check_dates(files: CertificateFiles, certfile: str) -> str:
    try:
        dates = _decode(certfile)
        begin, end = str(dates["notBefore"]), str(dates["notAfter"])
        first, last = ssl.cert_time_to_seconds(begin), ssl.cert_time_to_seconds(end)
    except (TypeError, LookupError, ValueError, ssl.SSLError):
        # No function, or it does not understand what OpenSSL has just accepted.
        return "a time that cannot be read"
    where = f"certfile {str(files.certfile)!r}: the certificate"
    if last < time.time():
        raise WSInvalidOptionError(f"{where} expired on {end}")
    if first > time.time():
        raise WSInvalidOptionError(f"{where} is not valid before {begin}")
    return end


@contextlib.contextmanager
def _copies(contents: Contents) -> Iterator[List[str]]:
    """Paths of files with these contents, which ssl reads by their path only.

    On Linux they are in memory. Elsewhere they are in a directory that only this user can read, and
    that is removed at once.
    """
    texts = [text for text in contents if text is not None]
    with contextlib.ExitStack() as stack:
        try:
            paths = [_copy_in_memory(stack, text) for text in texts]
        except (AttributeError, OSError):  # not Linux, or not allowed to
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            paths = [_copy_into(directory, str(number), text) for number, text in enumerate(texts)]
        yield paths


def _copy_in_memory(stack: contextlib.ExitStack, text: bytes) -> str:
    descriptor = os.memfd_create("certificate")
    stack.callback(os.close, descriptor)
    path = f"/proc/self/fd/{descriptor}"
    with open(path, "wb") as file:
        file.write(text)
    return path


def _copy_into(directory: str, name: str, text: bytes) -> str:
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(text)
    return path
