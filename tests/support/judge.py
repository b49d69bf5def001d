"""Plain HTTP requests whose responses h11 judges: a client that knows the rules of HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Tuple

import h11

from tests.support.rawclient import RawClient

__all__ = ["Judged", "ask", "judge"]

TIMEOUT = 20.0


@dataclass(frozen=True)
class Judged:
    """A response that h11 has accepted; header names are in lower case."""

    status: int
    headers: Dict[str, str]
    body: bytes

    @property
    def tag(self) -> str:
        return self.headers["etag"]

    @property
    def headers_without_date(self) -> Dict[str, str]:
        """What two responses to the same request have in common, whenever they were sent."""
        return {name: value for name, value in self.headers.items() if name != "date"}


async def ask(
    sockname: Any,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Iterable[Tuple[str, str]] = (),
    context: Any = None,
    before: bytes = b"",
) -> Judged:
    """Send a request and read until the server closes; ``before`` is sent first, on plain TCP."""
    judge_of = h11.Connection(h11.CLIENT)
    fields = [("Host", "localhost"), *headers]
    request = h11.Request(method=method, target=target, headers=fields)
    data = judge_of.send(request)
    end = judge_of.send(h11.EndOfMessage())
    async with await RawClient.connect(sockname, context=context) as client:
        client.writer.write(before + data + end)
        received = await asyncio.wait_for(client.reader.read(-1), TIMEOUT)
    return judge(judge_of, received)


def judge(connection: Any, received: bytes) -> Judged:
    """Let h11 read what a server has sent until it closed the connection."""
    connection.receive_data(received)
    response = connection.next_event()
    assert type(response) is h11.Response, response
    body = b""
    while True:
        event = connection.next_event()
        if type(event) is h11.EndOfMessage:
            break
        assert type(event) is h11.Data, event
        body += bytes(event.data)
    assert connection.trailing_data == (b"", False)
    connection.receive_data(b"")
    assert connection.their_state is h11.MUST_CLOSE or connection.their_state is h11.CLOSED
    headers = {name.decode(): value.decode() for name, value in response.headers}
    assert len(headers) == len(response.headers), "a header is there twice"
    return Judged(response.status_code, headers, body)
