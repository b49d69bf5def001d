"""The TLS context that the options of the command line ask for."""

from __future__ import annotations

import os
import ssl
from typing import Optional

from picows_client.tls import build_default_context

__all__ = ["tls_context"]


def tls_context(
    *,
    is_insecure: bool,
    authorities: Optional[str],
    certificate: Optional[str],
    key: Optional[str],
) -> Optional[ssl.SSLContext]:
    """Return a context, or None where the library's own will do.

    :param authorities: a file or a directory of certificates, instead of the system's.
    :raises ValueError: a file cannot be used.
    """
    if not is_insecure and authorities is None and certificate is None:
        return None
    context = build_default_context() if authorities is None else _trusting(authorities)
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:  # also ssl.SSLError
            files = certificate if key is None else f"{certificate} and {key}"
            raise ValueError(f"cannot use {files}: {_reason_of(error)}") from error
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(authorities: str) -> ssl.SSLContext:
    try:
        if os.path.isdir(authorities):
            context = ssl.create_default_context(capath=authorities)
        else:
            context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise ValueError(f"cannot use {authorities}: {_reason_of(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason_of(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no certificate or key in PEM ({error.reason or error})"
    return error.strerror or str(error)
