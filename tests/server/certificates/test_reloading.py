"""picows_server.certificates.reloading: a new pair in a context that is in use, or the old one."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path
from typing import Any, List

import pytest

from picows_server import (
    WSInvalidOptionError,
    create_ssl_context,
    reload_certificate,
)
from picows_server.certificates import reloading
from picows_server.certificates.files import known_files
from tests.support.authority import Authority
from tests.support.leaks import leaked_since, open_descriptors
from tests.support.rawclient import RawClient
from tests.support.servers import echo, serving, sockname, tls_backends

PAST = dt.datetime(2001, 1, 1, tzinfo=dt.timezone.utc)
FUTURE = dt.datetime(2999, 1, 1, tzinfo=dt.timezone.utc)
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@tls_backends
@pytest.mark.parametrize("is_mapping", [False, True])
async def test_a_server_that_is_serving(
    backend: str, is_mapping: bool, authority: Authority
) -> None:
    """New TLS handshakes get the new certificate, open connections stay."""
    context = create_ssl_context(*authority.pair("old.example"))
    client = authority.client_context(checks_name=False)
    given: Any = {"localhost": context} if is_mapping else context
    async with serving(
        url="wss://127.0.0.1:0", ssl_context=given, backend=backend
    ) as server, await RawClient.open(sockname(server), context=client) as earlier:
        reload_certificate(context, *authority.pair("new.example"))
        async with await RawClient.open(sockname(server), context=client) as later:
            for connection, name in ((earlier, "old.example"), (later, "new.example")):
                await echo(connection)
                shown = connection.writer.get_extra_info("peercert")["subjectAltName"]
                assert shown == (("DNS", name),)


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_context_of_any_origin(
    is_in_memory: bool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    before = open_descriptors()
    context = authority.server_context("old.example")
    reload_certificate(context, *authority.pair("new.example"))
    assert authority.name_shown(context) == "new.example"
    assert leaked_since(before) == []


def test_both_in_one_file(authority: Authority, tmp_path: Path) -> None:
    context = authority.server_context("old.example")
    chain, key = authority.pair("new.example")
    both = tmp_path / "both.pem"
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    reload_certificate(context, str(both))
    assert authority.name_shown(context) == "new.example"


def test_what_is_no_pair(authority: Authority, tmp_path: Path) -> None:
    context = authority.server_context("old.example")
    (chain, key), (_, other_key) = authority.pair("a.example"), authority.pair("b.example")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    cut = tmp_path / "cut.pem"
    cut.write_bytes(chain.read_bytes()[:-100])
    missing = tmp_path / "missing.pem"
    for files, text in (
        ((chain, other_key), f"certfile '{chain}': the private key in '{other_key}' does not"),
        ((nonsense, key), f"certfile '{nonsense}': no PEM certificate"),
        ((chain, nonsense), f"no PEM private key in '{nonsense}'"),
        ((cut, key), f"certfile '{cut}': no PEM certificate"),
        ((chain,), "it must hold a PEM certificate and its private key"),
    ):
        with pytest.raises(WSInvalidOptionError) as raised:
            reload_certificate(context, *files)
        assert text in str(raised.value)
    for paths in ((missing, key), (chain, missing)):
        with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
            reload_certificate(context, *paths)
    assert authority.name_shown(context) == "old.example"


def test_dates(authority: Authority) -> None:
    context = authority.server_context("old.example")
    with pytest.raises(WSInvalidOptionError, match=r"certificate expired on Jan  1 .* 2001"):
        reload_certificate(context, *authority.pair("a", end=PAST))
    assert authority.name_shown(context) == "old.example"


def test_dates_to_come(authority: Authority) -> None:
    context = authority.server_context("old.example")
    pair = authority.pair("a", begin=FUTURE, end=FUTURE.replace(year=3000))
    with pytest.raises(WSInvalidOptionError, match=r"is not valid before Jan  1 .* 2999"):
        reload_certificate(context, *pair)
    assert authority.name_shown(context) == "old.example"


@pytest.mark.parametrize("answer", [None, {}, {"notBefore": "?", "notAfter": "?"}])
def test_dates_that_cannot_be_read(
    answer: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They refuse nothing that OpenSSL has accepted."""
    monkeypatch.setattr(reloading, "_decode", None if answer is None else lambda path: answer)
    context = authority.server_context("old.example")
    reload_certificate(context, *authority.pair("new.example"))
    assert authority.name_shown(context) == "new.example"


