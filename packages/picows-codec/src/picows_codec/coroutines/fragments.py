"""Sending an iterable as one message, each item as a fragment (RFC 6455, 5.4)."""

from __future__ import annotations

from collections import abc
from typing import TYPE_CHECKING, Any, AsyncIterable, Iterable, Optional, Union

from picows_codec.coroutines.operation import (
    fail_message,
    release_turn,
    send_fragment,
    take_turn,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from picows_codec.coroutines.inbox import Inbox

__all__ = ["send_fragments"]

_CONTINUATION, _TEXT, _BINARY = 0, 1, 2


async def send_fragments(
    inbox: Inbox,
    fragments: Union[Iterable[Union[str, Buffer]], AsyncIterable[Union[str, Buffer]]],
    text: Optional[bool],
) -> None:
    """Send a message of one fragment for each item, all str or all buffers; nothing for none.

    The last item of an iterable ends the message. Of an asynchronous one nobody knows the last,
    so an empty fragment ends the message. Whatever stops it in the middle fails the connection.
    """
    if isinstance(fragments, abc.Mapping):
        raise TypeError("a mapping cannot be sent: send json.dumps(...) of it, or its values")
    is_asynchronous = isinstance(fragments, abc.AsyncIterable)
    if not is_asynchronous and not isinstance(fragments, abc.Iterable):
        raise TypeError(
            "message must be a str, bytes or another buffer, or an iterable or asynchronous"
            f" iterable of these, not {type(fragments).__name__}"
        )
    await take_turn(inbox)
    message = _Message(inbox, text)
    try:
        if isinstance(fragments, abc.AsyncIterable):
            async for item in fragments:
                await message.send(item, fin=False)
            if message.has_begun:
                await message.send("" if message.is_text else b"", fin=True)
        else:
            await _send_all(message, fragments)
    except BaseException as error:
        if message.has_begun and not message.is_complete:
            fail_message(inbox, f"a message was stopped between its fragments by {error!r}")
        raise
    finally:
        release_turn(inbox)


async def _send_all(message: _Message, fragments: Iterable[Any]) -> None:
    items = iter(fragments)
    try:
        item = next(items)
    except StopIteration:
        return
    for following in items:
        await message.send(item, fin=False)
        item = following
    await message.send(item, fin=True)


class _Message:
    """The message under way."""

    def __init__(self, inbox: Inbox, text: Optional[bool]) -> None:
        self.has_begun = False
        self.is_complete = False
        self.is_text = False  # its items are str
        self._inbox = inbox
        self._text = text

    async def send(self, item: Any, *, fin: bool) -> None:
        is_text = isinstance(item, str)
        if not self.has_begun:
            self.is_text = is_text
            as_text = is_text if self._text is None else self._text
            opcode = _TEXT if as_text else _BINARY
        elif is_text is not self.is_text:
            raise TypeError("all fragments of a message must be str, or all must be buffers")
        else:
            opcode = _CONTINUATION
        if is_text and self._text is False:
            item = item.encode()
        await send_fragment(self._inbox, opcode, item, fin)
        self.has_begun = True
        self.is_complete = fin
