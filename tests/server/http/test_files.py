"""picows_server.http.files: files of a directory, and never one beyond it."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from io import FileIO
from pathlib import Path
from typing import Any, List, Optional

import pytest

from picows_server import WSInvalidOptionError, WSUpgradeRequest, files
from picows_server.http import files as room
from picows_server.http.files import names_below
from tests.support.judge import ask
from tests.support.rawclient import RawClient
from tests.support.servers import serving, sockname

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")

SECRET = b"nobody may read this"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with files, beside a secret."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "static-secret").mkdir()
    (tmp_path / "static-secret" / "secret.txt").write_bytes(SECRET)
    static = tmp_path / "static"
    (static / "deep").mkdir(parents=True)
    (static / "a.txt").write_bytes(b"hello")
    (static / "żółw 100%.html").write_bytes(b"turtle")
    (static / "a+b.js").write_bytes(b"1")
    (static / "index.html").write_bytes(b"index")
    (static / "empty").write_bytes(b"")
    (static / "deep" / "b.txt").write_bytes(b"deep")
    (static / "deep" / "index.html").write_bytes(b"deep index")
    (static / ".hidden").write_bytes(SECRET)
    (static / ".git").mkdir()
    (static / ".git" / "config").write_bytes(SECRET)
    (static / ".well-known").mkdir()
    (static / ".well-known" / "token").write_bytes(b"acme")
    return static


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/static/a.txt", b"hello"),
        ("/static/a.txt?v=1", b"hello"),
        ("/static/%61.txt", b"hello"),
        ("/static/", b"index"),
        ("/static/deep/b.txt", b"deep"),
        ("/static/deep/", b"deep index"),
        ("/static/%C5%BC%C3%B3%C5%82w%20100%25.html", b"turtle"),
        ("/static/a+b.js", b"1"),
        ("/static/empty", b""),
        ("/static/.well-known/token", b"acme"),
        ("http://localhost/static/a.txt", b"hello"),
        ("/%73tatic/a.txt", b"hello"),
    ],
)
async def test_files(directory: Path, target: str, body: bytes) -> None:
    async with serving({"/static/": files(directory)}) as server:
        response = await ask(sockname(server), target)
        head = await ask(sockname(server), target, method="HEAD")
    assert (response.status, response.body) == (200, body)
    assert (head.status, head.headers_without_date) == (200, response.headers_without_date)
    assert response.headers["content-length"] == str(len(body))


HOSTILE = [
    "/static/../secret.txt",
    "/static/deep/../../secret.txt",
    "/static/%2e%2e/secret.txt",
    "/static/%2E%2E/secret.txt",
    "/static/.%2e/secret.txt",
    "/static/%2e./secret.txt",
    "/static/..%2fsecret.txt",
    "/static/..%2Fsecret.txt",
    "/static/..%5csecret.txt",
    "/static/..\\secret.txt",
    "/static/deep\\..\\..\\secret.txt",
    "/static/%252e%252e/secret.txt",
    "/static/%252e%252e%252fsecret.txt",
    "/static/%c0%ae%c0%ae/secret.txt",
    "/static/%c0%af../secret.txt",
    "/static/%u002e%u002e/secret.txt",
    "/static/..;/secret.txt",
    "/static//etc/passwd",
    "/static/%2fetc/passwd",
    "/static/%2Fetc%2Fpasswd",
    "/static///etc/passwd",
    "/static/./a.txt",
    "/static/deep/./b.txt",
    "/static/deep/../a.txt",
    "/static/deep//b.txt",
    "/static/deep%2fb.txt",
    "/static/a.txt%00",
    "/static/a.txt%00.html",
    "/static/%00",
    "/static/a.txt%0a",
    "/static/a.txt/",
    "/static/a.txt/x",
    "/static/deep",
    "/static/nothing",
    "/static/nothing/",
    "/static/.hidden",
    "/static/%2ehidden",
    "/static/.git/config",
    "/static/deep/..",
    "/static/..",
    "/static/../static-secret/secret.txt",
    "/static/C:%5cwindows%5cwin.ini",
    "/static/" + "x" * 300,
    "/static/" + "x/" * 2000,
    "/static/~root",
    "/static-secret/secret.txt",
    "/static",
    "/%73tatic/../secret.txt",
    "/static%2f..%2fsecret.txt",
]


@pytest.mark.parametrize("target", HOSTILE)
async def test_nothing_else(directory: Path, target: str) -> None:
    for routes in ({"/static/": files(directory)}, files(directory)):
        starting = serving(routes)
        async with starting as server, await RawClient.connect(sockname(server)) as client:
            client.writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            response = await client.read_response()
        assert response.status == 404
        assert SECRET not in response.body


@needs_links
async def test_links(directory: Path) -> None:
    """They are followed within the directory, as those of Kubernetes' volumes must be."""
    (directory / "..2026").mkdir()
    (directory / "..2026" / "mounted.txt").write_bytes(b"mounted")
    (directory / "..data").symlink_to("..2026")
    (directory / "mounted.txt").symlink_to("..data/mounted.txt")
    (directory / "inside").symlink_to(directory / "deep")
    (directory / "outside").symlink_to(directory.parent)
    (directory / "secret.txt").symlink_to("../secret.txt")
    (directory / "beside").symlink_to("../static-secret")
    (directory / "loop").symlink_to("loop")
    (directory / "broken").symlink_to("nothing")
    async with serving({"/": files(directory)}) as server:
        name = sockname(server)
        assert (await ask(name, "/mounted.txt")).body == b"mounted"
        assert (await ask(name, "/inside/b.txt")).body == b"deep"
        for target in (
            "/outside/secret.txt",
            "/outside/",
            "/secret.txt",
            "/beside/secret.txt",
            "/loop",
            "/broken",
            "/..data/mounted.txt",
        ):
            assert (await ask(name, target)).status == 404, target


