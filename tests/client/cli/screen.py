"""A terminal of one screen: what a user would see of what a program has written to it."""

from __future__ import annotations

import re
from typing import Dict, List

__all__ = ["Screen"]

_SEQUENCE = re.compile(r"\x1b\[([?>]?)([\d;]*)([A-Za-z@])|\x1b[=>]")


class Screen:
    """Knows what readline writes for TERM=xterm; anything else is an error."""

    def __init__(self, columns: int = 80) -> None:
        self._columns = columns
        self._rows: List[Dict[int, str]] = [{}]
        self._row = self._column = 0
        self._pending = ""

    @property
    def lines(self) -> List[str]:
        """The rows as text, without blanks at their ends."""
        return [
            "".join(row.get(i, " ") for i in range(max(row, default=-1) + 1)).rstrip()
            for row in self._rows
        ]

    def feed(self, text: str) -> None:
        text = self._pending + text
        self._pending = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _SEQUENCE.match(text, at)
                if found is None:
                    assert len(text) - at < 16, f"an unknown sequence: {text[at : at + 20]!r}"
                    self._pending = text[at:]
                    return
                self._act(found)
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _act(self, found: re.Match[str]) -> None:
        private, numbers, kind = found[1], found[2], found[3]
        if private or kind is None:
            return  # modes
        count = int(numbers.partition(";")[0] or 0)
        row = self._rows[self._row]
        if kind == "A":
            self._row = max(0, self._row - max(count, 1))
        elif kind == "C":
            self._column += max(count, 1)
        elif kind == "D":
            self._column -= max(count, 1)
        elif kind in ("J", "K"):
            assert count == 0
            if kind == "J":
                del self._rows[self._row + 1 :]
            for column in [column for column in row if column >= self._column]:
                del row[column]
        elif kind in ("P", "@"):
            self._shift(kind == "P", max(count, 1))
        else:
            assert kind == "m", f"an unknown sequence: {found[0]!r}"

    def _shift(self, deletes: bool, count: int) -> None:
        here = self._column
        row = self._rows[self._row]
        if deletes:
            row = {c: text for c, text in row.items() if not here <= c < here + count}
        step = -count if deletes else count
        self._rows[self._row] = {c + step if c >= here else c: text for c, text in row.items()}

    def _put(self, character: str) -> None:
        if character == "\n":
            self._row += 1
        elif character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character != "\a":
            assert character.isprintable(), repr(character)
            if self._column >= self._columns:
                self._column = 0
                self._row += 1
            while len(self._rows) <= self._row:
                self._rows.append({})
            self._rows[self._row][self._column] = character
            self._column += 1
        while len(self._rows) <= self._row:
            self._rows.append({})
