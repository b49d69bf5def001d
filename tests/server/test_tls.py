"""picows_server.tls: what create_ssl_context makes of files, and how it refuses them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import pytest

from picows_server import WSInvalidOptionError, create_ssl_context
from tests.support.certificates import Certificates

PASSWORD = "correct horse"


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> Tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let two contexts shake hands in memory; returns both ends."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    client_end = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    # TLS 1.3 reports a refused client certificate with the first read after the handshake.
    for end in (client_end, server_end, client_end, server_end, client_end):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    for end in (client_end, server_end):
        with pytest.raises(ssl.SSLWantReadError):
            end.read(1)
    return server_end, client_end


@pytest.fixture
def encrypted_key(certificates: Certificates, tmp_path: Path) -> Path:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key(certificates.server_key.read_bytes(), None)
    path = tmp_path / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSWORD.encode()),
        )
    )
    return path


def test_defaults(certificates: Certificates) -> None:
    context = create_ssl_context(certificates.server_chain, certificates.server_key)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert context.options & ssl.OP_NO_COMPRESSION
    server_end, client_end = handshake(context, certificates.client_context())
    assert server_end.version() == client_end.version()
    assert server_end.version() in ("TLSv1.2", "TLSv1.3")
    assert client_end.selected_alpn_protocol() == "http/1.1"


def test_key_in_the_certificate_file(certificates: Certificates, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.server_key.read_bytes() + certificates.server_chain.read_bytes())
    handshake(create_ssl_context(str(both)), certificates.client_context())


def test_tls_1_2_has_forward_secrecy(certificates: Certificates) -> None:
    client = certificates.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    server = create_ssl_context(certificates.server_chain, certificates.server_key)
    server_end, _ = handshake(server, client)
    cipher = server_end.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")


def test_minimum_version(certificates: Certificates) -> None:
    server = create_ssl_context(
        certificates.server_chain,
        certificates.server_key,
        minimum_version=ssl.TLSVersion.TLSv1_3,
    )
    client = certificates.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(server, client)


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.MINIMUM_SUPPORTED]
)
def test_old_versions_are_refused(certificates: Certificates, version: ssl.TLSVersion) -> None:
    with pytest.raises(WSInvalidOptionError, match="minimum_version must be TLSv1_2"):
        create_ssl_context(
            certificates.server_chain, certificates.server_key, minimum_version=version
        )


def test_alpn(certificates: Certificates) -> None:
    server = create_ssl_context(
        certificates.server_chain, certificates.server_key, alpn=("special", "http/1.1")
    )
    _, client_end = handshake(server, certificates.client_context(alpn=("http/1.1", "special")))
    assert client_end.selected_alpn_protocol() == "special"


@pytest.mark.parametrize("alpn", ["http/1.1", b"http/1.1", 5, None, [5], [b"http/1.1"]])
def test_alpn_is_several_names(certificates: Certificates, alpn: Any) -> None:
    with pytest.raises(TypeError, match="alpn must be"):
        create_ssl_context(certificates.server_chain, certificates.server_key, alpn=alpn)


@pytest.mark.parametrize("name", ["", "x" * 256, "grün"])
def test_alpn_that_cannot_be_said(certificates: Certificates, name: str) -> None:
    with pytest.raises(WSInvalidOptionError, match="alpn"):
        create_ssl_context(certificates.server_chain, certificates.server_key, alpn=[name])


def test_clients_without_alpn_are_served(certificates: Certificates) -> None:
    server = create_ssl_context(certificates.server_chain, certificates.server_key)
    _, client_end = handshake(server, certificates.client_context(alpn=None))
    assert client_end.selected_alpn_protocol() is None


def test_client_certificate_is_required_with_client_ca(certificates: Certificates) -> None:
    server = create_ssl_context(
        certificates.server_chain, certificates.server_key, client_ca=certificates.authority
    )
    server_end, _ = handshake(server, certificates.client_context(with_certificate=True))
    assert server_end.getpeercert()
    with pytest.raises(ssl.SSLError):
        handshake(server, certificates.client_context())


def test_client_certificate_can_be_optional(certificates: Certificates) -> None:
    server = create_ssl_context(
        certificates.server_chain,
        certificates.server_key,
        client_ca=certificates.authority,
        require_client_cert=False,
    )
    server_end, _ = handshake(server, certificates.client_context())
    assert server_end.getpeercert() is None
    server_end, _ = handshake(server, certificates.client_context(with_certificate=True))
    assert server_end.getpeercert()


def test_client_ca_can_be_a_directory(certificates: Certificates, tmp_path: Path) -> None:
    server = create_ssl_context(
        certificates.server_chain, certificates.server_key, client_ca=tmp_path
    )
    assert server.verify_mode == ssl.CERT_REQUIRED


def test_required_client_certificate_needs_an_authority(certificates: Certificates) -> None:
    with pytest.raises(WSInvalidOptionError, match="client_ca"):
        create_ssl_context(
            certificates.server_chain, certificates.server_key, require_client_cert=True
        )


@pytest.mark.parametrize("missing", ["certfile", "keyfile", "client_ca"])
def test_missing_file_is_named(certificates: Certificates, tmp_path: Path, missing: str) -> None:
    files = {"certfile": certificates.server_chain, "keyfile": certificates.server_key}
    files[missing] = tmp_path / "missing.pem"
    with pytest.raises(FileNotFoundError) as caught:
        create_ssl_context(**files)  # type: ignore[arg-type]
    assert str(tmp_path / "missing.pem") in str(caught.value)


@pytest.mark.parametrize("name", ["certfile", "keyfile", "client_ca"])
def test_a_number_is_no_file(certificates: Certificates, tmp_path: Path, name: str) -> None:
    files: Dict[str, Any] = {
        "certfile": certificates.server_chain,
        "keyfile": certificates.server_key,
    }
    with (tmp_path / "somebody's").open("wb") as other:
        files[name] = other.fileno()
        with pytest.raises(TypeError, match=f"{name} must be a str, bytes or path, not int"):
            create_ssl_context(**files)
        os.fstat(other.fileno())  # is still open


@pytest.mark.parametrize("content", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("spoilt", ["certfile", "keyfile", "client_ca"])
def test_useless_file_is_named(
    certificates: Certificates, tmp_path: Path, spoilt: str, content: bytes
) -> None:
    files = {"certfile": certificates.server_chain, "keyfile": certificates.server_key}
    files[spoilt] = tmp_path / "spoilt.pem"
    files[spoilt].write_bytes(content)
    with pytest.raises(WSInvalidOptionError) as caught:
        create_ssl_context(**files)  # type: ignore[arg-type]
    assert str(tmp_path / "spoilt.pem") in str(caught.value)


def test_certificate_without_a_key(certificates: Certificates) -> None:
    with pytest.raises(WSInvalidOptionError, match="its private key"):
        create_ssl_context(certificates.server_chain)


def test_key_of_another_certificate(certificates: Certificates) -> None:
    with pytest.raises(WSInvalidOptionError, match="does not belong to it"):
        create_ssl_context(certificates.server_chain, certificates.client_key)


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD.encode(), bytearray(b"correct horse")])
def test_encrypted_key(
    certificates: Certificates, encrypted_key: Path, password: Optional[str]
) -> None:
    create_ssl_context(certificates.server_chain, encrypted_key, password)
    create_ssl_context(certificates.server_chain, encrypted_key, lambda: password or "")


def test_wrong_password_is_not_repeated(certificates: Certificates, encrypted_key: Path) -> None:
    with pytest.raises(WSInvalidOptionError, match="wrong password") as caught:
        create_ssl_context(certificates.server_chain, encrypted_key, "not the password")
    assert "not the password" not in str(caught.value)


def test_encrypted_key_without_a_password(certificates: Certificates, encrypted_key: Path) -> None:
    with pytest.raises(WSInvalidOptionError, match="needs a password") as caught:
        create_ssl_context(certificates.server_chain, encrypted_key)
    assert str(encrypted_key) in str(caught.value)