async def test_a_link_to_another_drive(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(paths: Any) -> str:
        raise ValueError("Paths don't have the same drive")

    async with serving({"/": files(directory)}) as server:
        monkeypatch.setattr(os.path, "commonpath", refuse)
        assert (await ask(sockname(server), "/a.txt")).status == 404


@needs_links
async def test_the_directory_may_be_a_link_that_changes(directory: Path) -> None:
    current = directory.parent / "current"
    current.symlink_to(directory)
    async with serving({"/": files(current)}) as server:
        assert (await ask(sockname(server), "/a.txt")).body == b"hello"
        current.unlink()
        current.symlink_to(directory / "deep")
        assert (await ask(sockname(server), "/b.txt")).body == b"deep"
        assert (await ask(sockname(server), "/a.txt")).status == 404


@needs_links
async def test_what_is_no_file(directory: Path) -> None:
    os.mkfifo(directory / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(directory)  # a path of 100 bytes is the most for a socket
        sock.bind("socket")
        async with serving({"/": files(directory)}) as server:
            for target in ("/fifo", "/socket", "/deep"):
                assert (await ask(sockname(server), target)).status == 404


async def test_validators(directory: Path) -> None:
    async with serving({"/": files(directory)}) as server:
        name = sockname(server)
        tag = (await ask(name, "/a.txt")).tag
        unchanged = await ask(name, "/a.txt", headers=[("If-None-Match", f'"x", W/{tag}')])
        assert (unchanged.status, unchanged.body, unchanged.tag) == (304, b"", tag)
        (directory / "a.txt").write_bytes(b"hello again")
        changed = await ask(name, "/a.txt", headers=[("If-None-Match", tag)])
        assert (changed.status, changed.body) == (200, b"hello again")


async def test_a_validator_of_the_users_own(directory: Path) -> None:
    made = files(directory, extra_headers={"ETag": '"v7"'})
    async with serving({"/": made}) as server:
        response = await ask(sockname(server), "/a.txt", headers=[("If-None-Match", '"v7"')])
    assert (response.status, response.tag) == (304, '"v7"')


async def test_headers(directory: Path) -> None:
    made = files(directory, index="a.txt", extra_headers={"Cache-Control": "max-age=60"})
    async with serving({"/": made}) as server:
        response = await ask(sockname(server), "/")
    assert response.body == b"hello"
    assert response.headers["cache-control"] == "max-age=60"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_headers_in_pairs(directory: Path) -> None:
    """They may be there twice, and the pairs may come from an iterator."""
    pairs = [("Link", "</a>"), ("Link", "</b>"), ("cache-control", "no-store")]
    async with serving({"/": files(directory, extra_headers=iter(pairs))}) as server:
        for _ in range(2):
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
                head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.count(b"\r\nLink: </a>\r\nLink: </b>\r\n") == 1
            assert head.lower().count(b"cache-control: ") == 1
            assert b"cache-control: no-store" in head


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_file_that_changes_size_before_it_is_read(
    size: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent has the size that the ETag and the Content-Length speak of."""
    file = directory / "file"
    file.write_bytes(b"a" * size)
    content_type_of = room.content_type_of

    def lengthen(name: str) -> str:
        with file.open("ab") as opened:
            opened.write(b"b" * 100_000)
        return content_type_of(name)

    monkeypatch.setattr(room, "content_type_of", lengthen)
    async with serving({"/": files(directory)}) as server:
        assert (await ask(sockname(server), "/file")).body == b"a" * size


@pytest.mark.parametrize(
    ("error", "status"),
    [(errno.EMFILE, 503), (errno.ENFILE, 503), (errno.EIO, 503), (errno.EACCES, 404)],
)
async def test_a_file_that_cannot_be_opened(
    directory: Path,
    error: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(path: str, _: int) -> int:
        raise OSError(error, os.strerror(error), path)

    async with serving({"/": files(directory)}) as server:
        monkeypatch.setattr(room, "_opener", refuse)
        with caplog.at_level(logging.INFO):
            response = await ask(sockname(server), "/a.txt")
    assert response.status == status
    assert response.headers.get("retry-after") == ("5" if status == 503 else None)
    assert ("503 Service Unavailable" in caplog.text) == (status == 503)
    assert str(directory).encode() not in response.body


async def test_a_file_that_cannot_be_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: List[FileIO] = []

    class Broken(FileIO):
        def read(self, size: Optional[int] = -1, /) -> Any:
            opened.append(self)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with serving({"/": files(directory)}) as server:
        monkeypatch.setattr(room, "FileIO", Broken)
        with caplog.at_level(logging.INFO):
            response = await ask(sockname(server), "/a.txt")
    assert (response.status, response.headers["retry-after"]) == (503, "5")
    assert "503 Service Unavailable" in caplog.text
    assert "Traceback" not in caplog.text
    (file,) = opened
    assert file.closed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are UTF-8 or UTF-16")
def test_a_name_beyond_the_encoding_of_the_file_system(directory: Path) -> None:
    program = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from picows_server import files\n"
        "serve = files(sys.argv[1])\n"
        "request = SimpleNamespace(path='/%C5%BC.txt', server=None)\n"
        "sys.exit(serve(request) is not None)\n"
    )
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        env={**os.environ, **environment},
        check=True,
    )


async def test_a_handler_around_it(directory: Path) -> None:
    """Whatever it returns may be returned by a function, also by a coroutine function."""
    (directory / "large").write_bytes(b"x" * 300_000)
    documents = files(directory)

    async def private(request: WSUpgradeRequest) -> Any:
        return documents(request) if "Authorization" in request.headers else None

    async with serving(private) as server:
        name = sockname(server)
        assert (await ask(name, "/large")).status == 404
        headers = [("Authorization", "x")]
        assert len((await ask(name, "/large", headers=headers)).body) == 300_000
        assert (await ask(name, "/a.txt", headers=headers)).body == b"hello"
    documents = files(directory).mounted_at("/documents/")
    async with serving({"/documents/": private}) as server:
        found = await ask(sockname(server), "/documents/a.txt", headers=headers)
        assert found.body == b"hello"


def test_what_cannot_be_served(directory: Path) -> None:
    with pytest.raises(NotADirectoryError):
        files(directory / "nothing")
    with pytest.raises(NotADirectoryError):
        files(directory / "a.txt")
    with pytest.raises(WSInvalidOptionError):
        files(directory, extra_headers={"Content-Length": "5"})
    for index in ("a/b", "..", ".hidden", "a%20b", "a\0"):
        with pytest.raises(WSInvalidOptionError, match="index must be the name of a file"):
            files(directory, index=index)
    with pytest.raises(TypeError, match="index must be a str, not NoneType"):
        files(directory, index=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="trailing slash"):
        files(directory).mounted_at("/static")
    assert repr(files(directory)) == f"files({str(directory)!r})"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/s/a/b", ["a", "b"]),
        ("/s/", ["i"]),
        ("/s/a/", ["a", "i"]),
        ("/s//", None),
        ("/s/..", None),
        ("/t/a", None),
        ("/s", None),
        ("/s%2fa", None),
        ("/%73/a", ["a"]),
        ("/s/a%2fb", None),
        ("/s" + "/a" * 64, ["a"] * 64),
        ("/s" + "/a" * 65, None),
        ("/s/%e2%80%8b", None),  # a space of no width
        ("/s/%ed%a0%80", None),
    ],
)
def test_names(path: str, names: Any) -> None:
    assert names_below("/s/", path, "i") == names


def test_an_encoded_slash_in_the_prefix() -> None:
    assert names_below("/a%2Fb/", "/a%2Fb/c", "i") == ["c"]
    assert names_below("/a%2Fb/", "/a/b/c", "i") is None


async def test_a_path_beyond_ascii(directory: Path) -> None:
    async with serving({"/żółw/": files(directory), "/%C3%A9/": files(directory)}) as server:
        for path in ("/%C5%BC%C3%B3%C5%82w/a.txt", "/%C3%A9/a.txt", "/%c3%a9/a.txt"):
            assert (await ask(sockname(server), path)).body == b"hello"


@pytest.mark.parametrize("name", ["console", "a.con", "com", "comma1"])
def test_other_names_of_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.os, "name", "nt")
    found = names_below("/", f"/{name}", "i")
    monkeypatch.undo()
    assert found == [name]


@pytest.mark.parametrize(
    "name",
    ["a:b", "c:", "nul", "CON", "com1.txt", "lpt%C2%B9", "aux%20.x", "a.", "a%20", "abcdef~1"],
)
def test_names_of_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: List[Any] = [names_below("/", f"/{name}", "i")]
    monkeypatch.setattr(room.os, "name", "nt")
    found.append(names_below("/", f"/{name}", "i"))
    monkeypatch.undo()
    assert found[0] is not None
    assert found[1] is None
