"""picows_client.redirects: where a redirect may lead, and what may go along."""

from __future__ import annotations

import base64
import socket
import ssl
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from picows_client import WSInvalidHeaderError, WSInvalidStatusError, ws_connect
from tests.client.exchange import Recorder, check_echo, serve_echo
from tests.support.rawpeer import RawConnection, RawPeer, Request, raw_peer

Run = Callable[..., Any]


def site(**places: str) -> Callable[[RawConnection], Any]:
    """A script: paths named in ``places`` redirect there, all others accept the upgrade."""

    async def serve(peer: RawConnection) -> Request:
        request = await peer.read_request()
        location = places.get(request.target.strip("/"))
        if location is None:
            peer.accept(request)
            await peer.echo_until_close()
        else:
            headers = [("Location", location), ("Content-Length", "0")]
            peer.respond("302 Found", headers if location else headers[1:])
        return request

    return serve


def targets(peer: RawPeer) -> List[str]:
    return [request.target for request in peer.results]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_statuses(run: Run, status: int) -> None:
    async def redirect_once(peer: RawConnection) -> str:
        request = await peer.read_request()
        if request.target == "/new":
            peer.accept(request)
            await peer.echo_until_close()
        else:
            # A body that does not end: nobody needs to wait for it.
            headers = [("Location", "/new"), ("Content-Length", "100")]
            peer.respond(f"{status} Elsewhere", headers, b"...")
        return request.target

    async def main() -> None:
        async with raw_peer(redirect_once) as peer:
            transport, listener = await ws_connect(peer.url("/old"), Recorder)
            assert transport.request.path == "/new"
            await check_echo(transport, listener)
        assert sorted(peer.results) == ["/new", "/old"]

    run(main)


def test_the_log_says_from_where_to_where(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "picows.client")

    async def main() -> str:
        async with raw_peer(site(old="/new?token=secret")) as peer:
            transport, listener = await ws_connect(peer.url("/old"), Recorder)
            assert transport.request.path == "/new?token=secret"
            await check_echo(transport, listener)
            return f"127.0.0.1:{peer.port}"

    place = run(main)
    assert f"{place}: redirected (status 302) to ws://{place}/new" in caplog.messages
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
def test_other_statuses_are_not_followed(run: Run, status: int) -> None:
    async def answer(peer: RawConnection) -> None:
        await peer.redirect("/new", f"{status} Other")

    async def main() -> None:
        async with raw_peer(answer) as peer:
            with pytest.raises(WSInvalidStatusError) as caught:
                await ws_connect(peer.url(), Recorder)
            assert caught.value.status == status

    run(main)


