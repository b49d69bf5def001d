"""The last message of each topic and key, within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof
from typing import Dict, List, Optional, Tuple

from picows_codec import WSPreparedMessage

__all__ = ["KEPT_OVERHEAD", "Retained", "Retention", "kept_size"]

#: Bytes that a kept message counts beside its payload and its key: about what the objects around
#: them take.
KEPT_OVERHEAD = 400


class Retained(Dict[Optional[str], WSPreparedMessage]):
    """Of one topic: key -> message, in the order in which they were published."""

    __slots__ = ("topic",)

    def __init__(self, topic: str) -> None:
        self.topic = topic


def kept_size(message: WSPreparedMessage, key: Optional[str]) -> int:
    """Return the bytes that a kept message counts."""
    size = message.payload_size + KEPT_OVERHEAD
    return size if key is None else size + getsizeof(key)


class Retention:
    """Bounds what all topics retain: the message that was published first goes first.

    :param limit: bytes; None for any number.
    """

    def __init__(self, limit: Optional[int]) -> None:
        self._limit = limit
        # By the id of what a topic retains, which is there as long as one of its messages is.
        self._order: OrderedDict[Tuple[int, Optional[str]], Tuple[Retained, int]] = OrderedDict()
        self.size = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._order)

    def keep(self, retained: Retained, key: Optional[str], message: WSPreparedMessage) -> List[str]:
        """Keep a message in place of the former one with this key.

        :returns: topics of which nothing is retained any more, because of the limit.
        """
        self.forget(retained, key)
        size = kept_size(message, key)
        if self._limit is not None and size > self._limit:
            # All others would go for it, and then it would, too.
            self.evicted += 1
            return [] if retained else [retained.topic]
        emptied = []
        retained[key] = message
        self._order[id(retained), key] = retained, size
        self.size += size
        while self._limit is not None and self.size > self._limit:
            (_, oldest), (owner, bytes_freed) = self._order.popitem(last=False)
            del owner[oldest]
            self.size -= bytes_freed
            self.evicted += 1
            if not owner:
                emptied.append(owner.topic)
        return emptied

    def forget(self, retained: Retained, key: Optional[str]) -> bool:
        """Drop the message with this key; return whether there was one."""
        if key not in retained:
            return False
        del retained[key]
        self.size -= self._order.pop((id(retained), key))[1]
        return True

    def forget_all(self, retained: Retained) -> None:
        """Drop everything that a topic retains."""
        for key in list(retained):
            self.forget(retained, key)
