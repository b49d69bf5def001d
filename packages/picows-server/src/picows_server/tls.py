"""TLS contexts for ``wss://`` servers."""

from __future__ import annotations

import os
import ssl
from collections import abc
from typing import Iterable, List, Mapping, Optional, Union

from picows_codec import WSInvalidOptionError
from picows_server.certificates.files import (
    CertificateFiles,
    Password,
    Path,
    check_path,
    check_readable,
    load_certificate,
)
from picows_server.logs import resolve_logger

__all__ = ["ServerContexts", "create_ssl_context"]

# One for everybody, or one for each server name.
ServerContexts = Union[ssl.SSLContext, Mapping[str, ssl.SSLContext]]

# Forward secrecy and authenticated encryption only; TLS 1.3 suites are not in this list and
# stay as OpenSSL has them.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_MAX_ALPN_SIZE = 255


def create_ssl_context(
    certfile: Path,
    keyfile: Optional[Path] = None,
    password: Optional[Password] = None,
    *,
    client_ca: Optional[Path] = None,
    require_client_cert: Optional[bool] = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    alpn: Iterable[str] = ("http/1.1",),
    ktls: bool = False,
) -> ssl.SSLContext:
    """Make the ``ssl_context`` of a ``wss://`` server from PEM files.

    ``certfile``: the server's certificate, followed by the intermediate certificates.

    ``keyfile``: the private key; by default it is looked for in ``certfile``.

    ``password``: for an encrypted key, or a callable that returns it. An encrypted key without it
    is an error; this does not ask at a terminal.

    ``client_ca``: file or directory with the authorities whose client certificates are accepted.

    ``require_client_cert``: False lets clients without a certificate in. By default a
    certificate is required if ``client_ca`` is given, and not asked for otherwise. The
    listener finds it by ``transport.underlying_transport.get_extra_info("peercert")``.

    ``minimum_version``: TLS 1.2 or 1.3.

    ``alpn``: protocols offered by ALPN (RFC 7301). A WebSocket needs ``http/1.1``.

    ``ktls``: let the kernel encrypt where it can: Linux with its module tls, Python 3.12, OpenSSL
    3 and aiofastnet. Where it cannot, the log gets a warning, and all is as without. Whether it is
    used is a matter of each connection, see :func:`kernel_tls_of`; when it pays, of the guide.

    The context remembers files and password for :func:`watch_certificates`.

    Raises :class:`OSError` with the file's name if a file cannot be read,
    :class:`WSInvalidOptionError` if its content cannot be used, and :class:`TypeError`.
    """
    if minimum_version not in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        raise WSInvalidOptionError(
            f"minimum_version must be TLSv1_2 or TLSv1_3 of ssl.TLSVersion, not {minimum_version!r}"
        )
    if not isinstance(ktls, bool):
        raise TypeError(f"ktls must be a bool, not {type(ktls).__name__}")
    protocols = _checked_alpn(alpn)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum_version
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(protocols)
    load_certificate(context, CertificateFiles(certfile, keyfile, password))
    _load_client_authorities(context, client_ca, require_client_cert)
    if ktls:
        from picows_server.kernel_tls import enable_kernel_tls  # noqa: PLC0415 - for those who ask

        reason = enable_kernel_tls(context)
        if reason is not None:
            resolve_logger(None).warning("ktls=True has no effect: %s", reason)
    return context


def _checked_alpn(alpn: object) -> List[str]:
    if isinstance(alpn, str):
        raise TypeError(f"alpn must be several names, e.g. ({alpn!r},), not a str")
    if isinstance(alpn, (bytes, bytearray)) or not isinstance(alpn, abc.Iterable):
        raise TypeError(f"alpn must be an iterable of str, not {type(alpn).__name__}")
    protocols = list(alpn)
    for protocol in protocols:
        if not isinstance(protocol, str):
            raise TypeError(f"alpn must be an iterable of str; one is {protocol!r}")
        # RFC 7301, 3.1: a length of one byte precedes each name.
        if not protocol.isascii() or not 1 <= len(protocol) <= _MAX_ALPN_SIZE:
            raise WSInvalidOptionError(
                f"a name in alpn must have 1 to {_MAX_ALPN_SIZE} ASCII characters, not {protocol!r}"
            )
    return protocols


def _load_client_authorities(
    context: ssl.SSLContext, client_ca: Optional[Path], require_client_cert: Optional[bool]
) -> None:
    if client_ca is None:
        if require_client_cert:
            raise WSInvalidOptionError(
                "require_client_cert needs client_ca: the authorities to check against"
            )
        return
    check_path("client_ca", client_ca)
    is_directory = os.path.isdir(client_ca)
    if not is_directory:
        check_readable("client_ca", client_ca)
    try:
        if is_directory:
            context.load_verify_locations(capath=client_ca)
        else:
            context.load_verify_locations(cafile=client_ca)
    except ssl.SSLError as error:
        raise WSInvalidOptionError(
            f"client_ca {str(client_ca)!r}: no PEM certificate in it ({error.reason or error})"
        ) from error
    optional = require_client_cert is False
    context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
