"""The last sequence numbers by which receivers see that a message is missing or came twice."""

from __future__ import annotations

from typing import Dict, Optional, TypeVar

__all__ = ["LastNumbers"]

_Name = TypeVar("_Name")


class LastNumbers(Dict[_Name, int]):
    """The last number of each name: of the ``size`` names that were used last, and of some more.

    Use it as ``numbers.get(name)``, and if that is None, ``numbers.recall(name)``. An ordered dict
    in which each name moves to the end costs three times as much per message.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        # What was here until there were too many.
        self._former: Dict[_Name, int] = {}

    def recall(self, name: _Name) -> Optional[int]:
        """Return the number of a name that is not here, if it is known, and make room for it."""
        number = self._former.pop(name, None)
        if len(self) >= self._size:
            self._former = dict(self)
            self.clear()
        return number
