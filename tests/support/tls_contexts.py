"""Connections over an unusual TLS context, in a process of its own: it may crash.

``python -m tests.support.tls_contexts ROLE CASE BACKEND[,BACKEND...] LOOP DIRECTORY`` prints, for
each of the backends, which one carried three connections, or why the context was refused; then how
often the log spoke of it, and what it said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from tests.support.certificates import Certificates
from tests.support.loops import run

Contexts = Tuple[ssl.SSLContext, ssl.SSLContext]  # ours, and the raw peer's
Case = Callable[[ssl.SSLContext, ssl.SSLContext, Certificates], None]


def _certificates(directory: Path) -> Certificates:
    names = ("authority.pem", "server.pem", "server.key", "client.pem", "client.key")
    return Certificates(*(directory / name for name in names))


def _nothing(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    pass


def _sni(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.sni_callback = lambda *_: None


def _keylog(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.keylog_filename = str(files.authority.parent / "keys.log")


def _message(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours._msg_callback = lambda *_: None  # type: ignore[attr-defined]


def _post_handshake(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.post_handshake_auth = True


def _psk(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    for context in (ours, theirs):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK")
        psk: Any = context
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            psk.set_psk_client_callback(lambda _: ("name", b"secret"))
        else:
            psk.set_psk_server_callback(lambda _: b"secret", "hint")


def _object_class(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    class Object(ssl.SSLObject):
        pass

    ours.sslobject_class = Object  # type: ignore[assignment]


def _method(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.wrap_bio = type(ours).wrap_bio.__get__(ours)  # type: ignore[method-assign]


def _client_certificate(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    for context in (ours, theirs):
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.load_cert_chain(files.client_chain, files.client_key)
        else:
            context.load_verify_locations(files.authority)
            context.verify_mode = ssl.CERT_REQUIRED


def _verify_flags(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.verify_flags |= ssl.VERIFY_X509_TRUSTED_FIRST


def _host_flags(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.hostname_checks_common_name = False


def _maximum(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.maximum_version = ssl.TLSVersion.TLSv1_2


def _minimum(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.minimum_version = ssl.TLSVersion.TLSv1_3


def _no_tickets(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.options |= ssl.OP_NO_TICKET
    if ours.protocol == ssl.PROTOCOL_TLS_SERVER:
        ours.num_tickets = 0


def _alpn(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    for context in (ours, theirs):
        context.set_alpn_protocols(["http/1.1"])


def _kernel_tls(ours: ssl.SSLContext, theirs: ssl.SSLContext, files: Certificates) -> None:
    ours.options |= getattr(ssl, "OP_ENABLE_KTLS", 0)


NEED_LOOP: Dict[str, Case] = {
    "sni_callback": _sni,
    "keylog_filename": _keylog,
    "SSLKEYLOGFILE": _nothing,  # the environment's, see below
    "_msg_callback": _message,
    "post_handshake_auth": _post_handshake,
    "PSK callback": _psk,
    "subclass": _nothing,  # see below
    "class of it": _object_class,
    "method or": _method,
}
CARRIED: Dict[str, Case] = {
    "plain": _nothing,
    "client certificate": _client_certificate,
    "verify flags": _verify_flags,
    "host flags": _host_flags,
    "TLS 1.2": _maximum,
    "TLS 1.3": _minimum,
    "no tickets": _no_tickets,
    "ALPN": _alpn,
    "kernel TLS": _kernel_tls,
}


class _Subclass(ssl.SSLContext):
    pass


def _contexts(role: str, case: str, files: Certificates) -> Contexts:
    kind = _Subclass if case == "subclass" else ssl.SSLContext
    server = (kind if role == "server" else ssl.SSLContext)(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.server_chain, files.server_key)
    if case == "SSLKEYLOGFILE":
        purpose = ssl.Purpose.SERVER_AUTH if role == "client" else ssl.Purpose.CLIENT_AUTH
        made = ssl.create_default_context(purpose)
        if role == "server":
            made.load_cert_chain(files.server_chain, files.server_key)
            server = made
        client = made if role == "client" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        client = (kind if role == "client" else ssl.SSLContext)(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(files.authority)
    return (server, client) if role == "server" else (client, server)


class _Notes(logging.Handler):
    """Counts what the log says about backends."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _backend_of(transport: Any) -> str:
    module = type(transport.underlying_transport).__module__
    return "aiofastnet" if module.startswith("aiofastnet") else "loop"