def test_chain(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(site(a="b", b="/c", c="?d")) as peer:
            await check_echo(*await ws_connect(peer.url("/a"), Recorder))
        assert sorted(targets(peer)) == ["/a", "/b", "/c", "/c?d"]

    run(main)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_too_many(run: Run, limit: int) -> None:
    async def main() -> None:
        async with raw_peer(site(a="/a")) as peer:
            with pytest.raises(WSInvalidStatusError, match=f"max_redirects={limit}") as caught:
                await ws_connect(peer.url("/a"), Recorder, max_redirects=limit)
            assert caught.value.status == 302
            assert caught.value.response is not None
            assert caught.value.response.headers["Location"] == "/a"
        assert len(peer.results) == limit + 1

    run(main)


def test_exactly_enough(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(site(a="/b", b="/c")) as peer:
            await check_echo(*await ws_connect(peer.url("/a"), Recorder, max_redirects=2))

    run(main)


def test_none_wanted(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(site(a="/b")) as peer:
            with pytest.raises(WSInvalidStatusError, match="status 302"):
                await ws_connect(peer.url("/a"), Recorder, max_redirects=0)
        assert targets(peer) == ["/a"]

    run(main)


def test_no_location(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(site(a="")) as peer:
            with pytest.raises(WSInvalidStatusError, match="status 302"):
                await ws_connect(peer.url("/a"), Recorder)

    run(main)


@pytest.mark.parametrize("location", ["ftp://other/", "ws://", "/a b", "ws://[::1", "ws://a:0"])
def test_invalid_location(run: Run, location: str) -> None:
    async def main() -> None:
        async with raw_peer(site(a=location)) as peer:
            with pytest.raises(WSInvalidHeaderError, match="not a valid") as caught:
                await ws_connect(peer.url("/a"), Recorder)
            assert caught.value.name == "Location"
            assert caught.value.value == location
            assert caught.value.status == 302

    run(main)


@pytest.mark.parametrize("location", ["ftp://a/" + "x" * 5000, "ws://a:99999/?token=secret"])
def test_refused_location_is_bounded_and_has_no_query(run: Run, location: str) -> None:
    async def main() -> None:
        async with raw_peer(site(**{"a?token=secret": location})) as peer:
            with pytest.raises(WSInvalidHeaderError, match="/a redirects") as caught:
                await ws_connect(peer.url("/a?token=secret"), Recorder)
            assert caught.value.value == location
            assert len(str(caught.value)) < 500
            assert "secret" not in str(caught.value)

    run(main)


def test_queries_of_redirects_are_not_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with raw_peer(site(a="/b?token=secret", **{"b?token=secret": "/a"})) as peer:
            with pytest.raises(WSInvalidStatusError, match="redirects") as caught:
                await ws_connect(peer.url("/a"), Recorder, max_redirects=3)
            assert "secret" not in str(caught.value)

    with caplog.at_level("DEBUG"):
        run(main)
    assert "/b" in caplog.text
    assert "secret" not in caplog.text


def test_two_locations(run: Run) -> None:
    async def answer(peer: RawConnection) -> None:
        await peer.read_request()
        headers = [("Location", "/a"), ("Location", "/b"), ("Content-Length", "0")]
        peer.respond("302 Found", headers)

    async def main() -> None:
        async with raw_peer(answer) as peer:
            with pytest.raises(WSInvalidHeaderError, match="one Location"):
                await ws_connect(peer.url(), Recorder)

    run(main)


# Origins


SECRETS = {
    "Authorization": "Bearer x",
    "Cookie": "a=b",
    "Proxy-Authorization": "Basic x",
    "X-Other": "stays",
}


def secrets_of(request: Request) -> Dict[str, Optional[str]]:
    return {name: request.header(name) for name in SECRETS}


def test_secrets_stay_with_their_origin(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as other:
            async with raw_peer(site(a="/b", b=other.url("/c"))) as peer:
                await check_echo(*await ws_connect(peer.url("/a"), Recorder, extra_headers=SECRETS))
            for request in peer.results:
                assert secrets_of(request) == SECRETS
        expected = {**dict.fromkeys(SECRETS), "X-Other": "stays"}
        assert secrets_of(other.results[0]) == expected
        assert other.results[0].header("Host") == f"127.0.0.1:{other.port}"

    run(main)


def test_secrets_do_not_come_back(run: Run) -> None:
    async def main() -> None:
        places: Dict[str, str] = {}
        async with raw_peer(site(a=""), host="127.0.0.1") as peer, raw_peer(
            site(b=peer.url("/c"))
        ) as other:
            places["a"] = other.url("/b")
            peer._script = site(**places)
            await check_echo(*await ws_connect(peer.url("/a"), Recorder, extra_headers=SECRETS))
        by_target = {request.target: request for request in peer.results}
        assert by_target["/a"].header("Authorization") == "Bearer x"
        assert by_target["/c"].header("Authorization") is None

    run(main)


def test_credentials_of_the_url(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as other, raw_peer(site(a="/b", b=other.url("/c"))) as peer:
            url = peer.url("/a").replace("//", "//user:secret@")
            await check_echo(*await ws_connect(url, Recorder))
        basic = "Basic " + base64.b64encode(b"user:secret").decode()
        assert [request.header("Authorization") for request in peer.results] == [basic, basic]
        assert other.results[0].header("Authorization") is None

    run(main)


def test_credentials_of_the_location(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as other:
            location = other.url("/b").replace("//", "//me:mine@")
            async with raw_peer(site(a=location)) as peer:
                await check_echo(*await ws_connect(peer.url("/a"), Recorder))
        basic = "Basic " + base64.b64encode(b"me:mine").decode()
        assert other.results[0].header("Authorization") == basic

    run(main)


def test_replaced_host_stays_with_its_origin(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as other, raw_peer(site(a=other.url())) as peer:
            headers = [("host", "server.example")]
            await check_echo(*await ws_connect(peer.url("/a"), Recorder, extra_headers=headers))
        assert peer.results[0].header("Host") == "server.example"
        assert other.results[0].header("Host") == f"127.0.0.1:{other.port}"

    run(main)


# TLS


def test_to_tls(run: Run, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo, context=server_context) as secure:
            location = secure.url("/b").replace("wss:", "https:")
            async with raw_peer(site(a=location)) as peer:
                transport, listener = await ws_connect(
                    peer.url("/a"),
                    Recorder,
                    ssl_context=client_context,
                    # Meant for the first server only.
                    server_hostname="other.example",
                )
                assert transport.is_secure
                await check_echo(transport, listener)

    run(main)


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_never_away_from_tls(
    run: Run, scheme: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with raw_peer(serve_echo) as plain:
            location = plain.url().replace("ws:", f"{scheme}:")
            async with raw_peer(site(a=location), context=server_context) as peer:
                with pytest.raises(WSInvalidHeaderError, match="give up TLS") as caught:
                    await ws_connect(peer.url("/a"), Recorder, ssl_context=client_context)
                assert caught.value.name == "Location"
        assert plain.accepted == 0

    run(main)


# Ways that lead to one server only


def test_not_with_a_given_socket(run: Run) -> None:
    async def main() -> None:
        async with raw_peer(site(a="/b")) as peer:
            sock = socket.create_connection(("127.0.0.1", peer.port))
            with pytest.raises(WSInvalidStatusError, match="status 302"):
                await ws_connect(peer.url("/a"), Recorder, sock=sock)
            assert sock.fileno() == -1

    run(main)


def test_within_the_origin_of_a_unix_socket(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        async with raw_peer(site(a="/b", c="ws://other.example/"), unix_path=path):
            url = "ws://server.example"
            await check_echo(*await ws_connect(f"{url}/a", Recorder, unix_path=path))
            with pytest.raises(WSInvalidStatusError, match="status 302"):
                await ws_connect(f"{url}/c", Recorder, unix_path=path)

    run(main)


def test_socket_factory_is_asked_again(run: Run) -> None:
    async def main() -> None:
        asked: List[str] = []
        async with raw_peer(site(a="ws://second.example/b")) as peer:

            def factory(url: Any) -> socket.socket:
                asked.append(str(url))
                return socket.create_connection(("127.0.0.1", peer.port))

            await check_echo(
                *await ws_connect("ws://first.example/a", Recorder, socket_factory=factory)
            )
        assert asked == ["ws://first.example:80/a", "ws://second.example:80/b"]

    run(main)
