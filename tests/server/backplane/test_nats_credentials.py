"""Who a process is to NATS: users, tokens, nkeys, accounts; and files that are broken."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from picows_server.backplane import BackplaneError, NatsBackplane
from picows_server.backplane.nats_credentials import import_nkeys, read_credentials
from tests.support.engines import Engine
from tests.support.nats_accounts import Account, KeyPair
from tests.support.receivers import Remembering, backplane_of, publish, until

Start = Callable[..., Engine]

# What the server has said is lost if it closes a connection on which more has come.
REFUSED = "(Authorization|reset)"


@pytest.fixture(name="start")
def start_fixture(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with a configuration."""
    engines: List[Engine] = []

    def start(configuration: str, *arguments: str) -> Engine:
        path = tmp_path / "nats.conf"
        path.write_text(configuration, encoding="utf-8")
        engines.append(Engine("nats", tmp_path, "-c", str(path), *arguments))
        return engines[-1].start()

    yield start
    for engine in engines:
        engine.kill()


def with_user(engine: Engine, user: str) -> str:
    return engine.url.replace("//", f"//{user}@")


async def check_works(engine: Engine, **options: Any) -> None:
    """It may do all that it needs."""
    receiver = Remembering()
    backplane = backplane_of(engine, **options)
    await backplane.start(receiver)
    backplane.subscribe("a.b", None)
    await backplane.subscribed("a.b")
    publish(backplane, "a.b", b"1")
    await until(lambda: receiver.payloads() == [b"1"])
    await backplane.close()
    assert not receiver.gaps


async def check_is_refused(engine: Engine, match: str, **options: Any) -> None:
    with pytest.raises(BackplaneError, match=f"127.0.0.1:{engine.port} cannot be used: .*{match}"):
        await backplane_of(engine, **options).start(Remembering())


def test_user_with_rights(run: Any, start: Start) -> None:
    """No more than the documented rights are needed."""
    engine = start(
        'authorization { users: [{user: "me", password: "right", permissions: {'
        ' publish: "picows.>", subscribe: "picows.>"}}] }'
    )

    async def main() -> None:
        await check_works(engine, url=with_user(engine, "me:right"))
        await check_works(engine, options={"user": "me", "password": "right"})
        await check_is_refused(engine, REFUSED, url=with_user(engine, "me:wrong"))

    run(main)


def test_token(run: Any, start: Start) -> None:
    engine = start('authorization { token: "right" }')

    async def main() -> None:
        await check_works(engine, url=with_user(engine, "right"))
        await check_works(engine, options={"token": "right"})
        with pytest.raises(BackplaneError, match=REFUSED) as caught:
            await backplane_of(engine, with_user(engine, "secret")).start(Remembering())
        assert "secret" not in str(caught.value)

    run(main)


def test_nkey(run: Any, start: Start, tmp_path: Path) -> None:
    key, stranger = KeyPair("USER"), KeyPair("USER")
    engine = start(f"authorization {{ users: [{{nkey: {key.public}}}] }}")
    path = tmp_path / "seed"
    path.write_bytes(key.seed + b"\n")

    async def main() -> None:
        await check_works(engine, options={"nkeys_seed": str(path)})
        await check_works(engine, options={"nkeys_seed_str": key.seed.decode("ascii")})
        await check_works(engine, options={"nkeys_seed_str": key.seed.decode("ascii") + "\n"})
        options = {"nkeys_seed_str": stranger.seed.decode("ascii")}
        await check_is_refused(engine, REFUSED, options=options)
        await check_is_refused(engine, REFUSED)

    run(main)


def test_accounts(run: Any, start: Start, tmp_path: Path) -> None:
    """An operator's server and ``.creds`` files; two accounts do not hear each other."""
    account, stranger = Account(), Account()
    engine = start(account.configuration)
    credentials = account.credentials(tmp_path / "user.creds", ["picows.>"])

    async def main() -> None:
        await check_works(engine, credentials=credentials)
        await check_is_refused(engine, REFUSED)
        other = stranger.credentials(tmp_path / "other.creds")
        await check_is_refused(engine, REFUSED, credentials=other)

    run(main)


def test_accounts_over_tls(run: Any, start: Start, tmp_path: Path, certificates: Any) -> None:
    account = Account()
    files = (str(certificates.server_chain), str(certificates.server_key))
    engine = start(account.configuration, "--tls", "--tlscert", files[0], "--tlskey", files[1])
    credentials = account.credentials(tmp_path / "user.creds")
    url = f"tls://localhost:{engine.port}"
    context = certificates.client_context(alpn=None)
    run(lambda: check_works(engine, url=url, credentials=credentials, ssl_context=context))


def broken_files(account: Account, folder: Path) -> Dict[str, bytes]:
    good = Path(account.credentials(folder / "good.creds")).read_bytes()
    token, seed = good.split(b"\n\n")
    return {
        "empty": b"",
        "another": b"hello\n",
        "seed-only": seed,
        "token-only": token,
        "half": good[: good.index(b"BEGIN USER NKEY SEED")],
        "bad-seed": good.replace(b"\nSU", b"\nSX"),
        "short-seed": token + b"\n\n-----BEGIN USER NKEY SEED-----\nSU\n",
    }


def test_broken_files(run: Any, start: Start, tmp_path: Path) -> None:
    account = Account()
    engine = start(account.configuration)
    path = tmp_path / "user.creds"

    async def main() -> None:
        await check_is_refused(engine, "user.creds", credentials=str(path))
        for content in broken_files(account, tmp_path).values():
            path.write_bytes(content)
            await check_is_refused(engine, "user.creds", credentials=str(path))
        await check_is_refused(engine, "none'", options={"nkeys_seed": str(tmp_path / "none")})
        await check_is_refused(engine, "nkeys_seed_str", options={"nkeys_seed_str": "SU"})

    run(main)


def test_file_that_is_broken_for_a_while(run: Any, start: Start, tmp_path: Path) -> None:
    """As one that is just being written when the connection is lost."""
    account = Account()
    engine = start(account.configuration)
    path = tmp_path / "user.creds"
    account.credentials(path)

    async def main() -> None:
        receiver = Remembering()
        backplane = backplane_of(engine, credentials=str(path))
        await backplane.start(receiver)
        backplane.subscribe("a", None)
        await backplane.subscribed("a")
        good = path.read_bytes()
        for content in broken_files(account, tmp_path).values():
            failed = backplane.stats().failed_attempts
            path.write_bytes(content)
            engine.kill()
            await until(lambda: not backplane.is_connected)
            engine.start()
            await until(lambda failed=failed: backplane.stats().failed_attempts > failed + 1)
            assert not backplane.is_connected
            path.write_bytes(good)
            await until(lambda: backplane.is_connected)
        publish(backplane, "a", b"1")
        await until(lambda: receiver.payloads() == [b"1"])
        await backplane.close()

    run(main)


@pytest.mark.parametrize(
    "options", [{"credentials": "x.creds"}, {"options": {"nkeys_seed_str": "x"}}], ids=repr
)
def test_without_nkeys(options: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nats")
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ImportError, match=r"pip install 'nats-py\[nkeys\]'"):
        NatsBackplane("nats://127.0.0.1", **options)
    NatsBackplane("nats://me:password@127.0.0.1")


def test_no_credentials() -> None:
    assert import_nkeys({"user": "me", "nkeys_seed": None}) is None
    assert read_credentials(None, {"user": "me"}) == {}