async def _serve(
    case: str, backend: str, contexts: Contexts, logger: logging.Logger, change: Any
) -> str:
    from picows_server import WSListener, ws_create_server  # noqa: PLC0415
    from tests.support.rawclient import RawClient  # noqa: PLC0415

    backends: List[str] = []

    class Listener(WSListener):
        def on_ws_connected(self, transport: Any) -> None:
            backends.append(_backend_of(transport))

    ours, theirs = contexts
    async with await ws_create_server(
        "wss://127.0.0.1:0", Listener, logger, ssl_context=ours, backend=backend
    ) as server:
        sockname = server.sockets[0].getsockname()
        for index in range(3):
            if index == 1 and change is not None:
                change()
            async with await RawClient.connect(sockname, context=theirs) as client:
                assert (await client.upgrade()).status == 101
    return " ".join(backends)


async def _connect(
    case: str, backend: str, contexts: Contexts, logger: logging.Logger, change: Any
) -> str:
    from picows_client import ws_connect  # noqa: PLC0415
    from tests.client.exchange import Recorder, check_echo, serve_echo  # noqa: PLC0415
    from tests.support.rawpeer import raw_peer  # noqa: PLC0415

    backends: List[str] = []
    ours, theirs = contexts
    async with raw_peer(serve_echo, context=theirs) as peer:
        for index in range(3):
            if index == 1 and change is not None:
                change()
            transport, listener = await ws_connect(
                peer.url(), Recorder, logger, ssl_context=ours, backend=backend
            )
            backends.append(_backend_of(transport))
            await check_echo(transport, listener)
    return " ".join(backends)


def _hello(context: ssl.SSLContext, received: bytes = b"") -> bytes:
    """The first flight of the raw peer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(received)
    is_server = context.protocol == ssl.PROTOCOL_TLS_SERVER
    name = None if is_server else "localhost"
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, is_server, name).do_handshake()
    return outgoing.read()


async def _serve_changed(contexts: Contexts, logger: logging.Logger, change: Any) -> str:
    from picows_server import WSListener, ws_create_server  # noqa: PLC0415
    from tests.support.leaks import eventually  # noqa: PLC0415

    ours, theirs = contexts
    async with await ws_create_server(
        "wss://127.0.0.1:0", WSListener, logger, ssl_context=ours
    ) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        await eventually(lambda: server.pending_handshakes == 1)
        change()
        writer.write(_hello(theirs))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await eventually(lambda: server.connections == 0)
        writer.close()
    return ""


async def _connect_changed(contexts: Contexts, logger: logging.Logger, change: Any) -> str:
    from picows_client import WSListener, ws_connect  # noqa: PLC0415
    from tests.support.rawpeer import RawConnection, raw_peer  # noqa: PLC0415

    ours, theirs = contexts

    async def answer(peer: RawConnection) -> None:
        received = await peer.reader.read(65536)
        change()
        peer.writer.write(_hello(theirs, received))
        with contextlib.suppress(ConnectionResetError):
            await peer.reader.read()

    async with raw_peer(answer) as peer:
        url = peer.url().replace("ws://", "wss://")
        try:
            await ws_connect(url, WSListener, logger, ssl_context=ours)
        except ConnectionAbortedError as error:
            return str(error)
    return "it was opened"


def check(role: str, case: str, backend: str, loop: str, files: Certificates) -> None:
    """Run one case; ``later`` before its name sets it after the first connection, ``during`` while
    a handshake is under way."""
    when, _, name = case.partition(" ")
    is_changed = when in ("later", "during")
    case = name if is_changed else case
    ours, theirs = _contexts(role, case, files)
    apply = {**NEED_LOOP, **CARRIED}[case]
    change: Any = lambda: apply(ours, theirs, files)  # noqa: E731
    if not is_changed:
        change()
        change = None
    logger, notes = logging.Logger("picows.test"), _Notes()
    logger.addHandler(notes)
    if when == "during":
        notes.setLevel(logging.INFO)
        shake_hands = _serve_changed if role == "server" else _connect_changed
        print(run(lambda: shake_hands((ours, theirs), logger, change), loop))  # noqa: T201
        print(*notes.texts, sep="\n")  # noqa: T201
        return
    serve = _serve if role == "server" else _connect

    async def guarded() -> str:
        try:
            return await serve(case, backend, (ours, theirs), logger, change)
        except Exception as error:  # noqa: BLE001
            return f"{type(error).__name__}: {error}"

    print(run(guarded, loop))  # noqa: T201
    print(len(notes.texts), *notes.texts, sep="\n")  # noqa: T201


def main(role: str, case: str, backends: str, loop: str, directory: str) -> None:
    """Run one case with one backend after another."""
    asyncio.set_event_loop(None)
    for backend in backends.split(","):
        check(role, case, backend, loop, _certificates(Path(directory)))


if __name__ == "__main__":
    main(*sys.argv[1:])
