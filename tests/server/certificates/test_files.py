"""picows_server.certificates.files: what a context remembers of its files."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from picows_server import WSInvalidOptionError, create_ssl_context
from picows_server.certificates.files import (
    CertificateFiles,
    Contents,
    known_files,
    load_certificate,
)
from tests.support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_a_context_knows_its_files(authority: Authority) -> None:
    chain, key = authority.pair("localhost")
    files = known_files(create_ssl_context(chain, str(key), "secret"))
    assert files is not None
    assert (files.certfile, files.keyfile, files.password) == (chain, str(key), "secret")
    assert files.mark == hash(files.read())
    assert "secret" not in repr(files)


def test_other_contexts_do_not() -> None:
    assert known_files(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) is None


@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_kinds_of_keys(kind: str, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = CertificateFiles(*authority.pair("localhost", kind=kind), None)
    load_certificate(context, files)
    assert files.kind == kind


def test_paths(authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.pair("localhost")
    one, same = CertificateFiles(chain, key, None), CertificateFiles(chain, key, "x")
    assert one.has_paths_of(same)
    shutil.copy(chain, tmp_path / "other.pem")
    assert not one.has_paths_of(CertificateFiles(tmp_path / "other.pem", key, None))


def test_both_in_one_file(authority: Authority, tmp_path: Path) -> None:
    chain, key = authority.pair("localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + chain.read_bytes())
    files = known_files(create_ssl_context(both))
    assert files is not None
    assert files.read().key is None
    assert files.kind == "ECDSA"


@pytest.mark.parametrize("path", [None, 5, True])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(TypeError, match="certfile must be a str, bytes or path"):
        CertificateFiles(path, None, None)


def test_an_unusable_file(authority: Authority, tmp_path: Path) -> None:
    _, key = authority.pair("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(WSInvalidOptionError, match=r"empty\.pem': no PEM certificate"):
        load_certificate(context, CertificateFiles(tmp_path / "empty.pem", key, None))
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_certificate(context, CertificateFiles(tmp_path / "nothing", None, None))
    assert known_files(context) is None


def test_a_form_of_certificate_that_only_openssl_reads() -> None:
    files = CertificateFiles("a.pem", None, None)
    files.note(Contents(b"-----BEGIN TRUSTED CERTIFICATE-----\n", None))
    assert files.kind is None
