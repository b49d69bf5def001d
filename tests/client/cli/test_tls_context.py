"""The TLS context of the options."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from picows_client.cli.tls_context import tls_context
from tests.support.certificates import Certificates


def made(**options: Any) -> Any:
    nothing = {"is_insecure": False, "authorities": None, "certificate": None, "key": None}
    return tls_context(**{**nothing, **options})


def test_the_default_is_the_librarys() -> None:
    assert made() is None


def test_insecure() -> None:
    context = made(is_insecure=True)
    assert context.verify_mode == ssl.CERT_NONE
    assert not context.check_hostname


def test_authorities(certificates: Certificates) -> None:
    context = made(authorities=str(certificates.authority))
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509"] == 1
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_directory_of_authorities(tmp_path: Path) -> None:
    assert made(authorities=str(tmp_path)).cert_store_stats()["x509"] == 0


def test_certificate(certificates: Certificates) -> None:
    chain, key = str(certificates.client_chain), str(certificates.client_key)
    assert made(certificate=chain, key=key).verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("option", ["authorities", "certificate"])
def test_files_that_cannot_be_used(option: str, tmp_path: Path) -> None:
    path = tmp_path / "missing.pem"
    with pytest.raises(ValueError, match=r"cannot use .*missing\.pem: No such file"):
        made(**{option: str(path)})
    path.write_text("nothing")
    with pytest.raises(
        ValueError, match=r"cannot use .*missing\.pem: no certificate or key in PEM"
    ):
        made(**{option: str(path)})


def test_key_of_another_certificate(certificates: Certificates) -> None:
    chain, key = str(certificates.client_chain), str(certificates.server_key)
    with pytest.raises(ValueError, match=r"client\.pem and .*server\.key"):
        made(certificate=chain, key=key)
