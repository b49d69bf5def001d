"""What peers name: topics, keys and positions, and the error of everything that topics refuse."""

from __future__ import annotations

import reprlib
from typing import Optional

from picows_codec.errors import WSUsageError
from picows_server.backplane.interface import Position

__all__ = [
    "WSTopicError",
    "checked_count",
    "checked_key",
    "checked_name",
    "checked_position",
    "shown",
]

_MOST_SHOWN = 100  # characters
# What an engine can count.
_LAST_OFFSET = 2**63 - 1


class WSTopicError(WSUsageError, ValueError):
    """What was asked of topics cannot be had.

    A topic, key, position or number of messages is not one, whatever its type; a limit is reached;
    or the topic has not what was asked for. These come from peers, so a handler that catches this
    error can tell the peer all that it did wrong. What only a program chooses (connections,
    payloads, rules and other options) raises :class:`TypeError` and
    :class:`WSInvalidOptionError` instead.
    """


def checked_name(name: object, limit: Optional[int]) -> str:
    """Return a name that may be a topic's.

    :param limit: characters; None for any number.
    """
    if not isinstance(name, str):
        raise WSTopicError(f"topic must be a str, not {shown(name)}")
    if not name:
        raise WSTopicError("topic must not be empty")
    if limit is not None and len(name) > limit:
        raise WSTopicError(
            f"topic {shown(name)} has {len(name)} characters, and max_topic_length is {limit}: use"
            " shorter names, or raise the limit"
        )
    if not name.isprintable():
        raise WSTopicError(
            f"topic {shown(name)} has characters that cannot be printed: use letters, digits and"
            " punctuation"
        )
    return name


def checked_key(key: object, limit: Optional[int]) -> Optional[str]:
    """Return a key of a message, or None.

    :param limit: characters; None for any number.
    """
    if key is None:
        return None
    if not isinstance(key, str):
        raise WSTopicError(f"key must be a str or None, not {shown(key)}")
    if limit is not None and len(key) > limit:
        raise WSTopicError(
            f"key {shown(key)} has {len(key)} characters, and max_topic_length, which counts for"
            f" keys, too, is {limit}: use shorter keys, or raise the limit"
        )
    return key


def checked_position(since: object) -> Optional[Position]:
    """Return a position that may be a topic's, or None."""
    if since is None:
        return None
    if isinstance(since, (tuple, list)) and len(since) == 2:
        offset, epoch = since
        if _is_number(offset) and 0 <= offset <= _LAST_OFFSET and isinstance(epoch, str):
            return Position(offset, epoch)
    raise WSTopicError(
        "since must be a Position, a pair of an offset from 0 and an epoch, which is a str, or"
        f" None, not {shown(since)}"
    )


def checked_count(last: object) -> int:
    """Return a number of messages."""
    if isinstance(last, int) and _is_number(last) and last >= 0:
        return last
    raise WSTopicError(f"last must be a number of messages from 0, not {shown(last)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value of any kind and size for the text of an error."""
    if isinstance(value, str):
        return repr(value if len(value) <= _MOST_SHOWN else value[:_MOST_SHOWN] + "...")
    try:
        return reprlib.repr(value)
    except ValueError:  # an int of more digits than Python prints
        return f"a very large {type(value).__name__}"