def test_files_that_change_meanwhile(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both contexts get what was read: the second one never gets half of a pair."""
    context = authority.server_context("old.example")
    chain, key = authority.pair("new.example")
    check = reloading._check_dates

    def spoil(*arguments: Any) -> str:
        key.write_text("half")
        return check(*arguments)

    monkeypatch.setattr(reloading, "_check_dates", spoil)
    reload_certificate(context, chain, key)
    assert authority.name_shown(context) == "new.example"


@pytest.fixture
def encrypted(authority: Authority, tmp_path: Path) -> List[Path]:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    chain, key_path = authority.pair("new.example")
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    path = tmp_path / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSWORD.encode()),
        )
    )
    return [chain, path]


@pytest.mark.parametrize("form", ["str", "bytes", "function"])
def test_passwords(form: str, authority: Authority, encrypted: List[Path]) -> None:
    calls: List[int] = []

    def ask() -> str:
        calls.append(1)
        return PASSWORD

    password: Any = {"str": PASSWORD, "bytes": PASSWORD.encode(), "function": ask}[form]
    context = authority.server_context("old.example")
    reload_certificate(context, *encrypted, password)
    assert authority.name_shown(context) == "new.example"
    assert len(calls) == (form == "function")


def test_wrong_passwords(authority: Authority, encrypted: List[Path]) -> None:
    context = authority.server_context("old.example")
    with pytest.raises(WSInvalidOptionError, match="needs a password"):
        reload_certificate(context, *encrypted)
    with pytest.raises(WSInvalidOptionError, match="wrong password"):
        reload_certificate(context, *encrypted, "wrong")
    password: Any = 5
    with pytest.raises(TypeError):
        reload_certificate(context, *encrypted, password)
    assert authority.name_shown(context) == "old.example"


def test_another_kind_of_key_is_added(authority: Authority) -> None:
    """What the docstring says: OpenSSL keeps a pair of each kind."""
    context = create_ssl_context(*authority.pair("rsa.example", kind="RSA"))
    reload_certificate(context, *authority.pair("ecdsa.example"))
    assert authority.name_shown(context, "ECDHE+aRSA") == "rsa.example"
    assert authority.name_shown(context, "ECDHE+aECDSA") == "ecdsa.example"
    reload_certificate(context, *authority.pair("rsa2.example", kind="RSA"))
    assert authority.name_shown(context, "ECDHE+aRSA") == "rsa2.example"
    assert authority.name_shown(context, "ECDHE+aECDSA") == "ecdsa.example"


def test_the_security_level_of_the_context(authority: Authority) -> None:
    """Level 5 wants keys of 256 bits for curves, so those of an RSA key are too small."""
    pair = authority.pair("new.example", kind="RSA")
    context = authority.server_context("old.example")
    if not hasattr(context, "security_level"):
        pytest.skip("needs Python 3.10")
    context.set_ciphers("DEFAULT:@SECLEVEL=3")
    with pytest.raises(WSInvalidOptionError, match="KEY_TOO_SMALL"):
        reload_certificate(context, *pair)
    assert authority.name_shown(context) == "old.example"
    context.set_ciphers("DEFAULT:@SECLEVEL=1")
    reload_certificate(context, *pair)


def test_known_files_are_noted(authority: Authority) -> None:
    """A watch finds nothing new in what was reloaded by hand."""
    chain, key = authority.pair("old.example")
    context = create_ssl_context(chain, key)
    files = known_files(context)
    assert files is not None
    new_chain, new_key = authority.pair("new.example")
    reload_certificate(context, new_chain, new_key)
    assert files.mark == hash(files.read())
    chain.write_bytes(new_chain.read_bytes())
    key.write_bytes(new_key.read_bytes())
    assert files.mark != hash(files.read())
    reload_certificate(context, chain, key)
    assert files.mark == hash(files.read())


def test_wrong_contexts(authority: Authority) -> None:
    pair = authority.pair("new.example")
    for context in (None, True, "server.pem", {"a": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}):
        given: Any = context
        with pytest.raises(TypeError, match=r"context must be an ssl\.SSLContext"):
            reload_certificate(given, *pair)
    with pytest.raises(WSInvalidOptionError, match="was made for clients"):
        reload_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *pair)
    wrong: Any = 5
    with pytest.raises(TypeError, match="keyfile must be"):
        reload_certificate(authority.server_context("a"), pair[0], wrong)
