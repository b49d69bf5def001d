"""Names of topics: what they may be, and the error of everything that topics refuse."""

from __future__ import annotations

from typing import Optional

from picows_codec.errors import WSUsageError

__all__ = ["WSTopicError", "checked_name", "shown"]

_MOST_SHOWN = 100  # characters


class WSTopicError(WSUsageError, ValueError):
    """A name that no topic can have, a limit of topics, or a topic without what was asked for.

    So what a peer asks for and does not get is one error, which a handler can tell the peer.
    """


def checked_name(name: str, limit: Optional[int]) -> str:
    """Return a name that may be a topic's.

    :param limit: characters; None for any number.
    """
    if not isinstance(name, str):
        raise TypeError(f"topic must be a str, not {type(name).__name__}: {name!r}")
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


def shown(name: str) -> str:
    """A name of any length for the text of an error."""
    return repr(name if len(name) <= _MOST_SHOWN else name[:_MOST_SHOWN] + "...")
