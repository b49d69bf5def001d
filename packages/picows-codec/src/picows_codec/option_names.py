"""What to write instead of an option that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Mapping, Sequence

__all__ = ["explain_option"]


def explain_option(name: str, known: Sequence[str], meanings: Mapping[str, str]) -> str:
    """Return the name with what is meant here by it, or with the name that it resembles.

    ``meanings`` has names of other libraries, each with a phrase that says what to write.
    """
    meaning = meanings.get(name)
    if meaning is not None:
        return f"{name!r}: {meaning}"
    similar = get_close_matches(name, [*known, *meanings], n=1)
    if not similar:
        return repr(name)
    if similar[0] in known:
        return f"{name!r}: did you mean {similar[0]!r}?"
    return f"{name!r}: if you mean {similar[0]!r}: {meanings[similar[0]]}"
